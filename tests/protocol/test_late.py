"""The home's side of late binding: which waiting tasks are reserved, where, and what ends that."""

from random import Random

from protocol import limits, records
from protocol.effects import Effect, Read, Send
from protocol.late import Late
from protocol.timers import Timers
from protocol.watched import Watched
from protocol.wire.auction import Reserve, Taken, Unreserve
from protocol.wire.task import TaskState
from tests.protocol.work import LIFE, ME, SETTINGS, B, C, D, Home, Mesh, bodies, frame, only_write, record

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


def test_a_task_of_another_route_waits_at_its_home_where_the_oldest_is_first() -> None:
    home, effects = _waits(route="auto")
    assert _at(effects) == set()
    assert home.ledger.waiting == 1


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


def test_a_task_that_was_awarded_before_is_not_reserved() -> None:
    home = Home({B: 1, C: 0})
    home.awarded()
    assert bodies(home.declined(), Reserve) == []
    assert home.ledger.waiting == 1


def test_a_cancel_frees_the_reservations() -> None:
    home, _ = _waits()
    effects = home.written(home.cancel(home.record.id))
    assert len(bodies(effects, Unreserve)) == 4


def test_the_route_late_reserves_even_where_somebody_is_free() -> None:
    home, effects = _waits({ME: 1, B: 1}, route="late")
    assert (home.record.state, _at(effects)) == (TaskState.OPEN, {ME, B})


def test_a_task_of_the_route_late_that_was_awarded_before_goes_to_whoever_is_free() -> None:
    home, effects = _waits({B: 1, C: 1}, route="late")
    taken = records.awarded(home.record, owner=B, owner_life=LIFE, now=home.now)
    home.ledger.on_taken(B, Taken(taken.id, 1, 2, frame(taken)), taken, home.now)
    home.record = taken
    award = only_write(home.declined("drained")).record
    assert getattr(award, "owner", "") == C
    assert effects


def test_what_is_reserved_is_bounded_and_the_next_ones_get_their_turn() -> None:
    late = Late(settings=SETTINGS, view=Mesh({}), timers=Timers(), rng=Random(7))
    home = Home(dict(BUSY))
    able = home.mesh.candidates("echo@1", home.now)
    tasks = [
        Watched(record(str(number), route="late"), revision=1, frame=b"x")
        for number in range(limits.RESERVED_OPEN_MAX + 1)
    ]
    told = [len(late.reserve(each, able, "", home.now)) for each in tasks]
    assert told == [4] * limits.RESERVED_OPEN_MAX + [0]
    assert not late.has_room(waiting=len(tasks))
    for each in tasks[: limits.RESERVED_OPEN_MAX // 2]:
        late.drop(each)
    assert late.has_room(waiting=len(tasks))
    assert len(late.reserve(tasks[-1], able, "", home.now)) == 4


def test_a_large_task_waits_at_its_home_alone() -> None:
    late = Late(settings=SETTINGS, view=Mesh({}), timers=Timers(), rng=Random(7))
    home = Home(dict(BUSY))
    watched = Watched(record(), revision=1, frame=bytes(limits.RESERVED_BYTES_MAX + 1))
    assert late.reserve(watched, home.mesh.candidates("echo@1", home.now), "", home.now) == []
    assert not late.takes(watched)
