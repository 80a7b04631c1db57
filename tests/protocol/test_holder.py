"""The owner's side of a task: taking it, answering for it, committing its end, and letting go."""

import pytest
from msgspec import structs

from protocol import ids, limits, records
from protocol.effects import Effect, Read, RunAgent, Send, StopAgent, Write
from protocol.events import ResultRefused, TaskDone, TaskFailed, TaskPutBack, TaskStarted
from protocol.grants import CHECK_S, STALE_S
from protocol.holder import AGAIN_S, COMMITS_MAX
from protocol.inputs import AgentProgress
from protocol.records import Standing
from protocol.wire.task import (
    Accept,
    Award,
    Decline,
    Failure,
    Result,
    TaskRecord,
    TaskState,
    Withdraw,
)
from tests.protocol.conversation import instant
from tests.protocol.owning import Owner, W, answer, declines, mine
from tests.protocol.work import (
    CARD,
    KEEP_S,
    LIFE,
    B,
    C,
    awarded,
    bodies,
    only_write,
    said,
)


def test_an_award_is_accepted_and_the_agent_begins_with_the_fencing_token() -> None:
    owner, record = Owner(), mine(epoch=3)
    effects = owner.award(record)
    assert bodies(effects, Accept) == [Accept(record.id, 3)]
    (run,) = (each for each in effects if isinstance(each, RunAgent))
    assert (run.agent, run.task, run.epoch, run.input, run.deadline_s) == ("echo", record.id, 3, b"\x01", 86_400.0)
    assert [event.epoch for event in said(effects, TaskStarted)] == [3]
    assert (owner.holder.in_hand, owner.slots.taken) == (1, 1)


def test_an_award_that_comes_twice_runs_once_and_is_accepted_twice() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    assert owner.award(record) == [Send(W, LIFE, Accept(record.id, 1), iid=record.iid, gid=record.gid)]


def test_an_award_to_another_node_or_life_or_of_another_task_is_ignored() -> None:
    owner, record = Owner(), mine()
    assert owner.award(awarded(owner=C)) == []
    assert owner.award(structs.replace(record, owner_life=LIFE - 1)) == []
    other = Award("t" * 26, 1, 4, b"")
    assert owner.holder.on_award(W, LIFE, other, record, owner.now) == []
    assert owner.holder.on_award(W, LIFE, Award(record.id, 2, 4, b""), record, owner.now) == []


def test_an_award_of_a_task_that_has_ended_is_answered_so_and_the_record_looked_at() -> None:
    owner, record = Owner(), mine()
    effects = owner.award(structs.replace(record, state=TaskState.DONE))
    assert answer(effects).ended == (record.id,)
    assert [each.key for each in effects if isinstance(each, Read)] == [ids.task_key(record.id)]
    assert owner.holder.in_hand == 0


def test_who_is_asked_about_a_task_that_it_ended_looks_whether_the_end_stands() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.written(owner.finishes(record))
    effects = owner.ask((record, 1))
    assert answer(effects).ended == (record.id,)
    assert [each.key for each in effects if isinstance(each, Read)] == [ids.task_key(record.id)]


def test_an_end_that_waits_for_the_store_holds_no_slot_and_many_of_them_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENDS_WAITING_MAX", 1)
    owner = Owner((structs.replace(CARD, slots=2),))
    first, second = mine("one"), mine("two")
    for record in (first, second):
        owner.award(record)
        owner.finishes(record)
    assert (owner.holder.in_hand, owner.slots.taken) == (2, 1)
    assert owner.slots.free() == ((CARD.name, 1),)


def test_what_cannot_be_taken_is_declined_with_the_reason() -> None:
    assert declines(Owner(()).award(mine())) == ["no_agent"]
    full = Owner((structs.replace(CARD, slots=1),))
    full.award(mine("one"))
    assert declines(full.award(mine("two"))) == ["busy"]
    closed = Owner()
    closed.holder.close("it is stopping")
    assert declines(closed.award(mine())) == ["draining"]
    closed.holder.reopen()
    assert declines(closed.award(mine())) == []
    late = Owner()
    late.at(90_000)
    assert declines(late.award(mine())) == ["deadline"]


def test_a_result_is_committed_on_the_revision_of_the_award_and_then_told() -> None:
    owner, record = Owner(), mine()
    owner.award(record, revision=7)
    effects = owner.finishes(record)
    write = only_write(effects)
    assert effects == [write]
    assert (write.key, write.expect, write.urgent, write.keep_s) == (ids.task_key(record.id), 7, True, KEEP_S)
    assert write.record == records.done(record, result=b"\x02", started_ms=instant(0).wall_ms, now=instant(0))
    effects = owner.written(effects)
    assert [event.epoch for event in said(effects, TaskDone)] == [1]
    assert bodies(effects, Result) == [Result(record.id, 1, 5, b"sealed")]
    assert (owner.holder.in_hand, owner.slots.taken) == (0, 0)


