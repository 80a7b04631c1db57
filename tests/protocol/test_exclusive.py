"""Tasks that must not run twice at once: the record says whose they are, and for how long."""

import pytest
from msgspec import structs

from protocol import ids, records
from protocol.effects import Effect, Read, RunAgent, StopAgent, Write
from protocol.events import LeaseLapsed, ResultRefused, TaskDone, TaskPutBack
from protocol.inputs import Retry
from protocol.leases import RENEWALS, STRETCH_MAX
from protocol.records import Standing
from protocol.wire.auction import Attempt, Reserve, Unwritten
from protocol.wire.task import Accept, Award, Decline, Failure, TaskRecord, TaskState, Withdraw
from tests.protocol.conversation import instant
from tests.protocol.owning import Owner, W, answer, declines, mine
from tests.protocol.work import CARD, LIFE, SETTINGS, B, C, Home, awarded, bodies, frame, only_write, said

LEASE_S, ROUND_S = SETTINGS.lease_s, SETTINGS.ask_interval_s
RENEW_S = LEASE_S / RENEWALS
ALONE = structs.replace(mine(exclusive=True), lease_ms=int(LEASE_S * 1_000))
KEY = ids.task_key(ALONE.id)


def _writes(effects: list[Effect]) -> list[Write]:
    return [each for each in effects if isinstance(each, Write)]


def _runs(effects: list[Effect]) -> list[RunAgent]:
    return [each for each in effects if isinstance(each, RunAgent)]


def _begun() -> Owner:
    """It has written its award anew, so it began."""
    owner = Owner()
    assert _runs(owner.written(owner.award(ALONE)))
    return owner


def _lost(owner: Owner, stands: TaskRecord | None, *, revision: int = 9) -> list[Effect]:
    write = Write(KEY, ALONE, expect=5)
    return owner.holder.on_lost(write, Standing(stands, revision if stands else 0, b""), owner.now)


# --- the owner


def test_an_owner_begins_once_its_own_write_of_the_award_stands() -> None:
    owner = Owner()
    effects = owner.award(ALONE, revision=7)
    write = only_write(effects)
    assert (write.key, write.record, write.expect) == (KEY, ALONE, 7)
    assert (_runs(effects), bodies(effects, Accept)) == ([], [Accept(ALONE.id, 1)])
    effects = owner.written(effects)
    (run,) = _runs(effects)
    assert (run.epoch, run.lease_s) == (1, LEASE_S)
    assert said(effects, TaskPutBack) == []


def test_any_other_task_begins_by_the_word_of_its_watcher_and_is_written_by_nobody_meanwhile() -> None:
    owner = Owner()
    (run,) = _runs(owner.award(mine()))
    assert run.lease_s == 0.0
    assert _writes(owner.at(RENEW_S)) == []


@pytest.mark.parametrize("stands", [mine(epoch=2, exclusive=True), structs.replace(ALONE, state=TaskState.CANCELLED)])
def test_an_award_that_was_long_on_its_way_begins_nothing(stands: TaskRecord) -> None:
    owner = Owner()
    owner.award(ALONE)
    assert _lost(owner, stands) == []
    assert (owner.holder.in_hand, owner.slots.taken) == (0, 0)


def test_an_award_whose_write_took_longer_than_any_lease_begins_nothing_and_is_given_back() -> None:
    owner = Owner()
    written = owner.award(ALONE)
    assert bodies(owner.at(STRETCH_MAX * LEASE_S - 0.01), Decline) == []
    effects = owner.at(STRETCH_MAX * LEASE_S)
    assert (_runs(effects), declines(effects)) == ([], ["unrenewed"])
    assert _runs(owner.written(written)) == []
    assert (owner.holder.in_hand, owner.slots.taken) == (0, 0)


def test_an_owner_writes_its_award_anew_for_as_long_as_it_has_it_and_nobody_need_ask() -> None:
    owner = _begun()
    for number in range(1, 40):
        effects = owner.at(number * RENEW_S)
        assert (only_write(effects).record, only_write(effects).expect) == (ALONE, 5)
        assert owner.at(number * RENEW_S + 0.01) == [], "one write at a time"
        assert _runs(owner.written(effects)) == []
    assert owner.holder.in_hand == 1


