"""The home's side of a task, as conversations: submit, award, decline, failure, cancel, end."""

import pytest
from msgspec import structs

from protocol import ids, limits, records
from protocol.effects import Read, Reply, Write
from protocol.errors import MeshError
from protocol.events import AwardDeclined, TaskAwarded, TaskFailed, TaskPoison, TaskSubmitted
from protocol.ledger import AT_ONCE, RETRY_WRITE_S
from protocol.records import Standing
from protocol.wire.auction import Reserve
from protocol.wire.task import Accept, Award, Failure, TaskRecord, TaskState, Withdraw
from tests.protocol.conversation import instant
from tests.protocol.work import (
    KEEP_S,
    OWN,
    SETTINGS,
    B,
    C,
    D,
    Home,
    awarded,
    bodies,
    frame,
    only_write,
    order,
    record,
    replies,
    said,
)


def _done(before: TaskRecord) -> TaskRecord:
    return records.done(before, result=b"\x02", started_ms=1, now=instant(9))


# --- submit


def test_a_submit_is_answered_after_its_first_write_and_not_before() -> None:
    home = Home({B: 1})
    effects = home.submit(request=4)
    write = only_write(effects)
    assert effects == [write]
    assert isinstance(write.record, TaskRecord)
    assert (write.expect, write.record.state, write.record.owner) == (0, TaskState.AWARDED, B)
    effects = home.written(effects)
    assert replies(effects) == [(4, "awarded")]
    assert [type(event) for event in said(effects, object)] == [TaskSubmitted, TaskAwarded]
    (award,) = bodies(effects, Award)
    assert (award.epoch, award.revision, award.record) == (1, 1, frame(home.record))


def test_a_submit_whose_write_hangs_is_answered_in_the_end_and_lives_on() -> None:
    home = Home({B: 1})
    effects = home.submit(request=4)
    assert home.after(SETTINGS.answer_s - 0.001) == []
    assert replies(home.after(0.001)) == [(4, "unsettled")]
    assert bodies(home.written(effects), Award)


def test_a_repeated_submit_is_one_task() -> None:
    home = Home({B: 2})
    first = home.submit(request=1)
    assert home.submit(request=2) == [], "the first write is still under way"
    assert replies(home.written(first)) == [(1, "awarded"), (2, "awarded")]
    assert replies(home.submit(request=3)) == [(3, "awarded")]


@pytest.mark.parametrize("is_written", [False, True])
def test_a_key_that_is_used_for_other_work_is_a_conflict(is_written: bool) -> None:
    home = Home({B: 2})
    first = home.submit(request=1)
    if is_written:
        home.written(first)
    assert replies(home.submit(request=2, input=b"\x07")) == [(2, "key_reused")]


def test_a_submit_that_another_node_took_before_is_that_task() -> None:
    home = Home({B: 1})
    home.submit(request=1)
    assert replies(home.lost(awarded(home=C))) == [(1, "awarded")]
    assert not home.ledger.watches(home.record.id), "its home watches it"
    assert home.mesh.reserved == {}


def test_a_submit_that_meets_other_work_under_its_key_is_a_conflict() -> None:
    home = Home({B: 1})
    home.submit(request=1)
    other = structs.replace(awarded(home=C), digest=b"other")
    assert replies(home.lost(other)) == [(1, "key_reused")]


def test_a_submit_of_a_task_that_has_ended_is_answered_with_its_end() -> None:
    home = Home({B: 1})
    home.submit(request=1)
    assert replies(home.lost(_done(awarded()))) == [(1, "done")]
    assert not home.ledger.watches(home.record.id)


def test_nobody_has_the_capability_is_said_once_the_record_knows_of_no_such_task() -> None:
    home = Home({B: 1})
    (read,) = home.submit(request=1, capability="other@1")
    assert isinstance(read, Read)
    assert replies(home.ledger.on_found(read.key, Standing(None, 0, b""), "", home.now)) == [(1, "no_agent")]


def test_a_submit_that_only_draining_nodes_could_do_waits_until_one_takes_new_work() -> None:
    home = Home({})
    home.mesh.drained = ("b",)
    assert replies(home.written(home.submit(request=1))) == [(1, "open")]
    home.mesh.free = {B: 1}
    given = only_write(home.ledger.on_capacity(home.now)).record
    assert isinstance(given, TaskRecord)
    assert given.owner == B


