"""Requests about tasks that are not watched here are answered once the record has been read."""

from protocol import ids
from protocol.effects import Read, Reply
from protocol.inputs import Cancel
from protocol.lookups import Lookups, not_to_cancel
from protocol.wire.task import TaskState
from tests.protocol.work import order, record, replies

TASK = record().id


def test_each_request_makes_a_look_at_the_record_and_is_answered_once() -> None:
    lookups = Lookups()
    assert lookups.submit(TASK, order(request=1)) == [Read(ids.task_key(TASK))]
    assert lookups.cancel(Cancel(2, TASK)) == [Read(ids.task_key(TASK))]
    answers, cancels = lookups.found(TASK, record(), failed="")
    assert (answers, cancels) == ([Reply(1, value=record())], [Cancel(2, TASK)])
    assert lookups.found(TASK, record(), failed="") == ([], [])


def test_a_submit_of_other_work_under_the_same_key_is_a_conflict_and_one_that_made_no_task_has_no_agent() -> None:
    lookups = Lookups()
    lookups.submit(TASK, order(request=1, input=b"\x02"))
    assert replies(lookups.found(TASK, record(), failed="")[0]) == [(1, "key_reused")]
    lookups.submit(TASK, order(request=2))
    assert replies(lookups.found(TASK, None, failed="")[0]) == [(2, "no_agent")]
    lookups.submit(TASK, order(request=3))
    assert replies(lookups.found(TASK, None, failed="the store is silent")[0]) == [(3, "store")]


def test_what_is_not_there_or_over_cannot_be_cancelled() -> None:
    assert not_to_cancel([Cancel(1, TASK)], record(), task=TASK, failed="") == []
    assert replies(not_to_cancel([Cancel(1, TASK)], None, task=TASK, failed="")) == [(1, "unknown_task")]
    assert replies(not_to_cancel([Cancel(1, TASK)], record(state=TaskState.DONE), task=TASK, failed="")) == [
        (1, "already_ended")
    ]
    assert replies(not_to_cancel([Cancel(1, TASK)], None, task=TASK, failed="it is silent")) == [(1, "store")]
