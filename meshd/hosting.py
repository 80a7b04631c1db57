"""The agents of this node: brought up, given work, changed for others, and told to stop.

Invariant: every `RunAgent` ends in exactly one `AgentFinished` or `AgentFailed`, or, when a `StopAgent` came
first, in `AgentStopped` once it is over; an agent that leaves gets nothing new, and what it has in hand ends or is
given back before it is stopped.
Neighbours: `crew` says which agents there are; `perform` hands orders in; `agents` holds the adapters; what an
agent asks for while it works goes back through the engine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct, structs

from meshd import clock, values
from meshd.agents import elsewhere
from meshd.agents.child import LOG_LINES_MAX
from meshd.agents.guarded import Guarded
from meshd.agents.manifest import Manifest
from meshd.agents.reaper import Reaper
from meshd.desk import Desk
from meshd.perform import Observer
from meshd.ports import BEGUN_TOO_LATE, Agent, Event, Failed, Finished, Schema, Sink, Work
from meshd.supervise import Supervisor
from meshd.tally import Tally
from protocol import limits
from protocol.effects import RunAgent, StopAgent
from protocol.errors import MeshError
from protocol.events import AgentChanged
from protocol.inputs import Advertise, AgentFailed, AgentFinished, AgentStopped, Input
from protocol.performance import BLAMELESS
from protocol.primitives import NS_PER_MS
from protocol.wire.agents import Card
from protocol.wire.ops import Shape
from protocol.wire.task import TaskRecord

WaitFor: TypeAlias = Callable[[str], Awaitable[TaskRecord]]  # the end of a task, wherever it is watched

START_S_MAX = 30.0  # an agent that is not ready by then comes up in the background
CHANGE_S_MAX = 90.0  # and one that is to take another's place is refused: longer than any adapter's own patience
STEADY_S = 0.3  # a command that is wrong ends sooner


class Ask(Protocol):
    """`Engine.ask`."""

    async def __call__(self, make: Callable[[int], Input], *, timeout_s: float | None = None) -> object:
        """Put a request and wait for its reply. Raises MeshError."""
        ...


class Hosted(Struct, frozen=True):
    """One agent as an operator sees it. One that leaves is draining for as long as it has work in hand."""

    agent: Agent
    running: int
    is_leaving: bool = False
    refused: str = ""  # why its manifest as it stands now is not in use

    @property
    def state(self) -> str:
        """As the agent says, or draining."""
        return "draining" if self.is_leaving and self.running else self.agent.state

    @property
    def detail(self) -> str:
        """Why it is in that state, one sentence or nothing."""
        if self.state == "draining":
            return "it takes nothing new"
        if self.refused and self.agent.state == "ready":
            return f"its manifest was altered, and what it says did not come up; it is tried again: {self.refused}"
        return self.agent.detail


class _Job(Struct, eq=False):
    """One order in hand. Mutable: `given_back` says why its agent may not end it; `is_stopped`: nobody waits for it."""

    agent: Agent | None
    task: asyncio.Task[None] | None = None
    given_back: str = ""
    is_stopped: bool = False
    is_event: bool = False


class Hosting:
    """All agents of one node."""

    def __init__(self, *, supervisor: Supervisor, observers: tuple[Observer, ...], region: str = "") -> None:
        """`region`: where this node stands, outside which no agent may run that names others; nothing: anywhere."""
        self._region = region
        self._supervisor = supervisor
        self._reaper = Reaper(supervisor)
        self._observers = observers
        self._agents: dict[str, Agent] = {}
        self._leaving: list[Agent] = []  # those that get nothing new, in their place or out of it
        self._jobs: dict[tuple[str, int], _Job] = {}
        self._busy: list[_Job] = []  # also those that nobody waits for any more
        self._sink: Sink = lambda input: None
        self._ask: Ask | None = None
        self._wait_for: WaitFor | None = None
        self.tally = Tally()
        self._refused: dict[str, MeshError] = {}
        self._former_logs: dict[str, tuple[int, list[str]]] = {}  # of those that had the place before

    def bind(self, *, sink: Sink, ask: Ask, wait_for: WaitFor) -> None:
        """Where outcomes go, and how agents reach the mesh."""
        self._sink, self._ask, self._wait_for = sink, ask, wait_for

    # --- which agents there are

    def built(self, manifest: Manifest) -> Agent:
        """The agent that a manifest declares, not yet started; what it says counts once it is in its place."""
        place: list[Agent] = []

        def on_change(name: str, state: str, detail: str) -> None:
            if self._agents.get(name) in place:
                self.changed(name, state, detail)

        if self._region and manifest.region and self._region not in manifest.region:
            place.append(elsewhere.Elsewhere(manifest, self._region, on_change))
        else:
            place.append(Guarded(manifest, on_change, self._supervisor, self._reaper))
        return place[0]

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
            self._refused[agent.card.name] = failure
            self.changed(agent.card.name, "failed", failure.message)

    def keep(self, agent: Agent) -> None:
        """Show an agent that is not to run now."""
        self._keep_log(agent.card.name)
        self._agents[agent.card.name] = agent
        self.changed(agent.card.name, agent.state, agent.detail)

    async def prove(self, agent: Agent, file: Path) -> None:
        """Bring up an agent of `file` that is in no place yet. Raises MeshError when it cannot be, and stops it."""
        try:
            async with asyncio.timeout(CHANGE_S_MAX):
                await agent.start()
                if agent.card.kind == "stdio":  # nothing but its life says that it is up
                    await asyncio.sleep(STEADY_S)
                    if agent.state not in ("ready", elsewhere.STATE):
                        problem = f"run: the agent {agent.detail or 'is ' + agent.state}"
                        raise MeshError("manifest", path=file, problem=problem)
        except TimeoutError:
            await agent.stop()
            problem = f"the agent was not ready after {CHANGE_S_MAX:g} s"
            raise MeshError("manifest", path=file, problem=problem) from None
        except BaseException:
            await agent.stop()
            raise

    def put(self, agent: Agent, drain_s: float) -> None:
        """Give a ready agent its place: from now on it gets the work; a former one ends what it has."""
        name = agent.card.name
        former = self._agents.get(name)
        self._keep_log(name)
        self._agents[name] = agent
        self.changed(name, agent.state, agent.detail)
        if former is not None:
            why = f"the agent {name} was declared anew"
            self._supervisor.spawn(f"agent {name}: former", self._let_go(former, drain_s, why))

    def rest(self, name: str, drain_s: float) -> asyncio.Task[None]:
        """Announce it no more, let it end what it has, and stop it; it stays in its place. The task ends then."""
        why = f"the agent {name} was stopped by an operator"
        return self._supervisor.spawn(f"agent {name}: rest", self._let_go(self._agents[name], drain_s, why))

    def retire(self, name: str, drain_s: float) -> asyncio.Task[None]:
        """Announce it no more, let it end what it has, stop it, and forget it. The task ends then."""
        return self._supervisor.spawn(f"agent {name}: end", self._retire(name, self._agents[name], drain_s))

    async def _retire(self, name: str, agent: Agent, drain_s: float) -> None:
        await self._let_go(agent, drain_s, f"the agent {name} was removed")
        if self._agents.get(name) is agent:
            del self._agents[name]
            self._former_logs.pop(name, None)
            self.tally.forget(name)
            self.changed(name, "removed", "")

    async def _let_go(self, agent: Agent, drain_s: float, why: str) -> None:
        self._leaving.append(agent)
        self._advertise()
        try:
            await self._ended(agent, drain_s)
            for job in self._busy:
                if job.agent is agent and job.task is not None:
                    job.given_back = why
                    job.task.cancel()
            await self._ended(agent, None)  # the adapter makes it stop: first told, then killed
            await agent.stop()
        finally:
            self._leaving.remove(agent)

    async def _ended(self, agent: Agent, within_s: float | None) -> None:
        """Return when it has nothing in hand, or after that long."""
        in_hand = [job.task for job in self._busy if job.agent is agent and job.task is not None]
        if in_hand:
            await asyncio.wait(in_hand, timeout=within_s)

    def changed(self, name: str, state: str, detail: str) -> None:
        """An agent is in another state: say so, and announce who is ready now."""
        if state == "restarting":
            self.tally.fell(name, detail)
        self._say(name, state, detail)
        self._advertise()

    def _say(self, name: str, state: str, detail: str) -> None:
        for observer in self._observers:
            observer(AgentChanged(name, state, detail))

    def refuse(self, place: str, problem: MeshError) -> None:
        """What stands in `place`, a file or an agent's name, is not taken: said once, and shown until it is mended."""
        former = self._refused.get(place)
        self._refused[place] = problem
        if former is None or former.message != problem.message:
            self._say(place, "refused", problem.message)

    def accept(self, place: str) -> None:
        """Nothing is wrong there any more."""
        self._refused.pop(place, None)

    @property
    def problems(self) -> tuple[MeshError, ...]:
        """What was refused and is not mended."""
        return tuple(self._refused.values())

    def _advertise(self) -> None:
        """What is ready; and what will be again, without slots, so that its work waits and is not refused."""
        here = [agent for agent in self._agents.values() if agent not in self._leaving]
        ready = [agent for agent in here if agent.state == "ready"]
        coming = [agent for agent in here if agent.state in ("starting", "restarting", elsewhere.STATE)]
        cards = (*(agent.card for agent in ready), *map(_coming, coming))
        self._sink(Advertise(cards, tuple(shape for agent in (*ready, *coming) for shape in _shapes(agent))))

    # --- the workshop that `perform` is given

    def run(self, order: RunAgent) -> None:
        """Give a task or call to its agent."""
        agent = self._agents.get(order.agent)
        job = self._jobs[order.task, order.epoch] = _Job(
            None if agent in self._leaving else agent, is_event=bool(order.topic)
        )
        self._busy.append(job)
        job.task = self._supervisor.spawn(f"agent {order.agent} {order.task}", self._work(order, job))
        job.task.add_done_callback(lambda _: self._over(order, job))

    def stop(self, order: StopAgent) -> None:
        """Stop it; its outcome is nobody's any more, but that it is over is told."""
        job = self._jobs.pop((order.task, order.epoch), None)
        if job is not None and job.task is not None:
            job.is_stopped = True
            job.task.cancel()

    def _over(self, order: RunAgent, job: _Job) -> None:
        self._busy.remove(job)
        if job.is_stopped:
            self._sink(AgentStopped(order.task, order.epoch))

    async def _work(self, order: RunAgent, job: _Job) -> None:
        key = (order.task, order.epoch)
        began_ns = clock.monotonic_ns()
        try:
            report = await self._outcome(order, job.agent)
        except asyncio.CancelledError:
            if not job.given_back:
                raise
            report = self._failure(order, "agent_unavailable", job.given_back, retry=True)
        finally:
            is_wanted = self._jobs.get(key) is job
            if is_wanted:
                del self._jobs[key]
        if is_wanted:
            self._count(report, job, order.agent, (clock.monotonic_ns() - began_ns) / NS_PER_MS)
            self._sink(report)

    def _count(self, report: AgentFinished | AgentFailed, job: _Job, agent: str, took_ms: float) -> None:
        match report:
            case AgentFinished() if not job.is_event:
                self.tally.done(agent, took_ms=took_ms)
            case AgentFailed() if not job.is_event and report.code not in BLAMELESS:
                self.tally.failed(agent, f"{report.code}: {report.message}")
            case _:
                pass

    async def _outcome(self, order: RunAgent, agent: Agent | None) -> AgentFinished | AgentFailed:
        if agent is None:
            return self._failure(order, "agent_unavailable", f"the agent {order.agent} is gone", retry=True)
        if not (order.topic in agent.card.topics if order.topic else order.capability in agent.card.capabilities):
            why = f"the agent {order.agent} has {order.topic or order.capability} no more"
            return self._failure(order, "agent_unavailable", why, retry=True)
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
                begin_by_ns=order.begin_by,
            )
            if order.topic:
                work = Event(**structs.asdict(work), topic=order.topic, publisher=order.publisher)
        except MeshError as failure:
            return self._failure(order, "bad_input", failure.message, retry=False)
        if work.is_late:
            return self._failure(order, "agent_unavailable", BEGUN_TOO_LATE, retry=True)
        outcome = await agent.run(work, Desk(order, self, visibility=agent.card.visibility))
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
        """All agents in their places, ready or not."""
        return tuple(self._hosted(agent) for agent in self._agents.values())

    def one(self, name: str) -> Hosted | None:
        """The agent of this name, if it is here."""
        agent = self._agents.get(name)
        return None if agent is None else self._hosted(agent)

    def log(self, name: str) -> tuple[int, list[str]]:
        """How many lines the agents in this place ever wrote, and the last of them."""
        agent = self._agents[name]
        count, lines = self._former_logs.get(name, (0, []))
        return count + agent.logged, [*lines, *agent.log()][-LOG_LINES_MAX:]

    def _keep_log(self, name: str) -> None:
        if name in self._agents:
            self._former_logs[name] = self.log(name)

    def _hosted(self, agent: Agent) -> Hosted:
        name = agent.card.name  # a former agent's work takes slots, too, until it has ended
        at_work = [job.agent for job in self._busy if job.agent is not None and not job.is_event]
        running = sum(each.card.name == name for each in at_work)
        refusal = self._refused.get(name)
        refused = refusal.message if refusal is not None else ""
        return Hosted(agent, running, is_leaving=agent in self._leaving, refused=refused)

    @property
    def working(self) -> int:
        """How many tasks and calls the agents work on."""
        return sum(not job.is_event for job in self._jobs.values())

    async def close(self) -> None:
        """Stop what runs, then the agents."""
        for job in list(self._jobs.values()):
            if job.task is not None:
                job.task.cancel()
        self._jobs.clear()
        agents = [*self._agents.values(), *(each for each in self._leaving if each not in self._agents.values())]
        await asyncio.gather(*(agent.stop() for agent in agents))
        self._reaper.close()


def _coming(agent: Agent) -> Card:
    why = f"{agent.state}: {agent.detail}" if agent.detail else agent.state
    return structs.replace(agent.card, slots=0, problem=why[: limits.CARD_PROBLEM_CHARS_MAX])


def _shapes(agent: Agent) -> tuple[Shape, ...]:
    known = ((name, agent.schemas.get(name, Schema())) for name in agent.card.capabilities)
    return tuple(
        Shape(agent.card.name, name, values.told_schema(said.takes), values.told_schema(said.gives))
        for name, said in known
    )