def test_an_owner_that_cannot_write_for_a_lease_stops_and_says_so() -> None:
    owner = _begun()
    renewal = owner.at(RENEW_S)
    owner.written(renewal)
    owner.at(2 * RENEW_S)
    assert owner.at(RENEW_S + LEASE_S - 0.001) == []
    effects = owner.at(RENEW_S + LEASE_S)
    assert effects == [StopAgent(ALONE.id, 1)]
    assert owner.at(RENEW_S + 2 * LEASE_S) == [], "the agent has not said that it stopped"
    (said_so,) = owner.holder.on_stopped(ALONE.id, 1)
    assert declines([said_so]) == ["unrenewed"]
    assert owner.holder.in_hand == 0


def test_what_is_still_stopping_is_held_and_neither_begun_again_nor_promised() -> None:
    owner = _begun()
    assert owner.holder.give_all_back() == [StopAgent(ALONE.id, 1)]
    assert [line.task for line in answer(owner.ask((ALONE, 1))).running] == [ALONE.id]
    assert owner.award(ALONE) == []
    assert declines(owner.award(mine(epoch=2, exclusive=True))) == ["busy"]
    assert owner.holder.on_stopped(ALONE.id, 2) == [], "that was another run"
    assert declines(owner.holder.on_stopped(ALONE.id, 1)) == ["drained"]
    assert owner.holder.on_stopped(ALONE.id, 1) == []


@pytest.mark.parametrize("ends", ["finishes", "fails"])
def test_an_agent_that_ends_while_it_is_being_stopped_has_stopped(ends: str) -> None:
    owner = _begun()
    owner.holder.give_all_back()
    effects = owner.finishes(ALONE) if ends == "finishes" else owner.fails(ALONE)
    assert (declines(effects), owner.holder.in_hand) == (["drained"], 0)


def test_a_lease_runs_from_when_the_write_left_and_not_from_when_it_was_known() -> None:
    owner = _begun()
    renewal = owner.at(RENEW_S)
    owner.now = instant(LEASE_S - 0.01)
    owner.written(renewal)
    owner.at(LEASE_S)
    assert StopAgent(ALONE.id, 1) in owner.at(RENEW_S + LEASE_S)


def test_an_owner_whose_award_was_moved_on_stops_at_once() -> None:
    owner = _begun()
    owner.at(RENEW_S)
    assert _lost(owner, mine(epoch=2, exclusive=True)) == [StopAgent(ALONE.id, 1)]


def test_an_award_that_another_put_back_is_written_anew_by_what_stands_now() -> None:
    owner = _begun()
    owner.at(RENEW_S)
    assert _lost(owner, ALONE, revision=11) == []
    assert only_write(owner.at(2 * RENEW_S)).expect == 11


def test_an_award_that_is_gone_from_the_record_is_put_back() -> None:
    owner = _begun()
    owner.at(RENEW_S)
    assert _lost(owner, None) == []
    effects = owner.at(2 * RENEW_S)
    assert only_write(effects).expect == 0
    assert [event.why for event in said(owner.written(effects), TaskPutBack)] == ["missing"]


def test_a_write_that_never_left_is_tried_again() -> None:
    owner = _begun()
    renewal = only_write(owner.at(RENEW_S))
    assert owner.holder.on_unsent(renewal, "full", owner.now) == []
    assert only_write(owner.at(2 * RENEW_S)).expect == 5


def test_a_result_waits_for_the_write_under_way_and_is_committed_on_its_revision() -> None:
    owner = _begun()
    renewal = owner.at(RENEW_S)
    assert owner.finishes(ALONE) == []
    effects = owner.holder.on_written(only_write(renewal), ALONE, 6, owner.now)
    commit = only_write(effects)
    assert (commit.record.state, commit.expect) == (TaskState.DONE, 6)  # type: ignore[union-attr]  # a task's record
    assert said(owner.written(effects), TaskDone)


