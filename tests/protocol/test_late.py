"""The home's side of late binding: which waiting tasks are reserved, where, and what ends that."""

from random import Random

from protocol import limits, records
from protocol.effects import Effect, Read, Send
from protocol.late import RESERVE_AFTER_S, RESERVED_PER_SLOT, Late
from protocol.primitives import Instant
from protocol.timers import Timers
from protocol.watched import Watched
from protocol.wire.auction import Reserve, Taken, Unreserve
from protocol.wire.task import TaskState
from tests.protocol.conversation import instant
from tests.protocol.work import LIFE, ME, SETTINGS, B, C, D, Home, Mesh, awarded, bodies, frame, only_write, record

E, F = "e" * 32, "f" * 32
BUSY = {B: 0, C: 0, D: 0, E: 0, F: 0}


def _waits(free: dict[str, int] | None = None, route: str = "late") -> tuple[Home, list[Effect]]:
    """A task that nobody had room for, and what was said once its record stood."""
    home = Home(dict(BUSY if free is None else free))
    effects = home.written(home.submit(route=route))
    return home, effects


def _at(effects: list[Effect]) -> set[str]:
    return {each.to for each in effects if isinstance(each, Send) and isinstance(each.body, Reserve)}


def _takes(home: Home, node: str, *, revision: int = 2) -> list[Effect]:
    """The node has written itself into the record and says so."""
    taken = records.awarded(home.record, owner=node, owner_life=LIFE, now=home.now)
    body = Taken(taken.id, taken.epoch, revision, frame(taken))
    return home.ledger.on_taken(node, body, taken, home.now)


def test_a_task_that_nobody_has_room_for_is_reserved_at_four_nodes() -> None:
    home, effects = _waits()
    assert home.record.state is TaskState.OPEN
    assert len(_at(effects)) == limits.RESERVED_AT
    (body, *_) = bodies(effects, Reserve)
    assert (body.task, body.revision, body.asked) == (home.record.id, 1, 4)
    assert body.why == "asked for by the route late"


def test_a_task_of_another_route_is_reserved_once_it_has_waited_for_a_moment() -> None:
    home, effects = _waits(route="auto")
    assert _at(effects) == set()
    assert len(_at(home.after(RESERVE_AFTER_S))) == 4


def test_a_task_that_gets_a_slot_within_that_moment_is_not_reserved() -> None:
    home, effects = _waits(route="auto")
    home.after(RESERVE_AFTER_S / 2)
    home.mesh.free[B] = 1
    home.written(home.ledger.on_capacity(home.now))
    assert home.record.owner == B
    assert _at(effects + home.after(RESERVE_AFTER_S)) == set()


def test_a_task_that_must_stay_here_is_not_reserved() -> None:
    home, effects = _waits({ME: 0, B: 0}, route="local")
    assert _at(effects + home.after(1)) == set()


def test_who_took_it_is_believed_and_the_others_are_told() -> None:
    home, effects = _waits()
    at = _at(effects)
    taker = min(at)
    said = _takes(home, taker)
    assert {each.to for each in said if isinstance(each, Send) and isinstance(each.body, Unreserve)} == at - {taker}
    assert home.ledger.waiting == 0


def test_who_was_not_asked_is_looked_up_and_not_believed() -> None:
    home, effects = _waits()
    (stranger,) = set(BUSY) - _at(effects)
    (look,) = _takes(home, stranger)
    assert isinstance(look, Read)
    assert home.ledger.waiting == 1


def test_a_node_that_is_not_among_the_four_may_be_given_it_at_any_time() -> None:
    home, effects = _waits()
    (other,) = set(BUSY) - _at(effects)
    reserved = min(_at(effects))
    home.mesh.free[reserved] = 1
    assert home.ledger.on_capacity(home.now) == [], "it will take it by itself"
    home.mesh.free[other] = 1
    home.written(home.ledger.on_capacity(home.now))
    assert home.record.owner == other


def test_after_a_lease_its_record_is_looked_at_and_it_is_reserved_anew() -> None:
    home, _ = _waits()
    effects = home.after(SETTINGS.lease_s + 0.1)
    assert [type(each) for each in effects[:1]] == [Read]
    assert len(_at(effects)) == 4


