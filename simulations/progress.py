"""How far a long command is, on a terminal only: a bar that is redrawn in place, and gone at the end.

Invariant: says nothing into a file or a pipe. Neighbours: `sweep` and `shrink` tell it.
"""

import sys
from typing import TextIO

WIDTH = 30


class Progress:
    """One bar, on standard error unless told otherwise."""

    def __init__(self, total: int, *, out: TextIO | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._total = total
        self._shown = self._out.isatty()
        self._length = 0

    def at(self, done: int, note: str = "") -> None:
        """So many of all are done."""
        if self._shown:
            filled = WIDTH * min(done, self._total) // max(1, self._total)
            self._draw(f"[{'#' * filled}{'.' * (WIDTH - filled)}] {done} of {self._total}{', ' if note else ''}{note}")

    def clear(self) -> None:
        """No more; the line is empty again."""
        if self._shown and self._length:
            self._draw("")

    def _draw(self, text: str) -> None:
        self._out.write(f"\r{text.ljust(self._length)}" + ("" if text else "\r"))
        self._out.flush()
        self._length = len(text)
