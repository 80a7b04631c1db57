"""Draining, undraining and forgetting, as an operator asks for them over the wire; what strangers ask does nothing."""

from typing import Any, get_args

import pytest
from msgspec import structs

from protocol import effects as fx
from protocol import ids, inputs, limits
from protocol.duty import HELD_BY
from protocol.effects import Effect
from protocol.envelope import Sealer
from protocol.events import FrameRefused, PeerForgotten, StateChanged
from protocol.node import Node
from protocol.primitives import Instant
from protocol.replica import Peer, PeerState
from protocol.wire import ops
from protocol.wire.agents import Card
from tests.explore import KEYS, SUBJECTS, World
from tests.protocol.work import said

NOBODY = "z" * 32


def _node(world: World, index: int = 0) -> Node:
    node = world.hosts[index].node
    assert node is not None
    return node


def _asked(world: World, body: ops.AnyOrder, *, node: str = "") -> list[Effect]:
    return _node(world).handle(inputs.Operate(4, node or world.hosts[0].id, body), world.now)


def _sent(world: World, body: Any, *, signer: str = "b") -> list[Effect]:
    """What the first node does with this message of the second."""
    sender, receiver = world.hosts[1], world.hosts[0]
    subject = SUBJECTS.node(dst=receiver.id, life=receiver.life, src=sender.id)
    seal = Sealer(signer=KEYS.signer(signer), life=sender.life)
    seal._seq = 7_000
    frame = seal.seal(body, subject=subject, now=world.now)
    return _node(world).handle(inputs.Received(subject, frame), world.now)


def _report(effects: list[Effect]) -> ops.Report:
    sent = [each.body for each in effects if isinstance(each, fx.Send)]
    answered = [each.value for each in effects if isinstance(each, fx.Reply)]
    (report,) = (each for each in (*sent, *answered) if isinstance(each, ops.Report))
    return report


def _settled(world: World) -> World:
    while not world.is_settled or world.errands:
        world.take(world.plain())
    return world


def test_a_node_drains_and_works_again_at_its_own_operators_word() -> None:
    world = _settled(World(agents=(1, 2)))
    effects = _asked(world, ops.Steer(0, draining=True))
    assert [event.state for event in said(effects, StateChanged)] == ["draining"]
    assert _report(effects).draining
    assert _node(world).state == "draining"
    assert said(_asked(world, ops.Steer(0, draining=True)), StateChanged) == [], "it is so already"
    effects = _asked(world, ops.Steer(0, draining=False))
    assert [event.state for event in said(effects, StateChanged)] == ["joined"]
    assert not _report(effects).draining


def test_what_holds_a_node_back_for_one_cause_goes_on_when_another_ends() -> None:
    world = _settled(World(agents=(1, 2)))
    failing = _node(world).handle(inputs.Drain(True, cause="audit"), world.now)
    assert [event.reason for event in said(failing, StateChanged)] == ["its audit cannot be written"]
    assert _report(_asked(world, ops.Steer(0, draining=True))).held_by == ("audit", "operator")
    report = _report(_asked(world, ops.Steer(0, draining=False)))
    assert (report.draining, report.held_by, _node(world).state) == (True, ("audit",), "draining")
    over = _node(world).handle(inputs.Drain(False, cause="audit"), world.now)
    assert [event.state for event in said(over, StateChanged)] == ["joined"]
    assert _report(_asked(world, ops.Survey(0))).held_by == ()


def test_work_that_is_given_back_names_what_holds_the_node_back_then() -> None:
    world = _settled(World(agents=(1, 2)))
    named: list[str] = []
    _node(world).holder.close = named.append  # type: ignore[method-assign, assignment]  # an attempt shows it
    _node(world).handle(inputs.Drain(True, cause="audit"), world.now)
    _asked(world, ops.Steer(0, draining=True))
    _asked(world, ops.Steer(0, draining=False))
    _node(world).handle(inputs.Drain(True, cause="leaving"), world.now)
    assert named == [HELD_BY[cause] for cause in ("audit", "operator", "audit", "leaving")]


def test_another_node_passes_the_word_on_and_the_report_comes_back() -> None:
    world = _settled(World(agents=(1, 2)))
    effects = _sent(world, ops.Steer(17, draining=True))
    report = _report(effects)
    assert (report.request, report.draining, report.alive, report.obeyed) == (17, True, 3, True)
    assert report.wall_ms == world.now.wall_ms
    assert _node(world).state == "draining"


def test_a_node_that_is_drained_through_another_says_which() -> None:
    world = _settled(World(agents=(1, 2)))
    (event,) = said(_sent(world, ops.Steer(17, draining=True)), StateChanged)
    assert event.reason.endswith(f", through node {ids.short(world.hosts[1].id)}")


def test_a_gone_node_that_is_shown_no_more_is_told_of_once_and_one_that_nobody_knew_is_not() -> None:
    world = _settled(World(agents=(1, 2)))
    oracle: Any = _node(world).membership
    gone = world.hosts[2]
    oracle.tell(gone.id, None)
    (event,) = said(_sent(world, ops.Forget(18, gone.id)), PeerForgotten)
    assert (event.peer, event.by) == (gone.id, world.hosts[1].id)
    assert said(_asked(world, ops.Forget(0, gone.id)), PeerForgotten) == []
    assert said(_asked(world, ops.Forget(0, NOBODY)), PeerForgotten) == []


