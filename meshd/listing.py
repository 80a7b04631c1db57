"""The mesh's tasks in the order they were submitted: enough of each record to find those that are wanted.

Invariant: a row says what a record claims, unproven; whoever shows a record opens it first. Kept up by what was
written since the last look, so that a page costs a page. Neighbour: `shelf` reads the records of the rows.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from meshd.ports import Store
from protocol import ids
from protocol.inputs import Entry
from protocol.limits import REFUSED_KEPT
from protocol.wire.task import TaskRecord

ROWS_MAX = 100_000  # 300 bytes each; of more tasks the newest are listed
BATCH = 64  # values looked into between two turns of the loop: 2 ms
SLICE = 2_048  # rows compared between two turns of the loop: 1 ms

Glance: TypeAlias = Callable[[str, bytes], TaskRecord | None]  # key, frame
Position: TypeAlias = tuple[int, str]  # submitted_ms, id


class Row(Struct, frozen=True):
    """What tasks are found by."""

    id: str
    submitted_ms: int
    revision: int
    state: str
    capability: str
    gid: str
    home: str

    @property
    def position(self) -> Position:
        """Its place in the order."""
        return self.submitted_ms, self.id


Fits: TypeAlias = Callable[[Row], bool]


def row_of(record: TaskRecord, revision: int) -> Row:
    """The row of a record."""
    return Row(
        id=record.id,
        submitted_ms=record.submitted_ms,
        revision=revision,
        state=record.state.value,
        capability=record.capability,
        gid=record.gid,
        home=record.home,
    )


class Listing:
    """All tasks, newest first."""

    def __init__(self, *, store: Store, glance: Glance) -> None:
        self._store = store
        self._glance = glance
        self._rows: dict[str, Row] = {}
        self._order: list[Position] = []  # ascending; what is not a row's position any more is passed over
        self._strange: dict[str, None] = {}  # tasks whose value is no record
        self._mark = ""
        self._refreshing = asyncio.Lock()

    async def refresh(self) -> None:
        """Take in what was written since the last time. Raises MeshError("store")."""
        async with self._refreshing:
            changes = await self._store.changes(self._mark)
            taken: dict[str, Row | None] = {}
            for number, entry in enumerate(changes.entries, start=1):
                if ids.is_task_key(entry.key):
                    taken[ids.task_of(entry.key)] = self._row_of(entry)
                if number % BATCH == 0:
                    await asyncio.sleep(0)
            if changes.is_whole:  # nobody turns a page from here to the end
                self._rows, self._order, self._strange = {}, [], {}
            for task, row in taken.items():
                self._take(task, row)
            self._order.sort()  # what came is mostly younger than what was there
            self._trim()
            self._mark = changes.mark

    async def next(self, after: Position | None, fits: Fits, count: int) -> list[Row]:
        """Up to `count` rows that fit and come after a position, newest first."""
        found: list[Row] = []
        place = len(self._order) if after is None else bisect_left(self._order, after)
        looked = 0
        while place > 0 and len(found) < count:
            place -= 1
            position = self._order[place]
            row = self._rows.get(position[1])
            if row is not None and row.position == position and fits(row):
                found.append(row)
            looked += 1
            if looked % SLICE == 0:
                await asyncio.sleep(0)
                place = bisect_left(self._order, position)
        return found

    def beginning_with(self, prefix: str) -> list[str]:
        """Ids that begin like this, sorted; those too under which something stands that is no record."""
        return sorted(task for task in (*self._rows, *self._strange) if task.startswith(prefix))

    def drop(self, task: str) -> None:
        """Its record is gone."""
        self._rows.pop(task, None)
        self._strange.pop(task, None)

    def __len__(self) -> int:
        return len(self._rows)

    def _row_of(self, entry: Entry) -> Row | None:
        record = self._glance(entry.key, entry.frame)
        is_its = record is not None and ids.task_key(record.id) == entry.key
        return row_of(record, entry.revision) if record is not None and is_its else None

    def _take(self, task: str, row: Row | None) -> None:
        if row is None:
            self.drop(task)
            if len(self._strange) < REFUSED_KEPT:
                self._strange[task] = None
            return
        self._strange.pop(task, None)
        known = self._rows.get(task)
        self._rows[task] = row
        if known is None or known.position != row.position:
            self._order.append(row.position)

    def _trim(self) -> None:
        if len(self._rows) > ROWS_MAX or len(self._order) > 2 * len(self._rows) + SLICE:
            newest = sorted(row.position for row in self._rows.values())[-ROWS_MAX:]
            self._rows = {task: self._rows[task] for _, task in newest}
            self._order = newest
