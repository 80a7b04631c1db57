"""Stopping a daemon from outside: whoever holds the lock, and what it left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshd import stopping
from meshd.broker.process import ServerProcess
from meshd.running import LOCK, standing_still
from meshd.statedir import lock_holder
from meshd.stopping import stop_daemon
from protocol.errors import MeshError
from tests.waiting import until

# Holds the lock as a daemon does, and ends so many signals later.
HOLDER = """
import fcntl, os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
os.pwrite(fd, b"%d" % os.getpid(), 0)
for _ in range(int(sys.argv[2])):
    signal.sigwait([signal.SIGTERM])
"""


@contextmanager
def holder(path: Path, signals: int = 1) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path / LOCK), str(signals)])
    try:
        asyncio.run(until(lambda: lock_holder(path) == process.pid))
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def server(path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that looks like the server of this directory."""
    directory = path / "nats"
    directory.mkdir()
    program = "import sys, signal; signal.sigwait([signal.SIGUSR1])"
    process = subprocess.Popen([sys.executable, "-c", program, str(directory.resolve() / "nats.conf")])
    (directory / "pid").write_text(str(process.pid))
    try:
        config = directory.resolve() / "nats.conf"
        asyncio.run(until(lambda: ServerProcess.find(directory / "pid", config) is not None))
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_daemon_is_told_to_stop_and_waited_for(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert stop_daemon(tmp_path, within_s=20.0) == f"stopped the daemon in {tmp_path}"
        assert process.wait(20) == 0


def test_a_daemon_that_does_not_end_in_time_is_left_alone(tmp_path: Path) -> None:
    with holder(tmp_path, signals=2) as process:
        with pytest.raises(TimeoutError):
            stop_daemon(tmp_path, within_s=0.1)
        assert process.poll() is None
        stop_daemon(tmp_path, within_s=20.0)


@pytest.mark.parametrize("is_stopped_first", [True, False])
def test_a_daemon_that_stands_still_is_not_waited_for_and_named(tmp_path: Path, is_stopped_first: bool) -> None:
    with holder(tmp_path, signals=2) as process:
        if is_stopped_first:
            process.send_signal(signal.SIGSTOP)
            asyncio.run(until(lambda: standing_still(tmp_path) == process.pid))
        else:
            threading.Timer(0.2, process.send_signal, [signal.SIGSTOP]).start()
        with pytest.raises(MeshError) as caught:
            stop_daemon(tmp_path, within_s=20.0)
    assert (caught.value.code, caught.value.exit) == ("stands_still", 3)
    assert f"process {process.pid} is stopped (SIGSTOP)" in caught.value.message
    assert caught.value.hint.startswith(f"kill -CONT {process.pid}; or kill -9 {process.pid}")


@pytest.mark.parametrize("lock", [None, b"", b"4194304\n", b"1\n", b"nonsense", b"-1", b"\xff\xfe"])
def test_where_nobody_runs_there_is_nothing_to_stop_whatever_the_lock_says(tmp_path: Path, lock: bytes | None) -> None:
    if lock is not None:
        (tmp_path / LOCK).write_bytes(lock)
    with pytest.raises(MeshError) as caught:
        stop_daemon(tmp_path, within_s=1.0)
    assert (caught.value.code, caught.value.exit) == ("unreachable", 3)
    assert str(tmp_path) in caught.value.message


def test_a_directory_that_is_not_there_holds_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(MeshError) as caught:
        stop_daemon(tmp_path / "none", within_s=1.0)
    assert caught.value.code == "unreachable"
    assert not (tmp_path / "none").exists()


def test_a_server_whose_daemon_is_gone_is_stopped(tmp_path: Path) -> None:
    with server(tmp_path) as process, _reaped(process):
        said = stop_daemon(tmp_path, within_s=20.0)
        assert said == f"stopped the nats-server in {tmp_path}; its daemon was gone already"
    assert process.returncode == -signal.SIGTERM


def test_a_server_that_a_daemon_left_behind_is_stopped_with_it(tmp_path: Path) -> None:
    with server(tmp_path) as process, holder(tmp_path), _reaped(process):
        stop_daemon(tmp_path, within_s=20.0)
    assert process.returncode == -signal.SIGTERM


def test_the_server_of_a_daemon_that_was_started_meanwhile_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(tmp_path) as process, holder(tmp_path) as old:
        asked = 0

        def look(path: Path) -> int | None:
            nonlocal asked
            asked += 1
            return old.pid if asked == 1 else old.pid + 1  # a service manager was quick

        monkeypatch.setattr(stopping, "lock_holder", look)
        assert stop_daemon(tmp_path, within_s=20.0) == f"stopped the daemon in {tmp_path}"
        assert process.poll() is None


def test_the_daemon_of_another_user_cannot_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    with holder(tmp_path) as process:
        monkeypatch.setattr(os, "kill", refuse)
        with pytest.raises(MeshError) as caught:
            stop_daemon(tmp_path, within_s=1.0)
        monkeypatch.undo()
        assert caught.value.code == "denied"
        assert process.poll() is None


@contextmanager
def _reaped(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Collect the process as soon as it ends, as its own parent does."""
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(process.wait)
        try:
            yield
        finally:
            if not waiting.done():
                process.kill()
            waiting.result(20)
