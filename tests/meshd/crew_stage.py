"""A crew over a folder of its own: what it is told, what it announces, and what its agents do."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgpack

from meshd.crew import Crew
from meshd.hosting import Hosting
from meshd.supervise import Supervisor
from protocol.effects import RunAgent
from protocol.events import AgentChanged, Event
from protocol.inputs import Advertise, AgentFailed, AgentFinished, Input
from protocol.wire.agents import Card
from tests.waiting import until

# Answers each task with its own version; "hold" is answered when the file `release` is there.
PROGRAM = """
import json, os, sys, threading, time
def answer(message):
    while message["input"] == "hold" and not os.path.exists("release"):
        time.sleep(0.01)
    print(json.dumps({"task": message["task"], "result": sys.argv[1]}), flush=True)
print("up as", sys.argv[1], file=sys.stderr, flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if "task" in message:
        threading.Thread(target=answer, args=(message,), daemon=True).start()
"""


def text(name: str = "worker", says: str = "one", **keys: object) -> str:
    """A manifest of an agent that answers `says`."""
    given: dict[str, object] = {
        "name": name,
        "capabilities": ["work@1"],
        "kind": "stdio",
        "run": [sys.executable, "-c", PROGRAM, says],
        "slots": 4,
        **keys,
    }
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())


class Stage:
    """A crew over a folder, what it told the engine, and what it said."""

    def __init__(self, tmp_path: Path, *, drain_s: float = 20.0, region: str = "") -> None:
        self.folder = tmp_path / "agents.d"
        self.folder.mkdir(exist_ok=True)
        self.inputs: list[Input] = []
        self.events: list[Event] = []
        self.failures: list[tuple[str, BaseException]] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append((name, failure)))
        self.hosting = Hosting(supervisor=self.supervisor, observers=(self.events.append,), region=region)
        self.hosting.bind(sink=self.inputs.append, ask=_nobody, wait_for=_nobody)
        self.memory = tmp_path / "agents.json"
        self.crew = Crew(
            hosting=self.hosting,
            folder=self.folder,
            memory=self.memory,
            drain_s=drain_s,
            supervisor=self.supervisor,
        )
        self._count = 0

    def write(self, content: str, file: str = "worker.toml") -> None:
        """As an operator's editor does."""
        (self.folder / file).write_text(content)

    async def __aenter__(self) -> "Stage":
        await self.crew.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hosting.close()
        await self.supervisor.close()
        assert self.failures == []

    def look_twice(self) -> None:
        """What stands there for two looks is taken up."""
        self.crew.look()
        self.crew.look()

    @property
    def cards(self) -> tuple[Card, ...]:
        """What was announced last."""
        return [each for each in self.inputs if isinstance(each, Advertise)][-1].cards

    @property
    def announced(self) -> list[str]:
        """Names of the agents that were announced last."""
        return [card.name for card in self.cards]

    def is_changing(self, name: str) -> bool:
        return any(task.get_name() == f"agent {name}: change" for task in asyncio.all_tasks())

    def states(self) -> dict[str, str]:
        return {each.agent.card.name: each.state for each in self.hosting.hosted()}

    def problems(self) -> list[str]:
        return [problem.message for problem in self.hosting.problems]

    def said(self, state: str) -> list[str]:
        return [e.agent for e in self.events if isinstance(e, AgentChanged) and e.state == state]

    def give(self, input: object = "", *, agent: str = "worker", capability: str = "work@1") -> str:
        """Give the agent a task."""
        self._count += 1
        task = f"t{self._count}"
        self.hosting.run(
            RunAgent(agent, task, 1, 1, capability, msgpack.packb(input), 60.0, "i", "g", 0, (), 0.0),
        )
        return task

    async def end(self, task: str) -> object:
        """What came of it: the result, or the failure."""

        def report() -> list[Input]:
            return [e for e in self.inputs if isinstance(e, AgentFinished | AgentFailed) and e.task == task]

        await until(report, what=f"the end of {task}")
        (ended,) = report()
        return msgpack.unpackb(ended.result) if isinstance(ended, AgentFinished) else ended

    async def does(self, says: str) -> None:
        """Return once new work is answered so."""
        while await self.end(self.give()) != says:
            pass

    def release(self) -> None:
        (self.folder / "release").touch()


async def _nobody(*_: object, **__: object) -> Any:
    raise AssertionError("nobody asks for anything here")
