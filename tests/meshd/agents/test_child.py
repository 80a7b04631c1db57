"""Processes of agents: lines of bounded length, how they end, and that none outlives the daemon."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meshd
from meshd.agents import launch
from meshd.agents.child import Child, Lines, Log, Plan, environment
from meshd.agents.reaper import Reaper
from meshd.supervise import Supervisor
from tests.contracts.stage import is_running
from tests.waiting import until

ROOT = Path(meshd.__file__).parent.parent


@asynccontextmanager
async def running(folder: Path, *command: str, memory_bytes: int = 0) -> AsyncIterator[tuple[Child, Log]]:
    failures: list[BaseException] = []
    supervisor = Supervisor(lambda name, failure: failures.append(failure))
    reaper = Reaper(supervisor)
    log = Log()
    plan = Plan(agent="a", command=command, folder=folder, memory_bytes=memory_bytes)
    try:
        yield await Child.start(plan, log, supervisor, reaper), log
    finally:
        await supervisor.close()
        reaper.close()
        assert failures == []


@given(st.lists(st.binary(max_size=12)), st.lists(st.integers(1, 5)))
def test_lines_are_the_same_however_the_bytes_are_cut(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"\n".join(pieces)
    whole = list(Lines(8).feed(stream))
    lines, found = Lines(8), []
    at = 0
    for size in [*cuts, len(stream)]:
        found += list(lines.feed(stream[at : at + size]))
        at += size
    assert found == whole
    ended = stream.split(b"\n")[:-1]
    assert [line for line, is_cut in whole if not is_cut] == [line for line in ended if len(line) <= 8]


def test_a_line_that_is_too_long_is_told_at_once_and_the_next_one_is_whole() -> None:
    lines = Lines(3)
    assert list(lines.feed(b"abcdef")) == [(b"abc", True)]
    assert list(lines.feed(b"x" * 1_000)) == []
    assert lines.rest() == b""
    assert list(lines.feed(b"y\nok\nre")) == [(b"ok", False)]
    assert lines.rest() == b"re"


async def test_how_it_ended_is_a_clause(tmp_path: Path) -> None:
    async with running(tmp_path, "sh", "-c", "exit 7") as (child, _):
        await child.read()
        assert await child.wait() == "ended with exit code 7"
    async with running(tmp_path, "sh", "-c", "kill -TERM $$") as (child, _):
        await child.read()
        assert await child.wait() == "was killed by SIGTERM"


async def test_what_it_said_before_its_end_is_all_there_when_it_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path, "sh", "-c", "seq 1 20000; seq 1 300 >&2; exit 1") as (child, log):
        said = b""
        while chunk := await child.read():
            said += chunk
        await child.wait()
        assert said.split() == [b"%d" % number for number in range(1, 20_001)]
        assert log.lines() == [str(number) for number in range(1, 301)]
        assert child.last_line == "300"


@asynccontextmanager
async def _signals_lost(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Task[None]]:
    """The agent's task, once a stop has cancelled it: no signal has reached the process, nor will one here."""
    killed = asyncio.Event()
    with monkeypatch.context() as kernel:
        kernel.setattr("meshd.agents.child._signal_group", lambda popen, number: killed.set())
        (living,) = (task for task in asyncio.all_tasks() if task.get_name().startswith("agent a"))
        living.cancel()
        await killed.wait()
        yield living


async def test_the_loop_turns_while_a_stop_waits_for_a_process_that_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, "cat") as (child, _), _signals_lost(monkeypatch):
        os.kill(child.pid, signal.SIGKILL)  # in a loop that stands still nobody would get here before it gives up
        assert await child.wait() == "was killed by SIGKILL"


