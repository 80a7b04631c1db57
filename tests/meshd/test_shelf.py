"""Task records as the store has them: opened once a revision, found by a prefix, waited for."""

import asyncio

import pytest

from meshd import shelf as shelves
from meshd.shelf import Shelf
from meshd.store.memory import MemoryBucket, MemoryStore
from protocol import ids
from protocol.errors import MeshError
from protocol.inputs import Entry
from protocol.wire.task import TaskRecord, TaskState
from tests.waiting import until

FOREIGN = b"foreign"


def name(number: int, start: str = "") -> str:
    return (start + f"{number:x}".replace("0", "g").replace("1", "h")).ljust(ids.TASK_CHARS, "y")


class Stage:
    """A shelf over a bucket whose frames are a task's id and state."""

    def __init__(self) -> None:
        self.bucket = MemoryBucket()
        self.store = MemoryStore(self.bucket)
        self.opened: list[str] = []
        self.forged: set[str] = set()
        self.shelf = Shelf(store=self.store, open=self._open, glance=self.glance)

    def _open(self, key: str, frame: bytes, revision: int) -> TaskRecord | None:
        self.opened.append(key)
        return None if ids.task_of(key) in self.forged else self.glance(key, frame)

    def glance(self, key: str, frame: bytes) -> TaskRecord | None:
        del key
        if frame.startswith(FOREIGN):
            return None
        task, state = frame.decode().strip().split()
        return TaskRecord(
            task, "i", "g", "", "a@1", "s", "k", "h", TaskState(state), 1, "", 0, b"", False, 5, 0, 0, 0, ()
        )

    async def shown(self, *, count: int = 100) -> dict[str, str]:
        """The states of a page of tasks, as of now."""
        await self.shelf.refresh()
        return {each.id: each.state.value for each in await self.shelf.page(lambda row: True, after=None, count=count)}

    def put(self, task: str, state: str = "open", *, key: str = "", bytes: int = 0) -> None:
        self.bucket.put(key or ids.task_key(task), f"{task} {state}".encode().ljust(bytes), 0.0)


async def test_pages_hold_records_and_nothing_else() -> None:
    stage = Stage()
    stage.put(name(1))
    stage.put(name(2))
    stage.put(name(1), "done", key=ids.late_key(name(1), 1))
    stage.bucket.put("node.abc", b"presence", 0.0)
    stage.bucket.put(ids.task_key(name(3)), FOREIGN, 0.0)
    assert await stage.shown() == {name(1): "open", name(2): "open"}


async def test_a_record_is_opened_when_it_is_shown_and_once_a_revision() -> None:
    stage = Stage()
    for number in range(5):
        stage.put(name(number))
    assert len(await stage.shown(count=2)) == 2
    assert len(stage.opened) == 2
    await stage.shown()
    assert len(stage.opened) == 5
    stage.put(name(3), "done")
    assert (await stage.shown())[name(3)] == "done"
    assert stage.opened[5:] == [ids.task_key(name(3))]


async def test_a_record_that_only_claims_to_fit_is_passed_over() -> None:
    stage = Stage()
    for number in range(3):
        stage.put(name(number))
    stage.forged.add(name(1))  # its value reads as a record, and no node of the mesh signed it
    await stage.shelf.refresh()
    stage.put(name(2), "done")  # since the look
    found = await stage.shelf.page(lambda row: row.state == "open", after=None, count=9)
    assert [record.id for record in found] == [name(0)], "what it says now counts"


async def test_a_record_that_has_removed_itself_is_passed_over() -> None:
    stage = Stage()
    for number in range(3):
        stage.put(name(number))
    await stage.shelf.refresh()
    del stage.bucket._rows[ids.task_key(name(1))]
    found = await stage.shelf.page(lambda row: True, after=None, count=9)
    assert sorted(record.id for record in found) == sorted([name(0), name(2)])


