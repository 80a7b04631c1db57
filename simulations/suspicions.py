"""What became of the suspicions of a node: who accused it first, on what evidence, and when nobody did any more.

Invariant: told from the trace alone, in one reading. Neighbours: `accusations` notes who accuses whom,
`deaths` tells of those that ended badly, `postmortem` prints.
"""

from collections.abc import Iterator

from msgspec import Struct

from protocol.primitives import NS_PER_S
from simulations.accusations import ACCUSES
from simulations.recorded import End, Record, Recorded

SHOWN = 5  # the last


class Suspicion(Struct):
    """From the first accusation until nobody takes the node for suspect. Mutable."""

    line: Record
    accusers: set[str]
    believers: set[str]
    open: set[str]  # who takes it for suspect still
    last: Record | None = None  # what ended it


def suspicions(trace: Recorded, node: str) -> tuple[Suspicion, ...]:
    """Each of one node, in their order."""
    return tuple(_read(trace, node))


def told(each: Suspicion, node: str) -> str:
    """One of them, for people."""
    line = each.line
    evidence = "the broker said that nobody listens there" if ", absent" in line.what else "it did not answer"
    said = f"{node} was suspected by {line.node} at {_s(line)} (line {line.seq}): {evidence}"
    if not each.accusers:
        said = f"{node} was suspected at {_s(line)} (line {line.seq}): {line.node} had heard so"
        said += "; of who said it there is no line"
    elif more := len(each.accusers) - 1:
        said += f"; {more} more accused it"
    said += f"; {len(each.believers)} took it for suspect"
    if each.open or each.last is None:
        return f"{said}, {len(each.open)} of them to the end"
    return f"{said}, none of them after {_s(each.last)} (line {each.last.seq})"


def _read(trace: Recorded, node: str) -> Iterator[Suspicion]:
    current: Suspicion | None = None
    named = f"name={node!r},"
    for record in trace.records():
        if isinstance(record, End):
            break
        if record.kind == ACCUSES and record.what.startswith(f"{node} suspect"):
            current = current or Suspicion(record, set(), set(), set())
            current.accusers.add(record.node)
        elif record.kind == "event" and named in record.what:
            is_suspect = record.what.startswith("PeerSuspect(")
            if current is None and is_suspect:  # of what a liar says there is no line
                current = Suspicion(record, set(), set(), set())
            if current is None:
                continue
            if is_suspect:
                current.believers.add(record.node)
                current.open.add(record.node)
            elif record.what.startswith(("PeerAlive(", "PeerDead(", "PeerLeft(", "PeerDamped(")):
                current.open.discard(record.node)
                if not current.open and current.believers:
                    current.last = record
                    yield current
                    current = None
    if current is not None:
        yield current


def _s(record: Record) -> str:
    return f"{record.t / NS_PER_S:.3f} s"
