"""What an admitted node may say, however it was built: bodies beyond their bounds are refused, none stops a node."""

import math
import re
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec import structs

from protocol import ids, inputs, limits
from protocol.effects import Effect, Send, Write
from protocol.envelope import Sealer
from protocol.events import FrameRefused
from protocol.inputs import Entry
from protocol.node import Node
from protocol.primitives import NS_PER_S, Instant
from protocol.wire import auction, bounds, call, gossip, task
from protocol.wire.auction import Attempt
from protocol.wire.kinds import KINDS
from protocol.wire.lineage import Work
from protocol.wire.task import Failure, Retried, TaskRecord, TaskState
from tests.explore import KEYS, SUBJECTS, World
from tests.protocol.sealing import NOW, sealer
from tests.protocol.work import B, awarded, record, said

BIG = 1 << 62
SENT = re.compile(r"[a-z0-9_.-]{1,200}")
LONG = "x" * limits.TEXT_CHARS_MAX
NUMBERS = st.sampled_from([-1, 0, 1, 9, 1_100, (1 << 53) + 1, 1 << 62, (1 << 64) - 1]) | st.integers(0, 1 << 60)
TEXTS = st.sampled_from(["", "a b", "a.b", "*", "é", "x" * 2_000, "a" * 32, "b" * 32, "echo@1"]) | st.text(max_size=40)
BLOBS = st.binary(max_size=40)
ATTEMPTS = st.builds(Attempt, NUMBERS, TEXTS, TEXTS, NUMBERS, TEXTS)
RETRIED = st.builds(Retried, NUMBERS, TEXTS, st.sampled_from(TaskState), NUMBERS, TEXTS, TEXTS, TEXTS)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("id", "iid", "gid", "parent_iid", "capability", "submitter", "key", "home", "owner", "route"), TEXTS
    ),
    **dict.fromkeys(("epoch", "owner_life", "priority", "hops", "failures", "retries"), NUMBERS),
    **dict.fromkeys(
        ("submitted_ms", "deadline_ms", "awarded_ms", "started_ms", "finished_ms", "not_before_ms"), NUMBERS
    ),
    **dict.fromkeys(("input", "result", "digest"), BLOBS),
    **dict.fromkeys(("ancestors", "died"), st.lists(TEXTS, max_size=40).map(tuple)),
    "attempts": st.lists(ATTEMPTS, max_size=40).map(tuple),
    "retried": st.lists(RETRIED, max_size=12).map(tuple),
    "failure": st.none() | st.builds(Failure, TEXTS, TEXTS),
    "state": st.sampled_from(TaskState),
    "exclusive": st.booleans(),
}
CHANGES = st.dictionaries(st.sampled_from(sorted(FIELDS)), st.none(), max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in sorted(names)})
)


def _node() -> tuple[World, Node]:
    world = World(agents=(1, 2))
    while world.plain()[0] != "time":
        world.take(world.plain())
    node = world.hosts[0].node
    assert node is not None
    return world, node


def _listed(world: World, node: Node, wrong: TaskRecord, *, key: str) -> list[Effect]:
    """The record stands in the bucket, signed by a node of this mesh, and is found there."""
    sealed = Sealer(signer=KEYS.signer("b"), life=1).seal(wrong, subject=SUBJECTS.record(key), now=world.now)
    return node.handle(inputs.Listed((ids.partition(ids.task_of(key)),), (Entry(key, 5, sealed),)), world.now)


def _mine(world: World, **fields: Any) -> TaskRecord:
    home = world.hosts[0].id
    return structs.replace(
        awarded(owner=world.hosts[1].id), **{"home": home, "deadline_ms": world.now.wall_ms + 600_000} | fields
    )


@given(CHANGES)
def test_a_record_that_says_impossible_things_stops_nobody(changes: dict[str, Any]) -> None:
    world, node = _node()
    wrong = _mine(world, **changes)
    _listed(world, node, wrong, key=ids.task_key(wrong.id if ids.is_token(wrong.id) else awarded().id))
    now = world.now
    for _ in range(12):
        now = Instant(now.mono_ns + 2 * NS_PER_S, now.wall_ms + 2_000)
        for effect in node.handle(inputs.Tick(), now):
            if isinstance(effect, Send):
                assert SENT.fullmatch(effect.subject), "no server takes it"
            if isinstance(effect, Write) and ids.is_task_key(effect.key):
                assert node.record_of(effect.key, effect.frame, now), "nobody could read what we write"
                node.handle(inputs.Written(effect.key, 6), now)


