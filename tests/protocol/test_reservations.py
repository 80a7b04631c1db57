"""The other side of late binding: what waits for a slot here, in which order, and who takes it."""

from typing import Any

import pytest
from msgspec import structs

from protocol import limits, records
from protocol.effects import Effect, RunAgent, StopAgent, Write
from protocol.events import TaskAwarded
from protocol.holder import TELL_S, Holder
from protocol.inputs import AgentFailed, AgentFinished
from protocol.leases import STRETCH_MAX
from protocol.primitives import Instant
from protocol.records import Standing
from protocol.reservations import SPOKEN_S, Reservations, Reserved
from protocol.slots import Slots
from protocol.wire.auction import Answered, Attempt, Reserve, Round, Taken, Unreserve, Unwritten
from protocol.wire.task import Ask, Award, Decline, Failure, Held, TaskRecord, TaskState, Withdraw
from tests.protocol.conversation import instant
from tests.protocol.work import (
    CARD,
    ECHO,
    KEEP_S,
    LIFE,
    ME,
    SETTINGS,
    B,
    C,
    D,
    awarded,
    bodies,
    frame,
    guards,
    only_write,
    record,
    said,
)

NOW = instant(0.0)


def _reserved(key: str, **fields: Any) -> Reserved:
    return Reserved(record(key, **fields), 1, B, LIFE, 4, "", NOW)


def test_the_most_urgent_is_first_then_the_oldest_then_the_nearest_deadline() -> None:
    queue = Reservations(lease_s=SETTINGS.lease_s)
    last = _reserved("last", submitted_ms=20)
    for each in (
        last,
        _reserved("old", submitted_ms=10, deadline_ms=99),
        _reserved("urgent", priority=9, submitted_ms=30),
        _reserved("near", submitted_ms=10, deadline_ms=50),
    ):
        queue.add(each)
    order = []
    while (first := queue.first(lambda capability: True)) is not None:
        order.append(first.record.key)
        queue.discard(first.record.id)
    assert order == ["urgent", "near", "old", "last"]


def test_a_queue_is_bounded_and_holds_a_task_once() -> None:
    queue = Reservations(lease_s=SETTINGS.lease_s)
    for number in range(limits.RESERVED_MAX + 9):
        queue.add(_reserved(str(number)))
    assert len(queue) == limits.RESERVED_MAX
    queue.add(_reserved("1"))
    assert len(queue) == limits.RESERVED_MAX


def test_reservations_out_of_date_keep_no_fresh_one_out_nor_count_in_a_bid() -> None:
    queue, lease_s = Reservations(lease_s=SETTINGS.lease_s), SETTINGS.lease_s
    for number in range(limits.RESERVED_MAX):
        queue.add(_reserved(str(number), priority=9))
    queue.add(structs.replace(_reserved("1"), since=instant(lease_s / 2)))
    queue.add(structs.replace(_reserved("early"), since=instant(lease_s / 2)))
    assert queue.count(ECHO) == limits.RESERVED_MAX, "there is no room yet"
    queue.add(structs.replace(_reserved("fresh"), since=instant(lease_s)))
    assert queue.count(ECHO) == 2, "the one that was spoken of again, and the fresh one"
    queue.expire(instant(2 * lease_s))
    assert len(queue) == 0


def test_what_a_watcher_reserved_is_not_replaced_by_another_s_word_a_moment_later() -> None:
    queue, true = Reservations(lease_s=SETTINGS.lease_s), _reserved("k")
    queue.add(true)
    false = structs.replace(true, watcher=C, revision=99)
    queue.add(false)
    assert queue.first(lambda capability: True) == true
    later = structs.replace(false, since=Instant(NOW.after(SPOKEN_S), NOW.wall_ms))
    queue.add(later)
    assert queue.first(lambda capability: True) == later, "its watcher is gone, perhaps"


def test_a_capability_without_room_holds_up_no_other() -> None:
    queue = Reservations(lease_s=SETTINGS.lease_s)
    queue.add(_reserved("one", priority=9))
    queue.add(_reserved("two", capability="other@1"))
    first = queue.first(lambda capability: capability == "other@1")
    assert first is not None
    assert first.record.key == "two"