def test_what_a_task_took_is_its_run_and_what_it_waited_is_told_beside_it() -> None:
    owner, record = Owner(), mine()
    owner.at(80)
    owner.award(record)
    owner.at(80.5)
    (done,) = said(owner.written(owner.finishes(record)), TaskDone)
    assert (done.took_ms, done.waited_ms) == (500, 80_000)


def test_a_failure_that_another_try_may_mend_goes_back_and_counts() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    effects = owner.fails(record)
    assert bodies(effects, Decline) == [Decline(record.id, 1, "agent_failed", "no", counts=True)]
    assert owner.holder.in_hand == 0


def test_an_agent_that_was_not_there_is_not_held_against_the_task() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    assert [body.counts for body in bodies(owner.fails(record, "agent_unavailable"), Decline)] == [False]


@pytest.mark.parametrize(("code", "failures"), [("agent_failed", 1.0), ("bad_input", 0.0)])
def test_an_input_that_does_not_fit_ends_the_task_and_is_not_held_against_the_agent(code: str, failures: float) -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    key = (owner.slots.agent_of(record.id), record.capability)
    (failed,) = said(owner.written(owner.fails(record, code, retry=False)), TaskFailed)
    assert failed.code == code
    assert owner.holder._seen.of(key, owner.now).failures == failures


def test_a_failure_for_good_is_the_end_of_the_task() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    effects = owner.fails(record, retry=False)
    began = instant(0)
    failed = records.failed(record, failure=Failure("agent_failed", "no"), now=began, started_ms=began.wall_ms)
    assert only_write(effects).record == failed
    assert [event.code for event in said(owner.written(effects), TaskFailed)] == ["agent_failed"]


def test_a_late_result_is_refused_shown_and_kept_under_its_own_key() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    commit = only_write(owner.finishes(record))
    stands = structs.replace(record, epoch=2, owner=C)
    effects = owner.holder.on_lost(commit, Standing(stands, 9, b""), owner.now)
    (event,) = said(effects, ResultRefused)
    assert (event.epoch, event.stands_epoch, event.stands_state) == (1, 2, "awarded")
    write = only_write(effects)
    assert (write.key, write.expect, write.keep_s) == (ids.late_key(record.id, 1), 0, KEEP_S)
    assert (owner.holder.in_hand, owner.slots.taken) == (0, 0)
    assert answer(owner.ask((record, 1))).ended == (record.id,), "whoever asks about it has missed the next"


def test_a_result_of_an_award_that_is_not_held_is_dropped() -> None:
    owner, record = Owner(), mine()
    assert owner.finishes(record) == []
    owner.award(structs.replace(record, epoch=2))
    assert owner.finishes(record) == []
    assert owner.fails(record) == []


def test_a_second_result_while_the_first_is_being_committed_is_dropped() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    assert owner.finishes(record)
    assert owner.finishes(record) == []


def test_an_ask_is_answered_with_what_runs_what_ended_and_what_never_came() -> None:
    owner = Owner((structs.replace(CARD, slots=9),))
    runs, over, strange = mine("runs"), mine("over"), mine("strange")
    owner.award(runs)
    owner.holder.on_progress(AgentProgress(runs.id, 1, b"\x05"))
    owner.holder.on_progress(AgentProgress(runs.id, 2, b"\x06"))
    owner.award(over)
    owner.written(owner.finishes(over))
    told = answer(owner.ask((runs, 1), (over, 1), (strange, 1)))
    assert [(line.task, line.epoch, line.progress) for line in told.running] == [(runs.id, 1, b"\x05")]
    assert (told.ended, told.unknown) == ((over.id,), (strange.id,))


def test_an_asker_that_is_behind_is_told_to_read_the_record() -> None:
    owner, record = Owner(), mine(epoch=2)
    owner.award(record)
    assert answer(owner.ask((record, 1))).ended == (record.id,)


def test_what_was_given_back_is_given_back_again_when_asked() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.fails(record)
    assert declines(owner.ask((record, 1))) == ["agent_failed"]
    assert declines(owner.award(record)) == ["agent_failed"]


def test_an_ask_about_a_newer_award_stops_the_older_soon_and_takes_the_newer() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    assert answer(owner.ask((record, 2))).unknown == (record.id,)
    effects = owner.award(structs.replace(record, epoch=2))
    assert StopAgent(record.id, 1) in effects
    assert [each.epoch for each in effects if isinstance(each, RunAgent)] == [2]
    assert owner.slots.taken == 2, "the older has not ended yet"