def test_a_result_whose_award_was_moved_on_is_refused_after_the_write_under_way() -> None:
    owner = _begun()
    owner.at(RENEW_S)
    owner.finishes(ALONE)
    effects = _lost(owner, mine(epoch=2, exclusive=True))
    assert only_write(effects).record.state is TaskState.DONE  # type: ignore[union-attr]  # a task's record
    assert said(_lost(owner, mine(epoch=2, exclusive=True)), ResultRefused)


def test_a_withdrawn_task_is_stopped_at_once() -> None:
    owner = _begun()
    assert owner.holder.on_withdraw(W, Withdraw(ALONE.id, 1), owner.now) == [StopAgent(ALONE.id, 1)]


def test_an_award_that_comes_twice_is_written_and_begun_once() -> None:
    owner = Owner((structs.replace(CARD, slots=2),))
    effects = owner.award(ALONE)
    assert _writes(owner.award(ALONE)) == []
    assert len(_runs(owner.written(effects))) == 1


# --- who watches it


def _held() -> Home:
    """B has accepted it, and C could have it."""
    home = Home({B: 1, C: 1})
    home.awarded(exclusive=True)
    home.accepted()
    return home


def _renewed(home: Home, lease_s: float = LEASE_S) -> list[Effect]:
    """Its owner has written its award anew, and the record is read."""
    home.revision += 1
    home.record = structs.replace(home.record, lease_ms=int(lease_s * 1_000))
    stands = Standing(home.record, home.revision, frame(home.record))
    return home.ledger.on_found(ids.task_key(home.record.id), stands, "", home.now)


def test_the_record_of_a_silent_owner_is_read_once_to_know_what_it_wrote_last() -> None:
    home = _held()
    reads = [each for each in home.after(2 * LEASE_S - 0.001) if isinstance(each, Read)]
    assert [each.key for each in reads] == [ids.task_key(home.record.id)]
    home.answered()
    assert [each for each in home.after(LEASE_S) if isinstance(each, Read)] == reads, "in every silence"


def test_a_revision_that_is_news_has_to_stand_for_two_leases_itself() -> None:
    home = _held()
    home.after(LEASE_S)
    _renewed(home)
    assert _writes(home.after(2 * LEASE_S - 0.001)) == []
    effects = home.after(ROUND_S)
    assert only_write(effects).expect == home.revision
    home.written(effects)
    assert (home.record.owner, home.record.epoch) == (C, 2)


def test_a_lapsed_award_that_turns_out_to_be_renewed_is_held_again_and_nobody_is_blamed() -> None:
    home = _held()
    effects = home.after(2 * LEASE_S + ROUND_S)
    assert said(effects, LeaseLapsed)
    assert _writes(home.lost(awarded(exclusive=True))) == []
    assert _writes(home.after(2 * LEASE_S - 0.001)) == []
    home.written(home.after(ROUND_S))
    assert (home.record.owner, home.record.epoch, home.record.died) == (C, 2, (B,))
    assert [(each.owner, each.ended) for each in home.record.attempts] == [(B, "silent")]


def test_what_an_owner_gives_back_is_kept_though_it_wrote_its_award_anew_meanwhile() -> None:
    home = _held()
    home.declined("agent_failed", counts=True)
    home.after(SETTINGS.backoff_s_max)
    home.written(home.lost(awarded(exclusive=True)))
    assert (home.record.epoch, home.record.failures) == (2, 1)
    assert [(each.owner, each.ended) for each in home.record.attempts] == [(B, "agent_failed")]


def test_an_award_that_is_not_answered_goes_to_another_for_the_first_write_of_its_owner_would_show() -> None:
    home = Home({B: 1, C: 1})
    home.awarded(exclusive=True)
    home.written(home.after(SETTINGS.award_timeout_s_min))
    assert (home.record.owner, home.record.epoch) == (C, 2)


def test_an_award_that_never_arrived_is_sent_again() -> None:
    home = _held()
    (award,) = bodies(home.answered(unknown=True), Award)
    assert (award.epoch, award.revision) == (1, home.revision)


def test_that_an_award_never_arrived_is_an_old_word_once_its_owner_has_written_it_anew() -> None:
    home = _held()
    home.after(ROUND_S)
    _renewed(home)
    assert home.answered(unknown=True) == []
    home.after(2 * LEASE_S - 0.001)
    assert home.answered(unknown=True) == []
    home.after(0.001)
    assert bodies(home.answered(unknown=True), Award), "nobody has written it for two leases"


