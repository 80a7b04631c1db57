"""What the bucket holds is a record of this mesh, or it is counted and has no effect."""

from protocol import ids
from protocol.events import FrameRefused
from protocol.identity import Identity
from protocol.reading import Reader
from protocol.refusals import Refusals
from tests.protocol.bodies import RECORD
from tests.protocol.sealing import ALICE, MALLORY, NOW, SUBJECTS, opener, sealer
from tests.protocol.work import said

KEY = ids.task_key(RECORD.id)


def _reader() -> Reader:
    return Reader(opener=opener(), refusals=Refusals())


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
