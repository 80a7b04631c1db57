"""Joined, detached or islanded: only a write that goes through tells."""

import pytest

from protocol import limits
from protocol.effects import Effect, Write
from protocol.events import RecordLost, StateChanged
from protocol.inputs import BUCKET_FULL, Lost, Unsent, Written
from protocol.link import Link, LinkSettings
from protocol.replica import Me
from protocol.wire.task import Presence
from tests.protocol.conversation import instant
from tests.protocol.work import LIFE, ME, only_write, said

KEY = f"node.{ME}"
RESULT_KEEP_S_MAX = 31_536_000.0  # `results.keep_s` may be a year


class _Line:
    """A link and its time."""

    def __init__(self, seen: int = 0) -> None:
        me = Me(id=ME, life=LIFE, name="a", region="r", domain="d", admission=b"proof", seen=seen)
        self.link = Link(me=me, settings=LinkSettings())
        self.seconds = 0.0

    def up(self, is_up: bool = True) -> list[Effect]:
        return self.link.on_link(is_up=is_up, now=instant(self.seconds))

    def outcome(self, outcome: Written | Lost | Unsent) -> list[Effect]:
        return self.link.on_outcome(outcome, instant(self.seconds))

    def lost(self, revision: int, *, stands: int) -> list[Effect]:
        """Our write, to a beat of this life."""
        return self.link.on_outcome(Lost(KEY, revision, b"its beat"), instant(self.seconds), stands=stands)

    def after(self, seconds: float) -> list[Effect]:
        """With a tick at each deadline."""
        end, effects = self.seconds + seconds, list[Effect]()
        while (deadline := self.link.next_deadline()) is not None and deadline <= instant(end).mono_ns:
            self.seconds = max(self.seconds, (deadline - instant(0).mono_ns) / 1e9)
            effects += self.link.on_tick(instant(self.seconds))
        self.seconds = end
        return effects


def _joined() -> _Line:
    line = _Line()
    line.up()
    line.outcome(Written(KEY, 1))
    return line


def _states(effects: list[Effect]) -> list[str]:
    return [event.state for event in said(effects, StateChanged)]


def test_a_node_is_joined_when_its_first_write_stands_and_not_before() -> None:
    line = _Line()
    assert line.link.state == "starting"
    (write,) = line.up()
    assert isinstance(write, Write)
    assert (write.key, write.expect, write.record) == (KEY, 0, Presence(LIFE, 1, "a", b"proof"))
    assert not line.link.is_usable
    assert _states(line.outcome(Written(KEY, 1))) == ["joined"]
    assert line.link.is_usable


def test_no_record_outlives_the_admission_of_its_writer() -> None:
    (write,) = _Line().up()
    assert isinstance(write, Write)
    assert write.keep_s >= limits.DEADLINE_S_MAX + RESULT_KEEP_S_MAX


def test_it_goes_on_writing_and_each_beat_stands_on_the_one_before() -> None:
    line = _joined()
    (write,) = line.after(2.0)
    assert isinstance(write, Write)
    assert isinstance(write.record, Presence)
    assert (write.expect, write.record.beat) == (1, 2)


def test_writes_that_do_not_go_through_make_an_island_and_one_that_does_ends_it() -> None:
    line = _joined()
    assert _states(line.after(4.999)) == []
    assert _states(line.after(0.001)) == ["islanded"]
    assert not line.link.is_usable
    assert line.after(60) == [], "one write at a time"
    assert _states(line.outcome(Written(KEY, 2))) == ["joined"]


def test_a_link_that_goes_makes_detached_and_stays_so_however_long() -> None:
    line = _joined()
    assert _states(line.up(False)) == ["detached"]
    assert line.after(3_600) == []
    assert line.link.state == "detached"
    (write,) = line.up()
    assert isinstance(write, Write)
    assert _states(line.outcome(Written(KEY, 2))) == ["joined"]


def test_a_write_under_way_while_the_link_is_away_is_not_made_twice() -> None:
    line = _joined()
    line.after(2.0)
    line.up(False)
    assert line.up() == []
    assert _states(line.after(3.0)) == ["islanded"]
    assert _states(line.outcome(Written(KEY, 2))) == ["joined"]


