"""The log file of a daemon without a terminal: begun anew when it is full, and a few former ones kept.

Invariant: at most `kept` + 1 files, for their owner alone; what the process says by itself on its way
down is in the newest. Neighbours: `logs` asks for room before each line; `cli.daemon` opened the file.
"""

import os
from collections.abc import Sequence
from pathlib import Path

STDOUT, STDERR = 1, 2
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def opened(path: Path) -> int:
    """A descriptor of the file at `path`, to write at its end. Raises OSError."""
    return os.open(path, FLAGS, 0o600)


class Rotation:
    """`path` is the newest file, `path`.1 the one before. The descriptors `follow` always lead to the newest."""

    def __init__(self, path: Path, *, bytes_max: int, kept: int, follow: Sequence[int] = (STDOUT, STDERR)) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._kept = kept
        self._follow = tuple(follow)

    def make_room(self) -> None:
        """Begin a new file when this one is full. Raises OSError; then this one goes on."""
        if os.fstat(self._follow[-1]).st_size < self._bytes_max:
            return
        for number in range(self._kept, 0, -1):
            former = self._numbered(number - 1)
            if former.exists():
                former.replace(self._numbered(number))
        newest = opened(self._path)
        for descriptor in self._follow:
            os.dup2(newest, descriptor)
        os.close(newest)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
