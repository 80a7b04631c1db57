"""The journal of the audit: records are added at once, and on disk soon after, all that waits in one sync.

Invariant: what `durable` names is on disk, and stays there; a line that a kill cut short was never told
to be durable, and is cut off at the next start. What nobody waits for shares its sync with what comes within
`GATHER_S`. A disk that takes nothing, or a last record that is none, is told by `problem`, and what waits for it
is kept. Neighbours: `audit` adds and waits; `chains` sets aside what is damaged; `segments` reads; `shipping` sends on.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path

from msgspec import structs

from meshd import clock
from meshd.observe import chains
from meshd.observe.segments import first_of, name_of, segments
from protocol import limits
from protocol.audit import PRUNED, RESTARTED, Act, Chain, Finding, Head, origin
from protocol.errors import MeshError
from protocol.primitives import NodeId, WallMs

AGAIN_S = 1.0  # between two tries to write to a disk that takes nothing
GATHER_S = 0.02  # what nobody waits for is on disk after this: a sync and two hops between threads, for all of it
BATCH_MAX = 4_096  # records of one sync
SEGMENT_BYTES = 16 << 20  # of one file: read whole at a start to find its end; some 40,000 records
ENDLESS = "its last record is none any more; see: meshctl audit verify; then: meshctl audit restart --reason WHY"


class Journal:
    """The audit of one node, as its files have it."""

    def __init__(
        self,
        folder: Path,
        *,
        node: NodeId,
        life: int,
        segment_bytes: int = SEGMENT_BYTES,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        """Make or take up the folder. Raises MeshError("directory")."""
        self.folder = folder
        self._life = life
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._fd = -1
        self._size = 0
        self._doomed: tuple[int, tuple[Path, ...]] | None = None  # segments that go once this record is on disk
        self._waiting: deque[bytes] = deque()
        self._writing: Future[None] | None = None  # in the journal's own thread
        self._due: asyncio.TimerHandle | None = None  # when what waits is written, or tried again
        self._is_closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._news: list[Callable[[], None]] = []
        self.left_out = 0  # records that found no room since there last was some: the disk is slow, or takes nothing
        self._node = node
        self.added = 0  # acts that were taken since this began, and those of them that are on disk
        self.written = 0
        self._unchained: deque[tuple[Act, WallMs]] = deque()  # until there is a chain that they can be added to
        tail = chains.take_up(folder, node)
        self.finding: Finding | None = tail.finding  # what was seen of damage at the start
        self.cut_bytes = tail.cut_bytes  # what a kill had left of a line
        self._number, self._end = tail.chain, tail.head or origin(node, tail.chain)
        self._chain = Chain(node, self._end, number=tail.chain) if tail.is_sound else None
        self.problem = "" if tail.is_sound else ENDLESS
        self.durable = self._end.seq
        if tail.is_sound and tail.path is not None:
            self._fd, self._size = os.open(tail.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), tail.size
        if tail.head is None and tail.chain > 1:
            self.add(_restarted(Act(RESTARTED, "journal", "done", more={"reason": "there was none"}), tail.chain - 1))

    @property
    def head(self) -> Head:
        """The last record that was added, on disk or not."""
        return self._end if self._chain is None else self._chain.head

    @property
    def chain(self) -> int:
        """The number of the chain that goes on."""
        return self._number

    @property
    def is_sound(self) -> bool:
        """False when its last record is none any more, so that none can follow it; and while a chain is set aside."""
        return self._chain is not None

    @property
    def begins(self) -> int:
        """The number of the oldest record that is kept of it."""
        return next((first_of(path) for path in segments(self.folder)), self.durable + 1)

    @property
    def waiting(self) -> int:
        """Records that are not on disk yet."""
        return self.added - self.written

    def watch(self, news: Callable[[], None]) -> None:
        """Call this whenever more is durable, or the disk fails or mends."""
        self._news.append(news)

    def add(self, act: Act) -> None:
        """Record what happened; on disk after `GATHER_S`, or a `hurry`. Called in the event loop; never waits."""
        if self.waiting >= limits.AUDIT_WAITING_MAX:
            self.left_out += 1
        else:
            self._append(act)

    def _append(self, act: Act) -> None:
        self.added += 1
        self._unchained.append((act, clock.wall_ms()))
        self._link()

    def _link(self) -> None:
        """Give what was added its place in the chain, if there is one, and see that it is written."""
        while self._chain is not None and self._unchained:
            act, time_ms = self._unchained.popleft()
            self._waiting.append(self._chain.add(act, life=self._life, time_ms=time_ms) + b"\n")
        if self._waiting and self._writing is None and self._due is None:
            self._due = asyncio.get_running_loop().call_later(GATHER_S, self._write)

    def hurry(self) -> None:
        """Somebody waits for what was added: it is written now, or right after what is being written."""
        if not self.problem:  # else it is tried again in its time
            self._write()

    async def restart(self, act: Act, *, chain: int = 0, seq: int = 0) -> None:
        """Set the chain aside, and begin the next with `act`: above chain and record of those numbers, too.

        What is added meanwhile follows in the new one. Raises MeshError directory or unaudited; all is then as it was.
        """
        if self.problem and self._chain is not None:
            raise MeshError("unaudited", problem=self.problem)
        former, self._chain, self._end = self._chain, None, self.head
        try:
            await self.settled()
            if self._waiting:
                raise MeshError("unaudited", problem=self.problem)
            number = max(self._number, chain) + 1
            following = Chain(self._node, Head(max(self._end.seq, seq), origin(self._node, number).hash), number=number)
            first = following.add(_restarted(act, self._number, self._end), life=self._life, time_ms=clock.wall_ms())
            await asyncio.get_running_loop().run_in_executor(
                self._thread, self._set_aside, name_of(following.head.seq), first + b"\n"
            )
        except BaseException:
            self._chain = former
            self._link()
            raise
        self._chain, self._number, self.finding = following, number, None
        self.durable, self._doomed = following.head.seq, None
        self._link()
        self._tell(problem="")

    async def settled(self) -> None:
        """Return when everything added so far is on disk, or the disk takes nothing."""
        self.hurry()
        while self._writing is not None and not self.problem:
            await asyncio.wait([asyncio.wrap_future(self._writing)])

    async def close(self) -> None:
        """Write what waits and let go of the files. Idempotent."""
        await self.settled()
        self._is_closed = True
        self._thread.shutdown()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def prune(self, *, before_ms: int, bytes_max: int, shipped: int) -> None:
        """Remove the oldest segments: those of which all is older, and what is too much. The chain says so first.

        Never the last one, and never what the stream has not acknowledged.
        """
        paths = segments(self.folder)
        sizes = [path.stat().st_size for path in paths]
        old: list[Path] = []
        for path, following in pairwise(paths):
            is_old = path.stat().st_mtime_ns // 1_000_000 < before_ms or sum(sizes[len(old) :]) > bytes_max
            if not is_old or first_of(following) - 1 > shipped or self._doomed:
                break
            old.append(path)
        if old:
            through = first_of(paths[len(old)]) - 1
            self.add(Act(PRUNED, "journal", "done", more={"through": through}))
            self._doomed = (self.head.seq, tuple(old))

    # --- writing, one sync for all that came meanwhile

    def _write(self) -> None:
        """Give the thread all that waits; `_heard` is told how that went. No task of its own: an award waits for it."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._waiting and self._writing is None and not self._is_closed:
            batch = list(islice(self._waiting, BATCH_MAX))
            loop = asyncio.get_running_loop()
            self._writing = self._thread.submit(self._put, b"".join(batch), self.durable + 1)
            self._writing.add_done_callback(lambda done: loop.call_soon_threadsafe(self._heard, done, len(batch)))

    def _heard(self, done: Future[None], count: int) -> None:
        self._writing = None
        match done.exception():
            case None:
                for _ in range(count):
                    self._waiting.popleft()
                self.durable += count
                self.written += count
                self._catch_up()
                self._tell(problem="")
                self._write()
            case OSError() | MeshError() as failure:
                self._due = asyncio.get_running_loop().call_later(AGAIN_S, self._write)
                self._tell(problem=_reason(failure))
            case failure:
                raise failure

    def _catch_up(self) -> None:
        """There is room again for what happens; how much had none is recorded first."""
        if self.left_out and self.waiting < limits.AUDIT_WAITING_MAX // 2:
            left_out, self.left_out = self.left_out, 0
            self._append(Act("audit.leave_out", "journal", "done", more={"records": left_out}))

    def _tell(self, *, problem: str) -> None:
        self.problem = problem
        if self._doomed is not None and self._doomed[0] <= self.durable:
            for path in self._doomed[1]:
                path.unlink(missing_ok=True)
            self._doomed = None
        for news in self._news:
            news()

    def _put(self, batch: bytes, first_seq: int) -> None:
        """On disk when this returns; at an error the file is as it was. Runs in the journal's own thread."""
        if self._fd < 0 or (self._size + len(batch) > self._segment_bytes and self._size):
            self._begin(first_seq)
        try:
            view = memoryview(batch)
            written = 0
            while written < len(view):
                written += os.pwrite(self._fd, view[written:], self._size + written)
            self._sync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)  # written anew as a whole: what a failed sync left is not to be trusted
            raise
        self._size += len(batch)

    def _begin(self, first_seq: int) -> None:
        path = self.folder / name_of(first_seq)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            chains.sync_folder(self.folder)
        except OSError:
            os.close(fd)
            raise
        self._go_on(fd, os.fstat(fd).st_size)

    def _set_aside(self, name: str, line: bytes) -> None:
        """The next chain is on disk when this returns; at an error the former stands as it stood."""
        self._go_on(chains.begin(self.folder, former=self._number, name=name, line=line), len(line))

    def _go_on(self, fd: int, size: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, size


def _reason(failure: OSError | MeshError) -> str:
    return (failure.strerror or str(failure)) if isinstance(failure, OSError) else failure.message


def _restarted(act: Act, former: int, end: Head | None = None) -> Act:
    """What begins a chain names the one before, and its end."""
    named = {"former": former} if end is None else {"former": former, "former_seq": end.seq, "former_hash": end.hash}
    return structs.replace(act, more={**act.more, **named})