def test_who_was_never_admitted_drains_nobody() -> None:
    world = _settled(World(agents=(1, 2)))
    effects = _sent(world, ops.Steer(17, draining=True), signer="x")
    assert said(effects, FrameRefused)
    assert _node(world).state == "joined"


@pytest.mark.parametrize(
    "body",
    [
        ops.Survey(-1),
        ops.Steer(1 << 60, draining=True),
        ops.Steer(1, draining="yes"),  # type: ignore[arg-type]  # as a stranger may send it
        ops.Forget(1, "no id at all"),
        ops.Forget(1, "x" * 500),
        ops.Report(1, -5, b"", 1),
        ops.Report(1, 1, b"v" * 33, 1),
        ops.Report(1, 1, b"", 1, version="v" * 600),
        ops.Look(-1),
        ops.Refused(-1),
        ops.Refused(1 << 60),
        ops.Sights(1, b"v" * 9, ()),
        ops.Sights(1, b"", (ops.Sight("no id at all", "", "alive", 1, 0),)),
        ops.Sights(1, b"", (ops.Sight("x", "n" * 65, "alive", 1, 0),)),
        ops.Sights(1, b"", (ops.Sight("x", "", "ALIVE\x1b[31m", 1, 0),)),
        ops.Sights(1, b"", (ops.Sight("x", "", "alive", -1, 0),)),
        ops.Sights(1, b"", (ops.Sight("x", "", "", 1, 0),) * (limits.SIGHTS_MAX + 1)),
    ],
)
def test_an_order_or_report_beyond_its_bounds_has_no_effect(body: Any) -> None:
    world = _settled(World(agents=(1, 2)))
    effects = _sent(world, body)
    assert [event.code for event in said(effects, FrameRefused)] == ["bad_body"]
    assert len(effects) == 1
    assert _node(world).state == "joined"


def test_a_draining_node_refuses_new_work_but_for_what_its_tasks_submit() -> None:
    world = _settled(World(agents=(1, 2)))
    _asked(world, ops.Steer(0, draining=True))
    order = inputs.Submit(5, "scoring@2", b"\x01", "operator", "key-1")
    (refusal,) = (each for each in _node(world).handle(order, world.now) if isinstance(each, fx.Reply))
    assert refusal.code == "draining"
    child = structs.replace(order, request=6, key="key-2", ancestors=("t" * 26,), hops=1)
    replies = [each for each in _node(world).handle(child, world.now) if isinstance(each, fx.Reply)]
    assert [each.code for each in replies if each.code == "draining"] == []


def test_the_living_are_not_forgotten_and_the_unknown_are() -> None:
    world = _settled(World(agents=(1, 2)))
    assert not _report(_asked(world, ops.Forget(0, world.hosts[1].id))).obeyed
    assert not _report(_asked(world, ops.Forget(0, world.hosts[0].id))).obeyed, "itself"
    assert _report(_asked(world, ops.Forget(0, NOBODY))).obeyed
    assert _node(world).membership.is_alive(world.hosts[1].id)


SHAPE = ops.Shape("one", "work@1", b"{}", b"true")


def _described(effects: list[Effect]) -> tuple[ops.Shape, ...]:
    (said,) = (each for each in effects if isinstance(each, fx.Send | fx.Reply))
    told = said.body if isinstance(said, fx.Send) else said.value
    assert isinstance(told, ops.Description)
    return told.shapes


def test_what_agents_take_is_told_to_who_asks_except_of_private_ones() -> None:
    world = _settled(World(agents=(1, 2)))
    secret = structs.replace(SHAPE, agent="two")
    cards = (Card("one", ("work@1",), 1), Card("two", ("work@1",), 1, visibility="private"))
    _node(world).handle(inputs.Advertise(cards, (SHAPE, secret, structs.replace(SHAPE, capability="b@1"))), world.now)
    assert _described(_asked(world, ops.Describe(0, "work@1"))) == (SHAPE, secret)
    assert _described(_sent(world, ops.Describe(9, "work@1"))) == (SHAPE,)


def test_a_description_is_one_frame_and_says_whose_schemas_had_no_room() -> None:
    world = _settled(World(agents=(1, 2)))
    heavy = b"1" * limits.SCHEMA_BYTES_MAX
    shapes = tuple(ops.Shape(f"a{n}", "work@1", heavy, heavy) for n in range(limits.CARDS_PER_NODE_MAX))
    _node(world).handle(inputs.Advertise((), shapes), world.now)
    said = _sent(world, ops.Describe(9, "work@1"))
    told = _described(said)
    assert [each.agent for each in told] == [each.agent for each in shapes]
    assert [bool(each.takes) for each in told[:6]] == [True] * 5 + [False]
    assert [len(each.frame) < limits.FRAME_BYTES_MAX for each in said if isinstance(each, fx.Send)] == [True]


