"""The log file: bounded, private, and the place where a crash leaves its words."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshd.observe.rotation import Rotation, opened

CRASHING = """
import logging, sys
from pathlib import Path
from meshd.observe.logs import configure
from meshd.observe.rotation import Rotation
logger = configure(level="info", format="json", rotation=Rotation(Path(sys.argv[1]), bytes_max=2_000, kept=2))
for number in range(200):
    logger.info("line %d", number)
logging.shutdown()
print("the last print", flush=True)
raise RuntimeError("the end")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "meshd.log"


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    found = opened(path)
    yield found
    os.close(found)


def _files(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.parent.iterdir()}


def test_a_full_file_is_followed_by_another_and_only_a_few_are_kept(path: Path, fd: int) -> None:
    rotation = Rotation(path, bytes_max=10, kept=2, follow=(fd,))
    for line in (b"one\n", b"two and\n", b"three\n", b"four and\n", b"five\n", b"six and seven\n", b"eight\n"):
        rotation.make_room()
        os.write(fd, line)
    assert _files(path) == {
        "meshd.log": "eight\n",
        "meshd.log.1": "five\nsix and seven\n",
        "meshd.log.2": "three\nfour and\n",
    }


def test_all_its_files_are_for_the_owner_alone(path: Path, fd: int) -> None:
    rotation = Rotation(path, bytes_max=1, kept=3, follow=(fd,))
    for _ in range(6):
        rotation.make_room()
        os.write(fd, b"x")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert (modes, len(list(path.parent.iterdir()))) == ({0o600}, 4)


def test_a_file_that_was_full_before_the_start_is_put_aside_first(path: Path, fd: int) -> None:
    os.write(fd, b"of the former life\n")
    Rotation(path, bytes_max=10, kept=1, follow=(fd,)).make_room()
    os.write(fd, b"new\n")
    assert _files(path) == {"meshd.log": "new\n", "meshd.log.1": "of the former life\n"}


def test_where_no_file_can_be_begun_the_old_one_goes_on(path: Path, fd: int) -> None:
    os.write(fd, b"full of words")
    (path.parent / "meshd.log.1").mkdir()
    (path.parent / "meshd.log.1" / "x").write_text("in the way")
    with pytest.raises(OSError, match="directory"):
        Rotation(path, bytes_max=10, kept=1, follow=(fd,)).make_room()
    os.write(fd, b"!")
    assert path.read_text() == "full of words!"


def test_what_a_process_says_as_it_crashes_is_in_the_newest_file(path: Path, fd: int) -> None:
    ended = subprocess.run([sys.executable, "-c", CRASHING, path], stdout=fd, stderr=fd, timeout=60, check=False)
    assert ended.returncode == 1
    files = _files(path)
    assert set(files) == {"meshd.log", "meshd.log.1", "meshd.log.2"}
    assert files["meshd.log"].rstrip().endswith("RuntimeError: the end")
    assert "the last print" in files["meshd.log"]
    lines = "".join(files[name] for name in sorted(files, reverse=True)).splitlines()
    told = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    assert told == [f"line {number}" for number in range(200 - len(told), 200)]
    assert len(told) > 20
    assert all(len(text) < 4_000 for text in files.values())
