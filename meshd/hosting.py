"""The agents of this node: brought up from their manifests, given work, and told to stop.

Invariant: every `RunAgent` ends in exactly one `AgentFinished` or `AgentFailed`, unless a
`StopAgent` came first. Neighbours: `perform` hands orders in; `agents` holds the adapters; what an
agent asks for while it works goes back through the engine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct, structs

from meshd import values
from meshd.agents.adapters import build
from meshd.agents.manifest import load_all
from meshd.agents.reaper import Reaper
from meshd.engine import GRACE_S
from meshd.perform import Observer
from meshd.ports import Agent, Failed, Finished, Sink, Work
from meshd.supervise import Supervisor
from protocol import limits
from protocol.calls import Answered
from protocol.effects import RunAgent, StopAgent
from protocol.errors import MeshError
from protocol.events import AgentChanged
from protocol.inputs import Advertise, AgentFailed, AgentFinished, AgentProgress, Input, MakeCall, Submit
from protocol.records import work_digest
from protocol.wire.task import TaskRecord

WaitFor: TypeAlias = Callable[[str], Awaitable[TaskRecord]]  # the end of a task, wherever it is watched

PROGRESS_S = 0.1  # between two words of one task: a watcher asks twice a second
START_S_MAX = 30.0  # an agent that is not ready by then comes up in the background


class Ask(Protocol):
    """`Engine.ask`."""

    async def __call__(self, make: Callable[[int], Input], *, timeout_s: float | None = None) -> object:
        """Put a request and wait for its reply. Raises MeshError."""
        ...


class Hosted(Struct, frozen=True):
    """One agent as an operator sees it."""

    agent: Agent
    running: int


class Hosting:
    """All agents of one node."""

    def __init__(self, *, supervisor: Supervisor, observers: tuple[Observer, ...]) -> None:
        self._supervisor = supervisor
        self._reaper = Reaper(supervisor)
        self._observers = observers
        self._agents: dict[str, Agent] = {}
        self._works: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._running: dict[str, int] = {}
        self._sink: Sink = lambda input: None
        self._ask: Ask | None = None
        self._wait_for: WaitFor | None = None
        self.problems: tuple[MeshError, ...] = ()

    def bind(self, *, sink: Sink, ask: Ask, wait_for: WaitFor) -> None:
        """Where outcomes go, and how agents reach the mesh."""
        self._sink, self._ask, self._wait_for = sink, ask, wait_for

    async def start(self, folder: Path) -> None:
        """Bring up what `folder` declares; a broken manifest is kept as a problem, the others run."""
        manifests, problems = load_all(folder)
        self.problems = tuple(problems)
        built = (build(each, self.changed, self._supervisor, self._reaper) for each in manifests)
        await self.take(built)

    async def take(self, agents: Iterable[Agent]) -> None:
        """Bring up these agents, and announce those that are ready."""
        taken = {agent.card.name: agent for agent in agents}
        self._agents |= taken
        async with asyncio.TaskGroup() as group:
            for name, agent in taken.items():
                group.create_task(self._bring_up(agent), name=f"start {name}")
        self._advertise()

    async def _bring_up(self, agent: Agent) -> None:
        try:
            async with asyncio.timeout(START_S_MAX):
                await agent.start()
        except TimeoutError:
            self.changed(agent.card.name, "starting", f"not ready after {START_S_MAX:g} s")
        except MeshError as failure:
            self.problems = (*self.problems, failure)
            self.changed(agent.card.name, "failed", failure.message)

    def changed(self, name: str, state: str, detail: str) -> None:
        """An agent is in another state: say so, and announce who is ready now."""
        for observer in self._observers:
            observer(AgentChanged(name, state, detail))
        self._advertise()

    def _advertise(self) -> None:
        """What is ready; and what will be again, without slots, so that its work waits and is not refused."""
        ready = [agent.card for agent in self._agents.values() if agent.state == "ready"]
        restarting = [structs.replace(agent.card, slots=0) for agent in self._agents.values() if _is_coming(agent)]
        self._sink(Advertise((*ready, *restarting)))

    # --- the workshop that `perform` is given

    def run(self, order: RunAgent) -> None:
        """Give a task or call to its agent."""
        key = (order.task, order.epoch)
        self._works[key] = self._supervisor.spawn(f"agent {order.agent} {order.task}", self._work(order))

    def stop(self, order: StopAgent) -> None:
        """Stop it; its outcome is nobody's any more."""
        work = self._works.pop((order.task, order.epoch), None)
        if work is not None:
            work.cancel()

    async def _work(self, order: RunAgent) -> None:
        key = (order.task, order.epoch)
        self._running[order.agent] = self._running.get(order.agent, 0) + 1
        try:
            report = await self._outcome(order)
        finally:
            self._running[order.agent] -= 1
            is_wanted = self._works.get(key) is asyncio.current_task()
            if is_wanted:
                del self._works[key]
        if is_wanted:
            self._sink(report)

    async def _outcome(self, order: RunAgent) -> AgentFinished | AgentFailed:
        agent = self._agents.get(order.agent)
        if agent is None:
            return self._failure(order, "agent_unavailable", f"the agent {order.agent} is gone", retry=True)
        try:
            work = Work(
                task=order.task,
                capability=order.capability,
                input=values.unpacked(order.input),
                epoch=order.epoch,
                attempt=order.attempt,
                deadline_s=order.deadline_s,
                iid=order.iid,
                gid=order.gid,
                lease_s=order.lease_s,
            )
        except MeshError as failure:
            return self._failure(order, "agent_failed", failure.message, retry=False)
        outcome = await agent.run(work, _Desk(order, self))
        match outcome:
            case Finished():
                try:
                    result = values.packed(outcome.output, what="the result", bytes_max=limits.OUTPUT_BYTES_MAX)
                except MeshError as failure:
                    return self._failure(order, "agent_output", failure.message, retry=False)
                return AgentFinished(order.task, order.epoch, result)
            case Failed():
                return self._failure(order, outcome.code, outcome.message, retry=outcome.retry)

    @staticmethod
    def _failure(order: RunAgent, code: str, message: str, *, retry: bool) -> AgentFailed:
        return AgentFailed(order.task, order.epoch, code, message[: limits.TEXT_CHARS_MAX], retry)

    # --- what agents ask for

    def told(self, input: Input) -> None:
        """An agent's word on its progress."""
        self._sink(input)

    async def asked(self, make: Callable[[int], Input], *, timeout_s: float | None = None) -> object:
        """A request of an agent to the mesh."""
        if self._ask is None:
            raise MeshError("not_ready", state="starting")
        return await self._ask(make, timeout_s=timeout_s)

    async def ended(self, task: str) -> TaskRecord:
        """The record of a task when it has ended."""
        if self._wait_for is None:
            raise MeshError("not_ready", state="starting")
        return await self._wait_for(task)

    # --- for operators

    def hosted(self) -> tuple[Hosted, ...]:
        """All agents, ready or not."""
        return tuple(Hosted(agent, self._running.get(name, 0)) for name, agent in self._agents.items())

    @property
    def working(self) -> int:
        """How many tasks and calls the agents work on."""
        return len(self._works)

    async def close(self) -> None:
        """Stop what runs, then the agents."""
        for work in list(self._works.values()):
            work.cancel()
        self._works.clear()
        await asyncio.gather(*(agent.stop() for agent in self._agents.values()))
        self._reaper.close()