async def test_what_is_kept_opened_is_bounded_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "OPENED_BYTES_MAX", 1_000)
    stage = Stage()
    for number in range(20):
        stage.put(name(number), bytes=100)
    await stage.shown()
    assert len(await stage.shown(count=10)) == 10
    assert len(stage.opened) >= 20
    assert stage.shelf._opened_bytes <= 1_000
    stage.put(name(50), bytes=2_000)
    assert (await stage.shelf.one(name(50))).id == name(50)


# --- one


async def test_a_task_is_found_by_its_id_without_a_listing_and_by_a_unique_prefix() -> None:
    stage = Stage()
    stage.put(name(1, "abcd"))
    stage.put(name(1, "abce"))
    assert (await stage.shelf.one(name(1, "abcd"))).id == name(1, "abcd")
    assert len(stage.opened) == 1
    assert (await stage.shelf.one("abce")).id == name(1, "abce")


async def test_a_prefix_of_several_names_them() -> None:
    stage = Stage()
    names = sorted(name(number, "abcd") for number in range(2, 12))
    for each in names:
        stage.put(each)
    with pytest.raises(MeshError) as caught:
        await stage.shelf.one("abcd")
    assert caught.value.code == "ambiguous"
    assert caught.value.fields["candidates"] == ", ".join(names[:8])


@pytest.mark.parametrize("given", ["abcd", name(9), "x" * 100, "../..", "ABCD"])
async def test_a_name_that_fits_nothing_is_an_unknown_task(given: str) -> None:
    stage = Stage()
    stage.put(name(1, "zzzz"))
    with pytest.raises(MeshError) as caught:
        await stage.shelf.one(given)
    assert caught.value.code == "unknown_task"


@pytest.mark.parametrize("given", ["", "z", "zzz"])
async def test_too_short_a_beginning_of_an_id_is_told_how_long_it_must_be(given: str) -> None:
    stage = Stage()
    stage.put(name(1, "zzzz"))
    with pytest.raises(MeshError, match=f"'{given}' is too short") as caught:
        await stage.shelf.one(given)
    assert (caught.value.code, caught.value.hint) == ("short_id", "give at least 4 characters")


async def test_a_record_that_no_node_of_the_mesh_wrote_is_an_error_of_its_own() -> None:
    stage = Stage()
    stage.bucket.put(ids.task_key(name(1)), FOREIGN, 0.0)
    with pytest.raises(MeshError) as caught:
        await stage.shelf.one(name(1))
    assert caught.value.code == "bad_record"


async def test_late_results_of_a_task_are_found_and_the_record_is_not_one() -> None:
    stage = Stage()
    stage.put(name(1), "done")
    stage.put(name(1), "done", key=ids.late_key(name(1), 1))
    stage.bucket.put(ids.late_key(name(1), 2), FOREIGN, 0.0)
    assert [record.id for record in await stage.shelf.late(name(1))] == [name(1)]


# --- waiting


async def test_the_end_of_a_task_is_seen_when_it_stands() -> None:
    stage = Stage()
    stage.put(name(1))
    wait = asyncio.ensure_future(stage.shelf.ended(name(1)))
    await until(lambda: len(stage.opened) == 1)
    assert not wait.done()
    stage.put(name(1), "failed")
    assert (await wait).state is TaskState.FAILED


async def test_a_store_that_fails_meanwhile_is_asked_again() -> None:
    class Flaky(MemoryStore):
        failures = 3

        async def read(self, key: str) -> Entry | None:
            if self.failures:
                self.failures -= 1
                raise MeshError("store", problem="gave no answer within 5 s")
            return await super().read(key)

    stage = Stage()
    stage.put(name(1), "done")
    store = Flaky(stage.bucket)
    shelf = Shelf(store=store, open=stage._open, glance=stage.glance)
    assert (await shelf.ended(name(1))).state is TaskState.DONE
    assert store.failures == 0


async def test_who_waits_for_a_task_that_never_was_is_told_so() -> None:
    with pytest.raises(MeshError) as caught:
        await Stage().shelf.ended(name(1))
    assert caught.value.code == "unknown_task"