def test_a_description_that_nobody_asked_for_changes_nothing() -> None:
    world = _settled(World(agents=(1, 2)))
    assert [each for each in _sent(world, ops.Description(3, (SHAPE,))) if not isinstance(each, fx.Emit)] == []


def test_an_order_to_a_node_that_is_not_there_is_answered_at_once() -> None:
    world = _settled(World(agents=(1, 2)))
    (reply,) = _asked(world, ops.Survey(0), node=NOBODY)
    assert isinstance(reply, fx.Reply)
    assert reply.code == "timed_out"


def test_a_report_that_nobody_asked_for_changes_nothing() -> None:
    world = _settled(World(agents=(1, 2)))
    assert [each for each in _sent(world, ops.Report(3, 1, b"", 1)) if not isinstance(each, fx.Emit)] == []


def test_every_cause_for_taking_no_new_work_has_its_words() -> None:
    assert set(HELD_BY) == set(get_args(inputs.Cause))


def test_nodes_that_see_the_same_report_the_same_view() -> None:
    world = _settled(World(agents=(1, 2)))
    own, other = (_report(_asked(world, ops.Survey(0))), _report(_sent(world, ops.Survey(0))))
    assert own.view == other.view == world.hosts[0].node.membership.agreement.view  # type: ignore[union-attr]  # it is up


def test_who_is_asked_whom_it_sees_tells_each_with_its_life_and_a_look_changes_nothing() -> None:
    world = _settled(World(agents=(1, 2)))
    (sent,) = (each for each in _sent(world, ops.Look(9)) if isinstance(each, fx.Send))
    assert isinstance(sent.body, ops.Sights)
    assert (sent.to, sent.body.request, sent.body.more) == (world.hosts[1].id, 9, False)
    seen = {each.peer: (each.state, each.life) for each in sent.body.sights}
    assert seen == {host.id: ("alive", host.life) for host in world.hosts}


def test_sights_leave_out_the_gone_first_and_fit_into_one_frame() -> None:
    world = _settled(World(agents=(1, 2)))
    gone: PeerState = "dead"
    states: list[PeerState] = [*(gone for _ in range(limits.SIGHTS_MAX)), "suspect", "alive"]
    peers = [
        Peer(f"{number:032}", "n" * 41, 1 << 52, state, 1 << 30, "r", "", 0) for number, state in enumerate(states)
    ]
    _node(world).membership.snapshot = lambda: tuple(peers)  # type: ignore[method-assign]  # a large mesh
    (sent,) = (each for each in _sent(world, ops.Look(9)) if isinstance(each, fx.Send))
    assert isinstance(sent.body, ops.Sights)
    assert [each.state for each in sent.body.sights[:3]] == ["suspect", "alive", "dead"]
    assert (len(sent.body.sights), sent.body.more) == (limits.SIGHTS_MAX, True)
    assert len(sent.frame) < limits.FRAME_BYTES_MAX


def test_sights_that_nobody_asked_for_change_nothing() -> None:
    world = _settled(World(agents=(1, 2)))
    assert [each for each in _sent(world, ops.Sights(3, b"", ())) if not isinstance(each, fx.Emit)] == []


@pytest.mark.parametrize("order", [ops.Survey(1), ops.Look(1), ops.Describe(1, "work@1"), ops.Steer(1, draining=True)])
def test_a_flood_of_questions_by_one_key_is_cut_short_and_counted_and_another_is_answered(order: ops.AnyOrder) -> None:
    world = _settled(World(agents=(1, 2)))
    node = _node(world)
    most = limits.ORDERS_AT_ONCE_MAX

    def flood(first: int, last: int, *, index: int = 1) -> list[Effect]:
        sender, signer = world.hosts[index], "abc"[index]
        subject = SUBJECTS.node(dst=world.hosts[0].id, life=world.hosts[0].life, src=sender.id)
        seal, effects = Sealer(signer=KEYS.signer(signer), life=sender.life), []
        for seal._seq in range(first, last):
            frame = seal.seal(order, subject=subject, now=world.now)
            effects += node.handle(inputs.Received(subject, frame), world.now)
        return effects

    answers = (ops.Report, ops.Sights, ops.Description)
    answered = [each for each in flood(7_000, 7_000 + most) if isinstance(each, fx.Send)]
    assert [isinstance(each.body, answers) for each in answered] == [True] * most
    node.duty.drain(is_on=False)
    refused = flood(8_000, 8_050)
    told_so = [each for each in refused if not isinstance(each, fx.Emit)]
    assert [isinstance(each, fx.Send) and each.body for each in told_so] == [
        ops.Refused(order.request)
    ] * limits.REFUSED_AT_ONCE_MAX, "and of the others nothing is said"
    assert not node.duty.is_draining
    later = Instant(world.now.after(1.0), world.now.wall_ms + 1_000)
    told = said([*refused, *node.handle(inputs.Tick(), later)], FrameRefused)
    assert {event.code for event in told} == {"too_often"}
    assert sum(event.count for event in told) == 50
    assert [each for each in flood(9_000, 9_001, index=2) if isinstance(each, fx.Send)]
