"""Whose tasks a node takes up: its own after a restart, and those of homes that are gone."""

from collections.abc import Iterable
from functools import partial

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec import structs

from protocol import guardian as module
from protocol import ids
from protocol.effects import Effect, List
from protocol.guardian import GUARDIANS, RETRY_S, Guardian, Homes
from protocol.ids import PARTITIONS
from protocol.inputs import Entry
from protocol.wire.task import TaskRecord, TaskState
from tests.protocol.conversation import instant
from tests.protocol.work import ME, SETTINGS, B, C, D, awarded, record

HOME = "e" * 32
ALL = (ME, B, C, D)


def _homes(*alive: str, known: tuple[str, ...] = (*ALL, HOME), settled_s: float = 60.0) -> Homes:
    return Homes(alive or ALL, lambda node: node in known, settled_s)


def _guardian(me: str = ME) -> Guardian:
    guardian = Guardian(me=me, settings=SETTINGS)
    guardian.on_link(is_usable=True, now=instant(0))
    return guardian


def _partitions(effects: list[Effect]) -> list[int]:
    return [partition for each in effects if isinstance(each, List) for partition in each.partitions]


def _order(nodes: Iterable[str], partition: int) -> list[str]:
    return sorted(nodes, key=partial(ids.rendezvous, salt=f"partition/{partition}"))


def _ranked(task: TaskRecord) -> list[str]:
    return _order(ALL, ids.partition(task.id))


def test_a_node_that_can_read_for_the_first_time_lists_everything_once() -> None:
    guardian = Guardian(me=ME, settings=SETTINGS)
    assert guardian.on_link(is_usable=False, now=instant(0)) == []
    assert sorted(_partitions(guardian.on_link(is_usable=True, now=instant(1)))) == list(range(PARTITIONS))
    assert guardian.on_link(is_usable=False, now=instant(2)) == []
    assert guardian.on_link(is_usable=True, now=instant(3)) == []


def test_every_partition_is_looked_at_once_in_the_time_of_a_sweep() -> None:
    guardian, seen = _guardian(), list[int]()
    while (deadline := guardian.next_deadline()) is not None and deadline <= instant(SETTINGS.sweep_s).mono_ns:
        seen += _partitions(guardian.on_tick(instant((deadline - instant(0).mono_ns) / 1e9)))
    assert sorted(seen) == list(range(PARTITIONS))


def test_its_own_tasks_are_always_its_own() -> None:
    assert _guardian().is_ours(record(home=ME), _homes(ME, settled_s=0), instant(0))


def test_an_ended_task_is_nobodys() -> None:
    assert not _guardian().is_ours(structs.replace(record(), state=TaskState.DONE), _homes(), instant(60))


def test_a_task_of_a_living_home_is_left_to_it() -> None:
    task = record(home=B)
    assert not any(_guardian(me).is_ours(task, _homes(), instant(600)) for me in (ME, C, D))


def test_a_task_of_a_home_that_is_gone_has_exactly_one_guardian_at_first() -> None:
    task = record(home=HOME)
    assert [me for me in ALL if _guardian(me).is_ours(task, _homes(), instant(0))] == _ranked(task)[:1]


def test_a_guardian_that_is_gone_itself_is_followed_by_the_next() -> None:
    task = record(home=HOME)
    first, second, *_ = _ranked(task)
    living = _homes(*(node for node in ALL if node != first))
    assert _guardian(second).is_ours(task, living, instant(0))


def test_the_next_guardians_help_only_with_what_is_still_in_need_after_their_time() -> None:
    task = record(home=HOME)
    ranked = _ranked(task)
    for rank in range(1, len(ALL)):
        guardian, patience_s = _guardian(ranked[rank]), rank * SETTINGS.lease_s * 2
        assert not guardian.is_ours(task, _homes(), instant(patience_s - 0.001))
        assert guardian.is_ours(task, _homes(), instant(patience_s)) == (rank < GUARDIANS)
        in_hand = awarded(owner=B, home=HOME)
        assert not guardian.is_ours(in_hand, _homes(), instant(600)), "somebody alive does it"
        orphan = awarded(owner=HOME, home=HOME)
        assert guardian.is_ours(orphan, _homes(), instant(600)) == (rank < GUARDIANS)


