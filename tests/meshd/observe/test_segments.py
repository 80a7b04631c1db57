"""The files of the audit are read with bounds, and nothing but regular files is."""

import os
from pathlib import Path

import pytest

from meshd.observe.segments import Cursor, first_of, lines_of, name_of, records_of, segments
from protocol import limits
from protocol.audit import Act, Chain
from protocol.errors import MeshError

ACT = Act("task.award", "task/t", "allow")


def written(folder: Path, *counts: int) -> list[bytes]:
    """Segments of so many records each."""
    chain = Chain("n" * 32)
    every: list[bytes] = []
    folder.mkdir(exist_ok=True)
    for count in counts:
        lines = [chain.add(ACT, life=1, time_ms=1) for _ in range(count)]
        (folder / name_of(len(every) + 1)).write_bytes(b"".join(line + b"\n" for line in lines))
        every += lines
    return every


def test_a_folder_that_is_not_there_has_no_segments(tmp_path: Path) -> None:
    assert segments(tmp_path / "audit") == []


def test_segments_come_in_order_and_other_files_are_none(tmp_path: Path) -> None:
    written(tmp_path, 2, 3)
    (tmp_path / "witness.json").write_text("{}")
    (tmp_path / "1.jsonl").write_text("{}")
    assert [first_of(path) for path in segments(tmp_path)] == [1, 3]


def test_every_line_comes_back_and_the_unfinished_last_one_too(tmp_path: Path) -> None:
    lines = written(tmp_path, 3)
    (path,) = segments(tmp_path)
    assert list(lines_of(path)) == lines
    path.write_bytes(path.read_bytes()[:-1])
    assert list(lines_of(path)) == lines


def test_records_are_found_by_their_number_over_segments(tmp_path: Path) -> None:
    lines = written(tmp_path, 3, 4, 2)
    found = list(records_of(tmp_path, after=2, through=8))
    assert [record.seq for record, _ in found] == [3, 4, 5, 6, 7, 8]
    assert [line for _, line in found] == lines[2:8]


def test_a_line_without_an_end_is_given_up_early(tmp_path: Path) -> None:
    path = tmp_path / name_of(1)
    with path.open("wb") as file:
        file.truncate(64 << 20)
    (line,) = lines_of(path)
    assert limits.AUDIT_LINE_BYTES_MAX < len(line) < 4 << 20


def test_a_link_a_pipe_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"{}\n")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (("link", "symbolic link"), ("folder", "regular file"), ("pipe", "regular file")):
        with pytest.raises(MeshError) as refused:
            list(lines_of(tmp_path / name))
        assert problem in refused.value.message
        assert name in refused.value.message


def test_a_cursor_goes_on_over_segments_where_it_was(tmp_path: Path) -> None:
    lines = written(tmp_path, 3, 4, 2)
    for after in range(10):
        cursor, taken = Cursor(tmp_path, after=after), []
        while more := cursor.take(through=9, limit=2, bytes_max=1 << 20):
            assert len(more) <= 2
            taken += more
        assert taken == lines[after:]


def test_a_cursor_takes_no_more_than_is_durable_nor_than_fits(tmp_path: Path) -> None:
    lines = written(tmp_path, 6)
    cursor = Cursor(tmp_path, after=0)
    assert cursor.take(through=4, limit=9, bytes_max=2 * len(lines[0]) + 10) == lines[:2]
    assert cursor.take(through=4, limit=9, bytes_max=1 << 20) == lines[2:4]
    assert cursor.take(through=4, limit=9, bytes_max=1 << 20) == []
    assert cursor.take(through=6, limit=9, bytes_max=1) == lines[4:5]


def test_a_cursor_behind_what_is_kept_begins_with_the_oldest(tmp_path: Path) -> None:
    lines = written(tmp_path, 3, 3)
    segments(tmp_path)[0].unlink()
    cursor = Cursor(tmp_path, after=1)
    assert cursor.take(through=6, limit=9, bytes_max=1 << 20) == lines[3:]
    assert cursor.seq == 6


def test_a_folder_without_a_record_has_none(tmp_path: Path) -> None:
    assert list(records_of(tmp_path, through=9)) == []
    assert list(records_of(tmp_path / "none", through=9)) == []
