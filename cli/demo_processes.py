"""Which processes belong to the demo, and their end: the one place that signals anything.

Invariant: only a program of ours that was started with a path in a node's own folder, or what
descends from one, is ever signalled, and by a number of a fresh look: a number that went to
another process is left alone. Neighbours: `demo_mesh` kills one node's, and all at the end.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

OURS = frozenset({"meshd", "nats-server"})

_PROC = Path("/proc")
_LOOK_S = 10.0


@dataclass(frozen=True)
class Process:
    """One process as the host lists it."""

    pid: int
    parent: int
    command: tuple[str, ...]


def look() -> list[Process]:
    """Every process that has not ended; those that only wait to be collected have."""
    if (_PROC / "self/stat").exists():
        seen = (_of_proc(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
        return [process for process in seen if process is not None]
    listed = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,stat=,command="], capture_output=True, text=True, timeout=_LOOK_S, check=False
    )
    return [process for line in listed.stdout.splitlines() if (process := _of_ps(line)) is not None]


def under(folder: Path, seen: Iterable[Process]) -> list[int]:
    """Programs of ours that were given a path in `folder`, and all that descend from them; never this one."""
    seen = list(seen)
    chosen = {one.pid for one in seen if _is_in(str(folder), one)} - {os.getpid()}
    while True:
        children = {one.pid for one in seen if one.parent in chosen} - chosen - {os.getpid()}
        if not children:
            return sorted(chosen)
        chosen |= children


def end(pids: Callable[[], list[int]], with_signal: signal.Signals = signal.SIGKILL) -> list[int]:
    """Signal what `pids` finds, again while it finds more (a daemon may just have started an agent)."""
    ended: list[int] = []
    for _ in range(5):
        new = [pid for pid in pids() if pid not in ended]
        if not new:
            break
        for pid in new:
            try:
                os.kill(pid, with_signal)
            except ProcessLookupError:
                continue
            except PermissionError:
                continue  # the number went to somebody else's process
            ended.append(pid)
    return ended


def _is_in(place: str, process: Process) -> bool:
    is_ours = any(os.path.basename(word) in OURS for word in process.command[:2])  # a script comes after its Python
    return is_ours and any(word == place or word.startswith(place + "/") for word in process.command)


def _of_proc(pid: int) -> Process | None:
    folder = _PROC / str(pid)
    try:
        # The command stands in brackets and may hold anything; state and parent come after them.
        state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        command = (folder / "cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else Process(pid, int(parent), tuple(command.split("\0")))


def _of_ps(line: str) -> Process | None:
    words = line.split(None, 3)
    if len(words) < 4 or not words[0].isdigit() or not words[1].isdigit() or words[2].startswith("Z"):
        return None
    return Process(int(words[0]), int(words[1]), tuple(words[3].split(" ")))
