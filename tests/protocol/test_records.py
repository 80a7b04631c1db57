"""How a record may change: every pair of state and change is decided, and only an award raises the epoch."""

import itertools
import typing
from collections.abc import Callable
from functools import partial

import pytest
from msgspec import structs

from protocol import limits, records
from protocol.errors import LocalError
from protocol.records import TRANSITIONS, Change
from protocol.wire.auction import Attempt
from protocol.wire.lineage import Work
from protocol.wire.task import ENDED, Failure, TaskRecord, TaskState
from tests.protocol.conversation import instant
from tests.protocol.work import B, C, awarded, order, record

CHANGES: tuple[Change, ...] = typing.get_args(Change)
PAIRS = list(itertools.product(TaskState, CHANGES))


def _changed(before: TaskRecord, change: Change) -> TaskRecord:
    now = instant(9)
    match change:
        case "award":
            return records.awarded(before, owner=B, owner_life=1, now=now)
        case "done":
            return records.done(before, result=b"\x02", started_ms=5, now=now)
        case "fail":
            return records.failed(before, failure=Failure("agent_failed", "no"), now=now)
        case "cancel":
            return records.cancelled(before, now=now)
        case "poison":
            return records.poisoned(before, now=now)
        case "retry":
            return records.retried(before, by="an operator", home=before.home, deadline_s=0, now=now)


def test_every_state_has_its_row_and_after_an_end_there_is_a_retry_or_nothing() -> None:
    assert set(TRANSITIONS) == set(TaskState)
    assert {state for state, changes in TRANSITIONS.items() if set(changes) <= {"retry"}} == set(ENDED)
    assert not TRANSITIONS[TaskState.DONE]


@pytest.mark.parametrize(("state", "change"), PAIRS, ids=[f"{state.value}-{change}" for state, change in PAIRS])
def test_a_change_leads_where_the_table_says_or_is_a_bug_that_stops_loudly(state: TaskState, change: Change) -> None:
    before = structs.replace(awarded(), state=state)
    if change not in TRANSITIONS[state]:
        with pytest.raises(LocalError, match=f"a task that is {state.value} cannot {change}"):
            _changed(before, change)
        return
    after = _changed(before, change)
    assert after.state is TRANSITIONS[state][change]
    assert after.epoch == before.epoch + (change == "award")
    assert (after.finished_ms > 0) == (after.state in ENDED)
    assert after.retries == before.retries + (change == "retry")
    kept = ("id", "iid", "gid", "capability", "submitter", "key", "home", "input", "digest", "exclusive", "attempts")
    assert all(getattr(after, name) == getattr(before, name) for name in kept)
    assert after.deadline_ms == before.deadline_ms + (9_000 if change == "retry" else 0)


def test_every_state_can_be_reached_from_open() -> None:
    reached, seen = {TaskState.OPEN}, {TaskState.OPEN}
    while reached:
        reached = {after for state in reached for after in TRANSITIONS[state].values()} - seen
        seen |= reached
    assert seen == set(TaskState)


def test_only_the_last_attempts_are_kept() -> None:
    many = tuple(Attempt(number, B, "silent", 0) for number in range(3 * limits.ATTEMPTS_KEPT))
    grown = records.awarded(record(), owner=B, owner_life=1, now=instant(0), ended=many)
    assert grown.attempts == many[-limits.ATTEMPTS_KEPT :]


def test_the_digest_tells_a_repeated_submit_from_other_work_under_its_key() -> None:
    same = records.work_digest(capability="echo@1", input=b"\x01")
    assert record().digest == same
    assert records.work_digest(capability="echo@1", input=b"\x02") != same
    assert records.work_digest(capability="echo@11", input=b"") != records.work_digest(capability="echo@1", input=b"1")


def test_a_deadline_is_counted_from_the_submit() -> None:
    opened = records.opened(order(deadline_s=1.5), task="t", iid="i", gid="g", home=B, now=instant(2))
    assert opened.deadline_ms - opened.submitted_ms == 1_500
    assert (opened.state, opened.epoch, opened.owner) == (TaskState.OPEN, 0, "")


