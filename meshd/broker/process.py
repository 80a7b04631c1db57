"""One nats-server process, ours or adopted: is it alive, is it the right one, end it.

Invariant: a signal goes only to a process that still runs our configuration file; a number that
was given to another program since is left alone. Neighbours: `server` decides when.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path

from meshd import clock
from protocol.errors import MeshError
from protocol.primitives import NS_PER_S

LOOK_S = 0.1  # between looks at whether it lives: 10 system calls a second
STOP_LOOK_S = 0.01
PATIENCE_S = 15.0  # for a graceful end; it takes milliseconds unless the disk is stuck
MEMORY_LIMIT = "256MiB"  # for the server's garbage collector; idle it holds 15
THREADS_MAX = "2"


class ServerProcess:
    """A process id with the configuration it must be running."""

    def __init__(self, pid: int, config: Path, child: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self._config = config
        self._child = child

    @classmethod
    def spawn(cls, program: Path, config: Path) -> "ServerProcess":
        """Start one in a session of its own, so that what ends us does not end it.

        Call it from the main thread. Raises MeshError("broker") when the system refuses.
        """
        try:
            child = subprocess.Popen(
                [program, "-c", config],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=config.parent,
                env=os.environ | {"GOMEMLIMIT": MEMORY_LIMIT, "GOMAXPROCS": THREADS_MAX},
                start_new_session=True,
                umask=0o077,  # its log is for its owner alone, as everything else here
            )
        except OSError as fault:
            cure = "see that it may be executed here"
            raise MeshError("broker", problem=f"at {program} cannot be started: {fault.strerror}", cure=cure) from None
        return cls(child.pid, config, child)

    @classmethod
    def find(cls, pid_file: Path, config: Path) -> "ServerProcess | None":
        """The living process that the file names, if it runs our configuration."""
        try:
            pid = int(pid_file.read_text("ascii"))
        except (OSError, ValueError):
            return None
        process = cls(pid, config, None)
        return process if pid > 1 and process.is_alive() else None

    @property
    def is_adopted(self) -> bool:
        """True when an earlier daemon started it."""
        return self._child is None

    def is_alive(self) -> bool:
        """True while it runs; a child that ended is reaped here."""
        if self._child is not None:
            return self._child.poll() is None
        return str(self._config) in _command(self.pid)

    async def ended(self) -> None:
        """Return when it does not run any more."""
        while self.is_alive():  # noqa: ASYNC110 - nobody but a parent is told of an end
            await asyncio.sleep(LOOK_S)

    async def stop(self) -> None:
        """Ask it to end, insist after 15 s, and return when it is gone."""
        self._signal(signal.SIGTERM)
        deadline = clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        while self.is_alive():
            if clock.monotonic_ns() > deadline:
                self._signal(signal.SIGKILL)
            await asyncio.sleep(STOP_LOOK_S)

    def kill(self) -> None:
        """End it at once; `is_alive` tells when."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _command(pid: int) -> str:
    """The command line of a running process; empty for one that ended, even if nobody reaped it."""
    procfs = Path("/proc/self").exists()
    try:
        if procfs:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        shown = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(shown, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
