"""Who runs on this host: told while it runs, and not believed of anybody else."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshd.running import announce, announced, out_of_files, silent, standing_still, withdraw


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "run").mkdir()
    return {"XDG_RUNTIME_DIR": str(tmp_path / "run")}


def _daemon(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    (path / "api.json").touch()
    return path


def test_daemons_are_listed_from_their_start_to_their_end(tmp_path: Path, environ: dict[str, str]) -> None:
    assert announced(environ) == []
    b, a = _daemon(tmp_path, "b ü"), _daemon(tmp_path, "a")
    for path in (b, a, a):
        announce(path, environ)
    assert announced(environ) == [a, b]
    withdraw(a, environ)
    withdraw(a, environ)
    assert announced(environ) == [b]


def test_what_a_killed_daemon_left_behind_goes(tmp_path: Path, environ: dict[str, str]) -> None:
    a = _daemon(tmp_path, "a")
    announce(a, environ)
    (a / "api.json").unlink()
    assert announced(environ) == []
    assert list((tmp_path / "run").rglob("*.running")) == []


def test_a_folder_that_others_could_write_to_is_not_believed(tmp_path: Path, environ: dict[str, str]) -> None:
    a = _daemon(tmp_path, "a")
    announce(a, environ)
    (folder,) = (tmp_path / "run").iterdir()
    folder.chmod(0o777)
    assert announced(environ) == []
    announce(a, environ)
    folder.chmod(0o700)
    other = tmp_path / "other"
    folder.rename(other)
    folder.symlink_to(other)
    assert announced(environ) == []


def test_nonsense_in_the_folder_is_no_daemon(tmp_path: Path, environ: dict[str, str]) -> None:
    announce(_daemon(tmp_path, "a"), environ)
    (folder,) = (tmp_path / "run").iterdir()
    (folder / "x.running").write_bytes(b"\xff\x00relative")
    (folder / "y.running").write_bytes(os.fsencode(tmp_path / "a"))
    assert announced(environ) == [tmp_path / "a"]


def test_a_place_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "none")}
    announce(_daemon(tmp_path, "a"), environ)
    assert announced(environ) == []
    withdraw(tmp_path / "a", environ)


@pytest.mark.parametrize("lock", [None, b"", b"0\n", b"4194304\n", b"nonsense", b"-1", b"\xff\xfe", b"1/../self"])
def test_nobody_is_said_to_stand_still_for_what_a_lock_says(tmp_path: Path, lock: bytes | None) -> None:
    if lock is not None:
        (tmp_path / "lock").write_bytes(lock)
    assert standing_still(tmp_path) == 0
    (tmp_path / "lock").write_text(str(os.getpid()))
    assert standing_still(tmp_path) == 0


@contextmanager
def frozen(lock: Path, *, holds: Path) -> Iterator[int]:
    """The id of a process that has `holds` open and speaks of meshd, stopped, as it stands in the lock."""
    with holds.open("rb") as held:
        words = [sys.executable, "-c", "import signal; signal.pause()", "meshd start", str(lock.parent)]
        process = subprocess.Popen(words, stdin=held)
    try:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        lock.write_text(f"{process.pid}\n")
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_a_daemon_that_is_there_is_told_from_one_that_was_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert silent(tmp_path) == 0
    lock.touch()
    with frozen(lock, holds=lock) as daemon:
        assert (silent(tmp_path), standing_still(tmp_path)) == (daemon, daemon)
    assert (silent(tmp_path), standing_still(tmp_path)) == (0, 0)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_a_daemon_that_may_open_no_more_files_is_told_from_one_that_may(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert out_of_files(tmp_path) == (0, 0)
    lock.touch()
    with frozen(lock, holds=lock) as daemon:
        assert out_of_files(tmp_path) == (0, 0)
        opened = len(os.listdir(f"/proc/{daemon}/fd"))
        _, most = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, (opened + 1, most))
        assert out_of_files(tmp_path) == (0, 0)
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, (opened, most))
        assert out_of_files(tmp_path) == (daemon, opened)
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, (opened - 1, most))
        assert out_of_files(tmp_path) == (daemon, opened - 1)
    assert out_of_files(tmp_path) == (0, 0)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_a_process_that_has_the_number_of_a_killed_daemon_is_none_whatever_its_words(tmp_path: Path) -> None:
    log = tmp_path / "meshd.log"
    log.touch()
    with frozen(tmp_path / "lock", holds=log):
        assert (silent(tmp_path), standing_still(tmp_path)) == (0, 0)
