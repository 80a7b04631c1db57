"""A store in this process, with the faults of a real one at hand.

Invariant: the same outcomes as `jetstream`, write for write; `tests/contracts/` holds both to it.
Neighbours: several `MemoryStore`s on one `MemoryBucket` are the stores of several nodes.
"""

import asyncio

from msgspec import Struct

from meshd import clock
from meshd.ports import Changes, Inspection, Stream
from meshd.store.keys import check_key, check_prefix, check_value
from meshd.store.writes import Writes
from protocol.errors import MeshError
from protocol.inputs import BUCKET_FULL, Entry, Lost, Unsent, Written
from protocol.primitives import NS_PER_S

READ_S_MAX = 5.0  # a stalled read fails after this, as in `jetstream`
REPEAT_S = 0.1


class _Row(Struct, frozen=True):
    revision: int
    frame: bytes
    removed_at_ns: int  # monotonic; 0 for never


class MemoryBucket:
    """The keys, shared by all who open a store on them. One revision counter for the whole bucket."""

    def __init__(self, *, bytes_max: int = 0) -> None:
        self._bytes_max = bytes_max
        self._rows: dict[str, _Row] = {}
        self._last_revision = 0

    def entry(self, key: str) -> Entry | None:
        """What stands at `key` now."""
        row = self._rows.get(key)
        if row is None:
            return None
        if row.removed_at_ns and clock.monotonic_ns() >= row.removed_at_ns:
            del self._rows[key]
            return None
        return Entry(key=key, revision=row.revision, frame=row.frame)

    def entries(self, prefix: str) -> list[Entry]:
        """Everything under `prefix`, or everything when it is empty, sorted by key."""
        keys = sorted(key for key in self._rows if not prefix or key.startswith(prefix + "."))
        return [entry for key in keys if (entry := self.entry(key)) is not None]

    @property
    def last_revision(self) -> int:
        """Of the newest write."""
        return self._last_revision

    def has_room(self, value: bytes) -> bool:
        """True while another key with `value` finds room; without a bound always."""
        return not self._bytes_max or sum(len(row.frame) for row in self._rows.values()) + len(value) <= self._bytes_max

    def put(self, key: str, value: bytes, keep_s: float) -> int:
        """Store without a question; the new revision."""
        self._last_revision += 1
        removed_at_ns = clock.monotonic_ns() + int(keep_s * NS_PER_S) if keep_s > 0 else 0
        self._rows[key] = _Row(revision=self._last_revision, frame=value, removed_at_ns=removed_at_ns)
        return self._last_revision


class MemoryStore:
    """One node's way to a bucket. `stall`, `resume` and `lose_acknowledgements` are its faults."""

    def __init__(self, bucket: MemoryBucket | None = None, *, name: str = "memory") -> None:
        self._bucket = bucket or MemoryBucket()
        self._name = name
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._acknowledgements_to_lose = 0
        self._writes = Writes()

    async def open(self) -> None:
        """Nothing to make."""

    async def write(self, key: str, value: bytes, *, expect: int, keep_s: float = 0.0) -> Written | Lost | Unsent:
        """As `meshd.ports.Store.write`."""
        check_key(key)
        check_value(key, value)
        with self._writes.one():
            placed = 0  # the revision of an earlier try of this call that nobody was told of
            while True:
                await self._flowing.wait()
                outcome = self._judge(key, value, expect, placed)
                if outcome is None:
                    placed = self._bucket.put(key, value, keep_s)
                    outcome = Written(key=key, revision=placed)
                if self._acknowledgements_to_lose == 0:
                    await asyncio.sleep(0)  # an acknowledgement takes at least one turn of the loop
                    return outcome
                self._acknowledgements_to_lose -= 1
                await asyncio.sleep(REPEAT_S)

    async def read(self, key: str) -> Entry | None:
        """As `meshd.ports.Store.read`."""
        check_key(key)
        await self._reach()
        return self._bucket.entry(key)

    async def scan(self, prefix: str) -> list[Entry]:
        """As `meshd.ports.Store.scan`."""
        check_prefix(prefix)
        await self._reach()
        return self._bucket.entries(prefix)

    async def changes(self, mark: str) -> Changes:
        """As `meshd.ports.Store.changes`."""
        await self._reach()
        bucket, _, after = mark.partition("/")
        is_whole = bucket != str(id(self._bucket))
        known = 0 if is_whole else int(after)
        entries = tuple(entry for entry in self._bucket.entries("") if entry.revision > known)
        return Changes(entries, f"{id(self._bucket)}/{self._bucket.last_revision}", is_whole)

    async def copies(self) -> tuple[int, str]:
        """One, here."""
        await self._reach()
        return 1, self._name

    async def inspect(self) -> Inspection:
        """As `meshd.ports.Store.inspect`."""
        await self._reach()
        keys = len(self._bucket.entries(""))
        return Inspection("memory", (Stream(self._name, "", copies=1, copies_wanted=1, keys=keys),))

    async def close(self) -> None:
        """As `meshd.ports.Store.close`."""
        self._writes.cancel()

    def stall(self) -> None:
        """From now on nothing is answered."""
        self._flowing.clear()

    def resume(self) -> None:
        """Answer again, all that waits included."""
        self._flowing.set()

    def lose_acknowledgements(self, count: int) -> None:
        """The next `count` writes that reach the bucket take effect, and nobody is told."""
        self._acknowledgements_to_lose = count

    def _judge(self, key: str, value: bytes, expect: int, placed: int) -> Written | Lost | Unsent | None:
        """What a write is told; None when it may be put."""
        standing = self._bucket.entry(key)
        if standing is None:
            if expect != 0:
                return Lost(key=key, revision=0, frame=b"")
            if placed:  # it stood, and removed itself since
                return Written(key=key, revision=placed)
            return None if self._bucket.has_room(value) else Unsent(key, BUCKET_FULL)
        if standing.revision == expect:
            return None
        if standing.frame == value:
            return Written(key=key, revision=standing.revision)
        return Lost(key=key, revision=standing.revision, frame=standing.frame)

    async def _reach(self) -> None:
        try:
            async with asyncio.timeout(READ_S_MAX):
                await self._flowing.wait()
        except TimeoutError:
            raise MeshError("store", problem=f"gave no answer within {READ_S_MAX:g} s") from None
