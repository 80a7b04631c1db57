"""An end that was seen outweighs every older record, within bounds, and is not mistaken for new work."""

from itertools import pairwise

import pytest
from msgspec import structs

from protocol import limits, records
from protocol.endings import Endings
from protocol.wire.task import TaskState
from tests.protocol.bodies import RECORD
from tests.protocol.conversation import instant

AWARDED = structs.replace(RECORD, state=TaskState.AWARDED, epoch=2, owner="n" * 32)
DONE = structs.replace(AWARDED, state=TaskState.DONE)


def _kept(frame: bytes = b"sealed") -> Endings:
    book = Endings()
    book.keep(DONE, frame)
    return book


def test_nothing_is_known_of_a_task_whose_end_was_not_seen() -> None:
    assert not Endings().has_outlived(AWARDED)
    assert Endings().frame_of(DONE.id) == b""


def test_whatever_has_not_ended_or_ended_in_an_earlier_award_is_from_before() -> None:
    book = _kept()
    for epoch in (1, 2, 3):
        assert book.has_outlived(structs.replace(AWARDED, epoch=epoch))
    assert book.has_outlived(structs.replace(DONE, epoch=1))
    assert not book.has_outlived(DONE)
    assert book.frame_of(DONE.id) == b"sealed"


def test_the_same_key_submitted_again_later_is_another_task_and_an_earlier_one_is_not() -> None:
    again = structs.replace(AWARDED, iid="another", epoch=1)
    assert not _kept().has_outlived(structs.replace(again, submitted_ms=DONE.submitted_ms + 1))
    assert _kept().has_outlived(structs.replace(again, submitted_ms=DONE.submitted_ms - 1))


def test_once_the_end_removed_itself_other_work_is_new_though_the_clock_was_set_back_and_its_own_record_is_not() -> (
    None
):
    book = _kept()
    earlier = structs.replace(AWARDED, iid="another", epoch=1, submitted_ms=DONE.submitted_ms - 3_600_000)
    assert book.has_outlived(earlier)
    book.gone(DONE.id)
    book.gone("t2")
    assert not book.has_outlived(earlier)
    assert book.has_outlived(AWARDED)
    book.keep(structs.replace(earlier, state=TaskState.DONE), b"anew")
    assert book.has_outlived(earlier)


def test_a_large_end_is_known_and_not_kept() -> None:
    book = _kept(b"x" * (limits.ENDING_BYTES_MAX + 1))
    assert (book.has_outlived(AWARDED), book.frame_of(DONE.id)) == (True, b"")


def test_the_oldest_frames_make_room_and_their_ends_stay_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENDINGS_BYTES_MAX", 10)
    book = _kept(b"1234567")
    book.keep(structs.replace(DONE, id="t2"), b"1234567")
    assert (book.frame_of(DONE.id), book.frame_of("t2")) == (b"", b"1234567")
    assert book.has_outlived(AWARDED)


def test_the_oldest_ends_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENDINGS_KEPT", 1)
    book = _kept()
    book.keep(structs.replace(DONE, id="t2"), b"sealed")
    assert (book.has_outlived(AWARDED), book.frame_of(DONE.id)) == (False, b"")


def test_an_end_is_put_back_at_once_and_then_less_and_less_often() -> None:
    book, seconds = _kept(), 0.0
    times: list[float] = []
    while len(times) < 12:
        if book.may_put_back(DONE.id, instant(seconds)):
            times.append(seconds)
            book.keep(DONE, b"sealed")  # as its write stands
        seconds += 0.5
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:3] == [1.0, 2.0, 4.0]
    assert pauses[-1] == records.PUT_BACK_S_MAX


OPENED = structs.replace(DONE, state=TaskState.OPEN, epoch=2, retries=DONE.retries + 1)


def test_a_task_that_was_opened_again_has_not_outlived_the_end_before_and_its_own_end_is_kept() -> None:
    book = _kept()
    assert not book.has_outlived(OPENED)
    book.undo(OPENED)
    assert book.frame_of(DONE.id) == b"", "an end that was undone is not put back"
    assert not book.has_outlived(OPENED)
    again = structs.replace(OPENED, state=TaskState.FAILED)
    book.keep(again, b"anew")
    assert book.has_outlived(OPENED)
    assert (book.has_outlived(again), book.frame_of(DONE.id)) == (False, b"anew")


def test_the_end_that_was_undone_is_from_before_and_so_is_all_that_led_to_it() -> None:
    book = _kept()
    book.undo(OPENED)
    assert book.has_outlived(DONE)
    assert book.has_outlived(AWARDED)


def test_nothing_is_undone_by_a_record_that_is_not_opened_again_or_is_of_another_task() -> None:
    for other in (AWARDED, structs.replace(OPENED, iid="another"), structs.replace(OPENED, id="t2")):
        book = _kept()
        book.undo(other)
        assert book.frame_of(DONE.id) == b"sealed"
