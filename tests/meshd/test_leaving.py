"""How a daemon goes: what it waits for, and what it says of the rest."""

import asyncio
import logging
from types import SimpleNamespace
from typing import cast

import pytest

from meshd import leaving
from meshd.wiring import Wired
from tests.meshd.little_daemons import Actor, Held, LittleDaemon, little_daemons

LOG = logging.getLogger("test.leaving")


async def _nothing(*_: object) -> None:
    return


def _wired(daemon: LittleDaemon) -> Wired:
    """As much of one as leaving asks for."""
    parts = SimpleNamespace(
        engine=daemon.engine,
        performer=daemon.performer,
        hosting=daemon.hosting,
        transport=daemon.transport,
        auditing=SimpleNamespace(stop=_nothing),
        outlet=SimpleNamespace(flush=lambda: None),
    )
    return cast(Wired, parts)


async def test_ends_that_could_not_be_written_are_counted_and_named_and_nobody_waits_long_for_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "CUT_OFF_S_MAX", 0.05)
    held = Held()
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor(do=held))
        task = await a.submit("x")
        await a.until(lambda: a.hosting.working)
        a.store.stall()
        mesh.bus.stop()
        held.release.set()
        await a.until(lambda: a.node.holder.unwritten() and not a.node.link.is_usable)
        await asyncio.wait_for(leaving.leave(_wired(a), drain_s=600.0, log=LOG), 20.0)
    (said,) = [record.getMessage() for record in caplog.records if record.name == LOG.name]
    assert said.startswith(f"the results of 1 tasks were not written, and are lost with this daemon: {task.id}")


async def test_work_in_hand_is_waited_for_and_then_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor(do=Held()))
        await a.submit("x")
        await a.until(lambda: a.hosting.working)
        await leaving.leave(_wired(a), drain_s=0.05, log=LOG)
    (said,) = [record.getMessage() for record in caplog.records if record.name == LOG.name]
    assert said == "1 tasks and calls were not done within 0.05 s"
