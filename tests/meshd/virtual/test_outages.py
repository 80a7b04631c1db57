"""The broker goes and comes, a link breaks and mends: nobody is accused, nothing is lost."""

import asyncio

import pytest

from tests.meshd.little_daemons import Actor, Held
from tests.meshd.virtual.stage import mesh, play


@pytest.mark.parametrize("away_s", [1.0, 30.0])
def test_a_broker_that_was_away_costs_neither_a_node_nor_a_task(away_s: float) -> None:
    async def scene() -> None:
        held = Held()
        async with mesh("abcde", lambda: Actor(do=held)) as m:
            tasks = [await m["a"].submit(number) for number in range(5)]
            await m.until(lambda: sum(each.hosting.working for each in m.all) == 5, 10.0, "five runs")
            m.wires.stop()
            for each in m.all:
                each.store.stall()
            await m.until(lambda: {each.node.state for each in m.all} == {"detached"}, 5.0, "all detached")
            held.release.set()  # their ends wait for the record
            await asyncio.sleep(away_s)
            m.wires.start()
            for each in m.all:
                each.store.resume()
            await m.until(m.is_one_view, 10.0, "one view")
            ended = [await m["a"].ended(task.id) for task in tasks]
            assert [(task.state, task.epoch) for task in ended] == [("done", 1)] * 5
            assert m.dead() == set()

    play(scene)


def test_who_alone_is_cut_off_accuses_nobody_and_is_back_in_its_first_life() -> None:
    async def scene() -> None:
        async with mesh("abcde") as m:
            e = m["e"]
            life = e.me.life
            m.wires.cut(e.transport)
            e.store.stall()
            await m.until(lambda: m["a"].node.membership.peer(e.me.id).state == "dead", 60.0, "e being called dead")  # type: ignore[union-attr]  # it is known
            assert {by for _, by in m.dead()} <= set("abcd")
            m.wires.restore(e.transport)
            e.store.resume()
            await m.until(m.is_one_view, 30.0, "one view")
            assert {dead for dead, _ in m.dead()} == {"e"}
            assert e.me.life == life

    play(scene)


def test_a_link_that_flaps_every_two_seconds_leaves_one_view_and_nobody_dead() -> None:
    async def scene() -> None:
        async with mesh("abcde") as m:
            for _ in range(15):
                m.wires.cut(m["e"].transport)
                await asyncio.sleep(1.0)
                m.wires.restore(m["e"].transport)
                await asyncio.sleep(1.0)
            await m.until(m.is_one_view, 30.0, "one view")
            assert m.dead() == set()

    play(scene)


def test_nobody_waits_for_ever_for_a_daemon_that_was_ended() -> None:
    async def scene() -> list[str]:
        async with mesh("a", lambda: Actor(do=Held())) as m:
            a = m["a"]
            task = await a.submit("x")
            a.store.stall()
            waiters = [asyncio.ensure_future(a.engine.end_of(task.id)), asyncio.ensure_future(a.submit("y"))]
            await asyncio.sleep(0.1)
            await m.daemons.kill("a")
            told = await asyncio.gather(*waiters, return_exceptions=True)  # were one forgotten: a dead lock
            return [getattr(each, "code", "") for each in told]

    assert play(scene) == ["not_ready", "not_ready"]
