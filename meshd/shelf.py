"""Task records as the store has them, for whoever wants to look: opened once a revision.

Invariant: what is shown was signed by an admitted node for that very key; the rest is left out and
counted. Neighbours: the store gives entries, the node opens them; `service` and `hosting` read.
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from meshd.ports import Store
from protocol import ids
from protocol.errors import MeshError
from protocol.inputs import Entry
from protocol.wire.task import ENDED, TaskRecord

Open: TypeAlias = Callable[[str, bytes, int], TaskRecord | None]  # key, frame, revision

OPENED_BYTES_MAX = 8_388_608  # of records kept opened: some thousand small ones, a few large ones
BATCH = 32  # records opened between two turns of the engine: 3 ms
POLL_S_MIN, POLL_S_MAX = 0.05, 1.0  # how often a task that is watched elsewhere is looked at


class _Opened(Struct, frozen=True):
    revision: int
    bytes: int
    record: TaskRecord


class Shelf:
    """A reader of the mesh's task records."""

    def __init__(self, *, store: Store, open: Open) -> None:
        self._store = store
        self._open = open
        self._opened: dict[str, _Opened] = {}
        self._opened_bytes = 0

    async def all(self) -> list[TaskRecord]:
        """Every record of the mesh. Raises MeshError("store")."""
        records: list[TaskRecord] = []
        entries = await self._store.scan("")
        for gone in self._opened.keys() - {entry.key for entry in entries}:
            self._close(gone)
        for number, entry in enumerate(entries):
            record = self._read(entry) if ids.is_task_key(entry.key) else None
            if record is not None:
                records.append(record)
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0)
        return records

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
        entries = [entry for entry in await self._store.scan("") if ids.is_task_key(entry.key)]
        fitting = [entry for entry in entries if ids.task_of(entry.key).startswith(name)]
        found = [record for entry in fitting if (record := self._read(entry)) is not None]
        if not fitting:
            raise MeshError("unknown_task", task=name)
        if not found:
            raise MeshError("bad_record", task=ids.task_of(fitting[0].key))
        if len(found) > 1:
            raise MeshError("ambiguous", given=name, candidates=", ".join(sorted(each.id for each in found)[:8]))
        return found[0]

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
        # What finds no room is opened anew each time: whoever lists all, lists them all again.
        if record is not None and self._opened_bytes + len(entry.frame) <= OPENED_BYTES_MAX:
            self._opened[entry.key] = _Opened(entry.revision, len(entry.frame), record)
            self._opened_bytes += len(entry.frame)
        return record

    def _close(self, key: str) -> None:
        opened = self._opened.pop(key, None)
        if opened is not None:
            self._opened_bytes -= opened.bytes
