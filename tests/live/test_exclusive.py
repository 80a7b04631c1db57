"""Exclusive work on real daemons: each run writes its task and epoch into one file, and no two write side by side."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.live.hosts import Host, mesh
from tests.live.test_kills import owned_by
from tests.waiting import until, until_told

pytestmark = pytest.mark.live


async def _leaves(owner: Host) -> None:
    await owner.meshd("stop")


async def _loses_the_server(owner: Host) -> None:
    """Until it has ended the run by itself, for want of a server."""

    async def has_stopped() -> bool:
        return bool((await owner.ask("GET", "/v1/status"))["tasks_running"] == 0)

    os.kill(owner.server_pid, signal.SIGSTOP)
    await until_told(has_stopped, what="the end of the run")
    os.kill(owner.server_pid, signal.SIGCONT)


@pytest.mark.parametrize(("owner", "trouble"), [("c", _leaves), ("a", _loses_the_server)])
async def test_an_exclusive_run_has_ended_before_another_begins(
    tmp_path: Path, owner: str, trouble: Callable[[Host], Awaitable[None]]
) -> None:
    ticks = tmp_path / "ticks"
    ticks.touch()
    async with mesh(tmp_path, "a", "b", "c", workers="abc") as m:
        task = await owned_by(m, m.b, owner, exclusive=True, s=60, ticks=str(ticks))
        mine, following = (f"{task['id']}:{epoch}" for epoch in (task["epoch"], task["epoch"] + 1))
        await until(lambda: ticks.read_text().split().count(mine) >= 3, what="its run")
        await trouble(getattr(m, owner))
        await until(lambda: ticks.read_text().split().count(following) >= 10, 60.0, "another run")
        runs = [run for run in ticks.read_text().split() if run in (mine, following)]
        assert runs == sorted(runs)
        await m.b.ask("POST", f"/v1/tasks/{task['id']}/cancel")
