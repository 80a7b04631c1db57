"""What a task that nobody has is said to wait for."""

import pytest
from msgspec import structs

from meshd import waits
from meshd.waits import Gone, Waits
from protocol.catalogue import Offered
from protocol.wire.agents import Card
from protocol.wire.task import Status, TaskState
from tests.protocol.work import B, C, awarded, record

OPEN = record()
LOST = structs.replace(awarded(owner=B), failures=2)
NAME = OPEN.capability
BARRED = "it may run in west only, and its node stands in east"


def _offered(node: str = B, *, slots: int = 2, free: int = 0, is_draining: bool = False) -> Offered:
    return Offered(NAME, node, Card("echo", (NAME,), slots), free, is_draining)


def _barred() -> Offered:
    return Offered(NAME, B, Card("echo", (NAME,), 0, problem=f"elsewhere: {BARRED}"), 0, False)


def _line(*, waits: bool = True, rests_until_ms: int = 0) -> Status:
    return Status(LOST.id, False, 0, b"", waits, rests_until_ms)


@pytest.mark.parametrize(
    ("offered", "reason", "message"),
    [
        ([], "nobody", f"nobody offers {NAME}"),
        ([_offered(is_draining=True, free=2)], "draining", f"only draining nodes offer {NAME}"),
        ([_offered(slots=0)], "down", f"no agent that offers {NAME} is up"),
        (
            [_barred(), _barred()],
            "region",
            f"no agent that offers {NAME} may run where it stands: {BARRED}",
        ),
        ([_barred(), _offered(slots=0)], "down", f"no agent that offers {NAME} is up"),
        ([_barred(), _offered()], "busy", f"the only agent for {NAME} is busy: all its 2 slots are taken"),
        ([_offered()], "busy", f"the only agent for {NAME} is busy: all its 2 slots are taken"),
        ([_offered(slots=1)], "busy", f"the only agent for {NAME} is busy: its slot is taken"),
        (
            [_offered(), _offered(C), _offered("d", is_draining=True)],
            "busy",
            f"all 2 agents for {NAME} are busy: all their 4 slots are taken",
        ),
    ],
)
def test_it_says_why_nobody_has_an_open_task(offered: list[Offered], reason: str, message: str) -> None:
    told = waits.of(OPEN, None, offered, off=(), gone_ms=5, now_ms=9)
    assert told is not None
    assert (told.reason, told.message, told.until_ms) == (reason, message, None)
    assert told.since_ms == (5 if reason == "nobody" else None)


def test_a_task_that_somebody_has_room_for_is_about_to_be_given() -> None:
    assert waits.of(OPEN, None, [_offered(free=1), _offered(C)], off=(), gone_ms=None, now_ms=9) is None


def test_an_awarded_task_waits_only_when_its_home_says_so() -> None:
    assert waits.of(LOST, None, [], off=(), gone_ms=None, now_ms=9) is None
    assert waits.of(LOST, _line(waits=False), [], off=(), gone_ms=None, now_ms=9) is None
    assert waits.of(LOST, _line(), [], off=(), gone_ms=7, now_ms=9) == Waits(
        "nobody", f"nobody offers {NAME}", since_ms=7
    )


def test_a_pause_after_failures_comes_before_everything_else_until_it_is_over() -> None:
    line = _line(rests_until_ms=10)
    assert waits.of(LOST, line, [], off=(), gone_ms=7, now_ms=9) == Waits(
        "backoff", "a pause after 2 failures", until_ms=10
    )
    once = structs.replace(LOST, failures=1)
    assert waits.of(once, line, [], off=(), gone_ms=7, now_ms=9) == Waits(
        "backoff", "a pause after 1 failure", until_ms=10
    )
    over = waits.of(LOST, line, [], off=(), gone_ms=7, now_ms=10)
    assert over is not None
    assert over.reason == "nobody"


def test_a_task_that_has_ended_waits_for_nothing() -> None:
    done = structs.replace(LOST, state=TaskState.DONE)
    assert waits.of(done, _line(), [], off=(), gone_ms=None, now_ms=9) is None


def test_since_when_nobody_offers_a_capability_is_remembered_until_somebody_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waits, "GONE_MAX", 2)
    gone = Gone()
    gone.note(frozenset({"a@1", "b@1"}), 1)
    assert gone.since("a@1") is None
    gone.note(frozenset({"b@1"}), 2)
    gone.note(frozenset({"b@1"}), 3)
    assert (gone.since("a@1"), gone.since("b@1"), gone.since("never@1")) == (2, None, None)
    gone.note(frozenset({"a@1"}), 4)
    assert (gone.since("a@1"), gone.since("b@1")) == (None, 4)
    gone.note(frozenset({"a@1", "c@1", "d@1"}), 5)
    gone.note(frozenset(), 6)
    assert [gone.since(name) for name in ("a@1", "b@1", "c@1", "d@1")] == [None, None, 6, 6], "the oldest are forgotten"


def test_a_clock_that_is_off_is_named_at_the_home_and_where_all_are_who_could() -> None:
    told = waits.of(OPEN, None, [_offered(free=1)], off={B}, gone_ms=None, now_ms=9)
    assert told is not None
    assert (told.reason, told.message) == (
        "clock",
        f"the clocks are off of all who offer {NAME}, and they get nothing meanwhile",
    )
    assert waits.of(OPEN, None, [_offered(free=1), _offered(C, free=1)], off={B}, gone_ms=None, now_ms=9) is None
    told = waits.of(OPEN, None, [_offered(free=1)], off={OPEN.home}, gone_ms=None, now_ms=9)
    assert told is not None
    assert told.message.startswith("the clock of the task's home is off")