def test_a_withdrawn_task_is_stopped_unless_its_result_comes_first() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    assert owner.holder.on_withdraw(B, Withdraw(record.id, 0), owner.now) == [], "of an award before"
    owner.holder.on_withdraw(B, Withdraw(record.id, 1), owner.now)
    assert owner.holder.next_deadline() == owner.now.after(STALE_S)
    assert owner.at(STALE_S) == [StopAgent(record.id, 1)]
    assert owner.holder.in_hand == 0


def test_a_withdrawn_award_that_is_asked_about_later_has_ended_and_is_not_run_again() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.holder.on_withdraw(B, Withdraw(record.id, 1), owner.now)
    owner.at(STALE_S)
    told = answer(owner.ask((record, 1)))
    assert (told.ended, told.unknown) == ((record.id,), ())
    assert answer(owner.award(record)).ended == (record.id,)
    assert owner.holder.in_hand == 0
    owner.award(structs.replace(record, epoch=2))
    assert owner.holder.in_hand == 1, "the task may come back by a later award"


def test_an_award_that_gave_way_to_a_later_one_has_ended() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.holder.close("it is stopping")
    assert declines(owner.award(structs.replace(record, epoch=2))) == ["draining"]
    assert answer(owner.ask((record, 1))).ended == (record.id,)


def test_a_commit_under_way_is_not_stopped_by_anybody() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.finishes(record)
    assert owner.holder.on_withdraw(B, Withdraw(record.id, 1), owner.now) == []
    owner.ask((record, 2))
    assert owner.at(60) == []
    assert declines(owner.award(structs.replace(record, epoch=2))) == ["busy"], "until the store has judged"
    assert owner.holder.give_all_back() == []


def test_an_owner_of_any_other_task_goes_on_however_long_nobody_asks_and_looks_at_the_record_now_and_then() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    for seconds in (6, 60, 86_000):
        assert owner.at(seconds) == [Read(ids.task_key(record.id))]
    assert owner.at(86_001) == []


def test_an_owner_that_was_out_of_reach_when_its_task_was_cancelled_finds_that_by_itself() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.at(6)
    cancelled = records.cancelled(record, now=owner.now)
    owner.holder.on_found(cancelled, ids.task_key(record.id), owner.now)
    assert owner.at(6 + STALE_S) == [StopAgent(record.id, 1)]


def test_a_commit_of_an_exclusive_task_that_hangs_does_not_keep_the_clock_busy() -> None:
    owner, record = Owner(), mine(exclusive=True)
    owner.award(record)
    owner.finishes(record)
    assert owner.holder.next_deadline() is None
    assert owner.at(60) == []


def test_a_task_that_its_watcher_no_longer_names_is_looked_up_now_and_then() -> None:
    owner, record, other = Owner(), mine(), mine("other")
    owner.award(record)
    owner.award(other)
    owner.at(CHECK_S)
    assert Read(ids.task_key(other.id)) in owner.ask((record, 1))
    assert Read(ids.task_key(other.id)) not in owner.ask((record, 1))
    key = ids.task_key(other.id)
    assert owner.holder.on_found(None, key, owner.now) == []
    assert owner.holder.on_found(other, key, owner.now) == []
    owner.holder.on_found(structs.replace(other, epoch=0), key, owner.now)
    assert StopAgent(other.id, 1) not in owner.at(60), "that was read before our award"
    owner.holder.on_found(structs.replace(other, epoch=2, owner=C), key, owner.now)
    assert owner.at(60 + STALE_S) == [StopAgent(other.id, 1)]


def test_leaving_gives_back_all_that_is_not_being_committed() -> None:
    owner = Owner()
    for key in ("one", "two"):
        owner.award(mine(key))
    effects = owner.holder.give_all_back()
    assert declines(effects) == ["drained", "drained"]
    assert len([each for each in effects if isinstance(each, StopAgent)]) == 2
    assert owner.holder.in_hand == 0


def test_a_slot_is_free_when_the_agent_has_ended_what_it_was_told_to_stop() -> None:
    owner, record = Owner((structs.replace(CARD, slots=1),)), mine()
    owner.award(record)
    assert owner.holder.on_withdraw(B, Withdraw(record.id, 1), owner.now) == []
    assert owner.at(STALE_S) == [StopAgent(record.id, 1)]
    assert owner.holder.in_hand == 0
    assert declines(owner.award(mine("other"))) == ["busy"]
    owner.slots.give_back((record.id, 1))  # as the node does when it hears that the run is over
    assert declines(owner.award(mine("other", epoch=2))) == []


