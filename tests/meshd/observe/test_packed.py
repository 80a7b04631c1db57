"""Lines of a file, compressed or not: the same lines, and one clear word about what is no more of them."""

import gzip
from pathlib import Path

import pytest

from meshd.observe.packed import Packed, lines_in
from protocol.audit import Ending

LINES = [b"one", b"", b"three" * 100]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lines_come_without_their_ends(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(b"\n".join(LINES) + b"\n"))
    assert list(lines_in(path)) == LINES
    path.write_bytes(pack(b""))
    assert list(lines_in(path)) == []


def test_a_compressed_file_that_is_cut_at_any_byte_is_a_gap_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file"
    packed = gzip.compress(b"\n".join(LINES))
    for size in range(3, len(packed)):
        path.write_bytes(packed[:size])
        with pytest.raises(Packed) as fault:
            list(lines_in(path))
        assert fault.value.ending in (Ending.GAP, Ending.ALTERED)


def test_what_is_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    packed = gzip.compress(b"\n".join(LINES))
    path.write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    with pytest.raises(Packed) as fault:
        list(lines_in(path))
    assert fault.value.ending is Ending.ALTERED
