"""What the bucket holds is a record of this mesh, or it is counted and has no effect."""

import pytest
from msgspec import structs

from protocol import ids, limits
from protocol.effects import Write
from protocol.events import FrameRefused, TaskPutBack
from protocol.identity import Identity
from protocol.inputs import Lost, Written
from protocol.reading import Reader
from protocol.refusals import Refusals
from protocol.wire.task import TaskRecord, TaskState
from tests.protocol.bodies import RECORD
from tests.protocol.sealing import ALICE, MALLORY, NOW, SUBJECTS, opener, sealer
from tests.protocol.work import said

KEY = ids.task_key(RECORD.id)


def _reader() -> Reader:
    return Reader(opener=opener(), refusals=Refusals(), keep_s=60.0)


def _sealed(writer: Identity = ALICE) -> bytes:
    return sealer(writer).seal(RECORD, subject=SUBJECTS.record(KEY), now=NOW)


def test_a_record_is_given_with_its_revision_and_frame() -> None:
    stands = _reader().read(KEY, _sealed(), NOW, revision=4)
    assert (stands.record, stands.revision, stands.frame, stands.stranger) == (RECORD, 4, _sealed(), "")


def test_nothing_is_nothing_and_no_news() -> None:
    reader = _reader()
    assert reader.read(KEY, b"", NOW).record is None
    assert reader.take_untold() == []


def test_junk_is_told_once_and_has_no_writer() -> None:
    reader = _reader()
    stands = reader.read(KEY, b"junk" * 100, NOW, revision=4)
    assert (stands.record, stands.stranger) == (None, "")
    assert [event.code for event in said(reader.take_untold(), FrameRefused)] == ["bad_magic"]
    assert reader.take_untold() == []


def test_a_record_whose_writer_was_never_introduced_names_that_writer() -> None:
    stands = _reader().read(KEY, _sealed(MALLORY), NOW, revision=4)
    assert (stands.record, stands.stranger) == (None, MALLORY.id)


OPEN = structs.replace(RECORD, state=TaskState.AWARDED, epoch=1, owner=ALICE.id)
DONE = structs.replace(RECORD, state=TaskState.DONE, epoch=1, owner=ALICE.id, result=b"\x01")


def _frame(record: TaskRecord) -> bytes:
    return sealer(ALICE).seal(record, subject=SUBJECTS.record(KEY), now=NOW)


def _writes(reader: Reader) -> list[Write]:
    return [each for each in reader.take_untold() if isinstance(each, Write)]


def test_junk_is_told_once_a_revision_however_often_it_is_read() -> None:
    reader = _reader()
    for revision in (4, 4, 4, 5, 5):
        reader.read(KEY, b"junk" * 100, NOW, revision=revision)
    assert len(said(reader.take_untold(), FrameRefused)) == 2
    for _ in range(2):  # copies in messages have no revision: each is another frame
        reader.read(KEY, b"junk" * 100, NOW)
    assert len(said(reader.take_untold(), FrameRefused)) == 2


@pytest.mark.parametrize(("over", "why"), [(_frame(OPEN), "older"), (b"junk" * 100, "unreadable")])
def test_an_end_that_was_seen_is_put_back_over_what_stands_there_and_taken_for_the_truth(over: bytes, why: str) -> None:
    reader = _reader()
    reader.read(KEY, _frame(DONE), NOW, revision=4)
    assert reader.read(KEY, over, NOW, revision=5).record == DONE
    (write,) = _writes(reader)
    assert (write.key, write.record, write.expect, write.keep_s) == (KEY, DONE, 5, DONE.keep_ms / 1_000)
    assert reader.read(KEY, over, NOW, revision=5).record == DONE
    assert _writes(reader) == [], "one is on its way"
    told = said(reader.on_outcome(Written(KEY, 6), write, NOW), TaskPutBack)
    assert [(event.task, event.why) for event in told] == [(DONE.id, why)]


def test_an_end_that_was_put_back_by_another_first_is_said_by_that_one_alone() -> None:
    reader = _reader()
    reader.read(KEY, _frame(DONE), NOW, revision=4)
    reader.read(KEY, _frame(OPEN), NOW, revision=5)
    (write,) = _writes(reader)
    assert reader.on_outcome(Lost(KEY, 6, _frame(DONE)), write, NOW) == []
    assert reader.take_untold() == []


def test_an_end_of_our_own_counts_as_seen() -> None:
    reader = _reader()
    reader.on_written(Write(KEY, DONE, expect=3, frame=_frame(DONE)))
    assert reader.read(KEY, _frame(OPEN), NOW, revision=5).record == DONE


def test_work_that_this_node_wrote_where_nothing_stood_is_not_taken_for_older_than_the_end_that_removed_itself() -> (
    None
):
    reader = _reader()
    reader.on_written(Write(KEY, DONE, expect=3, frame=_frame(DONE)))
    anew = structs.replace(OPEN, iid="another", submitted_ms=DONE.submitted_ms - 3_600_000)
    assert reader.read(KEY, _frame(anew), NOW, revision=5).record == DONE
    reader.take_untold()
    reader.on_written(Write(KEY, anew, expect=0, frame=_frame(anew)))
    assert reader.read(KEY, _frame(anew), NOW, revision=5).record == anew
    assert reader.take_untold() == []


def test_an_end_in_a_message_alone_is_not_proof_that_it_stood() -> None:
    reader = _reader()
    reader.read(KEY, _frame(DONE), NOW)
    assert reader.read(KEY, _frame(OPEN), NOW, revision=5).record == OPEN


def test_a_message_from_before_a_retry_that_comes_late_is_refused_as_nobodys_fault() -> None:
    reader = _reader()
    failed = structs.replace(OPEN, state=TaskState.FAILED)
    reader.read(KEY, _frame(failed), NOW, revision=4)
    reader.read(KEY, _frame(structs.replace(OPEN, retries=OPEN.retries + 1)), NOW, revision=5)
    assert reader.read(KEY, _frame(OPEN), NOW).record is None
    assert reader.take_untold() == []
    assert reader.read(KEY, _frame(OPEN), NOW, revision=6).record is None
    assert [event.code for event in said(reader.take_untold(), FrameRefused)] == ["outdated"]


def test_a_record_from_before_an_end_that_was_too_large_to_keep_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ENDING_BYTES_MAX", 10)
    reader = _reader()
    reader.read(KEY, _frame(DONE), NOW, revision=4)
    assert reader.read(KEY, _frame(OPEN), NOW, revision=5).record is None
    effects = reader.take_untold()
    assert [event.code for event in said(effects, FrameRefused)] == ["outdated"]
    assert not any(isinstance(each, Write) for each in effects)
