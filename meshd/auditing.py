"""The audit of this daemon as a whole: its journal, the way into the stream, and what is answered about it.

Invariant: a page reads a bounded number of frames; what is no admitted node's word is left out and counted.
Neighbours: `observe.audit` records and holds back, `observe.shipping` sends; `service` hands this to the API.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from msgspec import Struct, structs

from meshd import clock
from meshd.api import audit_schemas
from meshd.api.audit_schemas import AuditHead, AuditPage, AuditQuery
from meshd.observe import chains
from meshd.observe.audit import Audit
from meshd.observe.custody import Custody
from meshd.observe.segments import records_of
from meshd.observe.shipping import Shipping
from meshd.ports import Archive, Kept
from meshd.settings import AuditSettings
from meshd.supervise import Supervisor
from protocol.audit import Act, Detail, Record, read
from protocol.envelope import Envelope, Refusal
from protocol.errors import MeshError
from protocol.events import Event
from protocol.primitives import NodeId
from protocol.replica import Me
from protocol.subjects import Subjects
from protocol.wire.audit import AuditBatch

FRAMES_MAX = 256  # read for one page: each is a question to the server
SCANNED_MAX = 20_000  # records of the journal read for one page
PRUNE_S = 600.0  # between two looks for segments that are too old


class Reading(Struct, frozen=True):
    """What it takes to read what others wrote: how frames are opened, and what nodes are called."""

    subjects: Subjects
    open: Callable[[str, bytes], Envelope | Refusal]
    name_of: Callable[[NodeId], str]
    id_of: Callable[[str], NodeId]


class Auditing:
    """`api.backend.Audits` over one journal and the stream of all."""

    def __init__(
        self,
        *,
        me: Me,
        audit: Audit,
        shipping: Shipping,
        archive: Archive,
        reading: Reading,
        settings: AuditSettings,
        supervisor: Supervisor,
        tell: Callable[[Event], None],
    ) -> None:
        self._me = me
        self._audit = audit
        self._shipping = shipping
        self._archive = archive
        self._reading = reading
        self._settings = settings
        self._supervisor = supervisor
        self._custody = Custody(node=me.id, audit=audit, shipping=shipping, settings=settings, tell=tell)
        self.attention, self.gauges = self._custody.attention, self._custody.gauges

    @property
    def gate(self) -> Audit:
        """What records, and holds back until it is recorded."""
        return self._audit

    def start(self) -> None:
        """A life begins: say so, and send what is there."""
        cut = self._audit.journal.cut_bytes
        if cut:
            self._audit.note(Act("audit.recover", "journal", "done", more={"cut_bytes": cut}))
        more = {"name": self._me.name, "version": self._me.version}
        self._audit.note(Act("node.start", "node", "allow", more=more))
        self._supervisor.spawn("audit shipping", self._shipping.run())
        self._supervisor.spawn("audit pruning", self._keep_pruning())
        self._supervisor.spawn("audit custody", self._custody.keep_looking())

    async def stop(self, within_s: float) -> None:
        """The life ends: the last record, and all that is on disk sent if that goes quickly."""
        self._audit.close()
        self._audit.note(Act("node.stop", "node", "done"))
        await self._audit.journal.settled()
        try:
            async with asyncio.timeout(within_s):
                await self._shipping.flush()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Let go of files and connection."""
        await self._audit.journal.close()
        await self._archive.close()

    async def _keep_pruning(self) -> None:
        while True:
            before_ms = clock.wall_ms() - int(self._settings.keep_s * 1_000)
            bytes_max = self._settings.journal_bytes_max
            self._audit.journal.prune(before_ms=before_ms, bytes_max=bytes_max, shipped=self._shipping.shipped)
            await asyncio.sleep(PRUNE_S)

    # --- what is answered

    def check(self) -> None:
        """Raises MeshError("unaudited") while nothing can be recorded."""
        self._audit.check()

    def refused(self, action: str, resource: str, *, who: str, code: str, iid: str, gid: str) -> None:
        """Somebody asked for what is not done."""
        self._audit.note(Act(action, resource, "deny", who, iid, gid, more={"code": code}))

    def requested(
        self, request: str, *, who: str, resource: str, iid: str, words: Mapping[str, Detail], code: str
    ) -> None:
        """An operator's request, and why it was refused, if it was."""
        more = {"request": request, **words, **({"code": code} if code else {})}
        self._audit.note(Act("node.ask", resource, "deny" if code else "allow", who, iid, more=more))

    def head(self) -> AuditHead:
        """How far this node's audit is."""
        journal, finding = self._audit.journal, self._custody.finding
        return AuditHead(
            node=self._me.id,
            name=self._me.name,
            seq=journal.head.seq,
            hash=journal.head.hash,
            durable=journal.durable,
            shipped=self._shipping.shipped,
            folder=str(journal.folder),
            problem=self._audit.problem,
            shipping_problem=self._shipping.problem,
            is_forked=self._shipping.is_forked,
            chain=journal.chain,
            damage="" if finding is None else finding.text,
            damage_seq=0 if finding is None else finding.seq,
            checked=self._custody.checked,
            stuck_s=round(self._shipping.stuck_s, 1),
            is_stuck=self._custody.is_stuck,
        )

    async def restart(self, reason: str, *, who: str) -> AuditHead:
        """Set a damaged chain aside and begin the next. Raises MeshError audit_sound, unaudited, directory."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._supervisor.spawn("audit restart", self._restart(reason, who, done))
        former = await asyncio.shield(done)  # whoever asked may go away: it is done or not, never by half
        folder = self._audit.journal.folder
        return structs.replace(self.head(), aside=str(chains.kept(folder, former)))

    async def _restart(self, reason: str, who: str, done: asyncio.Future[int]) -> None:
        try:
            done.set_result(await self._custody.restart(who=who, reason=reason))
        except MeshError as failure:
            done.set_exception(failure)

    async def page(self, query: AuditQuery) -> AuditPage:
        """Records that fit. Raises MeshError store, unknown_peer, ambiguous, directory."""
        node = self._reading.id_of(query.node) if query.node else ""
        return await self._of_journal(query) if query.here else await self._of_stream(query, node)

    async def _of_journal(self, query: AuditQuery) -> AuditPage:
        journal = self._audit.journal
        after = int(query.cursor.partition(".")[0] or 0)
        if query.newest and not query.cursor:
            after = max(0, journal.durable - query.limit)
        found, after, is_end = await asyncio.to_thread(self._scanned, query, after, journal.durable)
        return AuditPage(tuple(map(self._shown, found)), f"{after}.0", is_end, "journal")

    def _scanned(self, query: AuditQuery, after: int, through: int) -> tuple[list[Record], int, bool]:
        found: list[Record] = []
        for record, _ in islice(records_of(self._audit.journal.folder, after=after, through=through), SCANNED_MAX):
            after = record.seq
            if _fits(record, query):
                found.append(record)
                if len(found) >= query.limit:
                    break
        return found, after, after >= through

    async def _of_stream(self, query: AuditQuery, node: NodeId) -> AuditPage:
        subjects = self._reading.subjects
        subject = subjects.audit(src=node) if node else subjects.audits()
        place, skip = await self._begin(query, subject)
        found: list[Record] = []
        refused = 0
        for _ in range(FRAMES_MAX):
            kept = await self._archive.next(subject, place)
            if kept is None:
                newest = found[-query.limit :]
                return AuditPage(tuple(map(self._shown, newest)), f"{place}.0", True, "stream", refused)
            batch = list(self._records(kept))
            refused += not batch
            for number, record in enumerate(batch):
                if number < skip or not _fits(record, query):
                    continue
                found.append(record)
                if len(found) >= query.limit and not query.newest:
                    return AuditPage(
                        tuple(map(self._shown, found)), f"{kept.seq}.{number + 1}", False, "stream", refused
                    )
            place, skip = kept.seq + 1, 0
        return AuditPage(tuple(map(self._shown, found)), f"{place}.0", False, "stream", refused)

    async def _begin(self, query: AuditQuery, subject: str) -> tuple[int, int]:
        """The place of the first frame to look at, and how many of its records were answered before."""
        if query.cursor:
            place, _, skip = query.cursor.partition(".")
            return int(place), int(skip)
        span = await self._archive.span()
        if query.newest:
            return max(span.first, span.last - min(query.limit, FRAMES_MAX - 1)), 0
        first, last = span.first, span.last
        while query.since_ms and first < last:  # a frame's records are written within moments: their times rise with it
            middle = (first + last) // 2
            kept = await self._archive.next(subject, middle)
            batch = list(self._records(kept)) if kept is not None else []
            if batch and batch[-1].time_ms < query.since_ms:
                first = middle + 1
            else:
                last = middle
        return first, 0

    def _records(self, kept: Kept) -> Iterator[Record]:
        opened = self._reading.open(kept.subject, kept.frame)
        if isinstance(opened, Envelope) and isinstance(opened.body, AuditBatch):
            for line in opened.body.lines:
                record = read(line.encode())
                if record is not None and record.node == opened.src:
                    yield record

    def _shown(self, record: Record) -> audit_schemas.AuditRecord:
        return audit_schemas.AuditRecord(
            node=record.node,
            node_name=self._reading.name_of(record.node),
            seq=record.seq,
            time_ms=record.time_ms,
            life=record.life,
            who=record.who,
            action=record.action,
            resource=record.resource,
            decision=record.decision,
            iid=record.iid,
            gid=record.gid,
            parent=record.parent,
            more=record.more,
            prev=record.prev,
            hash=record.hash,
        )


def _fits(record: Record, query: AuditQuery) -> bool:
    return (
        query.who in ("", record.who)
        and (query.what in ("", record.action) or record.action.startswith(f"{query.what}."))
        and query.resource in ("", record.resource)
        and query.decision in ("", record.decision)
        and record.time_ms >= query.since_ms
        and (not query.id or _names(record, query.id))
    )


def _names(record: Record, wanted: str) -> bool:
    named = (record.iid, record.gid, record.parent, record.resource.partition("/")[2])
    return any(name.startswith(wanted) for name in named)
