"""What happened, line by line: a digest over all of it, and the last lines for a report.

Invariant: the digest covers time, place, kind and content of every step, so two runs with one
digest were the same run. Neighbours: everything notes; `report` shows.
"""

from collections import deque
from collections.abc import Callable
from hashlib import blake2b

from msgspec import Struct

from protocol.primitives import NS_PER_S

LINES_KEPT = 4_000  # a report shows some of these, and most say little


class Line(Struct, frozen=True):
    """One thing that happened."""

    at_ns: int
    node: str
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.at_ns / NS_PER_S:>12.6f}  {self.node:<8} {self.kind:<9} {self.what}"


class Trace:
    """An append-only record of one run. `write` gets every line, when it is wanted."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._hash = blake2b(digest_size=16)
        self._write = write
        self.lines: deque[Line] = deque(maxlen=LINES_KEPT)

    def note(self, at_ns: int, node: str, kind: str, what: str, content: bytes = b"") -> None:
        """One thing that happened at `node`; `content` is counted and not shown."""
        self._hash.update(f"{at_ns}\0{node}\0{kind}\0{what}\0{len(content)}\n".encode() + content)
        line = Line(at_ns, node, kind, what)
        self.lines.append(line)
        if self._write is not None:
            self._write(f"{line}\n")

    @property
    def digest(self) -> str:
        """Of everything so far, 32 hexadecimal digits."""
        return self._hash.hexdigest()
