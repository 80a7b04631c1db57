"""Stopping a daemon from outside: a signal, and patience until its directory is free.

Invariant: returns only when the daemon is gone and no server of the directory runs. Neighbours:
`app` leaves when it gets the signal; a server whose daemon died is stopped here.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from meshd import clock
from meshd.broker.process import ServerProcess
from meshd.running import standing_still
from meshd.statedir import lock_holder
from protocol.errors import MeshError
from protocol.primitives import NS_PER_S

LOOK_S = 0.05
EXIT_S = 2.0  # from letting go of the directory to the end of the process


def stop_daemon(path: Path, *, within_s: float) -> str:
    """Stop what runs on the state directory; one sentence about what was stopped.

    Raises MeshError("unreachable") when nothing ran there, "denied" when it is another user's, "stands_still",
    TimeoutError when it does not end.
    """
    pid = lock_holder(path)
    if pid is None:
        if _stop_unattended(path):
            return f"stopped the nats-server in {path}; its daemon was gone already"
        raise MeshError("unreachable", where=str(path))
    _refuse_stopped(path, pid)
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended by itself
    except PermissionError:
        raise MeshError("denied", what=f"stopping the daemon in {path}, which is another user's,") from None
    if not _until(lambda: lock_holder(path) != pid or standing_still(path) == pid, within_s):
        raise TimeoutError(path)
    _refuse_stopped(path, pid)
    _until(lambda: not _exists(pid), EXIT_S)  # it has let go of everything; a dead one may stay unreaped
    if lock_holder(path) is None:  # else a new daemon is there already, and the server is its own
        _stop_unattended(path)
    return f"stopped the daemon in {path}"


def _refuse_stopped(path: Path, pid: int) -> None:
    """A daemon that was stopped by a signal hears no other but two."""
    if standing_still(path) == pid:
        raise MeshError("stands_still", where=str(path), pid=pid)


def _until(is_so: Callable[[], bool], within_s: float) -> bool:
    deadline = clock.monotonic_ns() + int(within_s * NS_PER_S)
    while not is_so():
        if clock.monotonic_ns() > deadline:
            return False
        time.sleep(LOOK_S)  # noqa: TID251  # a command that waits, not the daemon
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _stop_unattended(path: Path) -> bool:
    """End a server whose daemon is gone; False when there is none."""
    directory = path.resolve() / "nats"
    found = ServerProcess.find(directory / "pid", directory / "nats.conf")
    if found is None:
        return False
    asyncio.run(found.stop())
    return True
