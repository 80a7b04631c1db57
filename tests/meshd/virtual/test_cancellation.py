"""Who waits may go away, what runs may be cancelled, and nothing is left behind by either."""

import asyncio

from meshd.ports import Desk, Finished, Outcome, Work
from tests.meshd.little_daemons import Actor, Held
from tests.meshd.virtual.stage import mesh, play


def test_askers_that_go_away_leave_nothing_behind() -> None:
    async def scene() -> None:
        async with mesh("ab", lambda: Actor(do=Held())) as m:
            a = m["a"]
            tasks = [await a.submit(number) for number in range(4)]
            waiting = [asyncio.ensure_future(a.service.wait(task.id, 60.0)) for task in tasks for _ in range(8)]
            a.store.stall()
            waiting += [asyncio.ensure_future(a.submit(number)) for number in range(8)]
            await asyncio.sleep(1.0)
            assert a.performer.expected == 4 + 8  # one for each task, however many wait for it
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            a.store.resume()
            await asyncio.sleep(1.0)
            assert a.performer.expected <= 4
            await m.until(lambda: a.performer.writes_waiting == 0, 5.0, "every write")

    play(scene)


def test_a_task_that_is_cancelled_stops_where_it_runs() -> None:
    async def scene() -> None:
        async with mesh("abc", lambda: Actor(do=Held())) as m:
            task = await m["a"].submit("x")
            owner = m[await m.owner_of(task.id)]
            other = next(each for each in m.all if each is not owner)
            await other.service.cancel(task.id, principal="operator")
            await m.until(lambda: owner.actors[0].stopped == [task.id], 5.0, "the run being stopped")
            assert (await other.ended(task.id)).state == "cancelled"
            await m.until(lambda: owner.hosting.working == 0, 5.0, "a free slot")

    play(scene)


def test_a_run_that_is_slow_to_stop_and_the_next_are_never_at_work_together() -> None:
    at_work: list[object] = []
    together: list[int] = []

    async def slow_to_go(work: Work, _desk: Desk) -> Outcome:
        at_work.append(work.input)
        together.append(len(at_work))
        try:
            if work.input == "first":
                await asyncio.Event().wait()
        finally:
            await asyncio.sleep(4.0)
            at_work.remove(work.input)
        return Finished(work.input)

    async def scene() -> None:
        async with mesh("a", lambda: Actor(do=slow_to_go, slots=1)) as m:
            first = await m["a"].submit("first")
            await m.until(lambda: m["a"].actors[0].runs, 5.0, "a run")
            second = await m["a"].submit("second")
            await m["a"].service.cancel(first.id, principal="operator")
            assert (await m["a"].ended(second.id)).state == "done"
            assert together == [1, 1]

    play(scene)


def test_an_agent_that_takes_its_time_to_end_is_waited_for_when_its_daemon_goes() -> None:
    ended = []

    async def slow_to_go(work: Work, _desk: Desk) -> Outcome:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(4.0)
            ended.append(work.input)
        return Finished(work.input)

    async def scene() -> float:
        async with mesh("a", lambda: Actor(do=slow_to_go)) as m:
            await m["a"].submit("x")
            await m.until(lambda: m["a"].actors[0].runs, 5.0, "a run")
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await m.daemons.kill("a")
            return loop.time() - began_s

    assert play(scene) == 4.0
    assert ended == ["x"]


def test_a_daemon_that_is_killed_amid_a_write_leaves_one_truth_to_its_next_life() -> None:
    async def scene() -> None:
        async with mesh("abc") as m:
            task = await m["a"].submit("x")
            await m["a"].ended(task.id)
            m["c"].store.lose_acknowledgements(1)
            asking = asyncio.ensure_future(m["c"].submit("y"))
            entries = m.daemons.bucket.entries
            before = len(entries(""))
            await m.until(lambda: len(entries("")) > before, 5.0, "a write that nobody was told of")
            await m.daemons.kill("c")
            await asyncio.gather(asking, return_exceptions=True)
            again = await m.daemons.start("c", Actor())
            (made,) = [each for each in entries("") if each.key.startswith("p") and task.id not in each.key]
            assert (await again.ended(made.key.partition(".")[2])).state == "done"

    play(scene)