def test_a_submit_that_nobody_can_do_any_more_is_answered_with_the_task_that_it_made_before() -> None:
    home = Home({B: 1})
    (read,) = home.submit(request=1, capability="other@1")
    assert isinstance(read, Read)
    asked = order(capability="other@1")
    made = records.opened(asked, task=ids.task_of(read.key), iid="i", gid="g", home=B, now=home.now)
    assert replies(home.ledger.on_found(read.key, Standing(made, 3, frame(made)), "", home.now)) == [(1, "open")]
    (again,) = home.submit(request=2, capability="other@1", input=b"other work")
    assert isinstance(again, Read)
    assert replies(home.ledger.on_found(again.key, Standing(made, 3, frame(made)), "", home.now)) == [(2, "key_reused")]
    (again,) = home.submit(request=3, capability="other@1")
    assert isinstance(again, Read)
    assert replies(home.ledger.on_found(again.key, Standing(None, 0, b""), "timed out", home.now)) == [(3, "store")]


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("bad_capability", {"capability": "echo"}),
        ("too_large", {"input": bytes(limits.INPUT_BYTES_MAX + 1)}),
        ("bad_input", {"hops": limits.HOPS_MAX + 1}),
        ("cycle", {"lineage": (OWN,)}),
        ("bad_input", {"key": "k" * (limits.TEXT_CHARS_MAX + 1)}),
    ],
)
def test_a_submit_that_cannot_be_is_refused(code: str, fields: dict[str, object]) -> None:
    home = Home({B: 1})
    assert replies(home.ledger.submit(structs.replace(order(), **fields), home.now)) == [(1, code)]
    assert home.ledger.watched == 0


def test_a_full_ledger_refuses_with_a_reason_and_what_it_accepted_ends() -> None:
    home = Home({B: 0}, settings=structs.replace(SETTINGS, watched_max=3))
    for number in range(3):
        home.written(home.submit(f"k{number}", request=number))
    (told,) = home.submit("k3", request=3)
    assert isinstance(told, Reply)
    refusal = MeshError(told.code, **told.fields)
    assert refusal.message == "the ledger of this node is full (3 unfinished tasks, tasks.watched_max)"
    assert refusal.hint == "try again in a moment, or on another node"
    assert [type(each) for each in home.submit("k1", request=4)] == [Reply], "what it has is answered all the same"
    home.mesh.free = {B: 9}
    (first, *_) = [each for each in home.ledger.on_capacity(home.now) if isinstance(each, Write)]
    home.written([first])
    home.accepted()
    home.result(records.done(home.record, result=b"\x01", started_ms=1, now=home.now))
    assert home.ledger.watched == 2
    assert not replies(home.submit("k3", request=5))


def test_many_deadlines_at_once_are_met_some_at_a_time() -> None:
    home = Home({B: 0})
    for number in range(2 * AT_ONCE + 1):
        home.written(home.submit(f"k{number}", request=number, deadline_s=60.0))
    due = instant(home.now.since_s(instant(0).mono_ns) + 61)
    turns = []
    while (deadline := home.ledger.next_deadline()) is not None and deadline <= due.mono_ns:
        turns.append(len([each for each in home.ledger.on_tick(due) if isinstance(each, Write)]))
    assert [written for written in turns if written] == [AT_ONCE, AT_ONCE, 1]


def test_after_a_loss_of_the_record_all_is_written_anew_some_at_a_time() -> None:
    home = Home({B: 0})
    for number in range(AT_ONCE + 5):
        home.written(home.submit(f"k{number}", request=number))
    assert len(home.ledger.on_record_lost(home.now)) == AT_ONCE
    assert len(home.ledger.on_tick(home.now)) == 5


@pytest.mark.parametrize(
    ("reason", "code"), [("the lane of writes", "overloaded"), ("the bucket of the record", "record_full")]
)
def test_a_submit_whose_write_never_left_is_refused(reason: str, code: str) -> None:
    home = Home({B: 1})
    write = only_write(home.submit(request=1))
    assert replies(home.ledger.on_unsent(write, reason, home.now)) == [(1, code)]
    assert (home.ledger.watched, home.mesh.reserved) == (0, {})


