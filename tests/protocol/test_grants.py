"""What an owner remembers of its awards: in hand, ended, given back."""

from msgspec import structs

from protocol import limits
from protocol.grants import STALE_S, UNASKED_LEASES, Grants
from protocol.primitives import Instant
from protocol.slots import Slots
from protocol.watched import TaskSettings
from protocol.wire.agents import Card
from protocol.wire.task import Decline, TaskState
from tests.protocol.bodies import RECORD

NOW = Instant(1_000_000_000, 1_700_000_000_000)
AWARDED = structs.replace(RECORD, state=TaskState.AWARDED, epoch=2, exclusive=False)


def grants() -> tuple[Grants, Slots]:
    slots = Slots()
    slots.advertise((Card(name="scorer", kind="python", capabilities=(AWARDED.capability,), slots=1),))
    assert slots.take(AWARDED.id, AWARDED.capability) == "scorer"
    return Grants(settings=TaskSettings(), slots=slots, guards=lambda node, task: node == "guardian"), slots


def test_the_slot_of_a_task_is_free_once_it_is_in_hand_no_more() -> None:
    held, slots = grants()
    held.begin(AWARDED, 5, "watcher", 1, NOW)
    assert AWARDED.id in held
    assert slots.taken == 1

    held.release(AWARDED.id)
    held.release(AWARDED.id)
    assert len(held) == 0
    assert slots.taken == 0


def test_what_is_being_committed_is_not_current_any_more() -> None:
    held, _ = grants()
    grant = held.begin(AWARDED, 5, "watcher", 1, NOW)
    assert held.current(AWARDED.id, 2) is grant
    assert held.current(AWARDED.id, 1) is None

    grant.ending = AWARDED
    assert held.current(AWARDED.id, 2) is None
    assert held.ending() == [grant]
    assert held.open() == []


def test_an_award_that_is_over_covers_the_ones_before_it_and_none_after() -> None:
    held, _ = grants()
    held.end(AWARDED)
    assert [held.has_ended(AWARDED.id, epoch) for epoch in (1, 2, 3)] == [True, True, False]
    assert not held.has_ended("other", 1)


def test_its_home_and_who_asked_last_watch_a_task_and_a_guardian_once_those_are_silent() -> None:
    held, _ = grants()
    grant = held.begin(structs.replace(AWARDED, home="home"), 5, "watcher", 1, NOW)
    soon, later = NOW, Instant(NOW.after(1.0), NOW.wall_ms)

    def watching(now: Instant) -> list[str]:
        askers = ("home", "watcher", "guardian", "stranger")
        return [each for each in askers if held.is_watched_by(each, grant, now)]

    assert watching(soon) == ["home", "watcher"]
    assert watching(later) == ["home", "watcher", "guardian"]
    grant.named_by("home", 1, later)
    assert watching(later) == ["home"]


def test_a_decline_is_of_one_award() -> None:
    held, _ = grants()
    decline = Decline("t", 2, "drained")
    held.give_back(AWARDED, decline)
    assert held.given_back(AWARDED.id, 2) == decline
    assert held.given_back(AWARDED.id, 3) is None


def test_nothing_that_was_counts_for_other_work_under_the_same_id() -> None:
    held, _ = grants()
    alone = structs.replace(AWARDED, exclusive=True)
    held.end(alone)
    held.give_back(alone, Decline(alone.id, 2, "drained"))
    held.learn(alone)
    assert held.has_ended(alone.id, 2)
    held.learn(structs.replace(alone, iid="j" * 26))
    assert not held.has_ended(alone.id, 2)
    assert held.given_back(alone.id, 2) is None


def test_what_was_is_remembered_within_bounds_the_oldest_forgotten_first() -> None:
    held, _ = grants()
    for number in range(limits.TASKS_ENDED_KEPT + 1):
        held.end(structs.replace(AWARDED, id=f"t{number}"))
    assert not held.has_ended("t0", 1)
    assert held.has_ended("t1", 1)


def test_what_is_stale_is_looked_at_when_its_time_has_come() -> None:
    held, _ = grants()
    assert held.next_deadline() is None
    grant = held.begin(AWARDED, 5, "watcher", 1, NOW)
    grant.stale_since = NOW.mono_ns
    assert held.next_deadline() == NOW.after(STALE_S)
    assert not grant.is_stale(NOW)
    assert grant.is_stale(Instant(NOW.after(STALE_S), NOW.wall_ms))


def test_an_owner_that_nobody_asks_looks_at_the_record_after_two_leases_and_then_again() -> None:
    held, _ = grants()
    grant = held.begin(AWARDED, 5, "watcher", 1, NOW)
    look_s = UNASKED_LEASES * TaskSettings().lease_s
    assert held.next_deadline() == NOW.after(look_s)
    assert held.to_look_up(NOW) == []
    later = Instant(NOW.after(look_s), NOW.wall_ms)
    assert held.to_look_up(later) == [grant]
    grant.named_by("watcher", 1, later)
    assert held.to_look_up(later) == []