def test_what_an_agent_gave_back_itself_holds_no_slot() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    assert declines(owner.fails(record)) == ["agent_failed"]
    assert owner.slots.taken == 0


def test_an_end_that_never_left_lets_the_task_go() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    commit = only_write(owner.finishes(record))
    assert owner.holder.on_unsent(commit, "stopping", owner.now) == []
    assert (owner.holder.in_hand, owner.slots.taken) == (0, 0)


def test_an_answer_fits_into_a_frame_however_much_is_asked() -> None:
    owner = Owner((structs.replace(CARD, slots=400),))
    tasks = [mine(str(number)) for number in range(300)]
    for task in tasks:
        owner.award(task)
        owner.holder.on_progress(AgentProgress(task.id, 1, bytes(limits.PROGRESS_BYTES_MAX)))
    told = answer(owner.ask(*((task, 1) for task in tasks)))
    assert len(told.running) == 300
    assert sum(len(line.progress) for line in told.running) <= limits.ANSWER_PROGRESS_BYTES_MAX
    many = owner.ask(*((tasks[0], 1) for _ in range(20_000)))
    assert len(answer(many).running) <= limits.TASKS_PER_ASK_MAX


def test_work_submitted_again_after_its_record_removed_itself_is_done_again_whichever_word_of_it_comes_first() -> None:
    old = mine()
    again = structs.replace(old, iid="j" * 26)
    for is_award_lost in (False, True):
        owner = Owner()
        owner.award(old)
        owner.written(owner.finishes(old))
        if is_award_lost:
            assert answer(owner.ask((again, 1))).ended == (again.id,)
            owner.holder.on_found(again, ids.task_key(again.id), owner.now)
            assert answer(owner.ask((again, 1))).unknown == (again.id,), "then it is sent once more"
        assert bodies(owner.award(again, revision=9), Accept)


def test_memories_of_what_ended_are_bounded() -> None:
    owner = Owner()
    for number in range(limits.TASKS_ENDED_KEPT + 1):
        record = mine(str(number))
        owner.award(record)
        owner.written(owner.finishes(record))
    assert answer(owner.ask((mine("0"), 1))).unknown == (mine("0").id,)
    assert not [each for each in owner.ask((mine("1"), 1)) if isinstance(each, Write)]
    assert answer(owner.ask((mine("1"), 1))).ended == (mine("1").id,)


# --- a record that is damaged


def _lost(owner: Owner, record: TaskRecord, stands: Standing) -> list[Effect]:
    commit = Write(ids.task_key(record.id), structs.replace(record, state=TaskState.DONE), expect=4)
    return owner.holder.on_lost(commit, stands, owner.now)


def test_a_result_outlives_the_loss_of_its_record() -> None:
    for stands in (Standing(None, 0, b""), Standing(None, 9, b"junk"), Standing(mine(), 9, b"")):
        owner, record = Owner(), mine()
        owner.award(record)
        owner.finishes(record)
        write = only_write(_lost(owner, record, stands))
        assert isinstance(write.record, TaskRecord)
        assert (write.expect, write.record.state) == (stands.revision, TaskState.DONE)
        assert bodies(owner.written([write]), Result)


def test_a_record_that_may_have_removed_itself_is_not_made_anew() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.at(KEEP_S)
    owner.finishes(record)
    effects = _lost(owner, record, Standing(None, 0, b""))
    assert said(effects, ResultRefused)
    assert only_write(effects).key == ids.late_key(record.id, 1)


def test_a_record_by_an_unknown_node_is_looked_at_again_before_the_result_is_refused() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.finishes(record)
    stranger = Standing(None, 9, b"sealed", stranger=C)
    assert _lost(owner, record, stranger) == [Read(ids.presence_key(C))]
    assert owner.holder.next_deadline() == instant(AGAIN_S).mono_ns
    assert only_write(owner.at(AGAIN_S)).expect == 4
    assert said(_lost(owner, record, Standing(mine(epoch=2), 9, b"")), ResultRefused)


def test_a_commit_is_tried_so_often_and_no_more() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    effects = owner.finishes(record)
    tries = 0
    while not said(effects, ResultRefused):
        tries += 1
        effects = _lost(owner, record, Standing(None, 9 + tries, b"junk"))
    assert tries == COMMITS_MAX


def test_an_award_in_hand_is_written_again_when_the_record_is_lost() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    (write,) = owner.holder.on_record_lost(owner.now)
    assert isinstance(write, Write)
    assert (write.record, write.expect) == (record, 0)
    assert [event.why for event in said(owner.written([write]), TaskPutBack)] == ["missing"]
    assert only_write(owner.finishes(record)).expect == 5
    assert owner.holder.on_record_lost(owner.now) == [], "its end is on its way"