def test_a_home_that_was_never_heard_of_counts_as_gone_only_in_a_view_that_has_settled() -> None:
    task = record(home=HOME)
    guardian = _guardian(_ranked(task)[0])
    assert not guardian.is_ours(task, _homes(known=ALL, settled_s=SETTINGS.settle_s - 0.001), instant(600))
    assert guardian.is_ours(task, _homes(known=ALL, settled_s=SETTINGS.settle_s), instant(600))
    assert guardian.is_ours(task, _homes(settled_s=0), instant(600)), "one that was known is known to be gone"


def test_a_node_that_is_not_in_its_own_view_guards_nothing() -> None:
    assert not _guardian().is_ours(record(home=HOME), _homes(B, C), instant(600))


def test_when_somebody_goes_each_guardian_lists_its_partitions_in_its_turn() -> None:
    guardian = _guardian()
    first = _partitions(guardian.on_gone(_homes(), instant(1)))
    ranks = [_order(ALL, number).index(ME) for number in range(PARTITIONS)]
    assert first == [number for number, rank in enumerate(ranks) if rank == 0]
    second = _partitions(guardian.on_tick(instant(1 + SETTINGS.lease_s)))
    assert set(second) >= {number for number, rank in enumerate(ranks) if rank == 1}


def test_a_listing_that_failed_is_made_again() -> None:
    guardian = _guardian()
    guardian.on_listed((7,), failed=False, now=instant(0.1))
    guardian.on_listed((8,), failed=True, now=instant(0.1))
    assert _partitions(guardian.on_tick(instant(0.1 + RETRY_S - 0.001))) == []
    assert _partitions(guardian.on_tick(instant(0.1 + RETRY_S))) == [8]


def test_listings_wait_while_the_store_cannot_be_read() -> None:
    guardian = _guardian()
    guardian.on_link(is_usable=False, now=instant(1))
    assert guardian.on_gone(_homes(), instant(1)) == []
    assert guardian.on_tick(instant(10)) == []
    guardian.on_link(is_usable=True, now=instant(20))
    assert _partitions(guardian.on_tick(instant(20)))


@given(st.lists(st.sets(st.sampled_from((*ALL, HOME)), min_size=1), min_size=1, max_size=6))
def test_its_place_follows_whoever_comes_and_goes(views: list[set[str]]) -> None:
    guardian, task = _guardian(), record(home="f" * 32)
    for view in views:
        alive = tuple(sorted({*view, ME}))
        order = _order(alive, ids.partition(task.id))
        homes = _homes(*alive, known=(task.home,))
        guardian.unseen((), homes, instant(600), lambda _: None)
        assert guardian.is_ours(task, homes, instant(600)) == (order.index(ME) < GUARDIANS)


def _opened(
    guardian: Guardian, task: TaskRecord, homes: Homes, *, revision: int = 5, watched: int | None = None
) -> bool:
    """Is the record opened when it is listed? Then it is judged."""
    entry = Entry(ids.task_key(task.id), revision, b"sealed")
    is_opened = guardian.unseen((entry,), homes, instant(600), lambda _: watched) == [entry]
    if is_opened:
        guardian.is_ours(task, homes, instant(600), revision=revision)
    return is_opened


def test_an_ended_record_is_opened_once() -> None:
    guardian, task = _guardian(), structs.replace(record(), state=TaskState.DONE)
    assert _opened(guardian, task, _homes())
    assert not _opened(guardian, task, _homes(ME, B)), "whoever lives"
    assert _opened(guardian, task, _homes(), watched=4), "who still watches it must hear of it"
    assert _opened(guardian, task, _homes(), revision=6)
    guardian.on_link(is_usable=False, now=instant(1))
    assert _opened(guardian, task, _homes(), revision=6), "the bucket may be another"


