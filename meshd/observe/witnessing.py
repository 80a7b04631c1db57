"""The stream itself as the witness of a journal: what a daemon reads there against what lies on disk.

Invariant: it decides by number and hash alone, record by record, and keeps none of them. What the stream no longer
has, or not yet, is missing and no fault. Neighbours: `verify` has judged the journal by itself before.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from meshd.observe.packed import lines_in
from meshd.observe.segments import FOLDER, records_of
from protocol.audit import Ending, Finding, read

SEQ_MAX = (1 << 63) - 1
Mark: TypeAlias = tuple[int, str]  # number and hash of a record


class Compared(Struct, frozen=True):
    """`same` records stand in both, from `first` to `last`; `missing` are not in the stream.

    `again`: records that the stream has once more, as anybody can send them; `left_out`: frames that it
    has not signed.
    """

    ending: Ending
    same: int = 0
    first: int = 0
    last: int = 0
    missing: int = 0
    again: int = 0
    left_out: int = 0
    finding: Finding | None = None


def marks(path: Path, chain: int) -> Callable[[int], Iterator[Mark]]:
    """The records of a chain above a number, of a state directory, a journal or an export."""
    if path.is_dir():
        folder = path / FOLDER if (path / FOLDER).is_dir() else path
        return lambda after: ((each.seq, each.hash) for each, _ in records_of(folder, after=after, through=SEQ_MAX))
    return lambda after: (
        (each.seq, each.hash)
        for line in lines_in(path)
        if (each := read(line)) is not None and each.chain == chain and each.seq > after
    )


def compared(journal: Callable[[int], Iterator[Mark]], told: Iterable[Mark], *, may_go_on: bool) -> Compared:
    """Go through both. `may_go_on`: what is read ended before the stream does, as an export may."""
    ours = journal(0)
    held = next(ours, None)
    begins = held[0] if held is not None else 0
    same = first = last = missing = again = 0
    finding: Finding | None = None
    for seq, hash in told:
        if seq < begins:
            continue  # pruned here, or of a chain that was set aside
        if seq <= last and next(journal(seq - 1), None) == (seq, hash):
            again += 1
            continue
        while held is not None and held[0] < seq:
            missing += 1
            held = next(ours, None)
        if held is None and not may_go_on:  # it may have been written since we came to the end
            ours = journal(seq - 1)
            held = next(ours, None)
        if held is None and may_go_on and seq > last:
            break
        finding = _differs(held, seq, hash, last)
        if finding is not None:
            break
        first, last, same = first or seq, seq, same + 1
        held = next(ours, None)
    if finding is None:
        missing += (held is not None) + sum(1 for _ in ours)
    ending = finding.ending if finding is not None else Ending.UNWITNESSED if missing or not same else Ending.VERIFIED
    return Compared(ending, same, first, last, missing, again, finding=finding)


def _differs(held: Mark | None, seq: int, hash: str, last: int) -> Finding | None:
    if seq <= last:
        return Finding(Ending.FORKED, seq, "forked", f"the stream has two records {seq} of this node")
    if held is None or held[0] != seq:
        return Finding(Ending.GAP, seq, "dropped", f"the stream has record {seq}, which is not here")
    if held[1] != hash:
        return Finding(Ending.ALTERED, seq, "replaced", f"the stream was given another record {seq}")
    return None
