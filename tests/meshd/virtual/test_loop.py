"""Virtual time itself: what comes when, and what is said when nothing can come any more."""

import asyncio
import inspect
import re

import pytest

from meshd import clock
from meshd.supervise import Supervisor
from tests.meshd.virtual.loop import DeadLock, Standstill, VirtualLoop
from tests.meshd.virtual.stage import play


def test_an_hour_passes_in_a_few_turns_and_the_clock_of_meshd_with_it() -> None:
    async def scene() -> tuple[float, int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        before, turns = clock.now(), loop.turns
        await asyncio.sleep(3_600)
        after = clock.now()
        return after.mono_ns - before.mono_ns, after.wall_ms - before.wall_ms, loop.turns - turns

    assert play(scene) == (3_600_000_000_000, 3_600_000, 2)


def test_timers_of_one_instant_fire_as_they_were_set_and_cancelled_ones_never() -> None:
    async def scene() -> str:
        loop, fired = asyncio.get_running_loop(), list[str]()
        timers = {name: loop.call_later(1.0, fired.append, name) for name in "zyxab"}
        loop.call_later(0.5, fired.append, "first")
        timers["x"].cancel()
        await asyncio.sleep(1.0)
        return " ".join(fired)

    assert play(scene) == "first z y a b"


def test_a_timeout_is_exact_to_the_nanosecond() -> None:
    async def scene() -> int:
        began_ns = clock.monotonic_ns()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.Event().wait()
        return clock.monotonic_ns() - began_ns

    assert play(scene) == 100_000_000


def test_a_dead_lock_is_an_error_that_says_who_waits_where_for_what() -> None:
    async def scene() -> None:
        supervisor = Supervisor(lambda name, failure: None)
        first, second = asyncio.Event(), asyncio.Event()

        async def after(mine: asyncio.Event, other: asyncio.Event) -> None:
            await other.wait()
            mine.set()

        supervisor.spawn("left hand", after(first, second))
        supervisor.spawn("right hand", after(second, first))
        current = asyncio.current_task()
        assert current is not None
        current.set_name("a scene")
        await supervisor.spawn("third hand", after(first, first))

    with pytest.raises(DeadLock) as told:
        play(scene)
    said = [re.sub(r":\d+ in .*>\.", " in ", line.strip()) for line in str(told.value).splitlines()]
    where = "waits at tests/meshd/virtual/test_loop.py in"
    assert said == [
        "nothing is scheduled any more, and these wait:",
        f"a scene {where} scene for the end of third hand",
        f"left hand {where} after for Event.wait",
        f"right hand {where} after for Event.wait",
        f"third hand {where} after for Event.wait",
    ]


def test_who_spins_without_letting_time_pass_is_told() -> None:
    async def scene() -> None:
        while True:  # noqa: ASYNC110 - the fault that is looked for
            await asyncio.sleep(0)

    with pytest.raises(Standstill, match="no time has passed"):
        play(scene)


def test_a_thread_is_refused_for_its_time_is_not_virtual() -> None:
    async def scene() -> None:
        await asyncio.to_thread(len, "")

    with pytest.raises(AssertionError, match="threads have no virtual time"):
        play(scene)


def test_asyncio_still_has_the_private_names_that_the_loop_replaces() -> None:
    base = asyncio.BaseEventLoop
    assert "self._run_once()" in inspect.getsource(base.run_forever)
    assert "self._ready.append(handle)" in inspect.getsource(base._call_soon)  # type: ignore[attr-defined]  # the name in question
    assert "_timer_handle_cancelled(self)" in inspect.getsource(asyncio.TimerHandle.cancel)
    assert callable(getattr(asyncio.Handle, "_run", None))
