"""Starting agents, and not being able to."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from meshd.agents import child
from meshd.agents.seat import Patience
from meshd.ports import Finished
from protocol.errors import MeshError
from tests.contracts.stage import SHORT, Desk, Stage, is_running
from tests.waiting import until


async def refusal(stage: Stage) -> str:
    with pytest.raises(MeshError) as caught:
        await stage.agent.start()
    assert caught.value.code == "manifest"
    assert stage.agent.state == "failed"
    assert stage.agent.pids == []
    path = str(caught.value.fields["path"])
    assert path.endswith("actor.toml")
    await stage.agent.stop()
    await stage.close()
    assert stage.failures == []
    return caught.value.message.removeprefix(f"{path}: ")


async def test_a_script_whose_interpreter_is_missing_is_an_error_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("#!/no/such/interpreter\n")
    (tmp_path / "agent").chmod(0o700)
    said = await refusal(Stage("stdio", tmp_path, run=["./agent"]))
    assert said == f"run: the agent cannot be started: {tmp_path / 'agent'}: No such file or directory"


async def test_a_file_that_is_no_program_is_an_error_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "agent").write_bytes(b"\x00\x01")
    (tmp_path / "agent").chmod(0o700)
    said = await refusal(Stage("stdio", tmp_path, run=["./agent"]))
    assert said == f"run: the agent cannot be started: {tmp_path / 'agent'}: Exec format error"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise LookupError('no database')", "LookupError: no database"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("agent = 3", "made:agent is int, not a meshd.sdk.Agent"),
        ("", "made:agent is NoneType, not a meshd.sdk.Agent"),
        (
            "from meshd.sdk import Agent\nagent = Agent('a')\n@agent.handles('y@1')\ndef f(): ...",
            "the manifest declares x@1, which made:agent does not handle; it handles y@1",
        ),
        (
            "from meshd.sdk import Agent\nagent = Agent('a')\n@agent.handles('x@1')\ndef f(a: 'Missing'): ...",
            "TypeError: x@1: a type hint of f is not defined: name 'Missing' is not defined",
        ),
        (
            "from meshd.sdk import Agent\nagent = Agent('a')\n@agent.handles('x@1')\ndef f(a: object, *rest: int): ...",
            "TypeError: x@1: *rest: int has no name that an input could use",
        ),
        (
            "from meshd.sdk import Agent\nclass Own: ...\nagent = Agent('a')\n@agent.handles('x@1')\ndef f(o: Own): 1",
            "TypeError: x@1: o: JSON cannot carry a Own",
        ),
    ],
    ids=lambda value: value[:20],
)
async def test_a_module_that_is_no_agent_says_why(tmp_path: Path, module: str, said: str) -> None:
    (tmp_path / "made.py").write_text(module)
    message = await refusal(Stage("python", tmp_path, run="made:agent", capabilities=["x@1"]))
    assert message.startswith(f"run: the agent ended with exit code 1: {said}")


async def test_a_module_that_is_missing_says_so(tmp_path: Path) -> None:
    message = await refusal(Stage("python", tmp_path, run="nowhere:agent"))
    assert message == "run: the agent ended with exit code 1: ModuleNotFoundError: No module named 'nowhere'"


async def test_a_module_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text("import threading\nthreading.Event().wait()")
    hasty = Patience(start_s=0.3, grace_s=0.3, stop_s=1.0)
    message = await refusal(Stage("python", tmp_path, run="made:agent", patience=hasty))
    assert message == "run: the agent was not ready within 0.3 s"


async def test_the_folder_comes_first_on_a_workers_path_but_not_before_its_own_start(tmp_path: Path) -> None:
    (tmp_path / "asyncio.py").write_text("raise RuntimeError('this is not the standard library')")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "agents.py").write_text(
        "from meshd.sdk import Agent\nfrom shop.rates import RATE\nagent = Agent('a')\n"
        "@agent.handles('x@1')\ndef f() -> int: return RATE\n"
    )
    (tmp_path / "shop" / "rates.py").write_text("RATE = 7")
    async with Stage("python", tmp_path, run="shop.agents:agent", capabilities=["x@1"]) as stage:
        assert await stage.agent.run(stage.work(None, capability="x@1"), Desk()) == Finished(7)


async def test_a_start_that_nobody_waits_for_any_more_goes_on(tmp_path: Path) -> None:
    stage = Stage("python", tmp_path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await stage.agent.start()
    await until(lambda: stage.agent.state == "ready")
    assert await stage.act("echo", 1) == Finished(1)
    await stage.agent.stop()
    await stage.close()


async def test_stopping_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    stage = Stage("python", tmp_path, slots=3)
    starting = asyncio.create_task(stage.agent.start())
    await until(lambda: stage.agent.pids)
    pids = stage.agent.pids
    await stage.agent.stop()
    with pytest.raises(MeshError, match="was stopped before it was ready"):
        await starting
    assert stage.agent.state == "stopped"
    assert not any(is_running(pid) for pid in pids)
    await stage.close()
    assert stage.failures == []


async def test_a_stopped_agent_can_be_started_again(tmp_path: Path) -> None:
    async with Stage("stdio", tmp_path) as stage:
        await stage.agent.stop()
        await stage.agent.start()
        assert await stage.act("echo", 1) == Finished(1)
    assert [state for state, _ in stage.changes] == ["starting", "ready", "stopped", "starting", "ready", "stopped"]


def test_the_backoff_doubles_up_to_its_bound() -> None:
    patience = Patience(backoff_s_min=0.2, backoff_s_max=30.0)
    assert [patience.backoff_s(crashes) for crashes in range(1, 10)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]


async def test_one_slot_down_is_told_while_the_others_work(tmp_path: Path) -> None:
    slow = Patience(backoff_s_min=60.0, backoff_s_max=60.0, grace_s=SHORT.grace_s, stop_s=1.0)
    async with Stage("python", tmp_path, slots=2, patience=slow) as stage:
        (tmp_path / "met").mkdir()
        await asyncio.gather(*(stage.act("meet", [str(tmp_path / "met"), 2, name]) for name in "ab"))
        await stage.act("exit", 9)
        assert (stage.agent.state, stage.agent.detail) == ("ready", "1 of 2 slots are up: ended with exit code 9")
        assert await stage.act("echo", 2) == Finished(2)


class Kernel:
    """Lets nobody die, as while a disk does not answer. Then what was killed dies."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(child, "UNDYING_S", 0.1)
        monkeypatch.setattr(child, "_signal_group", lambda popen, number: self._held.append(popen))
        self._held: list[subprocess.Popen[bytes]] = []

    def let_go(self) -> None:
        self._monkeypatch.undo()
        for popen in self._held:
            popen.kill()
            popen.wait()