def test_a_watched_record_that_stands_as_it_is_known_is_not_opened() -> None:
    task = record(home=ME)
    assert not _opened(_guardian(), task, _homes(), revision=5, watched=5)
    assert _opened(_guardian(), task, _homes(), revision=6, watched=5)
    assert _opened(_guardian(), task, _homes(), revision=5, watched=-1), "what stands there is not what we know"


def test_a_record_of_another_is_opened_again_only_when_it_becomes_ours() -> None:
    task = record(home=HOME)
    first, second, *_ = _ranked(task)
    guardian, living = _guardian(second), _homes(*ALL, HOME)
    assert _opened(guardian, task, living)
    assert not _opened(guardian, task, living)
    assert not _opened(guardian, task, _homes(*(node for node in (*ALL, HOME) if node != first)))
    assert _opened(guardian, task, _homes(*(node for node in ALL if node != first)))


def test_a_record_whose_home_may_be_gone_is_opened_again_when_that_is_sure() -> None:
    task = record(home=HOME)
    guardian, young = _guardian(_ranked(task)[0]), _homes(known=ALL, settled_s=0)
    assert _opened(guardian, task, young)
    assert not _opened(guardian, task, young)
    assert _opened(guardian, task, _homes(known=ALL, settled_s=SETTINGS.settle_s))


def test_of_each_page_the_guardians_before_us_are_helped_with_one_task_that_somebody_has_room_for() -> None:
    numbers = [name for name in (f"{number:026d}" for number in range(400)) if _ranked(record(name))[1] == ME][:4]
    tasks = [record(name, home=HOME) for name in numbers]
    guardian, homes = _guardian(), _homes()
    for _page in range(2):
        guardian.unseen((), homes, instant(600), lambda _: None)
        assert [guardian.is_ours(task, homes, instant(600)) for task in tasks] == [True, False, False, False]
    guardian.unseen((), homes, instant(600), lambda _: None)
    busy = structs.replace(homes, has_room=lambda _: False)
    assert not any(guardian.is_ours(task, busy, instant(600)) for task in tasks)


def test_an_open_task_is_anothers_once_its_home_or_a_guardian_before_us_is_there() -> None:
    task = record(home=HOME)
    first, second, *_ = _ranked(task)
    assert not _guardian(first).is_anothers(task, _homes())
    assert _guardian(first).is_anothers(task, _homes(*ALL, HOME))
    assert _guardian(second).is_anothers(task, _homes())
    assert not _guardian(second).is_anothers(awarded(owner=B, home=HOME), _homes()), "its owner may be asked by two"
    assert not _guardian().is_anothers(record(home=ME), _homes())


def test_a_guardian_in_doubt_keeps_its_place_until_it_is_gone_and_a_home_in_doubt_does_not() -> None:
    task = record(home=HOME)
    first, second, *_ = _ranked(task)
    others = tuple(node for node in ALL if node != first)
    in_doubt = structs.replace(_homes(*others), suspects=(first,), has_room=lambda _: False)
    assert not _guardian(second).is_ours(task, in_doubt, instant(600))
    assert _guardian(second).is_ours(task, _homes(*others), instant(600))
    assert _guardian(first).is_ours(task, structs.replace(_homes(), suspects=("f" * 32,)), instant(600))


def test_nobody_is_listed_for_twice() -> None:
    guardian = _guardian()
    assert _partitions(guardian.on_gone(_homes(ME, B, C), instant(1)))
    assert not _partitions(guardian.on_gone(_homes(ME, B, C), instant(1)))
    assert _partitions(guardian.on_gone(_homes(ME, B), instant(1)))


def test_what_is_remembered_of_records_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEEN_MAX", 2)
    monkeypatch.setattr(module, "TEXTS_MAX", 2)
    guardian = _guardian()
    ended = [structs.replace(record(key), state=TaskState.DONE) for key in ("a", "b", "c")]
    assert all(_opened(guardian, each, _homes()) for each in ended)
    assert not _opened(guardian, ended[2], _homes())
    assert not _opened(guardian, ended[1], _homes())
    assert _opened(guardian, ended[0], _homes())
    for number, key in enumerate(("d", "e", "f")):
        assert _opened(guardian, record(key, capability=f"echo@{number}", home=B), _homes())