def test_a_record_that_cannot_be_read_back_is_an_error_and_not_a_wait() -> None:
    home = Home({B: 1})
    write = only_write(home.submit(request=1))
    assert replies(home.ledger.on_lost(write, Standing(None, 3, b"junk"), home.now)) == [(1, "store")]


# --- who gets it


def test_when_all_are_busy_tasks_wait_and_are_given_out_in_order_of_priority() -> None:
    home = Home({B: 0})
    for key, priority in (("low", 1), ("high", 9), ("mid", 5)):
        effects = home.submit(key, priority=priority)
        assert only_write(effects).record.state is TaskState.OPEN  # type: ignore[union-attr]  # a task's record
        assert bodies(home.written(effects), Award) == []
    assert home.ledger.waiting == 3
    given: list[str] = []
    for _ in range(3):
        home.mesh.free[B] = len(given) + 1
        effects = home.written(home.ledger.on_capacity(home.now))
        given += [event.task for event in said(effects, TaskAwarded)]
    assert given == [record(key).id for key in ("high", "mid", "low")]
    assert home.ledger.waiting == 0


def test_a_task_that_nobody_with_room_may_have_does_not_hold_up_those_behind_it() -> None:
    home = Home({B: 1})
    home.awarded("first", priority=9)
    home.declined(retry_after_ms=60_000)
    home.mesh.free[B] = 0
    home.written(home.submit("second", priority=1))
    assert home.ledger.waiting == 2
    home.mesh.free[B] = 1
    (event,) = said(home.written(home.ledger.on_capacity(home.now)), TaskAwarded)
    assert event.task == record("second").id


def test_a_decline_moves_on_without_counting() -> None:
    home = Home({B: 1, C: 1})
    home.awarded()
    effects = home.declined("busy")
    assert [event.reason for event in said(effects, AwardDeclined)] == ["busy"]
    effects = home.written(effects)
    assert (home.record.owner, home.record.epoch) == (C, 2)
    assert (home.record.failures, home.record.died) == (0, ())
    assert [(each.owner, each.ended) for each in home.record.attempts] == [(B, "busy")]
    assert [event.why for event in said(effects, TaskAwarded)] == ["busy"]


def test_a_decline_that_is_heard_twice_counts_once() -> None:
    home = Home({B: 1})
    home.awarded()
    assert home.declined("agent_failed", counts=True)
    assert home.declined("agent_failed", counts=True) == []


def test_an_accept_that_comes_after_the_decline_changes_nothing() -> None:
    home = Home({B: 1})
    home.awarded()
    home.declined("agent_failed", counts=True)
    home.accepted()
    home.answered()
    assert not home.ledger.status((home.record.id,))[0].running
    assert only_write(home.after(1)).record.epoch == 2  # type: ignore[union-attr]  # a task's record


def test_a_node_that_was_busy_is_asked_again_when_its_pause_is_over() -> None:
    home = Home({B: 1})
    home.awarded(route="local")
    home.declined("busy", retry_after_ms=200)
    home.mesh.free[B] = 1
    assert home.after(0.199) == []
    home.written(home.after(0.001))
    assert (home.record.owner, home.record.epoch) == (B, 2)


def test_a_node_that_was_busy_may_take_it_for_a_lease_and_is_asked_again_after_that() -> None:
    home = Home({B: 1})
    home.awarded()
    assert [each.task for each in bodies(home.declined("busy", retry_after_ms=200), Reserve)] == [home.record.id]
    home.mesh.free[B] = 1
    assert home.after(SETTINGS.lease_s - 0.1) == []
    home.written(home.after(0.1))
    assert (home.record.owner, home.record.epoch) == (B, 2)


def test_what_a_stranger_or_a_former_owner_says_changes_nothing() -> None:
    home = Home({B: 1, C: 1, D: 1})
    home.awarded()
    task = home.record.id
    assert home.ledger.on_accept(D, Accept(task, 1), 7, home.now) == []
    home.written(home.declined("busy"))
    assert home.record.owner == C
    home.record = structs.replace(home.record, owner=B, epoch=1)
    assert home.declined("agent_failed", counts=True) == []


