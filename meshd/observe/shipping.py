"""The journal on its way into the stream: every record once, in order, from where the stream is.

Invariant: the journal is the spool. What was sent is what the stream says is last of this node; nothing else
is remembered, so a cut, a kill or a lost acknowledgement neither loses nor repeats a record. A stream that
holds another record than the journal is told as a fork, and nothing is sent on; nor is what is no record any more,
until the next chain begins. A frame that this node has not signed is no record of it, whatever its subject says: it is
left out and counted, and what follows is sent behind it. Neighbours: `journal` writes what `segments` reads; the
archive is a port.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from meshd import clock
from meshd.observe.journal import Journal
from meshd.observe.segments import Cursor, opened, records_of
from meshd.ports import Archive, Kept
from protocol import limits
from protocol.audit import Checker, Ending, Finding, Record, Witness, read
from protocol.envelope import Envelope, Refusal, Signer
from protocol.errors import MeshError
from protocol.primitives import NS_PER_S, NodeId
from protocol.wire.audit import AuditBatch

WITNESS = "witness.json"
WITNESS_BYTES_MAX = 4_096
GATHER_S = 0.2  # one signature and one synced write of the server for all that comes within
AGAIN_S = 1.0  # between two tries while the stream is out of reach
log = logging.getLogger("meshd.audit")


class Sending(Struct, frozen=True):
    """What it takes to send: the subject of this node, who signs, and how frames are sealed and opened."""

    subject: str
    stream: str
    signer: Signer
    seal: Callable[[AuditBatch], bytes]
    open: Callable[[bytes], Envelope | Refusal]


class Shipping:
    """Sends what is durable. `problem` says why that is stuck, `shipped` how far it is."""

    def __init__(self, journal: Journal, archive: Archive, sending: Sending) -> None:
        self._journal = journal
        self._archive = archive
        self._sending = sending
        self._news = asyncio.Event()
        self._moved = asyncio.Event()  # more was sent, or sending is stuck
        self._hurry = asyncio.Event()  # this life ends: nothing is gathered any more
        self._expect = 0
        self._looked = 0  # through this place of the stream all is known
        self._noted: Witness | None = None  # what a former life knew of the stream
        self.left_out = 0  # frames under the subject of this node that it has not signed
        self.shipped = journal.begins - 1
        self.problem = ""
        self._finding: tuple[int, Finding] | None = None  # of which chain, and what
        self.told: Record | None = None  # the last record that the stream holds of this node
        self._stuck_ns = 0  # since then
        journal.watch(self._news.set)
        known = read_witness(journal.folder)
        if known is not None and known.is_genuine and known.node == sending.signer.id:
            self.shipped = max(self.shipped, min(known.seq, journal.head.seq))
            self._noted = known

    @property
    def finding(self) -> Finding | None:
        """Why nothing of the chain that goes on is sent any more."""
        is_of_now = self._finding is not None and self._finding[0] == self._journal.chain
        return self._finding[1] if self._finding is not None and is_of_now else None

    @property
    def is_forked(self) -> bool:
        """True when the stream holds another audit of this node than its journal."""
        return self.finding is not None and self.finding.ending is Ending.FORKED

    @property
    def stuck_s(self) -> float:
        """For how long the stream has taken nothing, while something waits; 0 while it takes it."""
        is_stuck = self.problem and self.shipped < self._journal.durable
        return (clock.monotonic_ns() - self._stuck_ns) / NS_PER_S if is_stuck else 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            chain = self._journal.chain
            try:
                await self._archive.open()
                if await self._settled():
                    self.problem = ""
                while chain == self._journal.chain:
                    await self._ship()
                    await self._wait()
                self.problem = ""
            except MeshError as failure:
                self._stuck(failure.message)
                await asyncio.sleep(AGAIN_S)

    def _stuck(self, problem: str) -> None:
        if not self.problem:
            self._stuck_ns = clock.monotonic_ns()
        self.problem = problem
        self._moved.set()

    async def flush(self) -> None:
        """Return once all that is durable was sent, or sending is stuck. Called when this life ends."""
        self._hurry.set()
        while self.shipped < self._journal.durable and not self.problem:
            self._moved.clear()
            await self._moved.wait()

    async def _wait(self) -> None:
        self._news.clear()
        if self.finding is not None or not self._journal.is_sound:
            await self._news.wait()
        elif self.shipped >= self._journal.durable:
            await self._news.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._hurry.wait()

    async def _settled(self) -> bool:
        """Find out where the stream is, and go on from there; False when it is not where it could be."""
        last = await self._archive.last(self._sending.subject)
        if last is None:
            span = await self._archive.span()
            self._expect, self.shipped = 0, self.shipped if span.last else 0  # a fresh stream gets all that is kept
        else:
            self._expect = last.seq
            batch = self._own(last)
            if batch is None or self._is_again(batch):
                await self._look_through(last.seq)
            else:
                self.shipped = self._compared(batch)
        self._looked = self._expect
        self._cursor = Cursor(self._journal.folder, after=self.shipped)
        return self.finding is None

    def _own(self, kept: Kept) -> AuditBatch | None:
        """What a frame says that this node has signed; None for any other."""
        opened = self._sending.open(kept.frame)
        body = opened.body if isinstance(opened, Envelope) else None
        return body if isinstance(body, AuditBatch) else None

    def _is_again(self, batch: AuditBatch) -> bool:
        """True for a frame that stands before what the stream is known to have: somebody has sent it once more."""
        told = read(batch.lines[-1].encode())
        if told is None or told.chain > self._journal.chain or self.shipped < self._journal.begins:
            return False
        return told.chain < self._journal.chain or told.seq < self.shipped

    async def _look_through(self, through: int) -> None:
        """Find the last record of this node among frames that are none, or that somebody has sent once more."""
        place, reached = await self._begin(through)
        known = max(self.shipped, self._journal.begins - 1)
        others: list[int] = []  # where the first and the last stand
        count = 0
        while place <= through:
            kept = await self._archive.next(self._sending.subject, place)
            if kept is None:
                break
            batch = self._own(kept)
            if batch is None:
                count += 1
                others = [*others[:1], kept.seq]
            else:
                reached = max(reached or 0, self._compared(batch))
            place = kept.seq + 1
        self.shipped = known if reached is None else reached
        if count:
            self.left_out += count
            what = "the stream %s holds %d more frames under this node's subject that it has not signed, from %d to %d"
            log.warning(f"{what}: they are left out", self._sending.stream, count, others[0], others[-1])

    async def _begin(self, through: int) -> tuple[int, int | None]:
        """From where on the stream is to be looked through, and which record it is known to have before that."""
        if 0 < self._looked <= through:
            return self._looked + 1, max(self.shipped, self._journal.begins - 1)
        noted = self._noted
        if noted is not None and noted.stream == self._sending.stream and noted.stream_seq <= through:
            kept = await self._archive.next(self._sending.subject, noted.stream_seq)
            batch = self._own(kept) if kept is not None and kept.seq == noted.stream_seq else None
            told = read(batch.lines[-1].encode()) if batch is not None else None
            if told is not None and told.hash == noted.hash:
                return noted.stream_seq, self.shipped
        return (await self._archive.span()).first, None

    def _compared(self, batch: AuditBatch) -> int:
        """The last record that the stream has by this frame, which this node has signed; tells a fork."""
        told = read(batch.lines[-1].encode())
        if told is None:
            self._fork("the stream holds something under this node's subject that this node has not written")
            return self.shipped
        if self.told is None or (self.told.chain, self.told.seq) <= (told.chain, told.seq):
            self.told = told
        if told.chain < self._journal.chain:  # the one that was set aside: all of this one is to be sent
            return self._journal.begins - 1
        if told.chain > self._journal.chain:
            what = f"chain {told.chain} of this node's audit, and its journal is chain {self._journal.chain}"
            self._fork(f"the stream has {what}: was an older copy of the directory put back?", told.seq)
            return self.shipped
        if told.seq > self._journal.durable:  # only what was on disk was ever sent
            what = f"up to record {told.seq}, and its journal ended at {self._journal.durable}"
            self._fork(
                f"the stream has this node's audit {what}: was an older copy of the directory put back?", told.seq
            )
            return self.shipped
        ours = next(
            (record for record, _ in records_of(self._journal.folder, after=told.seq - 1, through=told.seq)), None
        )
        if ours is not None and ours.hash != told.hash:
            self._fork(f"the stream was given another record {told.seq} than the journal has", told.seq)
            return self.shipped
        return told.seq

    def _fork(self, problem: str, seq: int = 0) -> None:
        self._found(Finding(Ending.FORKED, seq, "forked", problem))

    def _found(self, finding: Finding) -> None:
        self._finding = self._journal.chain, finding
        self._stuck(f"{finding.text}; nothing more is sent; see: meshctl audit verify")

    async def _ship(self) -> None:
        """All that is durable and was not sent. Raises MeshError when the stream gives no answer or has moved."""
        chain = self._journal.chain
        while self.finding is None and self._goes_on(chain) and self.shipped < self._journal.durable:
            lines = await asyncio.to_thread(
                self._cursor.take,
                through=self._journal.durable,
                limit=limits.AUDIT_BATCH_MAX,
                bytes_max=limits.AUDIT_BATCH_BYTES_MAX,
            )
            if not self._goes_on(chain):  # it was set aside meanwhile: what was read is of either
                self._cursor = Cursor(self._journal.folder, after=self.shipped)
                return
            if not lines:
                raise MeshError("store", problem="is not sent what the journal does not have")
            first = self._cursor.seq - len(lines) + 1
            if (bad := first_bad(lines, node=self._sending.signer.id, chain=chain, first=first)) is not None:
                self._found(bad)
                return
            frame = self._sending.seal(AuditBatch(first, b"".join((b"\n", b"\n".join(lines), b"\n")).decode()))
            mark = f"{self._sending.signer.id}-{first}"
            place = await self._archive.append(self._sending.subject, frame, mark=mark, expect=self._expect)
            if place is None:  # an earlier try of ours stands there, or somebody else's
                raise MeshError("store", problem="stands elsewhere than it was")
            self._expect, self._looked, self.shipped = place, place, self._cursor.seq
            self._moved.set()
            if self._goes_on(chain):  # else the witness would stand beside another chain
                await asyncio.to_thread(self._keep_witness, lines[-1], place)

    def _goes_on(self, chain: int) -> bool:
        """False when it was set aside, or is being."""
        return self._journal.is_sound and self._journal.chain == chain

    def _keep_witness(self, line: bytes, place: int) -> None:
        record = read(line)
        if record is None:
            return
        bare = Witness(
            node=record.node,
            seq=record.seq,
            hash=record.hash,
            stream=self._sending.stream,
            stream_seq=place,
            time_ms=clock.wall_ms(),
            key=self._sending.signer.public_key.hex(),
        )
        signed = msgspec.structs.replace(bare, signature=self._sending.signer.sign(bare.signed_bytes).hex())
        write_witness(self._journal.folder, signed)


def first_bad(lines: list[bytes], *, node: NodeId, chain: int, first: int) -> Finding | None:
    """Why not all of these are the records that follow each other from `first` on, if they are not."""
    checker = Checker(node=node, chain=chain)
    bad = next((found for line in lines if (found := checker.take(line)) is not None), None) or checker.end()
    if bad is None and checker.first_seq != first:
        return Finding(Ending.GAP, first, "dropped", f"record {checker.first_seq} stands where record {first} was")
    return bad


def write_witness(folder: Path, witness: Witness) -> None:
    """Replace it. Raises MeshError("directory"). Not synced: it can be had again from the stream."""
    fresh = folder / f".{WITNESS}.new"
    try:
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(witness) + b"\n")
        os.replace(fresh, folder / WITNESS)
    except OSError as failure:
        problem = f"cannot be written: {failure.strerror or failure}"
        raise MeshError("directory", path=fresh, problem=problem, cure="make room on its disk") from None


def read_witness(folder: Path) -> Witness | None:
    """What the stream last acknowledged; None when nothing is noted, or what is noted is no witness."""
    if not (folder / WITNESS).exists():
        return None
    with opened(folder / WITNESS) as fd:
        content = os.read(fd, WITNESS_BYTES_MAX)
    try:
        return msgspec.json.decode(content, type=Witness)
    except (ValueError, RecursionError):
        return None