def test_after_a_lease_whoever_seems_free_is_given_it() -> None:
    home, effects = _waits()
    home.mesh.free[min(_at(effects))] = 1
    award = only_write(home.after(SETTINGS.lease_s + 0.1))
    assert award.expect == 1


def test_a_task_that_lost_its_owner_is_reserved_at_once_with_what_is_not_on_record_yet() -> None:
    home = Home({B: 1, C: 0, D: 0})
    home.awarded()
    home.accepted()
    home.mesh.free[B] = 0
    effects = home.declined("agent_failed", detail="no such customer", counts=True)
    effects += home.after(SETTINGS.backoff_s_min)
    at = {each.to: each.body for each in effects if isinstance(each, Send) and isinstance(each.body, Reserve)}
    told = at[C].unwritten
    assert (told.failures, [(each.owner, each.ended) for each in told.attempts]) == (1, [(B, "agent_failed")])


def test_the_evidence_names_where_it_was_reserved_and_since_when() -> None:
    home, effects = _waits()
    since_ms = home.now.wall_ms
    (body, *_) = bodies(effects, Reserve)
    assert [(each.gear, {answer.node for answer in each.answers}) for each in body.unwritten.rounds] == [
        ("late", _at(effects))
    ]
    anew = bodies(home.after(SETTINGS.lease_s), Reserve)[0].unwritten.rounds
    assert [(each.at_ms, each.took_ms) for each in anew] == [(since_ms, int(SETTINGS.lease_s * 1_000))]


def test_who_was_busy_is_among_those_that_it_is_reserved_at() -> None:
    home = Home({B: 1, C: 0})
    home.awarded()
    assert _at(home.declined("busy", retry_after_ms=200)) == {B, C}


def test_nobody_has_it_reserved_while_its_owner_may_still_have_it() -> None:
    home = Home({B: 1, C: 0})
    home.awarded()
    home.accepted()
    assert _at(home.after(SETTINGS.lease_s / 2)) == set()
    assert _at(home.after(SETTINGS.lease_s)) == {C}
    assert {type(each.body) for each in home.answered() if isinstance(each, Send)} == {Unreserve}


def test_who_lost_it_and_ends_it_all_the_same_frees_the_reservations() -> None:
    home = Home({B: 1, C: 0})
    home.awarded()
    home.accepted()
    home.after(SETTINGS.lease_s + 1)
    done = records.done(home.record, result=b"\xc0", started_ms=1, now=home.now)
    assert len(bodies(home.result(done), Unreserve)) == 1


def test_one_that_lost_its_owner_is_not_kept_out_by_those_reserved_before_it() -> None:
    late = Late(settings=SETTINGS, view=Mesh({}), timers=Timers(), rng=Random(7))
    home = Home(dict(BUSY))
    able = home.mesh.candidates("echo@1", home.now)
    for number in range(RESERVED_PER_SLOT * sum(each.slots for each in able)):
        waits = Watched(record(str(number), route="late"), revision=1, frame=b"x")
        assert len(late.reserve(waits, able, "", home.now)) == 4
    lost = Watched(awarded("lost"), revision=2, frame=b"x")
    lost.lapse("silent", "", home.now)
    assert len(late.reserve(lost, able, "", home.now)) == 4


def test_a_cancel_frees_the_reservations() -> None:
    home, _ = _waits()
    effects = home.written(home.cancel(home.record.id))
    assert len(bodies(effects, Unreserve)) == 4


def test_the_route_late_reserves_even_where_somebody_is_free() -> None:
    home, effects = _waits({ME: 1, B: 1}, route="late")
    assert (home.record.state, _at(effects)) == (TaskState.OPEN, {ME, B})


def test_a_task_of_the_route_late_that_was_given_back_is_reserved_again_at_the_others() -> None:
    home, effects = _waits({B: 1, C: 1}, route="late")
    taken = records.awarded(home.record, owner=B, owner_life=LIFE, now=home.now)
    home.ledger.on_taken(B, Taken(taken.id, 1, 2, frame(taken)), taken, home.now)
    home.record = taken
    assert _at(effects) == {B, C}
    assert _at(home.declined("drained")) == {C}


