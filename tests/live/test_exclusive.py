"""Exclusive work on real daemons: each run writes its epoch into one file, and no two write side by side."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.live.hosts import mesh
from tests.live.test_kills import owned_by
from tests.waiting import until

pytestmark = pytest.mark.live

AWAY_S = 8.0  # longer than two leases


@pytest.mark.parametrize("trouble", ["its owner leaves", "the server stands still"])
async def test_an_exclusive_run_has_ended_before_another_begins(tmp_path: Path, trouble: str) -> None:
    ticks = tmp_path / "ticks"
    async with mesh(tmp_path, "a", "b", "c", workers="bc") as m:
        task = await owned_by(m, m.a, "c", exclusive=True, s=60, ticks=str(ticks))
        ticks.write_text("")
        await until(lambda: len(ticks.read_text().split()) >= 3, 20.0, "the first run")
        if trouble == "its owner leaves":
            leaving = asyncio.ensure_future(m.c.meshd("stop"))
        else:
            server = m.a.server_pid
            assert server is not None
            os.kill(server, signal.SIGSTOP)
            leaving = asyncio.ensure_future(asyncio.sleep(AWAY_S))
            await leaving
            os.kill(server, signal.SIGCONT)
        following = str(task["epoch"] + 1)
        await until(lambda: ticks.read_text().split().count(following) >= 10, 60.0, "another run")
        await leaving
        epochs = ticks.read_text().split()
        assert str(task["epoch"]) in epochs
        assert epochs == sorted(epochs, key=int)
        await m.a.ask("POST", f"/v1/tasks/{task['id']}/cancel")