HEARD = auction.Answered(B, "silent")


def _scored(score: float) -> tuple[auction.Round, ...]:
    return (auction.Round(1, "bids", "", 1, answers=(structs.replace(HEARD, score=score),)),)


WRONG: dict[str, dict[str, Any]] = {
    "an owner that is no token": {"owner": "a b"},
    "an award to nobody": {"owner": ""},
    "an award without a number": {"epoch": 0},
    "an owner of many characters": {"owner": "a" * 2_000},
    "an epoch beyond all": {"epoch": (1 << 64) - 1},
    "failures below none": {"failures": -1},
    "a year beyond all": {"deadline_ms": 1 << 53},
    "many ancestors": {"ancestors": ("a" * 26,) * (4 * limits.HOPS_MAX + 1)},
    "a long ancestor": {"ancestors": ("a" * 65,)},
    "many rounds": {"rounds": (auction.Round(1, "bids", "", 1),) * (limits.ROUNDS_KEPT + 1)},
    "many answers": {"rounds": (auction.Round(1, "bids", "", 1, answers=(HEARD,) * (limits.ANSWERS_KEPT + 1)),)},
    "a score that is no number": {"rounds": _scored(math.nan)},
    "a score beyond all": {"rounds": _scored(math.inf)},
    "a score below none": {"rounds": _scored(-1.0)},
    "many attempts": {"attempts": (Attempt(1, B, "silent", 1),) * (limits.ATTEMPTS_KEPT + 1)},
    "many retries": {"retried": (Retried(1, "x", TaskState.FAILED, 1, B),) * (limits.RETRIES_KEPT + 1)},
    "a retry of a year beyond all": {"retried": (Retried(1 << 53, "x", TaskState.FAILED, 1, B),)},
    "a lineage that is too deep": {"lineage": (Work("echo@1", bytes(16)),) * (limits.HOPS_MAX + 1)},
    "a work without a digest": {"lineage": (Work("echo@1", b""),)},
    "a work of no capability": {"lineage": (Work("echo", bytes(16)),)},
    "a priority of its own": {"priority": limits.PRIORITY_MAX + 1},
    "too many hops": {"hops": limits.HOPS_MAX + 1},
    "no capability": {"capability": "echo"},
    "a large input": {"input": bytes(limits.INPUT_BYTES_MAX + 1)},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_a_record_beyond_its_bounds_is_counted_and_not_taken_up(fields: dict[str, Any]) -> None:
    world, node = _node()
    wrong = _mine(world, **fields)
    effects = _listed(world, node, wrong, key=ids.task_key(wrong.id))
    assert [event.code for event in said(effects, FrameRefused)] == ["bad_body"]
    assert not node.ledger.watches(wrong.id)


def test_a_sound_record_is_taken_up_and_one_under_the_wrong_partition_is_not() -> None:
    world, node = _node()
    sound = _mine(world)
    other = f"p{(ids.partition(sound.id) + 1) % ids.PARTITIONS:02d}.{sound.id}"
    _listed(world, node, sound, key=other)
    assert not node.ledger.watches(sound.id)
    _listed(world, node, sound, key=ids.task_key(sound.id))
    assert node.ledger.watches(sound.id)


MESSAGES: dict[str, Any] = {
    "a long task in an ask": task.Ask(1, (task.Held("x" * 20_000, 1, 1),)),
    "an epoch beyond all in an ask": task.Ask(1, (task.Held("x", 1 << 63, 1),)),
    "many lines in an ask": task.Ask(1, (task.Held("x", 1, 1),) * (limits.TASKS_PER_ASK_MAX + 1)),
    "a long name in a digest": gossip.Digest(1, rows=(gossip.Row("x" * 33, "standing", 1, 1),)),
    "a wide name in a digest": gossip.Digest(1, rows=(gossip.Row("é", "standing", 1, 1),)),
    "a long task in an inquiry": task.Inquire(1, ("x" * 33,)),
    "many tasks in an inquiry": task.Inquire(1, ("x",) * (limits.INQUIRED_MAX + 1)),
    "a long capability in a call": call.Call(1, f"{'x' * 65}@1", b"", 1, 0),
    "many hops in a call": call.Call(1, "echo@1", b"", 1, limits.HOPS_MAX + 1),
    "many ancestors of a call": call.Call(1, "echo@1", b"", 1, 0, ("x",) * (4 * limits.HOPS_MAX + 1)),
    "a lineage of a call that is too deep": call.Call(
        1, "echo@1", b"", 1, 0, lineage=(Work("echo@1", bytes(16)),) * (limits.HOPS_MAX + 1)
    ),
    "a call without an end": call.Call(1, "echo@1", b"", BIG, 0),
    "a call that is over": call.Call(1, "echo@1", b"", -1, 0),
}


@pytest.mark.parametrize("body", MESSAGES.values(), ids=MESSAGES)
def test_a_message_beyond_its_bounds_is_counted_and_nothing_else_happens(body: Any) -> None:
    world, node = _node()
    me, peer = world.hosts[0], world.hosts[1]
    subject = SUBJECTS.node(dst=me.id, life=me.life, src=peer.id)
    seal = Sealer(signer=KEYS.signer("b"), life=peer.life + 1)
    effects = node.handle(inputs.Received(subject, seal.seal(body, subject=subject, now=world.now)), world.now)
    assert [event.code for event in said(effects, FrameRefused)] == ["bad_body"]
    assert len(effects) == 1


WIDE = "\U0001f600" * limits.TEXT_CHARS_MAX
TASK = "t" * 32
WORD = "w" * limits.REASON_CHARS_MAX
ANSWERED = auction.Answered("n" * 32, WORD, WORD, limits.SPAN_MS_MAX, "a" * 64, 1 << 53, *[limits.SPAN_MS_MAX] * 3)
WHY = "\U0001f600" * limits.WHY_CHARS_MAX
ROUND = auction.Round(1 << 53, WORD, WHY, 1 << 47, 0, 0, (ANSWERED,) * limits.ANSWERS_KEPT, "n" * 32)
LARGEST: dict[str, Any] = {
    "a page of rows": gossip.Digest(
        BIG, rows=(gossip.Row("n" * 32, "capabilities", BIG, BIG),) * limits.ROWS_PER_DIGEST_MAX
    ),
    "a page of an ask": task.Ask(BIG, (task.Held(TASK, 1 << 53, 1 << 53),) * limits.TASKS_PER_ASK_MAX),
    "a task given back": task.Decline(TASK, 1 << 53, "r" * limits.REASON_CHARS_MAX, WIDE, 60_000, counts=True),
    "a node": gossip.Alive(BIG, "n" * 32, "r" * 32, "d" * 32, bytes(limits.ADMISSION_BYTES_MAX), True, "v" * 64),
    "a death with all its proof": gossip.Dead(
        "n" * 32,
        BIG,
        BIG,
        "timeout",
        (bytes(limits.SMALL_FACT_BYTES_MAX),) * limits.ACCUSATIONS_MAX,
        bytes(limits.SMALL_FACT_BYTES_MAX),
    ),
    "a record that is full": structs.replace(
        record(),
        **dict.fromkeys(("iid", "gid", "parent_iid", "submitter", "key", "route"), WIDE),
        input=bytes(limits.INPUT_BYTES_MAX),
        result=bytes(limits.OUTPUT_BYTES_MAX),
        attempts=(Attempt(1 << 53, "n" * 32, "agent_failed", 1 << 47, WIDE),) * limits.ATTEMPTS_KEPT,
        ancestors=("a" * bounds.NAME_CHARS_MAX,) * (4 * limits.HOPS_MAX),
        died=("n" * 32,) * limits.ATTEMPTS_KEPT,
        failure=Failure(WIDE, WIDE),
        retries=1 << 53,
        lineage=(Work("c" * 60 + "@1", bytes(16)),) * limits.HOPS_MAX,
        retried=(Retried(1 << 47, WIDE, TaskState.CANCELLED, 1 << 53, "n" * 32, WORD, WIDE),) * limits.RETRIES_KEPT,
        rounds=(ROUND,) * limits.ROUNDS_KEPT,
    ),
}


@pytest.mark.parametrize("body", LARGEST.values(), ids=LARGEST)
def test_the_largest_of_what_its_bounds_allow_can_be_sealed(body: Any) -> None:
    frame = sealer().seal(body, subject="s" * 128, now=NOW, iid="i" * 256, gid="g" * 256, cause="c" * 80)
    assert len(frame) <= KINDS[str(body.__struct_config__.tag)].frame_bytes_max
