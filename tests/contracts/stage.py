"""Where the agents of the contract suite play: a manifest in a folder of its own, a desk, and the agent itself."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from meshd.agents.adapters import build
from meshd.agents.hosted import HostedAgent
from meshd.agents.http import HttpAgent
from meshd.agents.manifest import load
from meshd.agents.reaper import Reaper
from meshd.agents.seat import Patience
from meshd.ports import Event, Finished, Outcome, Work
from meshd.supervise import Supervisor
from protocol.errors import MeshError
from tests.waiting import until

ACTORS = Path(__file__).parent / "actors"
SHORT = Patience(start_s=20.0, grace_s=0.3, stop_s=1.0, backoff_s_min=0.02, backoff_s_max=0.1)

TOPIC = "sales.orders"  # that those kinds listen to which can

_RUNS: dict[str, dict[str, object]] = {
    "stdio": {"run": [sys.executable, str(ACTORS / "speaks_pipe.py")], "capabilities": ["act@1"], "topics": [TOPIC]},
    "python": {"run": "uses_sdk:agent", "capabilities": ["act@1", "parts@1", "blocked@1"]},
    "http": {"capabilities": ["act@1"]},
    "mcp": {"run": [sys.executable, str(ACTORS / "speaks_mcp.py")]},
}
BEGUN = "begun"  # a file in the stage's folder: a task that cannot say so on the way is at work


class Desk:
    """A daemon's desk that remembers what it was asked, and answers or refuses."""

    def __init__(self, refusal: MeshError | None = None, answer: object = None) -> None:
        self.said: list[object] = []
        self.asked: list[tuple[object, ...]] = []
        self._refusal = refusal
        self._fixed = answer

    def progress(self, value: object) -> None:
        self.said.append(value)

    async def call(self, capability: str, input: object, timeout_s: float, *, agent: str = "") -> object:
        self.asked.append(("call", capability, input, timeout_s, *([agent] if agent else [])))
        return self._answer(input)

    async def publish(self, topic: str, value: object) -> None:
        self.asked.append(("publish", topic, value))
        self._answer(value)

    async def submit(self, capability: str, input: object, *, key: str, is_awaited: bool) -> object:
        self.asked.append(("submit", capability, input, key, is_awaited))
        return self._answer(input)

    def _answer(self, input: object) -> object:
        if self._refusal is not None:
            raise self._refusal
        return self._fixed or {"answer to": input}


class Stage:
    """One agent of a kind, with what it says about itself."""

    def __init__(self, kind: str, folder: Path, *, patience: Patience = SHORT, **keys: object) -> None:
        self.kind = kind
        self.failures: list[tuple[str, BaseException]] = []
        self.changes: list[tuple[str, str]] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append((name, failure)))
        self.reaper = Reaper(self.supervisor)
        self._count = 0
        shutil.copy(ACTORS / "uses_sdk.py", folder)
        self._folder = folder
        self._service = _Service(folder) if kind == "http" and "url" not in keys else None
        keys = {"name": "actor", "kind": kind} | _RUNS[kind] | keys
        if self._service is not None:
            keys["url"] = self._service.url
        file = folder / "actor.toml"
        file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in keys.items() if value is not None))
        built = build(
            load(file),
            lambda name, state, detail: self.changes.append((state, detail)),
            self.supervisor,
            self.reaper,
            patience,
        )
        assert isinstance(built, HostedAgent | HttpAgent)
        self.agent = built

    async def __aenter__(self) -> "Stage":
        await self.agent.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.stop()
        await self.close()
        assert self.failures == []

    async def close(self) -> None:
        """End what is left when the agent was stopped."""
        if self._service is not None:
            self._service.close()
        await self.supervisor.close()
        self.reaper.close()

    async def act(self, verb: str, argument: object = None, desk: Desk | None = None, **more: object) -> Outcome:
        """Run one task and wait for its outcome. A tool of MCP takes an object and gives one."""
        order = ordered(self.kind, verb, argument)
        outcome = await self.agent.run(self.work(order, **more), desk or Desk())
        if self.kind == "mcp" and isinstance(outcome, Finished) and isinstance(outcome.output, dict):
            return Finished(outcome.output["answer"])
        return outcome

    async def hear(self, verb: str, argument: object = None, desk: Desk | None = None, **more: object) -> Outcome:
        """Hand it an event and wait until it is done with it."""
        work = msgspec.structs.asdict(self.work([verb, argument], **({"deadline_s": 30.0} | more)))
        event = Event(**{**work, "capability": "", "epoch": 0}, topic=TOPIC, publisher="shop@abcdefgh")
        return await self.agent.run(event, desk or Desk())

    def start(
        self, verb: str, argument: object = None, desk: Desk | None = None, **more: object
    ) -> asyncio.Task[Outcome]:
        """Run one task beside the test."""
        return asyncio.create_task(self.act(verb, argument, desk, **more))

    async def has_begun(self, desk: Desk) -> None:
        """Wait until a task that was told to hold is at work."""
        await until(lambda: desk.said or (self._folder / BEGUN).exists())

    def work(self, input: object, **more: object) -> Work:
        self._count += 1
        keys: dict[str, object] = {
            "task": f"t{self._count}",
            "capability": "act@1",
            "input": input,
            "epoch": 1,
            "attempt": 1,
            "deadline_s": 30.0,
            "iid": "an-iid",
            "gid": "a-gid",
        }
        return Work(**(keys | more))  # type: ignore[arg-type] # names and types stand in the line above


def ordered(kind: str, verb: str, argument: object) -> object:
    """The input that tells an actor of this kind what to do."""
    return {"order": [verb, argument]} if kind == "mcp" else [verb, argument]


def answered(kind: str, value: object) -> object:
    """The result with which an actor of this kind gives a value."""
    return {"answer": value} if kind == "mcp" else value


class _Service:
    """The process that an http agent reaches: no daemon starts or ends it."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, str(ACTORS / "speaks_http.py")]
        self._process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def toml(value: object) -> str:
    """A plain value as TOML."""
    match value:
        case dict():
            return "{ " + ", ".join(f'"{key}" = {toml(inner)}' for key, inner in value.items()) + " }"
        case Sequence() if not isinstance(value, str):
            return "[" + ", ".join(toml(inner) for inner in value) + "]"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case _:
            return str(value).lower()


def is_running(pid: int) -> bool:
    """True while there is such a process that has not ended."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