def test_an_agent_that_fails_counts_backs_off_and_fails_the_task_at_the_cap() -> None:
    home = Home({B: 1, C: 1})
    effects = home.awarded()
    for attempt in range(1, SETTINGS.attempts_max):
        home.declined("agent_failed", detail=f"no {attempt}", counts=True)
        waited = home.after(SETTINGS.backoff_s_min * 2.0 ** (attempt - 1))
        effects = home.written([each for each in waited if isinstance(each, Write)])
        assert (home.record.failures, home.record.epoch) == (attempt, attempt + 1)
    effects = home.written(home.declined("agent_failed", detail="no more", counts=True))
    assert (home.record.state, home.record.failure) == (TaskState.FAILED, Failure("agent_failed", "no more"))
    assert len(home.record.attempts) == SETTINGS.attempts_max
    assert [event.message for event in said(effects, TaskFailed)] == ["no more"]
    assert (home.ledger.watched, home.mesh.reserved) == (0, {})


def test_what_an_owner_says_of_its_reasons_cannot_swell_the_record() -> None:
    home = Home({B: 1, C: 1})
    home.awarded()
    home.written(home.declined("r" * 900_000, detail="d" * 900_000))
    (attempt,) = home.record.attempts
    assert len(attempt.ended) + len(attempt.detail) <= 2 * limits.TEXT_CHARS_MAX


def test_an_award_that_is_not_heard_moves_on() -> None:
    home = Home({B: 1, C: 1})
    home.awarded()
    assert home.after(SETTINGS.award_timeout_s_min - 0.001) == []
    effects = home.written(home.after(0.001))
    assert (home.record.owner, home.record.epoch, home.record.died) == (C, 2, ())
    assert [body.epoch for body in bodies(effects, Withdraw)] == [1]


def test_an_award_that_is_not_heard_stands_while_there_is_nobody_else() -> None:
    home = Home({B: 1})
    home.awarded()
    assert home.after(1)
    assert home.record.epoch == 1
    assert home.answered() == []
    assert home.ledger.status((home.record.id,))[0].running
    assert home.ledger.waiting == 0


def test_the_slot_that_an_award_counted_on_does_not_stand_in_the_way_of_the_next() -> None:
    home = Home({B: 1})
    home.awarded()
    effects = home.after(3 * SETTINGS.lease_s)
    assert only_write(effects).record.epoch == 2  # type: ignore[union-attr]  # a task's record
    assert home.mesh.reserved == {home.record.id: B}


def test_an_award_that_never_arrived_is_sent_again() -> None:
    home = Home({B: 1})
    home.awarded()
    home.accepted()
    (award,) = bodies(home.answered(unknown=True), Award)
    assert (award.epoch, award.revision) == (1, home.revision)


def test_a_task_without_a_store_waits_until_it_can_be_written() -> None:
    home = Home({B: 1})
    home.link(is_usable=False)
    effects = home.submit()
    assert only_write(effects).record.state is TaskState.OPEN  # type: ignore[union-attr]  # a task's record
    home.written(effects)
    home.written(home.link(is_usable=True))
    assert home.record.owner == B


def test_a_write_that_never_left_is_tried_again() -> None:
    home = Home({B: 1, C: 1})
    home.awarded()
    write = only_write(home.declined("busy"))
    assert home.ledger.on_unsent(write, "the lane of writes", home.now) == []
    assert home.after(RETRY_WRITE_S - 0.001) == []
    home.written(home.after(0.001))
    assert (home.record.owner, home.record.epoch) == (C, 2)


# --- the end


def test_a_result_answers_everyone_who_waits() -> None:
    home = Home({B: 1})
    home.awarded()
    assert home.ledger.wait(7, home.record.id) == []
    assert replies(home.result(_done(home.record))) == [(7, "done")]
    assert (home.ledger.watched, home.mesh.reserved) == (0, {})


def test_an_owner_that_says_it_is_over_makes_the_home_read_the_record() -> None:
    home = Home({B: 1})
    home.awarded()
    home.accepted()
    home.ledger.wait(7, home.record.id)
    key = ids.task_key(home.record.id)
    assert home.answered(ended=True) == [Read(key)]
    done = _done(home.record)
    assert home.ledger.on_found(key, Standing(home.record, 1, frame(home.record)), "", home.now) == [], "nothing new"
    assert home.ledger.on_found(key, Standing(None, 0, b""), "timed out", home.now) == [], "asked again"
    assert replies(home.ledger.on_found(key, Standing(done, 2, frame(done)), "", home.now)) == [(7, "done")]


