"""What happened, line by line: a digest over all of it, and the last lines for a report.

Invariant: the digest covers time, place, kind, cause and content of every line, so two runs with
one digest were the same run; a line's cause stands before it. Neighbours: everything notes;
`recorded` keeps it in a file, `report` shows.
"""

from array import array
from collections import deque
from collections.abc import Callable
from hashlib import blake2b

from msgspec import Struct

from protocol.primitives import NS_PER_S
from simulations.timeline import Timeline

LINES_KEPT = 4_000  # a report shows some of these, and most say little
ANCESTORS = 10  # as many causes of a failure are shown
# Lines of these kinds lead to others: what a node does is caused by its input, that by what brought it.
LEADING = frozenset({"input", "message", "absent", "fault", "stored", "run", "life"})


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
        return f"{self.seq:>8} {self.at_ns / NS_PER_S:>12.6f}  {self.node:<8} {self.kind:<9} {self.what}"


class Trace:
    """An append-only record of one run. `write` gets every line, when it is wanted."""

    def __init__(self, timeline: Timeline, write: Callable[[Line], object] | None = None) -> None:
        self._timeline = timeline
        self._hash = blake2b(digest_size=16)
        self._write = write
        self._causes = array("I", [0])  # by number of the line
        self.lines: deque[Line] = deque(maxlen=LINES_KEPT)

    def note(self, at_ns: int, node: str, kind: str, what: str, content: bytes = b"") -> None:
        """One thing that happened at `node`; `content` is counted and not shown."""
        cause, seq = self._timeline.cause, len(self._causes)
        self._causes.append(cause)
        self._hash.update(f"{at_ns}\0{node}\0{kind}\0{cause}\0{what}\0{len(content)}\n".encode() + content)
        line = Line(seq, at_ns, node, kind, cause, what, content)
        self.lines.append(line)
        if self._write is not None:
            self._write(line)
        if kind in LEADING:
            self._timeline.cause = seq

    def ancestry(self) -> tuple[int, ...]:
        """The numbers of the lines that led to now, the oldest first."""
        found: list[int] = []
        cause = self._timeline.cause
        while cause and len(found) < ANCESTORS:
            found.append(cause)
            cause = self._causes[cause]
        return tuple(reversed(found))

    @property
    def digest(self) -> str:
        """Of everything so far, 32 hexadecimal digits."""
        return self._hash.hexdigest()
