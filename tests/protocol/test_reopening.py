"""Opening an ended task again, as conversations: what stands there decides, and everything else races it."""

from typing import Any

import pytest
from msgspec import structs

from protocol import ids, limits, records
from protocol.effects import Effect, Read, Reply
from protocol.events import TaskRetried
from protocol.inputs import BUCKET_FULL, Cancel, Retry
from protocol.lookups import Lookups
from protocol.records import Standing
from protocol.reopening import Reopening
from protocol.timers import Timers
from protocol.wire.task import Failure, TaskRecord, TaskState
from tests.protocol.conversation import instant
from tests.protocol.work import ME, SETTINGS, B, C, Home, awarded, frame, only_write, order, record, replies, said

TASK = record().id
KEY = ids.task_key(TASK)


def failed(*, home: str = C, **fields: Any) -> TaskRecord:
    """It failed at its first owner; two nodes had died of it, and agents failed it four times."""
    before = awarded(home=home, died=(B, C), failures=4)
    return structs.replace(records.failed(before, failure=Failure("agent_failed", "no"), now=instant(9)), **fields)


def asked(home: Home, request: int = 5, *, deadline_s: float = 0.0) -> list[Effect]:
    return home.ledger.retry(Retry(request, TASK, "an operator", deadline_s))


def found(home: Home, what: TaskRecord | None, *, revision: int = 5, failed: str = "") -> list[Effect]:
    home.revision = revision
    return home.ledger.on_found(KEY, Standing(what, revision, b"" if what is None else frame(what)), failed, home.now)


def test_a_failed_task_is_opened_by_one_write_and_given_out_anew_with_the_next_epoch() -> None:
    home = Home({B: 1})
    assert asked(home) == [Read(KEY)]
    effects = found(home, failed())
    write = only_write(effects)
    assert (write.expect, write.keep_s) == (5, 0.0), "on the end, and not to remove itself any more"
    assert replies(effects) == []

    effects = home.written(effects)
    assert (home.record.state, home.record.epoch, home.record.home) == (TaskState.OPEN, 1, ME)
    assert replies(effects) == [(5, "open")]
    assert said(effects, TaskRetried) == [TaskRetried(TASK, "an iid", 1, "failed", "an operator", "a gid")]

    home.written(effects)
    assert (home.record.state, home.record.epoch, home.record.owner) == (TaskState.AWARDED, 2, B)


def test_what_counted_against_it_counts_no_more_and_what_happened_is_kept() -> None:
    home = Home({B: 1})
    asked(home)
    before = failed()
    home.written(found(home, before))
    now = home.record
    assert (now.failures, now.died, now.failure, now.owner, now.finished_ms) == (0, (), None, "", 0)
    assert (now.retries, now.attempts, now.iid, now.submitted_ms) == (
        1,
        before.attempts,
        before.iid,
        before.submitted_ms,
    )
    (end,) = now.retried
    assert (end.by, end.state, end.epoch, end.owner) == ("an operator", TaskState.FAILED, 1, B)
    assert (end.code, end.message, end.at_ms) == ("agent_failed", "no", home.now.wall_ms)
    assert now.deadline_ms - home.now.wall_ms == before.deadline_ms - before.submitted_ms


def test_the_deadline_is_the_one_that_is_asked_for_and_it_is_kept() -> None:
    home = Home({})
    home.mesh.free = {B: 0}
    asked(home, deadline_s=20.0)
    home.written(found(home, failed()))
    assert home.record.deadline_ms == home.now.wall_ms + 20_000
    assert only_write(home.after(20.5)).record.state is TaskState.FAILED  # type: ignore[union-attr]  # a task's record


@pytest.mark.parametrize(
    ("what", "revision", "problem", "code"),
    [
        (None, 0, "", "unknown_task"),
        (None, 5, "", "bad_record"),
        (None, 0, "is away", "store"),
        (record(home=C), 5, "", "under_way"),
        (awarded(home=C), 5, "", "under_way"),
        (records.done(awarded(home=C), result=b"\x02", started_ms=1, now=instant(9)), 5, "", "done_already"),
        (failed(capability="other@1"), 5, "", "no_agent"),
    ],
    ids=["unknown", "unreadable", "store away", "open", "awarded", "done", "nobody can do it"],
)
def test_what_cannot_be_opened_again_is_refused_and_nothing_is_written(
    what: TaskRecord | None, revision: int, problem: str, code: str
) -> None:
    home = Home({B: 1})
    asked(home)
    effects = found(home, what, revision=revision, failed=problem)
    assert replies(effects) == [(5, code)]
    assert len(effects) == 1
    assert home.ledger.watched == 0


def test_one_that_is_watched_here_is_under_way() -> None:
    home = Home({B: 1})
    home.awarded()
    asked(home)
    assert replies(found(home, home.record, revision=home.revision)) == [(5, "under_way")]
    assert home.ledger.watched == 1


@pytest.mark.parametrize("deadline_s", [-1.0, float("nan"), float("inf")])
def test_a_deadline_that_is_none_is_refused_at_once(deadline_s: float) -> None:
    assert replies(asked(Home({B: 1}), deadline_s=deadline_s)) == [(5, "bad_input")]


def test_a_name_that_nobody_would_read_in_the_record_is_refused() -> None:
    request = Retry(5, TASK, "x" * (limits.TEXT_CHARS_MAX + 1))
    assert replies(Home({B: 1}).ledger.retry(request)) == [(5, "bad_input")]


def test_two_who_ask_at_once_open_it_once() -> None:
    home = Home({B: 1})
    asked(home, 5)
    asked(home, 6)
    effects = found(home, failed())
    assert replies(effects) == [(6, "under_way")]
    assert replies(home.written(effects)) == [(5, "open")]
    assert home.record.retries == 1