def test_the_diagram_names_every_change_of_every_state() -> None:
    lines = records.diagram().splitlines()
    assert len(lines) == len(TaskState)
    assert "open       award ─▶ awarded, fail ─▶ failed, cancel ─▶ cancelled" in lines
    assert "done       ended" in lines


@pytest.mark.parametrize(
    "end", [records.cancelled, partial(records.failed, failure=Failure("x", "y")), records.poisoned]
)
def test_an_end_without_a_result_keeps_when_it_began_and_who_held_it(end: Callable[..., TaskRecord]) -> None:
    before, last = Attempt(1, B, "silent", 5), Attempt(2, C, "agent_failed", 9)
    held = structs.replace(awarded(), attempts=(before,))
    ended = end(held, now=instant(1), started_ms=7, ended=(last,))
    assert (ended.started_ms, ended.attempts) == (7, (before, last))


def _ended(retries: int = 0, **fields: object) -> TaskRecord:
    ended = records.failed(awarded(), failure=Failure("agent_failed", "no"), now=instant(9))
    return structs.replace(ended, retries=retries, **fields)


def test_a_retry_is_what_makes_a_record_newer_than_an_end() -> None:
    opened = records.retried(_ended(), by="x", home=B, deadline_s=0, now=instant(10))
    assert not records.is_older(opened, _ended())
    assert records.is_older(_ended(), opened), "the end that it undid"
    assert records.is_older(_ended(epoch=7), opened), "whatever its epoch"
    assert not records.is_older(_ended(1), opened), "its own end"


def test_a_task_that_is_retried_twice_has_as_long_as_it_had_the_last_time_and_tells_of_both_ends() -> None:
    first = records.retried(_ended(), by="x", home=B, deadline_s=20, now=instant(100))
    again = records.retried(records.cancelled(first, now=instant(105)), by="y", home=C, deadline_s=0, now=instant(200))
    assert again.deadline_ms == instant(220).wall_ms
    assert [(each.by, each.state) for each in again.retried] == [("x", TaskState.FAILED), ("y", TaskState.CANCELLED)]
    assert again.opened_ms == instant(200).wall_ms


def test_only_the_last_ends_that_were_undone_are_kept_and_all_are_counted() -> None:
    one = _ended()
    for number in range(limits.RETRIES_KEPT + 3):
        one = records.cancelled(
            records.retried(one, by=str(number), home=B, deadline_s=0, now=instant(9)), now=instant(9)
        )
    assert one.retries == limits.RETRIES_KEPT + 3
    assert [each.by for each in one.retried] == [str(number) for number in range(3, limits.RETRIES_KEPT + 3)]


def test_a_task_whose_clock_was_wrong_has_a_moment_to_be_done_all_the_same() -> None:
    odd = _ended(deadline_ms=1)
    assert records.retried(odd, by="x", home=B, deadline_s=0, now=instant(9)).deadline_ms > instant(9).wall_ms


def _work(capability: str, input: bytes) -> Work:
    return Work(capability, records.work_digest(capability=capability, input=input))


def test_the_same_work_again_is_a_cycle_told_by_its_path_and_other_input_is_none() -> None:
    led = (_work("root@1", b"r"), _work("scoring@2", b"x"), _work("pricing@1", b"x"))
    assert records.cycle_of(led, capability="scoring@2", input=b"x") == "scoring@2 → pricing@1 → scoring@2"
    assert records.cycle_of(led, capability="pricing@1", input=b"x") == "pricing@1 → pricing@1"
    assert records.cycle_of(led, capability="scoring@2", input=b"y") == ""
    assert records.cycle_of((), capability="scoring@2", input=b"x") == ""


def test_how_long_an_end_is_kept_is_said_by_the_home_when_it_accepts_the_task() -> None:
    opened = records.opened(order(), task="t", iid="i", gid="g", home=B, now=instant(2), keep_s=90.5)
    ended = records.cancelled(opened, now=instant(3))
    assert (ended.keep_ms, records.keep_s(ended, 5.0)) == (90_500, 90.5)
    assert records.keep_s(structs.replace(ended, keep_ms=0), 5.0) == 5.0, "of a node that did not say it yet"
