"""What hangs on a watched task is let go together with it."""

from random import Random

import pytest

from protocol import ids
from protocol import tasks as module
from protocol.effects import Write
from protocol.handover import Handover
from protocol.inputs import Cancel
from protocol.late import Late
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.tasks import PURPOSES, Tasks
from protocol.timers import Timers
from protocol.watched import Phase
from protocol.wire.task import TaskRecord, TaskState
from tests.protocol.conversation import instant
from tests.protocol.work import KEEP_S, LIFE, SETTINGS, B, Mesh, record, replies

NOW = instant(0)


class Place:
    """The tasks of one node, and what they share with its ledger."""

    def __init__(self) -> None:
        self.owners, self.timers, view = Owners(), Timers[tuple[str, str]](), Mesh({B: 1})
        handover = Handover(
            settings=SETTINGS, owners=self.owners, lapses=Lapses(), view=view, timers=self.timers, rng=Random(7)
        )
        late = Late(settings=SETTINGS, view=view, timers=self.timers, rng=Random(7))
        self.tasks = Tasks(owners=self.owners, handover=handover, late=late, timers=self.timers, keep_s=KEEP_S)


def held() -> TaskRecord:
    return record(state=TaskState.AWARDED, epoch=1, owner=B, owner_life=LIFE)


def test_tasks_that_others_watch_are_let_go_some_at_a_time_but_for_those_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEFT_AT_ONCE", 2)
    place = Place()
    names = [place.tasks.watch(record(f"k{number}"), revision=3, frame=b"f").record.id for number in range(5)]
    under_way = place.tasks.get(names[0])
    assert under_way is not None
    under_way.phase = Phase.WRITING
    place.tasks.leave(tuple(names), NOW)
    assert len(place.tasks) == 4
    left = []
    while place.timers.due(NOW.mono_ns) == [("leave", "")]:
        place.tasks.leave((), NOW)
        left.append(len(place.tasks))
    assert left == [2, 1]
    assert names[0] in place.tasks


def test_of_a_task_that_is_forgotten_nothing_is_left_and_who_waits_for_its_end_is_told() -> None:
    place = Place()
    watched = place.tasks.watch(held(), revision=3, frame=b"f")
    watched.waits.append(9)
    place.tasks.stand_by(watched, NOW)
    place.tasks.backlog.push(watched.record)
    for purpose in PURPOSES:
        place.timers.set((purpose, watched.record.id), NOW.after(1))
    assert watched.phase is Phase.HELD
    assert place.owners.held((B, LIFE))

    told = place.tasks.forget(watched, NOW)
    assert replies(told) == [(9, "unknown_task")]
    assert place.timers.next() is None
    assert (len(place.tasks), len(place.tasks.backlog), place.owners.all()) == (0, 0, ())


def test_while_a_write_is_under_way_its_owner_is_not_asked_and_its_award_is_not_waited_for() -> None:
    place = Place()
    watched = place.tasks.watch(held(), revision=3, frame=b"f")
    place.tasks.stand_by(watched, NOW)
    place.timers.set(("award", watched.record.id), NOW.after(1))

    written = place.tasks.write(watched, watched.record, NOW)
    assert written == [Write(ids.task_key(watched.record.id), watched.record, expect=3)]
    assert (watched.phase, place.owners.all(), place.timers.next()) == (Phase.WRITING, (), None)


def test_an_end_is_written_with_the_time_after_which_its_key_removes_itself() -> None:
    place = Place()
    watched = place.tasks.watch(held(), revision=3, frame=b"f")
    (write,) = place.tasks.write(watched, record(state=TaskState.CANCELLED), NOW, urgent=True)
    assert isinstance(write, Write)
    assert (write.keep_s, write.urgent) == (KEEP_S, True)


def test_an_award_is_to_one_node_in_one_epoch() -> None:
    place = Place()
    watched = place.tasks.watch(held(), revision=3, frame=b"f")
    task = watched.record.id
    assert place.tasks.awarded_to(B, task, 1) is watched
    assert place.tasks.awarded_to(B, task, 2) is None
    assert place.tasks.awarded_to("c" * 32, task, 1) is None


def test_who_asked_for_anything_of_a_task_that_is_dropped_is_told_why_once() -> None:
    place = Place()
    watched = place.tasks.watch(record(), revision=0, frame=b"")
    watched.submits, watched.waits, watched.cancels = [1], [2], [Cancel(3, watched.record.id)]
    told = place.tasks.drop(watched, NOW, "record_full")
    assert replies(told) == [(1, "record_full"), (2, "record_full"), (3, "record_full")]