def test_of_two_nodes_that_open_it_one_does_and_the_other_says_that_it_is_under_way() -> None:
    home = Home({B: 1})
    asked(home)
    found(home, failed())
    opened = records.retried(failed(), by="another", home=C, deadline_s=0, now=home.now)
    assert replies(home.lost(opened)) == [(5, "under_way")]
    assert home.ledger.watched == 0


def test_one_that_removes_itself_at_the_same_moment_is_unknown() -> None:
    home = Home({B: 1})
    asked(home)
    write = only_write(found(home, failed()))
    effects = home.ledger.on_lost(write, Standing(None, 0, b""), home.now)
    assert replies(effects) == [(5, "unknown_task")]
    assert (home.ledger.watched, home.ledger.next_deadline()) == (0, None)


def test_an_end_that_was_written_anew_meanwhile_is_undone_at_its_new_revision() -> None:
    home = Home({B: 1})
    asked(home)
    found(home, failed())
    effects = home.lost(failed(), revision=8)
    assert only_write(effects).expect == 8
    assert replies(home.written(effects)) == [(5, "open")]


def test_a_retry_waits_for_a_node_that_drains_as_a_submit_does() -> None:
    home = Home({})
    home.mesh.drained = (B,)
    assert replies(home.ledger.submit(order("other"), home.now)) == []
    asked(home)
    effects = found(home, failed())
    assert replies(effects) == []
    assert only_write(effects).expect == 5


def test_a_retry_is_refused_where_a_submit_is_because_too_much_is_under_way() -> None:
    home = Home({B: 1}, settings=structs.replace(SETTINGS, watched_max=1))
    home.ledger.submit(order("other"), home.now)
    asked(home)
    (refusal,) = found(home, failed())
    assert isinstance(refusal, Reply)
    assert (refusal.code, refusal.fields["limit"]) == ("overloaded", "1 unfinished tasks, tasks.watched_max")


@pytest.mark.parametrize(("reason", "code"), [(BUCKET_FULL, "record_full"), ("the lane of writes", "overloaded")])
def test_one_that_cannot_be_written_stays_ended_and_who_asked_is_told(reason: str, code: str) -> None:
    home = Home({B: 1})
    asked(home)
    write = only_write(found(home, failed()))
    assert replies(home.ledger.on_unsent(write, reason, home.now)) == [(5, code)]
    assert home.ledger.watched == 0


def test_who_waits_for_a_write_that_takes_too_long_is_told_that_it_is_not_settled() -> None:
    home = Home({B: 1})
    asked(home)
    effects = found(home, failed())
    assert replies(home.after(SETTINGS.answer_s)) == [(5, "unsettled")]
    assert replies(home.written(effects)) == []
    assert home.record.state is TaskState.OPEN


def test_a_cancel_that_comes_while_it_is_opened_ends_it_again() -> None:
    home = Home({B: 1})
    asked(home)
    effects = found(home, failed())
    assert home.cancel(TASK) == []
    effects = home.written(effects)
    assert replies(home.written(effects)) == [(9, "cancelled")]


def test_a_cancel_that_comes_while_another_opens_it_is_not_forgotten() -> None:
    home = Home({B: 1})
    asked(home)
    found(home, failed())
    home.ledger.cancel(Cancel(9, TASK), home.now)
    effects = home.lost(records.retried(failed(), by="another", home=C, deadline_s=0, now=home.now))
    assert Read(KEY) in effects
    assert replies(effects) == [(5, "under_way")]
    assert replies(home.written(found(home, home.record))) == [(9, "cancelled")]


def test_the_late_result_of_the_award_before_is_no_news() -> None:
    home = Home({B: 1})
    asked(home)
    effects = found(home, failed())
    done = records.done(awarded(home=C), result=b"\x02", started_ms=1, now=instant(9))
    assert home.result(done, revision=4) == []
    home.written(home.written(effects))
    assert home.result(done, revision=4) == []
    assert home.record.epoch == 2


def test_a_repeated_submit_with_its_key_is_the_same_task_and_waits_for_the_new_end() -> None:
    home = Home({B: 1})
    asked(home)
    home.written(found(home, failed()))
    effects = home.ledger.submit(order(request=3), home.now)
    assert [(each.request, each.value) for each in effects if isinstance(each, Reply)] == [(3, home.record)]
    assert home.ledger.wait(4, TASK) == [], "it has not ended"


def test_an_end_from_before_that_is_put_over_an_opened_task_is_replaced_by_it() -> None:
    home = Home({B: 1})
    asked(home)
    home.written(home.written(found(home, failed())))
    stands = Standing(failed(), home.revision + 1, frame(failed()))
    effects = home.ledger.on_found(KEY, stands, "", home.now)
    assert only_write(effects).record == home.record
    assert only_write(effects).expect == home.revision + 1


def test_who_watched_it_before_lets_go_of_one_that_another_node_opened() -> None:
    home = Home({B: 1})
    home.awarded()
    home.accepted()
    ended = records.failed(home.record, failure=Failure("deadline", ""), now=home.now)
    opened = records.retried(ended, by="another", home=C, deadline_s=0, now=home.now)
    home.ledger.on_found(KEY, Standing(opened, home.revision + 2, frame(opened)), "", home.now)
    assert home.ledger.watched == 0


def test_a_record_that_nobody_wants_opened_again_is_left_alone() -> None:
    home = Home({B: 1})
    lookups, timers = Lookups(), Timers[tuple[str, str]]()
    reopening = Reopening(
        me=ME, settings=SETTINGS, view=home.mesh, lookups=lookups, tasks=home.ledger.tasks, timers=timers
    )
    assert reopening.found(TASK, Standing(failed(), 5, b"f"), "", home.now) == []