def test_who_is_next_is_found_without_a_look_at_those_behind() -> None:
    looked_at: list[str] = []

    class Looked(Reserved, frozen=True):
        def __getattribute__(self, name: str) -> Any:
            looked_at.append(name)
            return super().__getattribute__(name)

    queue = Reservations(lease_s=SETTINGS.lease_s)
    for number in range(99):
        queue.add(Looked(record(str(number)), 1, B, LIFE, 4, "", NOW))
    looked_at.clear()
    assert queue.first(lambda capability: False) is None
    assert queue.first(lambda capability: True) is not None
    assert (looked_at, queue.count(ECHO), queue.count("none@1")) == ([], 99, 0)


class Owner:
    """One node with some slots, and what it is told."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = Slots()
        self.slots.advertise((structs.replace(CARD, slots=slots),))
        self.holder = Holder(me=ME, life=LIFE, settings=SETTINGS, keep_s=KEEP_S, slots=self.slots, guards=guards)
        self.now = NOW

    def reserve(self, of: TaskRecord, revision: int = 1, unwritten: Unwritten | None = None) -> list[Effect]:
        """B tells of a task that waits."""
        body = Reserve(of.id, revision, frame(of), 4, "nobody seems free", unwritten or Unwritten())
        return self.holder.on_reserve(B, LIFE, body, of, self.now)

    def written(self, effects: list[Effect], revision: int = 2) -> list[Effect]:
        """The one write among these stands."""
        write = only_write(effects)
        assert isinstance(write.record, TaskRecord)
        return self.holder.on_written(structs.replace(write, frame=b"sealed"), write.record, revision, self.now)

    def lost(self, effects: list[Effect]) -> list[Effect]:
        """Another write stands there."""
        return self.holder.on_lost(only_write(effects), Standing(awarded(), 3, b""), self.now)


def test_a_free_slot_takes_what_waits_by_a_write_and_runs_it_once_that_stands() -> None:
    owner = Owner()
    effects = owner.reserve(record())
    write = only_write(effects)
    assert isinstance(write.record, TaskRecord)
    assert (write.expect, write.record.owner, write.record.epoch) == (1, ME, 1)
    (told,) = write.record.rounds
    assert (told.gear, told.asked, told.owner, told.why) == ("late", 4, ME, "nobody seems free")
    effects = owner.written(effects)
    assert [each.epoch for each in effects if isinstance(each, RunAgent)] == [1]
    assert bodies(effects, Taken) == [Taken(record().id, 1, 2, b"sealed")]
    assert [each.why for each in said(effects, TaskAwarded)] == ["late"]


def test_who_loses_the_write_drops_it_and_has_its_slot_again() -> None:
    owner = Owner()
    assert owner.lost(owner.reserve(record())) == []
    assert owner.slots.best(ECHO) is not None
    assert owner.holder.on_room(NOW) == []


def test_a_busy_node_takes_it_when_a_slot_is_free() -> None:
    owner = Owner()
    owner.written(owner.reserve(record("first")))
    assert owner.reserve(record("second")) == []
    done = owner.holder.on_finished(AgentFinished(record("first").id, 1, b"\x01"), NOW)
    owner.written(done, revision=5)
    taken = only_write(owner.holder.on_room(NOW)).record
    assert isinstance(taken, TaskRecord)
    assert taken.key == "second"


def test_what_somebody_else_has_is_not_tried() -> None:
    owner = Owner()
    owner.written(owner.reserve(record("first")))
    owner.reserve(record("second"))
    owner.holder.on_withdraw(B, Unreserve(record("second").id, 1), NOW)
    owner.slots.give_back(record("first").id)
    assert owner.holder.on_room(NOW) == []


@pytest.mark.parametrize(("sender", "revision"), [(C, 9), (B, 3)])
def test_only_who_reserved_it_takes_it_back_and_not_by_a_word_from_before(sender: str, revision: int) -> None:
    owner = Owner()
    owner.slots.take("another", ECHO)
    owner.reserve(record(), 4)
    owner.holder.on_withdraw(sender, Unreserve(record().id, revision), NOW)
    owner.slots.give_back("another")
    assert len(owner.holder.on_room(NOW)) == 1


def test_the_word_of_having_taken_it_is_repeated_until_somebody_asks() -> None:
    owner = Owner()
    owner.written(owner.reserve(record()))
    assert owner.holder.next_deadline() == NOW.after(TELL_S)
    assert len(bodies(owner.holder.on_tick(instant(TELL_S)), Taken)) == 1
    assert len(bodies(owner.holder.on_tick(instant(2 * TELL_S)), Taken)) == 1
    owner.holder.on_ask(B, LIFE, Ask(1, (Held(record().id, 1, 2),)), instant(2 * TELL_S))
    assert owner.holder.on_tick(instant(5 * TELL_S)) == []


def test_who_takes_what_its_owner_lost_writes_all_that_its_watcher_knew() -> None:
    owner = Owner()
    lost = awarded(owner=B, failures=1, died=(C,), attempts=(Attempt(0, C, "silent", 1),))
    ended, search = Attempt(1, B, "agent_failed", 2, "no such customer"), Round(2, "bids", "", 3)
    write = only_write(owner.reserve(lost, 4, Unwritten((ended,), 2, (C, D), (search,))))
    assert isinstance(write.record, TaskRecord)
    assert (write.expect, write.record.epoch, write.record.owner) == (4, 2, ME)
    assert (write.record.attempts[-1], write.record.failures, write.record.died) == (ended, 2, (C, D))
    assert [each.gear for each in write.record.rounds] == ["bids", "late"]
    assert said(owner.written([write]), TaskAwarded)[0].former == B


def test_who_takes_it_completes_the_search_that_its_watcher_began() -> None:
    owner = Owner()
    owner.slots.take("another", ECHO)
    began = Round(1, "late", "nobody seems free", 5, 900, 2, (Answered(B, "reserved"), Answered(ME, "reserved")))
    owner.reserve(record(), 1, Unwritten(rounds=(began,)))
    owner.slots.give_back("another")
    (write,) = owner.holder.on_room(instant(0.1))
    assert isinstance(write, Write)
    assert isinstance(write.record, TaskRecord)
    assert write.record.rounds == (structs.replace(began, owner=ME, took_ms=1_000),)


def test_a_word_from_before_what_the_record_says_takes_nothing_out_of_it() -> None:
    owner = Owner()
    known = awarded(owner=B, failures=3, died=(C, D), attempts=(Attempt(1, B, "silent", 1),))
    write = only_write(owner.reserve(known, 4, Unwritten((), 1, (C,))))
    assert isinstance(write.record, TaskRecord)
    assert (write.record.failures, write.record.died) == (3, (C, D))


def test_nobody_takes_what_stands_awarded_and_was_not_given_up() -> None:
    owner = Owner()
    for told in (Unwritten(), Unwritten((Attempt(7, B, "silent", 1),)), Unwritten(failures=4, died=(B,))):
        assert owner.reserve(awarded(owner=B), 4, told) == []


def test_a_reservation_lasts_a_lease() -> None:
    for waited_s, takes in ((SETTINGS.lease_s - 0.1, 1), (SETTINGS.lease_s, 0)):
        owner = Owner()
        owner.slots.take("another", ECHO)
        owner.reserve(record())
        owner.slots.give_back("another")
        assert len(owner.holder.on_room(instant(waited_s))) == takes


def test_a_task_that_was_opened_again_is_taken_by_who_ended_it_before() -> None:
    owner = Owner()
    owner.written(owner.reserve(record()))
    owner.holder.on_failed(AgentFailed(record().id, 1, "agent_failed", "no such customer", retry=False), NOW)
    failed = records.failed(awarded(owner=ME), failure=Failure("agent_failed", ""), now=NOW)
    owner.holder.on_written(Write("", failed, expect=2), failed, 3, NOW)
    assert owner.holder.in_hand == 0
    assert owner.reserve(record()) == [], "an old word"
    assert len(owner.reserve(record(epoch=1, retries=1), 4)) == 1


def test_nobody_takes_what_it_has_in_hand_or_saw_the_end_of() -> None:
    owner = Owner(slots=2)
    theirs = awarded(owner=ME)
    owner.holder.on_award(B, LIFE, Award(theirs.id, 1, 2, frame(theirs)), theirs, NOW)
    lost = Unwritten((Attempt(1, ME, "silent", 1),))
    assert owner.reserve(theirs, 2, lost) == []
    owner.holder.on_withdraw(B, Withdraw(theirs.id, 1), NOW)
    owner.holder.on_tick(instant(1.0))
    assert owner.holder.in_hand == 0
    assert owner.reserve(theirs, 2, lost) == []


def test_only_a_record_that_has_not_ended_is_taken() -> None:
    owner = Owner()
    for wrong in (awarded(), record(state=TaskState.CANCELLED), record(capability="other@1"), record(deadline_ms=1)):
        assert owner.reserve(wrong) == []


def test_a_draining_node_takes_nothing_that_waits() -> None:
    owner = Owner()
    owner.written(owner.reserve(record("first")))
    owner.reserve(record("second"))
    owner.holder.close("it is stopping")
    owner.slots.give_back(record("first").id)
    assert owner.holder.on_room(NOW) == []
    assert owner.reserve(record("third")) == []


def test_a_node_that_is_to_take_nothing_new_while_its_write_is_under_way_gives_the_task_back_and_says_why() -> None:
    owner = Owner()
    effects = owner.reserve(record())
    owner.holder.close("its audit cannot be written")
    effects = owner.written(effects)
    assert [type(each) for each in effects if isinstance(each, RunAgent | Write)] == []
    assert len(bodies(effects, Taken)) == 1
    told = [(each.reason, each.detail) for each in bodies(effects, Decline)]
    assert told == [("drained", "the node takes no new work: its audit cannot be written")]


def test_the_same_word_twice_takes_a_task_once() -> None:
    owner = Owner(slots=2)
    assert len(owner.reserve(record())) == 1
    assert owner.reserve(record()) == []


def test_an_award_that_comes_while_our_own_write_is_under_way_keeps_its_slot() -> None:
    owner = Owner()
    effects = owner.reserve(record())
    theirs = awarded(owner=ME)
    owner.holder.on_award(B, LIFE, Award(theirs.id, 1, 2, frame(theirs)), theirs, NOW)
    assert owner.lost(effects) == []
    assert owner.slots.best(ECHO) is None
    assert owner.holder.in_hand == 1


@pytest.mark.parametrize("became", ["in hand", "done", "given back"])
def test_an_award_that_was_begun_before_our_own_write_came_back_is_not_begun_again(became: str) -> None:
    owner = Owner()
    effects = owner.reserve(record())
    theirs = awarded(owner=ME)
    owner.holder.on_award(B, LIFE, Award(theirs.id, 1, 2, frame(theirs)), theirs, NOW)
    if became == "done":
        ended = only_write(owner.holder.on_finished(AgentFinished(theirs.id, 1, b"1"), NOW))
        assert isinstance(ended.record, TaskRecord)
    if became == "given back":
        owner.holder.on_failed(AgentFailed(theirs.id, 1, "agent_failed", "no", retry=True), NOW)
    late = owner.written(effects)
    assert [type(each) for each in late if isinstance(each, RunAgent)] == []
    assert len(said(late, TaskAwarded)) == 1
    assert owner.holder.in_hand == (became != "given back")


def test_an_exclusive_task_whose_write_came_back_a_lease_later_is_begun_once_it_has_a_longer_one() -> None:
    owner = Owner()
    effects = owner.reserve(record(exclusive=True))
    owner.now = instant(SETTINGS.lease_s)
    effects = owner.written(effects)
    assert [each for each in effects if isinstance(each, RunAgent)] == []
    longer = only_write(effects)
    assert isinstance(longer.record, TaskRecord)
    assert longer.record.lease_ms == STRETCH_MAX * SETTINGS.lease_s * 1_000
    assert [type(each) for each in owner.written(effects) if isinstance(each, RunAgent)] == [RunAgent]


def test_an_exclusive_task_that_was_taken_is_held_from_the_write_on() -> None:
    owner = Owner()
    effects = owner.reserve(record(exclusive=True))
    owner.now = instant(SETTINGS.lease_s / 10)
    owner.written(effects)
    task = record().id
    assert StopAgent(task, 1) in owner.holder.on_tick(instant(SETTINGS.lease_s))
    assert [each.reason for each in bodies(owner.holder.on_stopped(task, 1), Decline)] == ["unrenewed"]
