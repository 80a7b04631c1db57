"""The disk under the embedded server: is there room, and did the server find none?

Invariant: looks and never writes. A nats-server that found no room once refuses all later writes, room
or not, until it is started again. Neighbours: `server` looks here, and starts it again.
"""

import os
from collections.abc import Sequence
from pathlib import Path

ROOM_BYTES_MIN = 4 << 20  # four of the largest records; below that the next write may be the one that fails
FAULTS = ("no space left on device", "disk quota exceeded")
BEGINNING = "Starting nats-server"  # the first line of a server's life in its log
FAULT_CHARS_MAX = 300


def free_bytes(directory: Path) -> int:
    """What a program without privileges may still write there."""
    try:
        seen = os.statvfs(directory)
    except OSError:
        return ROOM_BYTES_MIN  # it went away: that is said by whoever misses it
    return seen.f_bavail * seen.f_frsize


def fault_in(log: Sequence[str]) -> str:
    """The last line about a full disk since the server began, or nothing."""
    for line in reversed(log):
        if any(fault in line for fault in FAULTS):
            return line[-FAULT_CHARS_MAX:]
        if BEGINNING in line:
            break
    return ""


def problem(directory: Path, *, free: int, fault: str) -> str:
    """What is the matter with the disk, as the end of "the nats-server …"; nothing when it is well."""
    said = f"; its log says: {fault}" if fault else ""
    if free < ROOM_BYTES_MIN:
        wanted = f"{free >> 10} KiB are free under {directory}, and it wants {ROOM_BYTES_MIN >> 10}"
        return f"has no room on its disk: {wanted}{said}"
    return f"found its disk full, and is started again now that there is room{said}" if fault else ""
