"""The demo on a screen: one line for each thing that happens, and on a terminal a bar that moves below them.

Invariant: off a terminal there is no control character at all; on one, only colours and the
rewriting of the last line. Lines fit 80 columns. Neighbours: `demo_story` words the lines.
"""

import os
import shutil
import textwrap
from collections.abc import Callable, Mapping
from typing import TextIO

from cli.demo_story import Line, Share, Story, Tone

COLUMNS_MAX = 100  # longer lines are no easier to read
COLUMNS = 80
INDENT = 14
NODE_COLUMNS = 3
BAR_COLUMNS = 28

_COLOURS: Mapping[Tone, str] = {"plain": "", "good": "32", "work": "36", "warn": "33", "bad": "31", "quiet": "2"}


class Screen:
    """Where the demo speaks. `seconds` says how long it has been running."""

    def __init__(self, out: TextIO, seconds: Callable[[], float], *, has_colours: bool, columns: int = 0) -> None:
        self._out = out
        self._seconds = seconds
        self.is_terminal = out.isatty() and os.environ.get("TERM") != "dumb"
        self._has_colours = has_colours
        given = columns or (shutil.get_terminal_size((COLUMNS, 24)).columns if self.is_terminal else COLUMNS)
        self._columns = max(40, min(given, COLUMNS_MAX))
        encoding = (getattr(out, "encoding", "") or "").lower().replace("-", "")
        self._full, self._empty = ("█", "░") if encoding.startswith("utf") else ("#", ".")
        self._bar = ""

    def say(self, line: Line) -> None:
        """One line with the time in front; a long one goes on below, indented."""
        node = line.node[:NODE_COLUMNS].ljust(NODE_COLUMNS)
        first, *rest = textwrap.wrap(line.text, self._columns - INDENT - 1) or [""]
        stamp = self.painted(f"{self._seconds():6.1f} s  ", "quiet")
        self._print(stamp + self.painted(node, "plain", bold=True) + "  " + self.painted(first, line.tone))
        for part in rest:
            self._print(" " * INDENT + self.painted(part, line.tone))

    def title(self, text: str) -> None:
        """A headline with an empty line around it."""
        self._print("")
        self._print(self.painted(text, "plain", bold=True))
        self._print("")

    def text(self, line: str, tone: Tone = "plain") -> None:
        """A line as it is."""
        self._print(self.painted(line, tone) if line else "")

    def bar(self, story: Story) -> None:
        """Where the work stands; off a terminal nothing, for the story says it in lines."""
        if not self.is_terminal:
            return
        done, total = min(story.done, story.total), max(story.total, 1)
        full = BAR_COLUMNS * done // total
        drawn = self.painted(self._full * full, "good") + self.painted(self._empty * (BAR_COLUMNS - full), "quiet")
        shares = "  ".join(self._share(node, share, story) for node, share in story.shares().items())
        bar = f"  {drawn} {done:>4}/{story.total}   {shares}"
        if bar != self._bar:
            self._out.write(f"\r\x1b[K{bar}")
            self._out.flush()
            self._bar = bar

    def clear_bar(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._bar = ""

    def _share(self, node: str, share: Share, story: Story) -> str:
        if node == story.down:
            return self.painted(f"{node} {share.done} down", "bad")
        running = f"+{share.running}" if share.running else ""
        return f"{node} {share.done}{self.painted(running.ljust(2), 'work')}"

    def painted(self, text: str, tone: Tone, *, bold: bool = False) -> str:
        """`text` in the colour of its tone, where there are colours."""
        codes = ";".join(code for code in ("1" if bold else "", _COLOURS[tone]) if code)
        return f"\x1b[{codes}m{text}\x1b[0m" if self._has_colours and codes and text.strip() else text

    def _print(self, text: str) -> None:
        bar, self._bar = self._bar, ""
        if bar:
            self._out.write("\r\x1b[K")
        self._out.write(text.rstrip() + "\n" + bar)
        self._bar = bar
        self._out.flush()
