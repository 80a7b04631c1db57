"""Sides that do not hear each other for a while, and are one mesh again."""

import asyncio

from tests.meshd.virtual.stage import Mesh, mesh, play

SIDES = ("abcd", "efghij")  # the first without the record: it is the smaller one


def _split(m: Mesh) -> None:
    m.wires.split(*([m[name].transport for name in side] for side in SIDES))
    for name in SIDES[0]:
        m[name].store.stall()


def _heal(m: Mesh) -> None:
    m.wires.heal()
    for name in SIDES[0]:
        m[name].store.resume()


def test_a_partition_of_thirty_seconds_heals_to_one_view() -> None:
    async def scene() -> None:
        async with mesh("".join(SIDES)) as m:
            _split(m)
            await asyncio.sleep(30.0)
            assert {each.node.state for each in m.all} == {"islanded", "joined"}
            for side in SIDES:
                for one in side:
                    seen = {peer.name: peer.state for peer in m[one].node.membership.snapshot()}
                    assert [seen[other] for other in side] == ["alive"] * len(side)
            accused = {dead for dead, by in m.dead() if by in SIDES[0]}
            assert accused == set()  # more than half of its view was gone: it may be the side that is cut off
            _heal(m)
            await m.until(m.is_one_view, 30.0, "one view")
            assert {peer.incarnation for peer in m["a"].node.membership.snapshot()} != {
                0
            }  # who was called dead said no

    play(scene)


def test_work_on_both_sides_of_a_cut_all_ends_done() -> None:
    async def scene() -> None:
        async with mesh("".join(SIDES)) as m:
            tasks = [await m["e"].submit(number) for number in range(6)]
            _split(m)
            tasks += [await m["f"].submit(number) for number in range(6)]
            await asyncio.sleep(30.0)
            _heal(m)
            ended = [await m["e"].ended(task.id) for task in tasks]
            assert [(task.state, task.result) for task in ended] == [("done", number % 6) for number in range(12)]

    play(scene)