def test_an_award_that_nobody_has_written_since_may_be_tried_at_once_for_its_write_says_the_rest() -> None:
    home = Home({B: 2})
    home.awarded("silent")
    home.accepted()
    home.after(2 * LEASE_S - ROUND_S)
    home.awarded("alone", exclusive=True)
    home.accepted()
    home.mesh.free = {B: 2, C: 2}
    task = home.record.id
    (tried,) = (each for each in _writes(home.after(1)) if task in each.key)
    assert tried.expect == home.revision
    assert _writes(home.lost(awarded("alone", exclusive=True)) + home.after(2 * LEASE_S - 0.001)) == []


def test_what_a_watcher_did_not_write_itself_may_be_begun_whatever_is_said_of_it() -> None:
    home = Home({B: 1, C: 1})
    home.record, home.revision = awarded(exclusive=True, home=C), 9
    home.ledger.adopt(home.record, 9, frame(home.record), home.now)
    assert _writes(home.answered(unknown=True) + home.after(2 * LEASE_S - 0.1)) == []
    home.answered()
    home.after(0.1)
    assert bodies(home.answered(unknown=True), Award), "nobody has written it for two leases"


@pytest.mark.parametrize(("reason", "is_void"), [("busy", True), ("no_agent", True), ("drained", False)])
def test_a_refusal_is_void_once_the_award_was_written_anew_and_what_was_given_back_is_not(
    reason: str, is_void: bool
) -> None:
    home = _held()
    (given,) = _writes(home.declined(reason, retry_after_ms=1) + home.after(1))
    assert isinstance(given.record, TaskRecord)
    assert given.record.owner == C
    given_anew = _writes(home.lost(awarded(exclusive=True)) + home.after(2 * LEASE_S - 1))
    assert (given_anew == []) == is_void


def test_whoever_would_move_it_on_goes_by_the_lease_that_was_written_last() -> None:
    home = _held()
    longer = structs.replace(home.record, lease_ms=4 * home.record.lease_ms)
    home.lost(longer)
    home.mesh.free = {B: 0, C: 1}
    quiet = home.after(8 * LEASE_S - 0.1)
    assert _writes(quiet) == []
    (given,) = _writes(home.after(1))
    assert isinstance(given.record, TaskRecord)
    assert (given.record.owner, given.record.lease_ms) == (C, LEASE_S * 1_000)


def test_what_its_only_owner_gives_back_again_and_again_is_given_out_to_it_again_and_again() -> None:
    home = Home({B: 1})
    home.awarded(exclusive=True)
    for _ in range(5):
        home.accepted()
        effects, waited_s = home.declined("unrenewed"), 0.0
        while not _writes(effects):
            effects, waited_s = home.after(0.5), waited_s + 0.5
            assert waited_s <= SETTINGS.backoff_s_max + LEASE_S
        home.written(effects)


@pytest.mark.parametrize("lease_s", [LEASE_S, 3 * LEASE_S])
def test_what_ends_over_a_lost_record_has_the_longest_lease_too(lease_s: float) -> None:
    home = _held()
    _renewed(home, lease_s)
    home.cancel(home.record.id)
    (ended,) = _writes(home.ledger.on_lost(Write(KEY, home.record, expect=5), Standing(None, 0, b""), home.now))
    assert isinstance(ended.record, TaskRecord)
    assert ended.record.state is TaskState.CANCELLED
    assert ended.record.lease_ms == STRETCH_MAX * lease_s * 1_000


def test_what_is_put_back_has_the_longest_lease_that_its_owner_may_have() -> None:
    home = _held()
    assert home.record.lease_ms == LEASE_S * 1_000
    (back,) = _writes(home.ledger.on_record_lost(home.now) + home.after(1))
    assert isinstance(back.record, TaskRecord)
    assert back.record.lease_ms == STRETCH_MAX * LEASE_S * 1_000


def test_that_an_award_never_arrived_may_be_said_again_and_again() -> None:
    home = _held()
    home.mesh.free = {B: 1, C: 0}
    _renewed(home)
    for _ in range(14):
        home.after(ROUND_S)
        home.answered()
    assert bodies(home.answered(unknown=True), Award)
    home.after(ROUND_S)
    home.answered(unknown=True)


