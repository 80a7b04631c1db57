"""What a daemon says to the process that ends its agents' groups, and what becomes of them without the daemon."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import meshd
from meshd import clock
from meshd.agents.reaper import BEATS_A_LEASE, Reaper
from meshd.supervise import Supervisor
from protocol.primitives import NS_PER_S
from tests.contracts.stage import is_running
from tests.waiting import until

ROOT = Path(meshd.__file__).parent.parent

DAEMON = f"""
import asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from meshd.agents.child import Child, Log, Plan
from meshd.agents.reaper import Reaper
from meshd.supervise import Supervisor
async def main():
    plan = Plan(agent="a", command=("sleep", "1000"), folder=Path("/"))
    supervisor = Supervisor(print)
    reaper = Reaper(supervisor)
    free, bound, released = [await Child.start(plan, Log(), supervisor, reaper) for _ in range(3)]
    bound.bind(0.5)
    released.bind(0.5)
    released.bind(0.0)
    print(free.pid, bound.pid, released.pid, reaper.pid, flush=True)
    await bound.wait()
    print(bound.has_lapsed, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Counted(Reaper):
    """Counts what it says."""

    beats = 0

    def _write(self, line: str) -> None:
        self.beats += line == "beat\n"
        super()._write(line)


@pytest.fixture
async def reaper() -> AsyncIterator[Counted]:
    failures: list[BaseException] = []
    supervisor = Supervisor(lambda name, failure: failures.append(failure))
    reaper = Counted(supervisor)
    yield reaper
    await supervisor.close()
    reaper.close()
    assert failures == []


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "1000"], process_group=0)


async def test_a_daemon_that_stands_still_loses_what_was_bound_and_nothing_else() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", DAEMON, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        free, bound, released, _ = [int(word) for word in (await process.stdout.readline()).split()]
        process.send_signal(signal.SIGSTOP)
        await until(lambda: not is_running(bound))
        assert is_running(free)
        assert is_running(released)
    finally:
        process.kill()
        await process.communicate()  # to the end of its pipe, which is closed then
    await until(lambda: not is_running(free) and not is_running(released))


async def test_a_daemon_that_stood_still_with_everything_else_ends_what_was_bound_before_it_beats() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", DAEMON, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        _, bound, _, reaping = [int(word) for word in (await process.stdout.readline()).split()]
        frozen = (process.pid, reaping, bound)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        stopped_ns = clock.monotonic_ns()
        await until(lambda: clock.monotonic_ns() - stopped_ns > NS_PER_S)
        for pid in (bound, process.pid):  # what ends it otherwise wakes up last
            os.kill(pid, signal.SIGCONT)
        await until(lambda: not is_running(bound))
        assert await process.stdout.readline() == b"True\n"  # and it is known why
        os.kill(reaping, signal.SIGCONT)
    finally:
        process.kill()
        await process.communicate()  # to the end of its pipe, which is closed then


async def test_what_is_bound_goes_on_while_the_daemon_does(reaper: Counted) -> None:
    with sleeper() as process:
        reaper.hold(process.pid, 1.0)
        await until(lambda: reaper.beats > 2 * BEATS_A_LEASE)
        assert process.poll() is None
        reaper.hold(process.pid)
        reaper.close()  # what is held ends with it
        assert process.wait(10) == -signal.SIGKILL


async def test_it_is_started_with_the_first_group_and_gone_when_closed(reaper: Counted) -> None:
    assert reaper.pid == 0
    with sleeper() as process:
        reaper.hold(process.pid)
        pid = reaper.pid
        assert is_running(pid)
        reaper.drop(process.pid)
        reaper.close()
        assert (reaper.pid, is_running(pid)) == (0, False)
        assert process.poll() is None
        process.kill()


async def test_when_it_was_killed_the_next_one_knows_the_groups(reaper: Counted) -> None:
    with sleeper() as first, sleeper() as second:
        reaper.hold(first.pid)
        killed = reaper.pid
        os.kill(killed, signal.SIGKILL)
        await until(lambda: not is_running(killed))
        reaper.hold(second.pid)
        assert reaper.pid != killed
        assert first.poll() is None
        reaper.close()
        assert (first.wait(10), second.wait(10)) == (-signal.SIGKILL, -signal.SIGKILL)
