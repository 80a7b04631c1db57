"""What runs beside a daemon that has agents: it ends their process groups when the daemon dies or stands still.

It reads lines: `hold GROUP LEASE_S`, `drop GROUP`, `beat`. Invariant: at the end of input every group held is
killed; a group with a lease is killed after that long without any line, also when this process stood still for
so long itself, whatever waits to be read by then; a number that another process was given meanwhile is left alone.
It is run as a file by a bare interpreter, so it imports nothing of meshd; `reaper` starts it.
"""

import os
import select
import signal
import time
from contextlib import suppress
from typing import NamedTuple

CHUNK_BYTES = 65_536  # as much as a pipe holds
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the host sleeps, where there is one


class Group(NamedTuple):
    """What is known of one: 0 is no lease; when its first process began tells it from a later one of that number."""

    lease_s: float
    began: str


def main() -> None:
    """Serve standard input to its end."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # meant for the daemon, which still has agents to stop
    groups: dict[int, Group] = {}
    begun = b""
    heard_s = time.clock_gettime(CLOCK)
    while True:
        leases = [group.lease_s for group in groups.values() if group.lease_s]
        left_s = min(leases) - (time.clock_gettime(CLOCK) - heard_s) if leases else None
        has_line = select.select([0], [], [], left_s and max(0.0, left_s))[0]
        now_s = time.clock_gettime(CLOCK)
        for number in [number for number, group in groups.items() if 0 < group.lease_s <= now_s - heard_s]:
            end(number, groups.pop(number))
        if not has_line:
            continue
        heard_s = now_s  # not later: what is read may be as old
        chunk = os.read(0, CHUNK_BYTES)
        if not chunk:
            break
        *lines, begun = (begun + chunk).split(b"\n")
        for line in lines:
            heed(line.decode().split(), groups)
    for number, group in groups.items():
        end(number, group)


def heed(words: list[str], groups: dict[int, Group]) -> None:
    """One line of the daemon's."""
    match words:
        case ["hold", number, lease_s]:
            groups[int(number)] = Group(float(lease_s), began(int(number)))
        case ["drop", number]:
            groups.pop(int(number), None)


def end(number: int, group: Group) -> None:
    """Kill a group, also one whose first process is gone: its number stays taken while the group has members."""
    if began(number) in ("", group.began):
        with suppress(OSError):
            os.killpg(number, signal.SIGKILL)


def began(pid: int) -> str:
    """When a process began, in ticks since the boot; nothing when it is gone or the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


if __name__ == "__main__":
    main()
