"""What runs beside a daemon that has agents: it ends their process groups when the daemon dies or stands still.

It reads lines: `hold GROUP LEASE_S`, `drop GROUP`, `beat`. Invariant: at the end of input every group held is
killed; a group with a lease is killed after that long without any line; a number that another process was given
meanwhile is left alone. It is run as a file by a bare interpreter, so it imports nothing of meshd; `reaper` starts it.
"""

import os
import select
import signal
from contextlib import suppress
from typing import NamedTuple

CHUNK_BYTES = 65_536  # as much as a pipe holds


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
    while True:
        leases = [group.lease_s for group in groups.values() if group.lease_s]
        if not select.select([0], [], [], min(leases, default=None))[0]:
            for number in [number for number, group in groups.items() if group.lease_s]:
                end(number, groups.pop(number))
            continue
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
