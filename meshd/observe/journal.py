"""The journal of the audit: records are added at once, and on disk soon after, all that waits in one sync.

Invariant: what `durable` names is on disk, and stays there; a line that a kill cut short was never told
to be durable, and is cut off at the next start. A disk that takes nothing is told by `problem`, and what
waits for it is kept. Neighbours: `audit` adds and waits; `segments` reads; `shipping` sends on.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path

from meshd import clock
from meshd.observe.segments import CHUNK_BYTES, first_of, name_of, opened, refused, segments
from meshd.supervise import Supervisor
from protocol import limits
from protocol.audit import PRUNED, Act, Chain, Checker, Head, read
from protocol.errors import MeshError
from protocol.primitives import NodeId

AGAIN_S = 1.0  # between two tries to write to a disk that takes nothing
BATCH_MAX = 4_096  # records of one sync
SEGMENT_BYTES = 16 << 20  # of one file: read whole at a start to find its end; some 40,000 records
_LOST = "a record of it is no record any more"
_CURE = "see which with: meshctl audit verify {folder}, then move the folder away"


class Journal:
    """The audit of one node, as its files have it."""

    def __init__(
        self,
        folder: Path,
        *,
        node: NodeId,
        life: int,
        supervisor: Supervisor,
        segment_bytes: int = SEGMENT_BYTES,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        """Make or take up the folder. Raises MeshError("directory")."""
        self.folder = folder
        self._life = life
        self._supervisor = supervisor
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._fd = -1
        self._size = 0
        self._doomed: tuple[int, tuple[Path, ...]] | None = None  # segments that go once this record is on disk
        self._waiting: deque[bytes] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._news: list[Callable[[], None]] = []
        self.left_out = 0  # records that found no room while the disk took nothing
        self.problem = ""
        self.cut_bytes = 0  # what a kill had left of a line
        self._chain = Chain(node, self._take_up(node))
        self.durable = self._chain.head.seq

    @property
    def head(self) -> Head:
        """The last record that was added, on disk or not."""
        return self._chain.head

    @property
    def waiting(self) -> int:
        """Records that are not on disk yet."""
        return self.head.seq - self.durable

    def watch(self, news: Callable[[], None]) -> None:
        """Call this whenever more is durable, or the disk fails or mends."""
        self._news.append(news)

    def add(self, act: Act) -> None:
        """Record what happened; on disk some milliseconds later. Called in the event loop; never waits."""
        if len(self._waiting) >= limits.AUDIT_WAITING_MAX:
            self.left_out += 1
            return
        if self.left_out and len(self._waiting) < limits.AUDIT_WAITING_MAX // 2:
            left_out, self.left_out = self.left_out, 0
            self._append(Act("audit.leave_out", "journal", "done", more={"records": left_out}))
        self._append(act)
        if self._writer is None:
            self._writer = self._supervisor.spawn("audit journal", self._write_all())

    def _append(self, act: Act) -> None:
        self._waiting.append(self._chain.add(act, life=self._life, time_ms=clock.wall_ms()) + b"\n")

    async def settled(self) -> None:
        """Return when everything added so far is on disk, or the disk takes nothing."""
        while self._writer is not None and not self.problem:
            await asyncio.wait([self._writer], timeout=0.05)

    async def close(self) -> None:
        """Write what waits and let go of the files. Idempotent."""
        await self.settled()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
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

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = list(islice(self._waiting, BATCH_MAX))
                try:
                    await loop.run_in_executor(self._thread, self._put, b"".join(batch), self.durable + 1)
                except (OSError, MeshError) as failure:
                    reason = (failure.strerror or str(failure)) if isinstance(failure, OSError) else failure.message
                    self._tell(problem=reason)
                    await asyncio.sleep(AGAIN_S)
                    continue
                for _ in batch:
                    self._waiting.popleft()
                self.durable += len(batch)
                self._tell(problem="")
        finally:
            self._writer = None

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
            _sync_folder(self.folder)
        except OSError:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, os.fstat(fd).st_size

    # --- taking up what is there

    def _take_up(self, node: NodeId) -> Head | None:
        """The head of the chain on disk, None when there is none; goes on in its last segment."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as failure:
            raise refused(self.folder, failure) from None
        for path in reversed(segments(self.folder)):
            with opened(path, os.O_RDWR) as fd:
                content = _content(fd)
                whole = content[: content.rfind(b"\n") + 1]
                if len(whole) < len(content):
                    os.ftruncate(fd, len(whole))
                    os.fdatasync(fd)
                    self.cut_bytes += len(content) - len(whole)
                if self._fd < 0:
                    self._fd, self._size = os.dup(fd), len(whole)
            if whole:
                return self._head(whole[whole.rfind(b"\n", 0, -1) + 1 : -1], node, path)
        return None

    def _head(self, line: bytes, node: NodeId, path: Path) -> Head:
        record = read(line)
        if record is None or Checker(node=node).take(line) is not None:
            os.close(self._fd)
            raise MeshError("directory", path=path, problem=_LOST, cure=_CURE.format(folder=self.folder))
        return Head(record.seq, record.hash)


def _content(fd: int) -> bytes:
    chunks = []
    offset = 0
    while chunk := os.pread(fd, CHUNK_BYTES, offset):
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
