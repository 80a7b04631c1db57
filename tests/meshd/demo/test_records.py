"""Files against their recorded hashes."""

from pathlib import Path

from meshd.demo.pieces import Installation, Piece, RecordedFile
from meshd.demo.records import check


def test_an_altered_file_and_a_missing_one_are_named(here: Installation) -> None:
    checked = check(here.contents(Piece("distribution", "shapes")).files)
    assert checked.altered == ("shapes/kept.txt",)
    assert checked.missing == ("shapes/__init__.py",)
    assert checked.unrecorded == 1  # RECORD itself
    assert checked.files == checked.verified + checked.unrecorded + len(checked.altered)


def test_an_untouched_distribution_is_verified_whole(here: Installation) -> None:
    checked = check(here.contents(Piece("distribution", "quiet")).files)
    assert (checked.altered, checked.missing, checked.unreadable) == ((), (), ())
    assert checked.verified == 3


def test_one_byte_is_enough_to_be_altered(here: Installation, site: Path) -> None:
    (site / "quiet.py").write_text("def one():\n    return 2\n")
    assert check(here.contents(Piece("distribution", "quiet")).files).altered == ("quiet.py",)


def test_a_file_that_cannot_be_read_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"abc")
    files = tuple(RecordedFile(tmp_path / name, name, "", "") for name in ("", "good"))
    checked = check(files)
    assert checked.unreadable == (": Is a directory",)
    assert (checked.files, checked.size_bytes) == (1, 3)


def test_a_hash_of_a_weak_kind_verifies_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"abc")
    checked = check((RecordedFile(tmp_path / "old", "old", "md5", "kAFQmDzST7DWlj99KOF_cg"),))
    assert (checked.verified, checked.unrecorded, checked.altered) == (0, 1, ())
