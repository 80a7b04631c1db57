"""Deadlines, answers and pauses of tasks when the wall's clock steps, writes hang and owners ask for the impossible."""

import pytest
from msgspec import structs

from protocol.awards import PAUSE_MS_MAX
from protocol.primitives import Instant
from protocol.wire.task import Accept, Award, Decline, TaskRecord, TaskState
from tests.protocol.conversation import instant
from tests.protocol.work import SAID, SETTINGS, B, Home, bodies, frame, only_write, record, replies

DEADLINE_S = 60.0


def _stepped(seconds: float, step_s: float) -> Instant:
    """So much later, by a wall whose clock was set `step_s` later."""
    return structs.replace(instant(seconds), wall_ms=instant(seconds + step_s).wall_ms)


def _open(home: Home) -> TaskRecord:
    """A task that nobody has room for, found in the bucket."""
    home.mesh.slots = 0  # nor ever will: it is reserved nowhere
    task = record(at=6.0, deadline_ms=instant(6.0 + DEADLINE_S).wall_ms)
    home.ledger.adopt(task, 5, frame(task), home.now)
    return task


def test_a_task_whose_deadline_comes_later_after_a_step_of_the_clock_ends_all_the_same() -> None:
    home = Home({B: 0})
    _open(home)
    assert home.ledger.on_tick(_stepped(67, -30)) == [], "half a minute is left by the wall"
    due = home.ledger.next_deadline()
    assert due == instant(96).mono_ns
    ended = only_write(home.ledger.on_tick(_stepped(96, -30))).record
    assert isinstance(ended, TaskRecord)
    assert ended.state is TaskState.FAILED


def test_a_deadline_that_a_step_of_the_clock_brings_near_is_found_by_the_next_sweep() -> None:
    home = Home({B: 0})
    task = _open(home)
    assert home.ledger.adopt(task, 5, frame(task), _stepped(10, 50)) == []
    assert home.ledger.next_deadline() == instant(16).mono_ns


def test_a_deadline_that_comes_while_a_write_is_under_way_is_kept() -> None:
    home = Home({B: 1})
    effects = home.submit(deadline_s=5.0)
    home.after(5.5)
    home.written(effects)
    home.ledger.on_accept(B, Accept(home.record.id, 1), SAID, home.now)
    ended = only_write(home.after(2)).record
    assert isinstance(ended, TaskRecord)
    assert ended.state is TaskState.FAILED


def test_a_submit_repeated_after_unsettled_is_answered_too() -> None:
    home = Home({B: 1})
    home.submit(request=1)
    assert replies(home.after(SETTINGS.answer_s)) == [(1, "unsettled")]
    assert home.submit(request=2) == []
    assert replies(home.after(SETTINGS.answer_s)) == [(2, "unsettled")]


@pytest.mark.parametrize("asked_ms", [-(1 << 62), 1 << 62])
def test_an_owner_is_left_alone_for_a_minute_at_most(asked_ms: int) -> None:
    home = Home({B: 1})
    home.awarded()
    home.ledger.on_decline(B, Decline(home.record.id, 1, "draining", retry_after_ms=asked_ms), home.now)
    home.mesh.free = {B: 1}
    effects = home.after(PAUSE_MS_MAX / 1_000)
    assert bodies(home.written(effects), Award)
