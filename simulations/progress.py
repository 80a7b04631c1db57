"""How far a long command is, on a terminal only: a bar that is redrawn in place, and gone at the end.

Invariant: says nothing into a file or a pipe. Neighbours: `sweep` and `shrink` tell it, a single run is watched.
"""

import sys
from collections.abc import Callable
from typing import ClassVar, TextIO

from simulations.seen import Routine, Seen
from simulations.setting import Check, Setting, Wanted

WIDTH = 30
STEPS = 200  # of one run, at most; and none shorter than a second


class Progress:
    """One bar, on standard error unless told otherwise."""

    def __init__(self, total: int, *, out: TextIO | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._total = total
        self.is_shown = self._out.isatty()
        self._length = 0

    def at(self, done: int, note: str = "") -> None:
        """So many of all are done."""
        if self.is_shown:
            filled = WIDTH * min(done, self._total) // max(1, self._total)
            self._draw(f"[{'#' * filled}{'.' * (WIDTH - filled)}] {done} of {self._total}{', ' if note else ''}{note}")

    def clear(self) -> None:
        """No more; the line is empty again."""
        if self.is_shown and self._length:
            self._draw("")

    def _draw(self, text: str) -> None:
        self._out.write(f"\r{text.ljust(self._length)}" + ("" if text else "\r"))
        self._out.flush()
        self._length = len(text)


class Course:
    """How far one run is, in virtual seconds: a rule that breaks nothing."""

    wants: ClassVar[Wanted] = (Routine,)

    def __init__(self, run_s: float, note: str = "virtual seconds", *, out: TextIO | None = None) -> None:
        self._progress = Progress(int(run_s), out=out)
        self._note = note
        self._step_s = max(1.0, run_s / STEPS)
        self._next_s = 0.0

    @property
    def watch(self) -> tuple[Callable[[Setting], Check], ...]:
        """What a world is to be watched by: nothing where nobody would see it."""
        return (self._begin,) if self._progress.is_shown else ()

    def on(self, seen: Seen) -> str | None:
        """Time passes."""
        del seen
        now_s = self._setting.timeline.now_s
        if now_s >= self._next_s:
            self._next_s = now_s + self._step_s
            self._progress.at(int(now_s), self._note)
        return None

    def clear(self) -> None:
        """It is over."""
        self._progress.clear()

    def _begin(self, setting: Setting) -> Check:
        self._setting = setting
        return self