def test_a_result_of_who_does_not_hold_the_task_is_looked_up_and_not_believed() -> None:
    home = Home({B: 1})
    home.awarded()
    done = _done(home.record)
    assert home.result(done, revision=1) == []
    for other in (home.record, structs.replace(done, epoch=0), structs.replace(done, owner=C)):
        assert home.result(other) == [Read(ids.task_key(done.id))]
    assert home.ledger.watches(done.id)


def test_waiting_for_a_task_that_is_not_watched_here_is_refused() -> None:
    assert replies(Home({B: 1}).ledger.wait(7, "t" * 26)) == [(7, "unknown_task")]


@pytest.mark.parametrize("free", [0, 1])
def test_a_task_ends_at_its_deadline_whether_somebody_has_it_or_not(free: int) -> None:
    home = Home({B: free})
    home.awarded(deadline_s=2)
    if free:
        home.accepted()
    assert not [each for each in home.after(1.999) if isinstance(each, Write)]
    effects = home.written([each for each in home.after(0.001) if isinstance(each, Write)])
    assert [event.code for event in said(effects, TaskFailed)] == ["deadline"]
    assert home.ledger.watched == 0


def test_an_end_is_kept_under_its_key_and_then_removes_itself() -> None:
    home = Home({B: 1})
    home.awarded()
    write = only_write(home.cancel(home.record.id))
    assert (write.keep_s, write.urgent) == (KEEP_S, True)


# --- taking up


def test_a_home_that_starts_again_takes_up_its_own_and_asks_their_owners() -> None:
    home, task = Home({B: 1, C: 1}), awarded(at=6)
    assert home.ledger.adopt(task, 5, frame(task), home.now) == []
    home.revision, home.record = 5, task
    assert home.ledger.status((task.id,))[0].running is False, "nobody has said so yet"
    home.after(SETTINGS.ask_interval_s)
    home.answered()
    assert home.ledger.status((task.id,))[0].running


def test_an_open_task_that_is_taken_up_is_given_out() -> None:
    home, task = Home({B: 1}), record()
    write = only_write(home.ledger.adopt(task, 5, frame(task), home.now))
    assert (write.expect, write.record.state) == (5, TaskState.AWARDED)  # type: ignore[union-attr]  # a task's record


def test_what_a_listing_shows_late_changes_nothing() -> None:
    home = Home({B: 1})
    home.awarded()
    home.accepted()
    before = record()
    assert home.ledger.adopt(before, 1, frame(before), home.now) == []
    assert home.ledger.status((before.id,))[0].running


def test_a_task_whose_home_is_back_is_left_to_it_and_who_waits_is_sent_there() -> None:
    home, task = Home({B: 1}), awarded(home=C)
    home.ledger.adopt(task, 5, frame(task), home.now)
    home.ledger.wait(7, task.id)
    assert replies(home.ledger.tasks.abandon(C, home.now)) == [(7, "unknown_task")]
    assert home.ledger.watched == 0
    assert home.after(60) == []


def test_a_change_that_is_under_way_is_seen_through_when_the_home_is_back() -> None:
    home, task = Home({B: 1}), record(home=C)
    effects = home.ledger.adopt(task, 5, frame(task), home.now)
    assert home.ledger.tasks.abandon(C, home.now) == []
    assert bodies(home.written(effects), Award)


def test_a_record_that_says_impossible_things_stops_nobody() -> None:
    home = Home({})
    hostile = structs.replace(record(), died=(B, C, D))
    home.ledger.adopt(hostile, 5, frame(hostile), home.now)
    assert not said(home.after(1), TaskPoison)


def test_a_reply_is_never_given_twice() -> None:
    home = Home({B: 1})
    effects = home.awarded(request=1)
    home.ledger.wait(2, home.record.id)
    effects += home.written(home.cancel(home.record.id, request=3))
    answered = [each.request for each in effects if isinstance(each, Reply)]
    assert sorted(answered) == [1, 2, 3]
    assert home.after(100) == []