def test_an_outcome_that_comes_while_the_link_is_away_joins_nothing() -> None:
    line = _joined()
    line.after(2.0)
    line.up(False)
    assert line.outcome(Written(KEY, 2)) == []
    assert line.link.state == "detached"
    (write,) = line.up()
    assert isinstance(write, Write)
    assert write.expect == 2


def test_an_earlier_life_is_written_over() -> None:
    line = _Line()
    line.up()
    (write,) = line.outcome(Lost(KEY, 41, b"of an earlier life"))
    assert isinstance(write, Write)
    assert write.expect == 41


def test_a_write_that_never_left_is_tried_again() -> None:
    line = _joined()
    line.after(2.0)
    assert line.outcome(Unsent(KEY, "stopping")) == []
    assert any(isinstance(each, Write) for each in line.after(2.0))


def test_a_link_that_goes_before_the_node_ever_joined_leaves_it_detached_until_it_joins() -> None:
    line = _Line()
    line.up()
    line.up(False)
    assert line.link.state == "detached"
    line.up()
    line.outcome(Written(KEY, 1))
    assert line.link.state == "joined"


def test_a_bucket_whose_revisions_went_back_is_another_and_what_stood_there_is_lost() -> None:
    line = _joined()
    for revision in (0, 3):
        line.outcome(Written(KEY, 7))
        line.after(LinkSettings().beat_s)
        effects = line.outcome(Lost(KEY, revision, b""))
        assert [event.revision for event in said(effects, RecordLost)] == [revision]
        assert only_write(effects).expect == revision
    line.outcome(Written(KEY, 7))
    line.after(LinkSettings().beat_s)
    assert not said(line.outcome(Lost(KEY, 9, b"")), RecordLost)


def test_a_bucket_without_room_leaves_its_node_joined() -> None:
    line = _joined()
    line.after(2.5)
    assert line.outcome(Unsent(KEY, BUCKET_FULL)) == []
    line.after(1.0)
    assert line.link.state == "joined"
    assert line.after(1.5), "it asks again"


def test_a_first_beat_that_is_told_of_a_full_bucket_is_an_answer() -> None:
    line = _Line()
    line.up()
    assert _states(line.outcome(Unsent(KEY, BUCKET_FULL))) == ["joined"]


@pytest.mark.parametrize(("stands", "is_lost"), [(0, True), (40, True), (60, False)])
def test_what_stood_below_what_an_earlier_life_saw_was_lost(stands: int, is_lost: bool) -> None:
    line = _Line(seen=50)
    assert only_write(line.up()).expect == 0
    assert bool(said(line.outcome(Lost(KEY, stands, b"")), RecordLost)) is is_lost
    assert line.link.revision == stands


@pytest.mark.parametrize(("seen", "is_lost"), [(50, True), (0, False)])
def test_what_an_earlier_life_saw_and_stands_no_more_was_lost(seen: int, is_lost: bool) -> None:
    line = _Line(seen=seen)
    line.up()
    effects = line.outcome(Written(KEY, 7))
    assert [event.revision for event in said(effects, RecordLost)] == [0] * is_lost
    assert _states(effects) == ["joined"]
    line.after(2.0)
    assert not said(line.outcome(Written(KEY, 8)), RecordLost), "it is told once"


@pytest.mark.parametrize("seen", [0, 40, 41])
def test_a_life_below_the_one_on_record_is_shown_that_and_never_writes_over_it(seen: int) -> None:
    line = _Line(seen=seen)
    assert only_write(line.up()).expect == 0, "also when nothing stands there that was not seen before"
    assert not line.lost(41, stands=LIFE + 1)
    assert line.link.outdone_by == LIFE + 1
    line.up(False)
    assert not [each for each in line.up() + line.after(60.0) if isinstance(each, Write)]
    assert line.link.state == "detached"


@pytest.mark.parametrize("stands", [0, LIFE - 1, LIFE])
def test_a_life_that_is_not_below_the_one_on_record_writes_over_it(stands: int) -> None:
    line = _Line()
    line.up()
    assert only_write(line.lost(41, stands=stands)).expect == 41
    assert line.link.outdone_by == 0


def test_a_life_that_stands_in_the_record_does_not_give_way_to_a_twin() -> None:
    line = _joined()
    line.after(2.0)
    assert only_write(line.lost(9, stands=LIFE + 1)).expect == 9
    assert line.link.outdone_by == 0
