"""Whose wait ends when a store is closed."""

import asyncio

import pytest

from meshd.store.writes import Writes
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