def _end_unseen(pid: int) -> None:
    """It has ended, and the loop, which stands still meanwhile, has not seen it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_who_waits_for_a_process_hears_of_its_end_however_often_the_stop_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, "cat") as (child, _):
        async with _signals_lost(monkeypatch) as living:
            _end_unseen(child.pid)
            living.cancel()
            async with asyncio.timeout(5):
                assert await child.wait() == "was killed by SIGKILL"
        assert not child.is_alive


async def test_of_a_process_that_nobody_waited_for_to_its_end_no_more_is_said_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, "cat") as (child, _):
        async with _signals_lost(monkeypatch) as living:
            living.cancel()
            async with asyncio.timeout(5):
                assert await child.wait() == "was left behind before it had ended"
        os.kill(child.pid, signal.SIGKILL)  # and it ends a moment later
        child._popen.wait()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="it is looked at again and again there")
async def test_a_process_that_has_ended_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    opened = os.pidfd_open

    def counted(pid: int) -> int:
        waited.append(pid)
        return opened(pid)

    monkeypatch.setattr(os, "pidfd_open", counted)
    async with running(tmp_path, "sh", "-c", "exit 7") as (child, _):
        await child.read()
        assert await child.wait() == "ended with exit code 7"
    assert waited == [child.pid]


def _stand_still() -> None:
    """And the loop with us, as while meshd is stopped."""
    subprocess.run(["sleep", "1.5"], check=True)


async def test_the_time_that_the_daemon_stood_still_is_not_held_against_a_process_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshd.agents.child.UNDYING_S", 1.0)
    async with running(tmp_path, "cat") as (child, _):
        problems: list[str] = []
        child.on_undying = problems.append
        child.signal(signal.SIGKILL)
        _stand_still()
        assert await child.wait() == "was killed by SIGKILL"
        assert problems == []


async def test_a_command_that_cannot_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("#!/no/such/interpreter\n")
    (tmp_path / "agent").chmod(0o700)
    with pytest.raises(OSError, match="agent: No such file or directory"):
        async with running(tmp_path, str(tmp_path / "agent")):
            pass
    with pytest.raises(FileNotFoundError):
        async with running(tmp_path / "gone", "true"):
            pass


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("echo up; cat; exit 5", "ended with exit code 5"),
        ("trap 'exit 6' TERM; echo up; while :; do sleep 0.01; done", "ended with exit code 6"),
        ("trap '' TERM; echo up; while :; do sleep 0.01; done", "was killed by SIGKILL"),
    ],
    ids=["end of input", "SIGTERM", "SIGKILL"],
)
async def test_end_asks_politely_first(tmp_path: Path, program: str, how: str) -> None:
    async with running(tmp_path, "sh", "-c", program) as (child, _):
        assert await child.read() == b"up\n"
        async with asyncio.TaskGroup() as group:
            group.create_task(child.end(10.0 if "cat" in program else 0.1))
            assert await child.read() == b""
        assert await child.wait() == how


async def test_a_descendant_that_left_the_group_and_holds_the_pipes_does_not_hold_up_the_end(tmp_path: Path) -> None:
    escape = """
import os, sys
heard, told = os.pipe()
if os.fork():
    os.read(heard, 1)
    sys.exit(3)
os.setsid()
print(os.getpid(), flush=True)
os.write(told, b"x")
os.read(0, 1)
"""
    async with running(tmp_path, sys.executable, "-c", escape) as (child, _):
        escaped = int(await child.read())
        assert await child.wait() == "ended with exit code 3"
    await until(lambda: not is_running(escaped))  # it read the end of its input


async def test_what_is_written_to_a_process_that_is_gone_is_dropped(tmp_path: Path) -> None:
    async with running(tmp_path, "true") as (child, _):
        await child.read()
        await child.wait()
        child.write(b"x\n")
        await child.has_room()
        child.signal(signal.SIGTERM)
        assert not child.is_alive


async def test_a_process_that_reads_nothing_has_no_room(tmp_path: Path) -> None:
    async with running(tmp_path, "sh", "-c", "read first; echo read; cat > /dev/null") as (child, _):
        child.write(b"x" * 1_000_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await child.has_room()
        child.write(b"\n")
        await child.has_room()
        assert await child.read() == b"read\n"


def test_the_environment_is_an_allow_list() -> None:
    daemon = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "MESHD_TOKEN": "secret",
        "PYTHONPATH": "/x",
        "LD_PRELOAD": "x.so",
        "TZ": "UTC",
    }
    assert environment("a", daemon) == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "TZ": "UTC",
        "MESHD_AGENT": "a",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def test_the_launcher_starts_nothing_for_a_daemon_that_is_gone() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, "1", "0", "1", "echo", "started"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (launch.FAILED, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
async def test_a_killed_daemon_takes_its_agents_and_what_they_started_with_it() -> None:
    daemon = f"""
import asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from meshd.agents.child import Child, Log, Plan
from meshd.agents.reaper import Reaper
from meshd.supervise import Supervisor
async def main():
    plan = Plan(agent="a", command=("sh", "-c", "sleep 1000 & echo $!; wait"), folder=Path("/"))
    supervisor = Supervisor(print)
    child = await Child.start(plan, Log(), supervisor, Reaper(supervisor))
    print(child.pid, (await child.read()).decode(), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", daemon, stdout=subprocess.PIPE)
    assert process.stdout is not None
    pids = [int(word) for word in (await process.stdout.readline()).split()]
    assert [is_running(pid) for pid in pids] == [True, True]
    process.kill()
    await process.communicate()
    await until(lambda: not any(is_running(pid) for pid in pids))
