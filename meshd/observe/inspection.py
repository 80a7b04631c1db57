"""The daemon looks through its own journal: at its start and now and then, a little at a time.

Invariant: a look takes a few milliseconds of each of its pauses, and changes nothing. What was the end at one
look stands there at the next. Neighbours: `journal` writes; `protocol.audit` checks; the daemon's auditing tells.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice

from meshd.observe.journal import Journal
from meshd.observe.segments import first_of, lines_of, segments
from meshd.observe.shipping import read_witness
from protocol.audit import Checker, Ending, Finding, Head
from protocol.errors import MeshError
from protocol.primitives import NodeId

STEP = 500  # records between two pauses: some milliseconds
PAUSE_S = 0.05
TRIES = 3  # of one look: segments that are pruned meanwhile are missed by nobody


class Inspection:
    """Of one journal. `seen` is the last record that was looked at and found sound."""

    def __init__(self, journal: Journal, *, node: NodeId) -> None:
        self._journal = journal
        self._node = node
        self._end: Head | None = None  # at the last look
        self._chain = 0
        self.seen = 0

    async def look(self, *, pause_s: float = PAUSE_S) -> Finding | None:
        """Go through all of the chain that is on disk: the first fault, or nothing."""
        for _ in range(TRIES):
            try:
                return await self._look(pause_s)
            except MeshError as failure:
                refused = failure.message
        return Finding(Ending.ALTERED, self.seen + 1, "unreadable", f"the journal cannot be read: {refused}")

    async def _look(self, pause_s: float) -> Finding | None:
        journal = self._journal
        through, chain = journal.durable, journal.chain
        if chain != self._chain:
            self._chain, self._end = chain, None
        live = journal.head if journal.head.seq == through and journal.is_sound else None
        witness = read_witness(journal.folder)
        if witness is not None and not witness.is_genuine:
            text = "the note of what the stream acknowledged was not signed by this node"
            return Finding(Ending.ALTERED, witness.seq, "foreign", text)
        checker = Checker(node=self._node, chain=chain, witness=witness, is_whole=True)
        ends = {head.seq: head for head in (self._end, live) if head is not None}
        for path in segments(journal.folder):
            if first_of(path) > through:
                break
            lines = lines_of(path)
            is_more = True
            while is_more:
                found, is_more = await asyncio.to_thread(_step, checker, lines, through, ends)
                if chain != journal.chain:
                    return None
                if found is not None:
                    return found
                await asyncio.sleep(pause_s)
            checker.forget()
        if chain != journal.chain:
            return None
        found = checker.end()
        if found is None and checker.seq < through:
            text = f"the journal ends at record {checker.seq}, and had {through}"
            found = Finding(Ending.GAP, checker.seq + 1, "cut", text)
        if found is None:
            self._end, self.seen = Head(checker.seq, checker.hash), checker.seq
        return found


def _step(checker: Checker, lines: Iterator[bytes], through: int, ends: dict[int, Head]) -> tuple[Finding | None, bool]:
    """Some more lines: the first fault, and whether there are more that were on disk when this began."""
    step = list(islice(lines, STEP))
    for line in step:
        if checker.seq >= through:
            return None, False
        if (found := checker.take(line)) is not None:
            return found, False
        end = ends.get(checker.seq)
        if end is not None and end.hash != checker.hash:
            text = f"record {end.seq} is another than the one that was written"
            return Finding(Ending.ALTERED, end.seq, "replaced", text), False
    return None, len(step) == STEP
