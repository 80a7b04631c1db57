"""What is slow or full holds up its own work and nobody's heartbeats, and says no instead of hanging."""

import asyncio
from itertools import pairwise
from unittest.mock import patch

from meshd.store.memory import MemoryStore
from protocol import limits
from protocol.errors import MeshError
from protocol.inputs import Lost, Unsent, Written
from tests.meshd.little_daemons import LittleDaemon
from tests.meshd.virtual.stage import mesh, play

MINUTE_S = 60.0


class SlowStore(MemoryStore):
    """Every write takes a third of a second."""

    async def write(self, key: str, value: bytes, *, expect: int, keep_s: float = 0.0) -> Written | Lost | Unsent:
        await asyncio.sleep(0.33)
        return await super().write(key, value, expect=expect, keep_s=keep_s)


async def _code(daemon: LittleDaemon, input: object) -> str:
    try:
        return (await daemon.submit(input)).state
    except MeshError as refusal:
        return refusal.code


def test_a_store_that_stands_still_delays_work_and_no_heartbeat() -> None:
    async def scene() -> None:
        async with mesh("abcde") as m:
            for each in m.all:
                each.store.stall()
            waiting = asyncio.ensure_future(_code(m["a"], "x"))
            await asyncio.sleep(MINUTE_S)
            assert m.dead() == set()
            assert {state for each in m.all for state in m.state_of(each.me.id)} == {"alive"}
            assert (await waiting) == "unsettled"  # nobody knows yet whether it was written
            assert await _code(m["a"], "y") == "detached"  # now that it is known nobody waits
            for each in m.all:
                each.store.resume()
            await m.until(m.is_one_view, 10.0, "one view")
            ended = await m["a"].ended((await m["a"].submit("z")).id)
            assert ended.state == "done"

    play(scene)


def test_with_a_slow_store_everything_ends_and_nobody_is_called_dead() -> None:
    async def scene() -> None:
        async with mesh("abc", make_store=SlowStore) as m:
            tasks = await asyncio.gather(*(m["a"].submit(number) for number in range(20)))
            ended = await asyncio.gather(*(m["b"].ended(task.id) for task in tasks))
            assert [task.state for task in ended] == ["done"] * 20
            assert [task.result for task in ended] == list(range(20))
            assert m.dead() == set()

    play(scene)


def test_a_full_lane_refuses_what_is_new_and_all_that_was_accepted_ends() -> None:
    async def scene() -> None:
        async with mesh("abc") as m:
            a = m["a"]
            with patch.object(limits, "WRITES_WAITING_MAX", 16):
                a.store.stall()
                answers = [asyncio.ensure_future(_code(a, number)) for number in range(64)]
                await asyncio.sleep(1.0)
                refused = [each.result() for each in answers if each.done()]
                assert set(refused) == {"overloaded"}
                assert a.performer.writes_waiting <= 16 + 1  # a beat of its own finds room always
                a.store.resume()
                codes = await asyncio.gather(*answers)
            assert codes.count("overloaded") == len(refused)
            assert len(codes) - len(refused) >= 10
            entries = [each.key for each in m.daemons.bucket.entries("") if each.key.startswith("p")]
            ended = [await a.ended(key.partition(".")[2]) for key in entries]
            assert [task.state for task in ended] == ["done"] * (len(codes) - len(refused))

    play(scene)


def test_a_reader_that_is_two_seconds_late_is_not_called_dead() -> None:
    async def scene() -> None:
        async with mesh("abcdef") as m:
            m.wires.slow(m["f"].transport, 0.5, 2.5)
            loop = asyncio.get_running_loop()
            until_s = loop.time() + MINUTE_S
            while loop.time() < until_s:
                task = await m["a"].submit("x")
                assert (await m["a"].ended(task.id)).state == "done"
                await asyncio.sleep(5.0)
            assert m.dead() == set()
            assert m.wires.dropped == 0

    play(scene)


def test_a_client_that_never_reads_its_events_holds_up_nobody_and_sees_a_gap() -> None:
    async def scene() -> list[int]:
        with patch.object(limits, "EVENTS_KEPT", 32):
            async with mesh("ab") as m:
                a = m["a"]
                reader = a.stream.follow(a.stream.seq)
                first = asyncio.ensure_future(anext(reader))
                for number in range(40):
                    await a.ended((await a.submit(number)).id)
                seen = [(await first).seq]
                while seen[-1] < a.stream.seq:
                    seen.append((await anext(reader)).seq)
                return seen

    seen = play(scene)
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) > 32
    assert steps[-31:] == [1] * 31
