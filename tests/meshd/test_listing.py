"""The order of the mesh's tasks: kept up by what was written, and paged through while it changes."""

import asyncio

import pytest
from msgspec import structs

from meshd import listing as module
from meshd.listing import Listing, Position, Row, row_of
from meshd.ports import Changes
from meshd.store.memory import MemoryBucket, MemoryStore
from protocol import ids
from protocol.errors import MeshError
from protocol.wire.task import TaskRecord, TaskState
from tests.protocol.work import frame, record


class Counted(MemoryStore):
    """Counts the entries that it gave."""

    given = 0

    async def changes(self, mark: str) -> Changes:
        changes = await super().changes(mark)
        self.given += len(changes.entries)
        return changes


class Stage:
    """A listing over a bucket of records without signatures."""

    def __init__(self) -> None:
        self.bucket = MemoryBucket()
        self.store = Counted(self.bucket)
        self.glanced = 0
        self.records: dict[bytes, TaskRecord] = {}
        self.listing = Listing(store=self.store, glance=self._glance)

    def _glance(self, key: str, value: bytes) -> TaskRecord | None:
        del key
        self.glanced += 1
        return None if value == b"junk" else self.records[value]

    def put(self, task: TaskRecord, *, key: str = "") -> None:
        value = frame(task)
        self.records[value] = task
        self.bucket.put(key or ids.task_key(task.id), value, 0.0)

    def put_many(self, count: int, *, start: int = 0) -> list[TaskRecord]:
        made = [record(f"k{number}", submitted_ms=number // 3) for number in range(start, start + count)]
        for task in made:
            self.put(task)
        return made

    async def all(self, *, page: int = 7) -> list[str]:
        """Every task, page by page."""
        found: list[str] = []
        after: Position | None = None
        while rows := await self.listing.next(after, lambda row: True, page):
            found += [row.id for row in rows]
            after = rows[-1].position
        return found


def _newest_first(tasks: list[TaskRecord]) -> list[str]:
    return [task.id for task in sorted(tasks, key=lambda task: (task.submitted_ms, task.id), reverse=True)]


async def test_pages_give_every_task_once_newest_first() -> None:
    stage = Stage()
    made = stage.put_many(40)
    await stage.listing.refresh()
    assert await stage.all() == _newest_first(made)


async def test_a_look_costs_what_was_written_since_the_last() -> None:
    stage = Stage()
    made = stage.put_many(30)
    await stage.listing.refresh()
    assert (stage.store.given, stage.glanced) == (30, 30)
    await stage.listing.refresh()
    assert (stage.store.given, stage.glanced) == (30, 30)
    stage.put(structs.replace(made[3], state=TaskState.CANCELLED))
    more = stage.put_many(2, start=30)
    await stage.listing.refresh()
    assert (stage.store.given, stage.glanced) == (33, 33)
    assert await stage.all() == _newest_first(made + more)
    (cancelled,) = await stage.listing.next(None, lambda row: row.state == "cancelled", 9)
    assert cancelled.id == made[3].id


async def test_a_cursor_stays_where_it_was_while_tasks_come_change_and_go() -> None:
    stage = Stage()
    made = stage.put_many(12)
    order = _newest_first(made)
    await stage.listing.refresh()
    first = await stage.listing.next(None, lambda row: True, 5)
    stage.put_many(6, start=12)
    stage.put(structs.replace(made[2], state=TaskState.CANCELLED))
    await stage.listing.refresh()
    stage.listing.drop(order[6])
    rest = await stage.listing.next(first[-1].position, lambda row: True, 100)
    assert [row.id for row in rest] == [order[5], *order[7:]]
    gone = (first[-1].submitted_ms, first[-1].id)
    stage.listing.drop(first[-1].id)
    assert await stage.listing.next(gone, lambda row: True, 100) == rest


async def test_another_bucket_is_read_anew() -> None:
    stage = Stage()
    stage.put_many(5)
    await stage.listing.refresh()
    stage.store._bucket = stage.bucket = MemoryBucket()
    other = stage.put_many(2, start=50)
    await stage.listing.refresh()
    assert await stage.all() == _newest_first(other)


async def test_what_is_no_record_or_stands_under_another_key_is_not_listed() -> None:
    stage = Stage()
    (task,) = stage.put_many(1)
    stage.put(record("another"), key=ids.task_key(record("a third").id))
    stage.put(task, key=ids.late_key(task.id, 1))
    stage.bucket.put(ids.task_key("j" * 26), b"junk", 0.0)
    stage.bucket.put("node.abc", b"junk", 0.0)
    await stage.listing.refresh()
    assert await stage.all() == [task.id]
    assert stage.listing.beginning_with(task.id[:4]) == [task.id]
    assert stage.listing.beginning_with("jj") == ["j" * 26], "something stands there"
    stage.listing.drop("j" * 26)
    assert stage.listing.beginning_with("jj") == []


async def test_of_more_tasks_than_it_may_hold_the_newest_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 10)
    stage = Stage()
    made = stage.put_many(25)
    await stage.listing.refresh()
    assert await stage.all() == _newest_first(made)[:10]
    assert len(stage.listing) == 10


async def test_a_long_look_lets_the_loop_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "SLICE", 4)
    stage = Stage()
    stage.put_many(40)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await stage.listing.refresh()
    assert turns >= 10
    turns = 0
    assert await stage.listing.next(None, lambda row: False, 1) == []
    assert turns >= 9
    counting.cancel()


@pytest.mark.parametrize("is_anew", [True, False], ids=["all is read again", "news are taken in"])
async def test_pages_that_are_turned_during_a_look_leave_out_nothing_that_stood_there(
    monkeypatch: pytest.MonkeyPatch, is_anew: bool
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    stage = Stage()
    made = stage.put_many(60)
    await stage.listing.refresh()
    if is_anew:
        stage.store._bucket = stage.bucket = MemoryBucket()
        for task in made:
            stage.put(task)
    stage.put_many(40, start=60)
    looking = asyncio.ensure_future(stage.listing.refresh())
    while not looking.done():
        seen = await stage.all()
        assert [task for task in seen if task in {one.id for one in made}] == _newest_first(made)
        await asyncio.sleep(0)


async def test_looks_at_the_same_time_share_what_they_find() -> None:
    stage = Stage()
    stage.put_many(20)
    await asyncio.gather(*(stage.listing.refresh() for _ in range(5)))
    assert stage.glanced == 20


async def test_a_store_that_fails_is_an_error_and_nothing_is_forgotten() -> None:
    stage = Stage()
    made = stage.put_many(3)
    await stage.listing.refresh()

    async def fail(mark: str) -> Changes:
        raise MeshError("store", problem=mark)

    stage.store.changes = fail  # type: ignore[method-assign]  # a store that is away
    with pytest.raises(MeshError):
        await stage.listing.refresh()
    assert await stage.all() == _newest_first(made)


def test_a_row_says_what_its_record_says() -> None:
    task = record("k", submitted_ms=5)
    assert row_of(task, 9) == Row(task.id, 5, 9, "open", task.capability, task.gid, task.home)