async def test_a_process_that_cannot_be_ended_is_shown_and_its_work_is_not_said_to_be_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage("stdio", tmp_path) as stage:
        desk, kernel, [pid] = Desk(), Kernel(monkeypatch), stage.agent.pids
        stubborn = stage.start("stubborn", desk=desk, lease_s=30.0)
        await until(lambda: desk.said)
        stubborn.cancel()
        await until(lambda: stage.agent.state == "restarting")
        assert stage.agent.detail.startswith(f"cannot be ended: its process {pid} is still there 0.1 s after SIGKILL;")
        assert stage.agent.log()[-1] == f"meshd: the agent {stage.agent.detail}"
        assert not stubborn.done(), "who is told that it is over begins it elsewhere"
        kernel.let_go()
        await asyncio.wait([stubborn])
        await until(lambda: stage.agent.state == "ready")
        assert await stage.act("echo", 1) == Finished(1)


async def test_a_process_that_cannot_be_ended_does_not_keep_the_daemon_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage("stdio", tmp_path, run=["sh", "-c", "while :; do sleep 0.05; done"], patience=Patience(stop_s=0.1))
    await stage.agent.start()
    kernel, [pid] = Kernel(monkeypatch), stage.agent.pids
    async with asyncio.timeout(10.0):
        await stage.agent.stop()
        assert stage.agent.state == "stopped"
        await stage.supervisor.close()
    assert is_running(pid)
    kernel.let_go()
    await stage.close()
    assert stage.failures == []
