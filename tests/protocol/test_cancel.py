"""Cancelling a task, as conversations: through its home or another node, and racing everything else."""

import pytest

from protocol import ids, records
from protocol.effects import Read, Send
from protocol.events import TaskCancelled
from protocol.inputs import Cancel
from protocol.records import Standing
from protocol.wire.task import Result, TaskRecord, Withdraw
from tests.protocol.conversation import instant
from tests.protocol.work import LIFE, B, C, Home, awarded, bodies, frame, only_write, record, replies, said


def _done(before: TaskRecord) -> TaskRecord:
    return records.done(before, result=b"\x02", started_ms=1, now=instant(9))


def test_a_cancel_is_written_and_the_owner_is_told_to_stop() -> None:
    home = Home({B: 1})
    home.awarded()
    home.accepted()
    effects = home.written(home.cancel(home.record.id))
    assert replies(effects) == [(9, "cancelled")]
    assert [type(event) for event in said(effects, object)] == [TaskCancelled]
    assert [(each.to, each.life) for each in effects if isinstance(each, Send)] == [(B, LIFE)]
    assert bodies(effects, Withdraw) == [Withdraw(home.record.id, 1)]


def test_a_cancel_before_the_first_write_follows_it() -> None:
    home = Home({B: 1})
    effects = home.submit(request=1)
    assert home.cancel(record().id) == []
    effects = home.written(effects)
    assert replies(effects) == [(1, "awarded")]
    assert replies(home.written(effects)) == [(9, "cancelled")]


def test_a_cancel_that_races_a_commit_gives_exactly_one_of_both() -> None:
    home = Home({B: 1})
    home.awarded()
    home.accepted()
    assert only_write(home.cancel(home.record.id)).expect == home.revision
    done = _done(home.record)
    assert home.result(done) == [], "the store decides"
    assert replies(home.lost(done)) == [(9, "already_ended")]
    assert home.ledger.watched == 0


def test_a_cancel_that_loses_to_a_next_award_is_written_on_top_of_it() -> None:
    home = Home({B: 1})
    home.awarded()
    home.cancel(home.record.id)
    effects = home.lost(records.awarded(home.record, owner=C, owner_life=LIFE, now=home.now))
    assert only_write(effects).expect == home.revision
    assert replies(home.written(effects)) == [(9, "cancelled")]


def test_a_cancel_through_a_node_that_is_not_the_home_reads_the_record_writes_it_and_tells_the_home() -> None:
    home, task = Home({B: 1}), awarded(home=C)
    key = ids.task_key(task.id)
    assert home.cancel(task.id) == [Read(key)]
    effects = home.ledger.on_found(key, Standing(task, 5, frame(task)), "", home.now)
    assert only_write(effects).expect == 5
    effects = home.written(effects)
    assert replies(effects) == [(9, "cancelled")]
    assert {each.to for each in effects if isinstance(each, Send) and isinstance(each.body, Result)} == {C}
    assert home.ledger.watched == 0


@pytest.mark.parametrize(
    ("found", "failed", "code"),
    [(None, "", "unknown_task"), (None, "timed out", "store"), (_done(awarded()), "", "already_ended")],
    ids=["unknown", "unreadable", "ended"],
)
def test_a_cancel_that_finds_nothing_to_cancel_says_so(found: TaskRecord | None, failed: str, code: str) -> None:
    home, key = Home({B: 1}), ids.task_key(record().id)
    home.cancel(record().id)
    assert replies(home.ledger.on_found(key, Standing(found, 5, b""), failed, home.now)) == [(9, code)]


def test_a_cancel_of_a_task_that_is_taken_up_meanwhile_is_not_forgotten() -> None:
    home, task = Home({B: 1}), awarded(home=C)
    key = ids.task_key(task.id)
    home.cancel(task.id)
    assert home.ledger.adopt(task, 5, frame(task), home.now) == []
    effects = home.ledger.on_found(key, Standing(task, 5, frame(task)), "", home.now)
    assert replies(home.written(effects)) == [(9, "cancelled")]


def test_two_cancels_are_both_answered() -> None:
    home = Home({B: 1})
    home.awarded()
    effects = home.cancel(home.record.id, request=8)
    assert home.ledger.cancel(Cancel(9, home.record.id), home.now) == []
    assert replies(home.written(effects)) == [(8, "cancelled"), (9, "cancelled")]


def test_who_cancels_a_task_and_with_which_of_its_ancestors_is_said_when_it_stands() -> None:
    home = Home({B: 1})
    home.awarded(parent_iid="the iid that led to it")
    effects = home.written(home.ledger.cancel(Cancel(9, home.record.id, "operator", C), home.now))
    (event,) = said(effects, TaskCancelled)
    assert (event.by, event.ended_with, event.parent) == ("operator", C, "the iid that led to it")
    assert home.record.failure is not None
    assert home.record.failure.message.endswith(f"was cancelled together with {C}, which led to it")
