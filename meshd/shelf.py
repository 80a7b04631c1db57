"""Task records as the store has them, for whoever wants to look: opened once a revision, found through `listing`.

Invariant: what is shown was signed by an admitted node for that very key; the rest is left out and
counted. Neighbours: the store gives entries, the node opens them; `service` and `hosting` read.
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from meshd.listing import Fits, Glance, Listing, Position, Row, row_of
from meshd.ports import Store
from protocol import ids
from protocol.errors import MeshError
from protocol.inputs import Entry
from protocol.wire.task import ENDED, TaskRecord

Open: TypeAlias = Callable[[str, bytes, int], TaskRecord | None]  # key, frame, revision

OPENED_BYTES_MAX = 8_388_608  # of records kept opened: some thousand small ones, a few large ones
READ_AT_ONCE = 32  # records of a page
POLL_S_MIN, POLL_S_MAX = 0.05, 1.0  # how often a task that is watched elsewhere is looked at


class _Opened(Struct, frozen=True):
    revision: int
    bytes: int
    record: TaskRecord


class Shelf:
    """A reader of the mesh's task records."""

    def __init__(self, *, store: Store, open: Open, glance: Glance) -> None:
        self._store = store
        self._listing = Listing(store=store, glance=glance)
        self._open = open
        self._opened: dict[str, _Opened] = {}
        self._opened_bytes = 0

    async def refresh(self) -> None:
        """Know what stands there now. Raises MeshError("store")."""
        await self._listing.refresh()

    async def page(self, fits: Fits, *, after: Position | None, count: int) -> list[TaskRecord]:
        """Up to `count` records that fit and come after a position, newest first. Raises MeshError("store")."""
        found: list[TaskRecord] = []
        while len(found) < count:
            rows = await self._listing.next(after, fits, min(count - len(found), READ_AT_ONCE))
            if not rows:
                break
            after = rows[-1].position
            for record in await asyncio.gather(*(self._of(row) for row in rows)):
                if record is not None and fits(row_of(record, 0)):  # it may have changed since
                    found.append(record)
        return found

    async def _of(self, row: Row) -> TaskRecord | None:
        key = ids.task_key(row.id)
        opened = self._opened.get(key)
        if opened is not None and opened.revision == row.revision:
            return opened.record
        entry = await self._store.read(key)
        if entry is None:
            self._listing.drop(row.id)
            return None
        return self._read(entry)

    async def one(self, name: str) -> TaskRecord:
        """The record of a task by its id, or a unique prefix of it.

        Raises MeshError: unknown_task, short_id, bad_record, ambiguous (with the candidates), store.
        """
        if len(name) == ids.TASK_CHARS:
            entry = await self._store.read(ids.task_key(name))
            if entry is None:
                raise MeshError("unknown_task", task=name)
            record = self._read(entry)
            if record is None:
                raise MeshError("bad_record", task=name)
            return record
        if len(name) < ids.PREFIX_CHARS_MIN:
            raise MeshError("short_id", given=repr(name), chars=ids.PREFIX_CHARS_MIN)
        await self._listing.refresh()
        fitting = self._listing.beginning_with(name)
        if not fitting:
            raise MeshError("unknown_task", task=name)
        if len(fitting) > 1:
            raise MeshError("ambiguous", given=name, candidates=", ".join(fitting[:8]))
        return await self.one(fitting[0])

    async def late(self, task: str) -> list[TaskRecord]:
        """Results of a task that came too late to be committed, as their owners wanted to commit them."""
        prefix = ids.task_key(task)
        found = [self._read(entry) for entry in await self._store.scan(prefix) if entry.key != prefix]
        return [record for record in found if record is not None]

    async def ended(self, task: str) -> TaskRecord:
        """The record of a task once it has ended, by looking again and again.

        A store that does not answer is asked again. Raises MeshError: unknown_task, bad_record.
        """
        pause_s = POLL_S_MIN
        while True:
            try:
                record = await self.one(task)
            except MeshError as failure:
                if failure.code != "store":
                    raise
            else:
                if record.state in ENDED:
                    return record
            await asyncio.sleep(pause_s)
            pause_s = min(POLL_S_MAX, pause_s * 1.5)

    def _read(self, entry: Entry) -> TaskRecord | None:
        opened = self._opened.get(entry.key)
        if opened is not None and opened.revision == entry.revision:
            return opened.record
        self._close(entry.key)
        record = self._open(entry.key, entry.frame, entry.revision)
        if record is not None and len(entry.frame) <= OPENED_BYTES_MAX:
            self._opened[entry.key] = _Opened(entry.revision, len(entry.frame), record)
            self._opened_bytes += len(entry.frame)
            while self._opened_bytes > OPENED_BYTES_MAX:
                self._close(next(iter(self._opened)))
        return record

    def _close(self, key: str) -> None:
        opened = self._opened.pop(key, None)
        if opened is not None:
            self._opened_bytes -= opened.bytes
