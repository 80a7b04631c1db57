"""What happened, line by line: a digest over all of it, and the last lines for a report.

Invariant: the digest covers time, place, kind, cause and content of every line, so two runs with
one digest were the same run; a line's cause stands before it. Neighbours: everything notes;
`recorded` keeps it in a file, `report` shows.
"""

import re
from array import array
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import TypeAlias

from msgspec import Struct

from protocol.primitives import NS_PER_S
from simulations.timeline import Timeline
from simulations.visible import visible

LINES_KEPT = 4_000  # a report shows some of these, and most say little
HASHED_AT_ONCE = 512  # lines; one by one costs twice as much
ANCESTORS = 10  # as many causes of a failure are shown
# Lines of these kinds lead to others: what a node does is caused by its input, that by what brought it.
LEADING = frozenset({"input", "message", "absent", "fault", "stored", "run", "life", "accuses"})

TICK = "Tick"  # what an input says that is only a timer
ID_CHARS = 26  # of a task
CHANGING = frozenset({"event", "stored", "fault", "life"})


_Noted: TypeAlias = tuple[int, int, str, str, int, str, bytes]  # a `Line`, before anybody wants to see it


class Line(Struct, frozen=True):
    """One thing that happened, and the line that led to it; 0: the scenario."""

    seq: int
    at_ns: int
    node: str
    kind: str
    cause: int
    what: str
    content: bytes = b""

    def __str__(self) -> str:
        said = f"{self.seq:>8} {self.at_ns / NS_PER_S:>12.6f}  {self.node:<8} {self.kind:<9} {self.what}"
        return visible(said).replace("\n", "\\u000a")


class Ancestry:
    """The cause of every line, and which lines are ticks: a node's timers wake it many times between two events."""

    def __init__(self) -> None:
        self._causes = array("I", [0])
        self._ticks = bytearray(1)

    def __len__(self) -> int:
        return len(self._causes) - 1

    def add(self, cause: int, *, is_tick: bool) -> int:
        """The next line; its number."""
        self._causes.append(cause)
        self._ticks.append(is_tick)
        return len(self._causes) - 1

    def is_tick(self, seq: int) -> bool:
        """Is this line of a timer?"""
        return bool(self._ticks[seq])

    def of(self, seq: int, *, count: int) -> tuple[int, ...]:
        """A line and those that led to it, at most `count`, the oldest first; of ticks in a row only the last."""
        found: list[int] = []
        while seq and len(found) < count:
            found.append(seq)
            cause = self._causes[seq]
            while self._ticks[seq] and self._ticks[cause]:
                cause = self._causes[cause]
            seq = cause
        return tuple(reversed(found))


class Trace:
    """An append-only record of one run. `write` gets every line, when it is wanted."""

    def __init__(self, timeline: Timeline, write: Callable[[Line], object] | None = None) -> None:
        self.timeline = timeline
        self._hash = blake2b(digest_size=16)
        self._write = write
        self._ancestry = Ancestry()
        self._lines: deque[_Noted] = deque(maxlen=LINES_KEPT)
        self._unhashed: list[_Noted] = []

    def note(self, at_ns: int, node: str, kind: str, what: str, content: bytes = b"") -> int:
        """One thing that happened at `node`; `content` is counted and not shown. The number of its line."""
        timeline = self.timeline
        cause = timeline.cause
        seq = self._ancestry.add(cause, is_tick=what == TICK)
        noted = (seq, at_ns, node, kind, cause, what, content)
        self._lines.append(noted)
        self._unhashed.append(noted)
        if len(self._unhashed) >= HASHED_AT_ONCE:
            self._digest()
        if self._write is not None:
            self._write(Line(*noted))
        if kind in LEADING:
            timeline.cause = seq
        return seq

    def is_tick(self, seq: int) -> bool:
        """Is this line of a timer, which tells nothing?"""
        return self._ancestry.is_tick(seq)

    def _digest(self) -> None:
        self._hash.update(
            b"".join(
                f"{at_ns}\0{node}\0{kind}\0{cause}\0{what}\0{len(content)}\n".encode() + content
                for _, at_ns, node, kind, cause, what, content in self._unhashed
            )
        )
        self._unhashed.clear()

    @property
    def lines(self) -> tuple[Line, ...]:
        """The last things that happened."""
        return tuple(Line(*noted) for noted in self._lines)

    def brought(self) -> tuple[str, ...]:
        """The kinds of the messages that led to what happens now, the last first, as far as the last lines tell."""
        kinds: list[str] = []
        seq, first = self.timeline.cause, self._lines[0][0] if self._lines else 0
        while first and seq >= first:
            _, _, _, kind, seq, what, _ = self._lines[seq - first]
            if kind == "message":
                kinds.append(what.partition(" ")[0])
            elif kind != "input" or what == TICK:
                break
        return tuple(kinds)

    def last_about(self, what: str) -> int:
        """The last line that changed anything about the first node or id that this sentence names; 0: none."""
        for word in re.findall(r"\w+", what):
            for seq, _, node, kind, _, told, _ in reversed(self._lines):
                if kind in CHANGING and (node == word or (len(word) == ID_CHARS and word in told)):
                    return seq
        return 0

    def ancestry(self, seq: int) -> tuple[int, ...]:
        """The numbers of a line and of those that led to it, the oldest first."""
        return self._ancestry.of(seq, count=ANCESTORS)

    @property
    def digest(self) -> str:
        """Of everything so far, 32 hexadecimal digits."""
        self._digest()
        return self._hash.hexdigest()
