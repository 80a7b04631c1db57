"""The process groups of a daemon's agents, and the process that ends them when the daemon no longer can.

Invariant: a group is held from its start until it was killed. With a lease it does not outlive that long a silence
of ours: a daemon that stands still cannot stop what must not run twice, and one that wakes up kills it before it
says another word. Neighbours: `reap` is what runs; `child` holds and drops.
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress

from meshd import clock
from meshd.agents import reap
from meshd.supervise import Supervisor
from protocol.primitives import NS_PER_S

BEATS_A_LEASE = 6  # so that a slow turn of the loop is no silence
EXIT_S = 1.0  # for it to see the end of its input; it waits for nothing else


class Reaper:
    """Tells the process what to watch over; it is started with the first group, and anew when it is gone."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._leases: dict[int, float] = {}  # of the groups held
        self._lapsed: set[int] = set()  # of those: killed for our silence
        self._spoke_ns = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._beats: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the process; 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    def hold(self, group: int, lease_s: float = 0.0) -> None:
        """The group ends with the daemon; with `lease_s`, also when the daemon stands still for so long.

        A later call replaces the lease. Raises OSError when the process cannot be started.
        """
        self._end_lapsed()
        self._leases[group] = lease_s
        self._tell(f"hold {group} {lease_s}\n")
        if lease_s and (self._beats is None or self._beats.done()):
            self._beats = self._supervisor.spawn("agents: beats of exclusive work", self._beat())

    def has_lapsed(self, group: int) -> bool:
        """True when a group that is held was killed because the daemon stood still, or soon will be."""
        self._end_lapsed()
        return group in self._lapsed

    def drop(self, group: int) -> None:
        """The group was killed."""
        self._lapsed.discard(group)
        if self._leases.pop(group, None) is not None:
            with suppress(OSError):  # the next process is not told of it at all
                self._write(f"drop {group}\n")

    def close(self) -> None:
        """Let go: what is still held is ended."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.communicate(timeout=EXIT_S)
        self._end()

    async def _beat(self) -> None:
        while leases := [lease_s for lease_s in self._leases.values() if lease_s]:
            self._end_lapsed()
            self._tell("beat\n")
            await asyncio.sleep(min(leases) / BEATS_A_LEASE)

    def _end_lapsed(self) -> None:
        """We may have stood still ourselves: what is bound ended meanwhile, or ends now."""
        silence_s = (clock.awake_ns() - self._spoke_ns) / NS_PER_S
        for group, lease_s in self._leases.items():
            if 0 < lease_s <= silence_s and group not in self._lapsed:
                self._lapsed.add(group)
                with suppress(OSError):
                    os.killpg(group, signal.SIGKILL)

    def _tell(self, line: str) -> None:
        self._spoke_ns = clock.awake_ns()
        try:
            self._write(line)
        except OSError:  # it is gone, or reads no more
            self._end()
            self._process = _spawned()
            for group, lease_s in self._leases.items():
                self._write(f"hold {group} {lease_s}\n")

    def _write(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            raise BrokenPipeError
        os.write(self._process.stdin.fileno(), line.encode())  # short enough to be written whole or not at all

    def _end(self) -> None:
        """Without a word to the groups."""
        if self._process is not None:
            self._process.kill()
            with self._process:  # closes its pipe, and waits for it
                self._process = None


def _spawned() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", reap.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        process_group=0,
        cwd="/",
    )
    if process.stdin is not None:
        os.set_blocking(process.stdin.fileno(), False)
    return process
