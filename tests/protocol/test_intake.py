"""Requests on their way into the ledger: each is answered once, and of what is refused nothing is watched."""

from random import Random

from msgspec import structs

from protocol import ids
from protocol.effects import Read
from protocol.handover import Handover
from protocol.inputs import BUCKET_FULL, Cancel
from protocol.intake import Intake
from protocol.late import Late
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.records import Standing
from protocol.tasks import Tasks
from protocol.timers import Timers
from protocol.watched import Watched
from tests.protocol.conversation import instant
from tests.protocol.work import KEEP_S, ME, MESH, SETTINGS, B, C, Mesh, awarded, frame, order, replies

NOW = instant(0.0)


class Place:
    """An intake over nothing but a view of the mesh."""

    def __init__(self) -> None:
        view, owners, rng = Mesh({B: 1}), Owners(), Random(7)
        timers: Timers[tuple[str, str]] = Timers()
        handover = Handover(settings=SETTINGS, owners=owners, lapses=Lapses(), view=view, timers=timers, rng=rng)
        late = Late(settings=SETTINGS, view=view, timers=timers, rng=rng)
        self.tasks = Tasks(owners=owners, handover=handover, late=late, timers=timers, keep_s=KEEP_S)
        self.intake = Intake(
            me=ME, mesh=MESH, settings=SETTINGS, keep_s=KEEP_S, view=view, tasks=self.tasks, timers=timers, rng=rng
        )

    def submitted(self) -> Watched:
        """Somebody wants something done."""
        answers, watched = self.intake.submit(order(), NOW)
        assert answers == []
        assert watched is not None
        return watched


def test_what_is_asked_for_twice_before_it_stands_is_one_task_and_what_nobody_can_do_is_looked_up() -> None:
    place = Place()
    watched = place.submitted()
    assert place.intake.submit(order(request=2), NOW) == ([], None)
    assert watched.submits == [1, 2]
    answers, none = place.intake.submit(order("other", capability="other@1"), NOW)
    assert [type(each) for each in answers] == [Read]
    assert (none, len(place.tasks)) == (None, 1)


def test_a_first_write_that_takes_too_long_or_never_left_is_said_to_all_who_wait() -> None:
    place = Place()
    watched = place.submitted()
    assert replies(place.intake.unanswered(watched)) == [(1, "unsettled")]
    assert place.intake.unanswered(watched) == []
    watched.submits.append(2)
    assert replies(place.intake.unsent(watched, BUCKET_FULL, NOW)) == [(2, "record_full")]
    assert len(place.tasks) == 0
    assert replies(place.intake.unsent(place.submitted(), "the lane of writes", NOW)) == [(1, "overloaded")]


def test_a_first_write_that_finds_the_task_there_answers_with_it_and_leaves_it_to_its_home() -> None:
    for home, is_ours in ((C, False), (ME, True)):
        place = Place()
        there = awarded(home=home)
        answers, is_gone_on = place.intake.taken(place.submitted(), Standing(there, 4, frame(there)), NOW)
        assert (replies(answers), is_gone_on, len(place.tasks)) == ([(1, "awarded")], is_ours, int(is_ours))
    place, other = Place(), structs.replace(awarded(), digest=b"other")
    answers, is_gone_on = place.intake.taken(place.submitted(), Standing(other, 4, frame(other)), NOW)
    assert (replies(answers), is_gone_on, len(place.tasks)) == ([(1, "key_reused")], False, 0)


def test_a_task_of_another_home_is_watched_once_it_is_found_and_has_to_be_cancelled() -> None:
    place, there = Place(), awarded(home=C)
    assert place.intake.cancel(Cancel(9, there.id)) == ([Read(ids.task_key(there.id))], None)
    assert place.intake.found(there.id, Standing(None, 0, b""), "away", NOW)[1] is False
    place.intake.cancel(Cancel(9, there.id))
    assert place.intake.found(there.id, Standing(there, 4, frame(there)), "", NOW) == ([], True)
    watched = place.tasks.get(there.id)
    assert watched is not None
    assert [each.request for each in watched.cancels] == [9]