def _is_coming(agent: Agent) -> bool:
    return agent.state in ("starting", "restarting")


class _Desk:
    """What one task's agent may ask of the daemon: `ports.Desk`."""

    def __init__(self, order: RunAgent, hosting: Hosting) -> None:
        self._order = order
        self._hosting = hosting
        self._children: dict[str, int] = {}
        self._ends = asyncio.get_running_loop().time() + order.deadline_s
        self._word: object = None
        self._has_more = False  # a later word waits for its turn
        self._told_at = 0.0

    @property
    def _left_s(self) -> float:
        return max(0.0, self._ends - asyncio.get_running_loop().time())

    def progress(self, value: object) -> None:
        self._word = value
        if self._has_more:
            return
        loop = asyncio.get_running_loop()
        wait_s = self._told_at + PROGRESS_S - loop.time()
        if wait_s <= 0:
            self._tell()
        else:
            self._has_more = True
            loop.call_later(wait_s, self._tell)

    def _tell(self) -> None:
        """The last word; an agent that talks without end must not crowd out the mesh's own messages."""
        self._has_more, self._told_at = False, asyncio.get_running_loop().time()
        try:
            told = values.packed(self._word, what="the progress", bytes_max=limits.PROGRESS_BYTES_MAX)
        except MeshError:
            return  # a progress that cannot be shown is not shown
        self._hosting.told(AgentProgress(self._order.task, self._order.epoch, told))

    async def call(self, capability: str, input: object, timeout_s: float) -> object:
        order = self._order
        encoded = values.packed(input, what="the input", bytes_max=limits.INPUT_BYTES_MAX)
        within_s = min(timeout_s, self._left_s)

        def make(request: int) -> Input:
            return MakeCall(
                request=request,
                capability=capability,
                input=encoded,
                timeout_s=within_s,
                hops=order.hops + 1,
                ancestors=(*order.ancestors, order.task),
                gid=order.gid,
            )

        reply = await self._hosting.asked(make, timeout_s=within_s + GRACE_S)
        return values.unpacked(reply.result) if isinstance(reply, Answered) else None

    async def submit(self, capability: str, input: object, *, key: str, is_awaited: bool) -> object:
        order = self._order
        encoded = values.packed(input, what="the input", bytes_max=limits.INPUT_BYTES_MAX)
        own_key = key or self._child_key(capability, encoded)

        def make(request: int) -> Input:
            return Submit(
                request=request,
                capability=capability,
                input=encoded,
                submitter=f"task/{order.task}",
                key=own_key,
                gid=order.gid,
                parent_iid=order.iid,
                deadline_s=max(1.0, min(self._left_s, limits.DEADLINE_S_MAX)),
                hops=order.hops + 1,
                ancestors=(*order.ancestors, order.task),
            )

        record = await self._hosting.asked(make)
        if not isinstance(record, TaskRecord):
            raise MeshError("internal", what="a submit was answered without a record")
        if not is_awaited:
            return record.id
        record = await self._hosting.ended(record.id)
        if record.failure is not None:
            raise MeshError("task_failed", message=record.failure.message, task=record.id)
        return values.unpacked(record.result)

    def _child_key(self, capability: str, input: bytes) -> str:
        """The same for the same work when the parent runs again, in whatever order it submits then."""
        work = work_digest(capability=capability, input=input).hex()
        self._children[work] = self._children.get(work, 0) + 1
        return f"child/{work}/{self._children[work]}"
