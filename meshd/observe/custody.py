"""Whether this node's own audit can be trusted and grows as it should, and what follows when not.

Invariant: what is found once is told once, and stays until the next chain begins; the journal is looked through at a
start and every `check_s`. While so much waits for the stream as the journal may hold, no new work is taken.
Neighbours: `inspection` looks, `shipping` compares with the stream; the daemon's auditing says what this knows.
"""

import asyncio
from collections.abc import Callable
from itertools import zip_longest

from meshd import clock
from meshd.observe.audit import Audit
from meshd.observe.inspection import Inspection
from meshd.observe.segments import first_of, segments
from meshd.observe.shipping import Shipping
from meshd.settings import AuditSettings
from protocol.audit import RESTARTED, Act, Detail, Ending, Finding
from protocol.errors import MeshError
from protocol.events import AuditDamaged, AuditRestarted, Event
from protocol.primitives import NS_PER_S, NodeId

LOOK_S = 5.0  # between two looks at what shipping found, and at what waits for it
STUCK_S = 30.0  # from here on somebody should see to it; short outages are the node's state and no news
CURE = "see meshctl audit verify, then begin a new chain with: meshctl audit restart --reason WHY"


class Custody:
    """Of one journal and its way into the stream."""

    def __init__(
        self, *, node: NodeId, audit: Audit, shipping: Shipping, settings: AuditSettings, tell: Callable[[Event], None]
    ) -> None:
        self._audit = audit
        self._journal = audit.journal
        self._shipping = shipping
        self._settings = settings
        self._tell = tell
        self._inspection = Inspection(audit.journal, node=node)
        self._found: Finding | None = audit.journal.finding
        self._told: Finding | None = None
        self._restarting = asyncio.Lock()

    @property
    def finding(self) -> Finding | None:
        """What is wrong with the chain that goes on."""
        return self._found or self._shipping.finding

    @property
    def checked(self) -> int:
        """The last record that was looked at and found sound."""
        return self._inspection.seen

    @property
    def unsent(self) -> int:
        """Records that the stream has not acknowledged."""
        return self._journal.head.seq - self._shipping.shipped

    @property
    def is_stuck(self) -> bool:
        """True when records wait for longer than a server takes to start again, and nothing else explains it."""
        return self.finding is None and self._shipping.stuck_s > STUCK_S

    def attention(self) -> tuple[str, ...]:
        """What somebody should see to."""
        found = []
        if self.finding is not None:
            how, text = self.finding.ending.name.lower(), self.finding.text
            found.append(f"the audit of this node is {'cut' if how == 'gap' else how}: {text}; {CURE}")
        if self._audit.problem and self._journal.is_sound:
            found.append(f"the audit cannot be written, so this node takes no new work: {self._audit.problem}")
        elif self._audit.problem:
            found.append("nothing can follow in this node's audit, so it takes no new work until a new chain begins")
        if self.is_stuck:
            what = f"{self.unsent} records of the audit wait on this node's disk"
            why = f"the stream has taken none ({self._shipping.problem})"
            found.append(f"{what}: for {self._shipping.stuck_s:.0f} s {why}")
        return tuple(found)

    def gauges(self) -> dict[str, float]:
        """How it is, by metric."""
        return {
            "meshd_audit_failing": float(bool(self._audit.problem)),
            "meshd_audit_damaged": float(self.finding is not None),
            "meshd_audit_forked": float(self._shipping.is_forked),
            "meshd_audit_unsent": float(self.unsent),
            "meshd_audit_stuck_seconds": self._shipping.stuck_s,
            "meshd_audit_checked": float(self.checked),
        }

    async def keep_looking(self) -> None:
        """Until it is cancelled."""
        self._audit.look()
        due_ns = 0
        while True:
            self._say()
            if self._found is None and clock.monotonic_ns() >= due_ns:
                self._found = await self._inspection.look()
                self._say()
                due_ns = clock.monotonic_ns() + int(self._settings.check_s * NS_PER_S)
            self._audit.hold(self._spool_problem())
            await asyncio.sleep(LOOK_S)

    async def restart(self, *, who: str, reason: str) -> int:
        """Set the chain aside and begin the next: the number of the former.

        Raises MeshError audit_sound, unaudited or directory.
        """
        async with self._restarting:
            if self.finding is None:
                self._found = await self._inspection.look(pause_s=0.0)
            finding, told, former = self.finding, self._shipping.told, self._journal.chain
            if finding is None:
                raise MeshError("audit_sound", seq=self._journal.durable)
            more: dict[str, Detail] = {
                "reason": reason,
                "finding": finding.ending.name.lower(),
                "finding_seq": finding.seq,
                "text": finding.text,
            }
            chain, seq = (told.chain, told.seq) if told is not None else (0, 0)
            self._say()
            await self._journal.restart(Act(RESTARTED, "journal", "allow", who, more=more), chain=chain, seq=seq)
            self._found = self._told = None
            self._tell(AuditRestarted(self._journal.chain, former, who, reason))
            return former

    def _say(self) -> None:
        """Tell what was found, once."""
        finding = self.finding
        if finding is not None and finding != self._told:
            self._told = finding
            is_cut = finding.ending is Ending.GAP
            how = "cut" if is_cut else finding.ending.name.lower()
            self._tell(AuditDamaged(self._journal.chain, how, finding.seq, finding.text))

    def _spool_problem(self) -> str:
        """Why no more may be added to what waits for the stream, or nothing."""
        if not self._shipping.problem:
            return ""
        try:
            paths = segments(self._journal.folder)
            unsent = [
                path
                for path, following in zip_longest(paths, paths[1:])
                if following is None or first_of(following) > self._shipping.shipped + 1
            ]
            size = sum(path.stat().st_size for path in unsent)
        except (OSError, MeshError):
            return ""  # it was pruned or set aside in between: the next look tells
        if size <= self._settings.journal_bytes_max:
            return ""
        what = f"{size >> 20} MiB of it wait for the stream, which has taken none for {self._shipping.stuck_s:.0f} s"
        return f"{what} ({self._shipping.problem})"
