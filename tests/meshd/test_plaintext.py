"""Text is UTF-8, with or without a mark."""

import os
import subprocess
from pathlib import Path

import pytest

from meshd.plaintext import content_of, text_of


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig"])
def test_a_mark_before_the_text_is_none_of_it(codec: str) -> None:
    assert text_of("größe = 1\n".encode(codec)) == "größe = 1\n"


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_who_saved_it_as_utf_16_is_told_what_to_do(mark: bytes) -> None:
    with pytest.raises(ValueError, match=r"^is UTF-16: save it as UTF-8$"):
        text_of(mark + b"a\0")


def test_the_line_that_is_no_text_is_named() -> None:
    with pytest.raises(ValueError, match=r"^is not UTF-8 at line 2$"):
        text_of(b"a\n\xe9\n")


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe that nobody writes to"):
        content_of(tmp_path / "pipe", 10)


def test_what_a_pipe_says_is_read_to_its_end_however_late_and_in_pieces() -> None:
    with subprocess.Popen(["seq", "1", "20000"], stdout=subprocess.PIPE) as writer:  # more than a pipe holds
        assert writer.stdout is not None
        said = content_of(Path(f"/dev/fd/{writer.stdout.fileno()}"), 1_000_000)
    assert said.split() == [b"%d" % number for number in range(1, 20_001)]


def test_of_what_has_no_end_no_more_is_read_than_was_asked_for() -> None:
    assert content_of(Path("/dev/zero"), 100_000) == bytes(100_000)