def test_the_lease_is_that_of_the_award_whatever_its_owner_or_watcher_has() -> None:
    brief = structs.replace(ALONE, lease_ms=300)
    owner = Owner()
    (run,) = _runs(owner.holder.on_written(only_write(owner.award(brief)), brief, 5, owner.now))
    assert run.lease_s == 0.3
    assert only_write(owner.at(0.1)).expect == 5
    assert owner.at(0.3) == [StopAgent(ALONE.id, 1)]
    home = Home({B: 1, C: 1})
    home.awarded(exclusive=True)
    assert home.record.lease_ms == LEASE_S * 1_000
    home.record, home.revision = structs.replace(awarded("k2", exclusive=True), lease_ms=60_000), 9
    home.ledger.adopt(home.record, 9, frame(home.record), home.now)
    task = home.record.id
    quiet = home.after(119.9)
    assert not [each for each in _writes(quiet) if task in each.key]
    assert not [each for each in said(quiet, LeaseLapsed) if each.task == task], "nor is it called lapsed before"
    home.mesh.free = {B: 1, C: 2}
    assert [each for each in _writes(home.after(1)) if task in each.key]


def test_what_becomes_of_a_former_award_s_write_says_nothing_of_the_next() -> None:
    owner = Owner((structs.replace(CARD, slots=1),))
    owner.written(owner.award(ALONE))
    renewal = only_write(owner.at(RENEW_S))
    owner.at(LEASE_S)
    owner.slots.give_back((ALONE.id, 1))
    owner.holder.on_stopped(ALONE.id, 1)
    owner.now = instant(2 * LEASE_S)
    lost = Unwritten((Attempt(1, B, "unrenewed", 0, ""),), 0, (), ())
    body = Reserve(ALONE.id, 5, frame(ALONE), 1, "busy", lost)
    take = only_write(owner.holder.on_award(W, LIFE, body, ALONE, owner.now))
    assert isinstance(take.record, TaskRecord)
    assert take.record.epoch == 2
    assert owner.holder.on_written(structs.replace(renewal, frame=b"sealed"), ALONE, 6, owner.now) == []
    assert owner.slots.taken == 1
    owner.holder.on_lost(take, Standing(ALONE, 6, b""), owner.now)
    assert owner.slots.taken == 0


# --- opened again


def _cancelled_twice() -> TaskRecord:
    once = records.cancelled(awarded(exclusive=True), now=instant(9))
    again = records.retried(once, by="an operator", home=C, deadline_s=9, now=instant(10))
    return records.cancelled(again, now=instant(11))


@pytest.mark.parametrize(
    ("ended", "wait_s"),
    [
        (records.cancelled(awarded(exclusive=True), now=instant(9)), 2 * LEASE_S),
        (records.failed(awarded(exclusive=True), failure=Failure("deadline", ""), now=instant(9)), 2 * LEASE_S),
        (records.failed(awarded(exclusive=True), failure=Failure("agent_failed", ""), now=instant(9)), 0.0),
        (records.cancelled(awarded(), now=instant(9)), 0.0),
        (records.cancelled(structs.replace(awarded(exclusive=True), owner=""), now=instant(9)), 0.0),
        (_cancelled_twice(), 2 * LEASE_S),
        (records.poisoned(awarded(exclusive=True), now=instant(9)), 2 * LEASE_S),
    ],
)
def test_what_its_last_owner_may_be_at_still_is_given_out_two_leases_later(ended: TaskRecord, wait_s: float) -> None:
    home = Home({C: 1})
    home.ledger.retry(Retry(5, ended.id, "an operator"))
    home.revision = 5
    effects = home.ledger.on_found(ids.task_key(ended.id), Standing(ended, 5, frame(ended)), "", home.now)
    given = home.written(effects)
    if wait_s:
        assert _writes(given + home.after(wait_s - 0.001)) == []
        given = home.after(0.001)
    home.written(given)
    assert (home.record.owner, home.record.epoch, home.record.owner_life) == (C, 2, LIFE)