class Queue:
    """Many tasks that wait for three nodes, of which none has room."""

    def __init__(self, count: int, *, slots: int = 2) -> None:
        home = Home({B: 0, C: 0, D: 0})
        home.mesh.slots = slots
        self.home, self.able = home, home.mesh.candidates("echo@1", home.now)
        self.timers: Timers[tuple[str, str]] = Timers()
        self.late = Late(settings=SETTINGS, view=home.mesh, timers=self.timers, rng=Random(7))
        self.tasks = [Watched(record(str(each), route="late"), revision=1, frame=b"x") for each in range(count)]
        self.waiting = list(self.tasks)

    def reserve(self, now: Instant) -> int:
        """All that wait are offered, the most urgent first: how many messages that was."""
        said = [self.late.reserve(each, self.able, "", now) for each in self.waiting]
        return len(bodies([effect for effects in said for effect in effects], Reserve))

    def take(self, count: int, now: Instant) -> None:
        """B takes the first of those that wait."""
        for watched in self.waiting[:count]:
            self.late.took(watched, B, now)
        del self.waiting[:count]

    @property
    def open(self) -> int:
        """How many are reserved."""
        return sum(bool(each.late_until) for each in self.waiting)


def test_no_more_are_reserved_than_two_for_each_slot_however_many_wait() -> None:
    queue = Queue(400)
    assert queue.reserve(instant(0)) == 3 * 12
    assert queue.late.room("echo@1", instant(0)) == 0


def test_what_lapses_is_said_anew_within_that_bound() -> None:
    queue = Queue(400)
    queue.reserve(instant(0))
    assert queue.reserve(instant(SETTINGS.lease_s)) == 3 * 12


def test_the_next_ones_get_their_turn_once_half_of_them_are_taken() -> None:
    queue = Queue(400)
    queue.reserve(instant(0))
    queue.take(5, instant(0.1))
    assert queue.late.next("echo@1", 395, instant(0.1)) == 0
    queue.take(1, instant(0.1))
    assert queue.late.next("echo@1", 394, instant(0.1)) >= 12
    assert queue.timers.next() == instant(0.1).mono_ns
    assert queue.late.next("echo@1", 6, instant(0.1)) == 0, "all that wait are reserved"
    assert queue.reserve(instant(0.1)) == 3 * 6


def test_what_is_taken_fast_is_reserved_in_such_numbers_and_no_longer_than_that() -> None:
    queue, most = Queue(2_000), []
    for step in range(20):
        queue.reserve(instant(step / 10))
        most.append(queue.open)
        queue.take(12 if step < 10 else queue.open, instant(step / 10))
    assert (most[0], max(most)) == (12, limits.RESERVED_OPEN_MAX)
    assert queue.late.room("echo@1", instant(2.0 + SETTINGS.lease_s)) == 12 - queue.open


def test_a_busy_capability_keeps_no_other_from_being_reserved() -> None:
    queue = Queue(400)
    queue.reserve(instant(0))
    other = Watched(record("other", route="late", capability="other@1"), revision=1, frame=b"x")
    assert len(queue.late.reserve(other, queue.able, "", instant(0))) == 3


def test_a_home_of_many_waiting_tasks_says_no_more_than_those_who_do_them_could_take() -> None:
    home, told = Home({B: 0, C: 0}), 0
    home.mesh.slots = 4
    for number in range(300):
        home.ledger.adopt(record(str(number), home=ME), 1, b"x", home.now)
    for _ in range(100):
        told += len(bodies(home.after(0.1), Reserve))
    rounds = 1 + 10 / SETTINGS.lease_s
    assert 0 < told <= 2 * 16 * rounds


def test_a_large_task_waits_at_its_home_alone() -> None:
    late = Late(settings=SETTINGS, view=Mesh({}), timers=Timers(), rng=Random(7))
    home = Home(dict(BUSY))
    watched = Watched(record(), revision=1, frame=bytes(limits.RESERVED_BYTES_MAX + 1))
    assert late.reserve(watched, home.mesh.candidates("echo@1", home.now), "", home.now) == []
    assert not late.takes(watched)
