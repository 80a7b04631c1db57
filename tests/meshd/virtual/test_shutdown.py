"""How a daemon goes: first what it has in hand, then its goodbye, then the parts, and each wait has its end."""

import asyncio
import logging
from types import SimpleNamespace
from typing import cast

import pytest

from meshd import clock, leaving
from meshd.ports import Desk, Finished, Outcome, Work
from meshd.wiring import Wired
from protocol.errors import MeshError
from protocol.primitives import NS_PER_S
from tests.meshd.little_daemons import Actor, Held, LittleDaemon
from tests.meshd.virtual.stage import Mesh, mesh, play

LOG = logging.getLogger("test.shutdown")


async def _stop(m: Mesh, name: str, *, drain_s: float, order: list[str]) -> float:
    """As `meshd.app` stops one; seconds until it had said goodbye. `order` is told what went when."""
    daemon = m[name]

    async def audited(_flush_s: float) -> None:
        order.append("audit")

    parts = SimpleNamespace(
        engine=daemon.engine,
        performer=daemon.performer,
        hosting=daemon.hosting,
        transport=daemon.transport,
        auditing=SimpleNamespace(stop=audited),
        outlet=SimpleNamespace(flush=lambda: order.append("events")),
    )
    began_ns = clock.monotonic_ns()
    await leaving.leave(cast(Wired, parts), drain_s=drain_s, log=LOG)
    took_s = (clock.monotonic_ns() - began_ns) / NS_PER_S
    daemon.stream.close()
    await daemon.hosting.close()
    daemon.engine.close()
    await daemon.store.close()
    await daemon.transport.close()
    await daemon.supervisor.close()
    order.append("closed")
    return took_s


def _ten_seconds(order: list[str]) -> Actor:
    async def do(work: Work, _desk: Desk) -> Outcome:
        await asyncio.sleep(10.0)
        order.append("result")
        return Finished(work.input)

    return Actor(do=do)


def _has_work(daemon: LittleDaemon) -> bool:
    return daemon.hosting.working > 0


def test_work_in_hand_ends_before_the_goodbye_and_others_hear_of_a_leave_not_of_a_death() -> None:
    order: list[str] = []

    async def scene() -> None:
        async with mesh("abc", lambda: _ten_seconds(order)) as m:
            task = await m["c"].submit("x")
            await m.until(lambda: _has_work(m["c"]), 5.0, "a run on c")
            took_s = await _stop(m, "c", drain_s=30.0, order=order)
            assert 9.0 < took_s < 11.0
            gone = m.daemons.daemons.pop("c")
            await m.until(lambda: m.state_of(gone.me.id) == {"left"}, 5.0, "the goodbye")
            assert (await m["a"].ended(task.id)).state == "done"
            assert m.dead() == set()

    play(scene)
    assert order == ["result", "audit", "events", "closed"]


def test_work_that_does_not_end_in_time_is_given_back_and_done_elsewhere() -> None:
    async def scene() -> None:
        held = Held()
        async with mesh("abc", lambda: Actor(do=held)) as m:
            task = await m["a"].submit("x")
            owner = await m.owner_of(task.id)
            assert 5.0 <= await _stop(m, owner, drain_s=5.0, order=[]) <= 5.0 + leaving.FLUSH_S_MAX
            del m.daemons.daemons[owner]
            other = m.all[0]
            held.release.set()
            ended = await other.ended(task.id)
            assert (ended.state, ended.attempts[-1].ended) == ("done", "drained")
            assert m.dead() == set()

    play(scene)


@pytest.mark.parametrize("drain_s", [0.0, 600.0])
def test_a_daemon_that_is_cut_off_with_a_result_in_hand_goes_within_a_second(drain_s: float) -> None:
    async def scene() -> None:
        held = Held()
        async with mesh("a", lambda: Actor(do=held)) as m:
            a = m["a"]
            await a.submit("x")
            await m.until(lambda: _has_work(a), 5.0, "a run")
            m.wires.stop()
            a.store.stall()
            held.release.set()
            await m.until(lambda: a.node.holder.unwritten(), 5.0, "an end that waits")
            assert await _stop(m, "a", drain_s=drain_s, order=[]) <= leaving.CUT_OFF_S_MAX
            assert a.failures == []

    play(scene)


def test_whoever_asks_a_daemon_that_stops_is_told_so() -> None:
    async def scene() -> list[str]:
        async with mesh("a", lambda: Actor(do=Held())) as m:
            a = m["a"]
            task = await a.submit("x")
            waiting = asyncio.ensure_future(a.service.wait(task.id, 3_600.0))
            await asyncio.sleep(1.0)
            await _stop(m, "a", drain_s=1.0, order=[])
            with pytest.raises(MeshError) as late:
                await a.submit("y")
            (told,) = await asyncio.gather(waiting, return_exceptions=True)
            return [getattr(told, "code", str(told)), late.value.code]

    assert play(scene) == ["not_ready", "not_ready"]
