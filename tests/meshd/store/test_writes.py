"""Whose wait ends when a store is closed."""

import asyncio
import contextlib

import pytest

from meshd.store.writes import Writes
from protocol.errors import MeshError
from tests.waiting import until


async def test_closing_ends_the_waits_and_leaves_finished_writes_alone() -> None:
    writes = Writes()
    started: list[str] = []

    async def write(name: str, wait_s: float) -> str:
        with writes.one():
            started.append(name)
            await asyncio.sleep(wait_s)
        await asyncio.sleep(0)
        return name

    quick = asyncio.create_task(write("quick", 0))
    slow = [asyncio.create_task(write(name, 60)) for name in ("a", "b")]
    await until(lambda: len(started) == 3 and quick.done())
    writes.cancel()
    assert await quick == "quick"
    for task in slow:
        with pytest.raises(asyncio.CancelledError):
            await task
    writes.cancel()


async def test_a_write_whose_cancellation_was_lost_is_cancelled_by_what_it_comes_upon_after_the_close() -> None:
    writes, is_begun = Writes(), asyncio.Event()

    async def write(*, what: Exception) -> None:
        with writes.one():
            is_begun.set()
            with contextlib.suppress(asyncio.CancelledError):  # as `asyncio.wait_for` may
                await asyncio.Event().wait()
            raise what

    # A task each, for that is what closing cancels.
    tasks = [asyncio.create_task(write(what=what)) for what in (MeshError("store", problem="is closed"), ValueError())]
    await is_begun.wait()
    writes.cancel()
    await asyncio.wait(tasks)
    assert tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), ValueError), "a bug stays one"
