"""The switchboard: what one machine says reaches the other, and nothing that enters can stop it."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from protocol import effects as fx
from protocol import ids, inputs
from protocol.calls import Answered
from protocol.effects import Effect
from protocol.envelope import Frames, Opener, Sealer
from protocol.events import FrameRefused, StateChanged, TaskAwarded, TaskDone
from protocol.inputs import Entry
from protocol.node import Node, NodeSettings
from protocol.replica import Me
from protocol.wire import call, task
from protocol.wire.kinds import KINDS
from protocol.wire.task import TaskRecord, TaskState
from simulations.signing import is_maced
from tests.explore import CAPABILITY, KEY, KEYS, SUBJECTS, TASK, World
from tests.explored import record_in
from tests.protocol.bodies import EXAMPLES
from tests.protocol.work import said

ABOUT_WORK = [body for body in EXAMPLES if KINDS[str(body.__struct_config__.tag)].family in ("task", "call")]


def _world(*agents: int) -> World:
    """Three nodes that have joined; the submit of the world waits for its first write."""
    return World(agents=agents or (1, 2))


def _node(world: World, index: int = 0) -> Node:
    node = world.hosts[index].node
    assert node is not None
    return node


def _codes(effects: list[Effect]) -> list[str]:
    return [each.code for each in effects if isinstance(each, fx.Reply)]


def _until(world: World, verb: str) -> None:
    while world.plain()[0] != verb:
        world.take(world.plain())


def _settled(world: World) -> None:
    while not world.is_settled or world.errands:
        world.take(world.plain())


def _sealed(world: World, body: Any, *, src: int = 1, dst: int = 0) -> inputs.Received:
    """A message that another node sends, whatever it says."""
    sender, receiver = world.hosts[src], world.hosts[dst]
    subject = SUBJECTS.node(dst=receiver.id, life=receiver.life, src=sender.id)
    seal = Sealer(signer=KEYS.signer("abc"[src]), life=sender.life)
    seal._seq = 5_000 + len(world.trail)
    return inputs.Received(subject, seal.seal(body, subject=subject, now=world.now))


def test_a_task_goes_its_whole_way() -> None:
    world = _world()
    _settled(world)
    assert [record.state.value for record in world.judge.history] == ["awarded", "done"]
    assert world.judge.replies == {1: ["ok"]}


def test_a_node_whose_own_agent_is_free_gives_the_task_to_itself_without_a_message() -> None:
    world = _world(0)
    _until(world, "finish")
    assert not any(record.owner != world.hosts[0].id for record in world.judge.history)
    assert [packet.send.body for packet in world.packets] == []


def test_bad_frames_are_counted_and_nothing_else_happens() -> None:
    world = _world()
    effects = _node(world).handle(inputs.Received("anything", b"anything"), world.now)
    assert [event.code for event in said(effects, FrameRefused)] == ["too_short"]
    assert len(effects) == 1


@given(
    st.lists(st.binary(max_size=90), max_size=3), st.sampled_from(["", "mesh.m.node.a.1.b", "mesh.m.fact.r.b", "$KV.x"])
)
def test_noise_stops_nobody(frames: list[bytes], subject: str) -> None:
    world = _world()
    for frame in frames:
        effects = _node(world).handle(inputs.Received(subject, b"MD\x01\x00" + frame), world.now)
        assert all(isinstance(each, fx.Emit) for each in effects)


@pytest.mark.parametrize("body", ABOUT_WORK, ids=lambda body: type(body).__name__)
def test_any_honest_looking_message_out_of_place_stops_nobody(body: Any) -> None:
    world = _world(0, 1)
    _until(world, "finish")
    _node(world).handle(_sealed(world, body), world.now)
    _settled(world)
    assert world.judge.ended is not None


def test_a_record_counts_only_under_its_own_key() -> None:
    world = _world()
    _until(world, "time")
    revision, frame = world.values[KEY]
    stranger = structs.replace(record_in(frame), id="s" * 26, home=world.hosts[0].id)
    key = ids.task_key("s" * 26)
    for under, of in ((key, stranger), (key, structs.replace(stranger, id="z" * 26))):
        sealed = Sealer(signer=KEYS.signer("b"), life=1).seal(of, subject=SUBJECTS.record(under), now=world.now)
        listed = inputs.Listed((ids.partition("s" * 26),), (Entry(under, revision, sealed),))
        _node(world).handle(listed, world.now)
        assert _node(world).ledger.watches("z" * 26) is False
    assert _node(world).ledger.watches("s" * 26)


def test_a_listing_that_shows_the_end_of_a_watched_task_answers_whoever_waits_for_it() -> None:
    world = _world()
    _until(world, "finish")
    node = _node(world)
    assert node.ledger.watches(TASK)
    node.handle(inputs.Await(9, TASK), world.now)
    revision, frame = world.values[KEY]
    ended = structs.replace(record_in(frame), state=TaskState.DONE, epoch=2)
    sealed = Sealer(signer=KEYS.signer("b"), life=1).seal(ended, subject=SUBJECTS.record(KEY), now=world.now)
    listed = inputs.Listed((ids.partition(TASK),), (Entry(KEY, revision + 1, sealed),))
    replies = [each for each in node.handle(listed, world.now) if isinstance(each, fx.Reply)]
    assert [each.request for each in replies] == [9]
    assert not node.ledger.watches(TASK)


def test_a_draining_node_takes_nothing_new_and_says_so() -> None:
    world = _world(0)
    node = _node(world)
    effects = node.handle(inputs.Drain(True), world.now)
    assert [event.state for event in said(effects, StateChanged)] == ["draining"]
    assert node.handle(inputs.Drain(True), world.now) == []
    order = inputs.Submit(5, CAPABILITY, b"\x01", "someone", "another")
    assert _codes(node.handle(order, world.now)) == ["draining"]
    node.handle(inputs.Drain(False), world.now)
    assert "draining" not in _codes(node.handle(order, world.now))


def test_a_call_to_an_own_agent_runs_and_answers_without_a_message() -> None:
    world = _world(0)
    node = _node(world)
    _settled(world)
    effects = node.handle(inputs.MakeCall(8, CAPABILITY, b"\x01"), world.now)
    assert not [each for each in effects if isinstance(each, fx.Send)]
    (run,) = (each for each in effects if isinstance(each, fx.RunAgent))
    effects = node.handle(inputs.AgentFinished(run.task, 0, b"\x03"), world.now)
    (reply,) = (each for each in effects if isinstance(each, fx.Reply))
    assert isinstance(reply.value, Answered)
    assert (reply.value.result, reply.value.node) == (b"\x03", world.hosts[0].id)


def test_a_call_from_another_node_is_served_and_answered() -> None:
    world = _world(0)
    node = _node(world)
    _settled(world)
    asked = call.Call(9, CAPABILITY, b"\x01", 1_000, 0)
    effects = node.handle(_sealed(world, asked), world.now)
    (run,) = (each for each in effects if isinstance(each, fx.RunAgent))
    effects = node.handle(inputs.AgentFinished(run.task, 0, b"\x03"), world.now)
    (send,) = (each for each in effects if isinstance(each, fx.Send))
    assert (send.to, send.body) == (world.hosts[1].id, call.CallReply(9, result=b"\x03"))


def test_any_node_can_ask_the_home_how_a_task_runs() -> None:
    world = _world(1)
    _until(world, "finish")
    (account,) = (
        each.body
        for each in _node(world).handle(_sealed(world, task.Inquire(3, (TASK, "t" * 26))), world.now)
        if isinstance(each, fx.Send)
    )
    assert isinstance(account, task.Account)
    assert [(line.task, line.running) for line in account.tasks] == [(TASK, True)]
    (reply,) = _node(world).handle(inputs.Inquiry(6, world.hosts[0].id, (TASK,)), world.now)
    assert isinstance(reply, fx.Reply)
    assert reply.value == account.tasks


def test_only_its_owner_is_believed_about_the_end_of_a_task() -> None:
    world = _world(1)
    _until(world, "finish")
    record = record_in(world.values[KEY][1])
    done = structs.replace(record, state=task.TaskState.DONE, result=b"\x09")
    sealed = Sealer(signer=KEYS.signer("b"), life=1).seal(done, subject=SUBJECTS.record(KEY), now=world.now)
    told = task.Result(TASK, 1, 99, sealed)
    assert fx.Read(KEY) in _node(world).handle(_sealed(world, told, src=2), world.now)
    own = structs.replace(done, owner=world.hosts[2].id)
    forged = Sealer(signer=KEYS.signer("c"), life=1).seal(own, subject=SUBJECTS.record(KEY), now=world.now)
    claimed = structs.replace(told, record=forged)
    world.trail.append(("claim",))
    assert fx.Read(KEY) in _node(world).handle(_sealed(world, claimed, src=2), world.now)
    assert _node(world).ledger.watches(TASK)
    _node(world).handle(_sealed(world, told, src=1), world.now)
    assert not _node(world).ledger.watches(TASK)


def test_an_end_that_only_a_message_tells_of_is_not_written_over_the_record() -> None:
    world = _world(1)
    _until(world, "finish")
    revision, frame = world.values[KEY]
    own = structs.replace(record_in(frame), state=task.TaskState.DONE, owner=world.hosts[2].id)
    forged = Sealer(signer=KEYS.signer("c"), life=1).seal(own, subject=SUBJECTS.record(KEY), now=world.now)
    _node(world).handle(_sealed(world, task.Result(TASK, 1, 99, forged), src=2), world.now)
    effects = _node(world).handle(inputs.Found(KEY, revision, frame), world.now)
    assert not [each for each in effects if isinstance(each, fx.Write)]
    assert _node(world).ledger.watches(TASK)


def test_what_was_sent_to_a_former_life_has_no_effect_in_the_next() -> None:
    world = _world(0, 1)
    receiver = world.hosts[0]
    former = structs.replace(receiver, life=receiver.life - 1)
    world.hosts[0] = former
    late = _sealed(world, task.Ask(1, ()))
    world.hosts[0] = receiver
    effects = _node(world).handle(late, world.now)
    assert [event.code for event in said(effects, FrameRefused)] == ["wrong_subject"]
    assert not [each for each in effects if isinstance(each, fx.Send)]


def test_it_wakes_no_earlier_than_something_is_due() -> None:
    world = _world()
    _settled(world)
    node = _node(world)
    deadline = node.next_deadline()
    assert deadline is not None
    assert deadline > world.now.mono_ns


def test_an_outcome_of_a_late_result_concerns_nobody() -> None:
    world = _world(0)
    _until(world, "finish")
    node = _node(world)
    (write,) = (e for e in node.handle(inputs.AgentFinished(TASK, 1, b"\x02"), world.now) if isinstance(e, fx.Write))
    assert isinstance(write.record, TaskRecord)
    stands = structs.replace(write.record, epoch=2)
    sealed = Sealer(signer=KEYS.signer("b"), life=1).seal(stands, subject=SUBJECTS.record(KEY), now=world.now)
    effects = node.handle(inputs.Lost(KEY, 77, sealed), world.now)
    (late,) = (each for each in effects if isinstance(each, fx.Write) and each.key == ids.late_key(TASK, 1))
    assert not said(node.handle(inputs.Written(late.key, 78), world.now), TaskDone)
    assert not said(effects, TaskAwarded)


def test_its_own_life_on_record_is_read_from_what_it_signed_under_its_own_key_alone() -> None:
    world = _world()
    node = _node(world)

    def beat(*, src: int, of: int, life: int) -> tuple[str, bytes]:
        signer, key = KEYS.signer("abc"[src]), ids.presence_key(world.hosts[of].id)
        body = task.Presence(life, 1, "x", KEYS.admission("abc"[src]))
        return key, Sealer(signer=signer, life=life).seal(body, subject=SUBJECTS.record(key), now=world.now)

    key, frame = beat(src=0, of=0, life=node.me.life + 7)
    assert node.own_life_in(key, frame) == node.me.life + 7
    assert node.own_life_in(*beat(src=1, of=0, life=9)) == 0, "another wrote there"
    assert node.own_life_in(*beat(src=1, of=1, life=9)) == 0
    assert node.own_life_in(beat(src=1, of=1, life=9)[0], frame) == 0, "it was put under another key"
    assert [node.own_life_in(key, junk) for junk in (b"", b"junk", frame[:-1] + b"\0")] == [0, 0, 0]


@pytest.mark.parametrize(("ahead", "is_outdone"), [(7, True), (-7, False)])
def test_a_first_write_that_a_later_life_of_ours_refuses_is_the_last_one(ahead: int, is_outdone: bool) -> None:
    world = _world()
    opener = Opener(me=world.hosts[0].id, subjects=SUBJECTS, root_key=KEYS.root_key, frames=Frames(is_maced))
    signer, life = KEYS.signer("a"), world.now.wall_ms
    me = Me(world.hosts[0].id, life, "a", "r", "", KEYS.admission("a"), seen=41)
    node = Node(
        me=me,
        mesh=SUBJECTS.mesh,
        settings=NodeSettings(),
        sealer=Sealer(signer=signer, life=life),
        opener=opener,
        rng=Random(7),
    )
    (first,) = (each for each in node.handle(inputs.LinkChanged(True), world.now) if isinstance(each, fx.Write))
    beat = task.Presence(life + ahead, 1, "a", me.admission)
    stands = Sealer(signer=signer, life=life + ahead).seal(beat, subject=SUBJECTS.record(first.key), now=world.now)
    effects = node.handle(inputs.Lost(first.key, 41, stands), world.now)
    assert any(isinstance(each, fx.Write) for each in effects) is not is_outdone
    assert node.link.outdone_by == (life + ahead if is_outdone else 0)
