"""A node of plain values behind the API: what it is told to say, it says; what it is asked, it keeps."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from meshd.api import history, schemas, task_schemas
from meshd.api.agent_schemas import AgentLog, Leaving, LogLine, NewAgent
from meshd.api.backend import Following
from meshd.api.server import Address, Api
from meshd.statedir import StateDir
from protocol.errors import MeshError
from protocol.events import Event
from tests.meshd.api.fake_audits import FakeAudits
from tests.meshd.api.fake_upkeep import FakeUpkeep

T = TypeVar("T")

A = "a" * 32
B = "b" * 32
LIFE = 1_700_000_000_000


def a_status(**changes: Any) -> schemas.Status:
    status = schemas.Status(
        node=A,
        name="a",
        mesh="xyz",
        life=LIFE,
        state="joined",
        peers_alive=3,
        tasks_running=2,
        nats="nats://127.0.0.1:4333",
        version="0.1.0",
        region="local",
        domain="default",
        record=schemas.Record(1, "a"),
    )
    return msgspec.structs.replace(status, **changes)


def a_peer(name: str, node: str, **changes: Any) -> schemas.Peer:
    peer = schemas.Peer(
        name=name,
        id=node,
        life=LIFE,
        state="alive",
        incarnation=0,
        region="local",
        since=LIFE,
        agents=("scorer",),
        load=schemas.PeerLoad(running=1, waiting=0, slots=4, free=3),
        here=node == A,
    )
    return msgspec.structs.replace(peer, **changes)


def an_agent(name: str, node: str = A, **changes: Any) -> schemas.AgentView:
    agent = schemas.AgentView(
        name=name,
        node=node,
        node_name=node[0],
        capabilities=("scoring@2",),
        kind="stdio",
        slots=4,
        free=3,
        state="ready",
        here=node == A,
    )
    return msgspec.structs.replace(agent, **changes)


def a_task(task: str, **changes: Any) -> schemas.Task:
    made = schemas.Task(
        id=task.ljust(26, "x"),
        iid="iid",
        gid="gid",
        capability="scoring@2",
        state="running",
        epoch=1,
        owner=B,
        home=A,
        attempts=(),
        submitted_ms=LIFE,
        started_ms=LIFE + 10,
        finished_ms=None,
        result=None,
        error=None,
        owner_name="b",
        home_name="a",
    )
    return msgspec.structs.replace(made, **changes)


def done(task: schemas.Task, result: object) -> schemas.Task:
    return msgspec.structs.replace(task, state="done", finished_ms=LIFE + 300, result=result)


class FakeBackend:
    """See `meshd.api.backend.Backend`."""

    def __init__(self) -> None:
        self.status_ = a_status()
        self.upkeep = FakeUpkeep()
        self.audits = FakeAudits()
        self.peers_ = [a_peer("a", A), a_peer("b", B)]
        self.agents_ = [an_agent("scorer"), an_agent("scorer", B)]
        self.capabilities_ = [
            schemas.CapabilityView(
                "scoring@2", slots=8, free=6, providers=(schemas.Provider("scorer", A, "a", 4, 3, "ranks offers"),)
            )
        ]
        self.added: list[NewAgent] = []
        self.running = 0  # of an agent that is stopped or removed
        self.lines = [LogLine(seq, f"line {seq}") for seq in (3, 4, 5)]  # of every log
        self.tasks_: dict[str, schemas.Task] = {}
        self.refuse: BaseException | None = None  # raised by whatever is asked next, and from then on
        self.ends_with: schemas.Task | None = None  # what a wait sees
        self.looks_before_end = 0  # waits that see nothing of it yet
        self.submitted: list[tuple[schemas.SubmitRequest, str, str]] = []
        self.retried: list[tuple[str, task_schemas.RetryRequest, str]] = []
        self.called: list[tuple[str, schemas.CallRequest]] = []
        self.answers: object = {"score": 0.7}
        self.kept: list[schemas.Stamped] = []
        self.news = asyncio.Event()
        self.is_stopping = False
        self.waits = 0

    def put(self, *tasks: schemas.Task) -> None:
        self.tasks_ |= {task.id: task for task in tasks}

    def happen(self, event: Event) -> None:
        """Something happens; call it in the loop of the API."""
        self.kept.append(schemas.Stamped(len(self.kept) + 1, LIFE + len(self.kept), A, event))
        news, self.news = self.news, asyncio.Event()
        news.set()

    def _look(self) -> None:
        if self.refuse is not None:
            raise self.refuse

    def status(self) -> schemas.Status:
        return self.status_

    def ready(self) -> schemas.Readiness:
        return schemas.Readiness(self.status_.state == "joined", self.status_.state, self.status_.reason)

    def peers(self) -> list[schemas.Peer]:
        self._look()
        return self.peers_

    def peer(self, name: str) -> schemas.Peer:
        for peer in self.peers_:
            if name in (peer.name, peer.id):
                return peer
        raise MeshError("unknown_peer", peer=name)

    def agents(self) -> list[schemas.AgentView]:
        return self.agents_

    async def add_agent(self, request: NewAgent) -> schemas.AgentView:
        self._look()
        self.added.append(request)
        return an_agent("new", file="/agents.d/new.toml")

    async def remove_agent(self, name: str) -> Leaving:
        agent = self._own(name)
        self.agents_.remove(agent)
        return Leaving(name, self.running)

    async def start_agent(self, name: str) -> schemas.AgentView:
        return self._turned(name, "ready")

    async def stop_agent(self, name: str) -> schemas.AgentView:
        return self._turned(name, "draining" if self.running else "stopped")

    def agent_log(self, name: str) -> AgentLog:
        self._own(name)
        return AgentLog(name, tuple(self.lines))

    def _own(self, name: str) -> schemas.AgentView:
        self._look()
        for agent in self.agents_:
            if agent.name == name and agent.here:
                return agent
        raise MeshError("unknown_agent", agent=name)

    def _turned(self, name: str, state: str) -> schemas.AgentView:
        agent = self._own(name)
        turned = msgspec.structs.replace(agent, state=state, running=self.running)
        self.agents_[self.agents_.index(agent)] = turned
        return turned

    async def capability(self, name: str) -> schemas.CapabilityView:
        for found in self.capabilities_:
            if found.name == name:
                shown = schemas.SchemaView("scorer", {"type": "string"}, True, A, "a")
                return msgspec.structs.replace(found, schemas=(shown,), untold=("ranker on b",))
        raise MeshError("no_agent", capability=name)

    def capabilities(self) -> list[schemas.CapabilityView]:
        return self.capabilities_

    async def tasks(
        self, wanted: schemas.TaskFilter, *, after: schemas.Cursor | None, limit: int
    ) -> list[schemas.Task]:
        found = sorted(self.tasks_.values(), key=lambda task: (task.submitted_ms, task.id), reverse=True)
        found = [
            task
            for task in found
            if wanted.state in ("", task.state)
            and wanted.capability in ("", task.capability)
            and wanted.home in ("", task.home)
            and wanted.gid in ("", task.gid)
            and (after is None or (task.submitted_ms, task.id) < (after.submitted_ms, after.id))
        ]
        return found[:limit]

    async def task(self, name: str) -> schemas.Task:
        self._look()
        found = [task for task in self.tasks_.values() if task.id.startswith(name)]
        if not found:
            raise MeshError("unknown_task", task=name)
        if len(found) > 1:
            raise MeshError("ambiguous", given=name, candidates=", ".join(task.id for task in found))
        return found[0]

    async def why(self, name: str) -> task_schemas.Why:
        return task_schemas.Why(await self.task(name), (), 0, None)

    async def goal(self, gid: str) -> task_schemas.Goal:
        found = [task for task in self.tasks_.values() if task.gid == gid]
        if not found:
            raise MeshError("unknown_goal", goal=gid)
        return task_schemas.Goal(gid, tuple(task_schemas.GoalTask("", 0, task) for task in found), False)

    async def wait(self, task: str, timeout_s: float) -> schemas.Task:
        self.waits += 1
        if self.ends_with is None or self.waits <= self.looks_before_end:
            await asyncio.sleep(min(timeout_s, 0.05))
            return self.tasks_[task]
        self.put(self.ends_with)
        return self.ends_with

    async def submit(self, request: schemas.SubmitRequest, *, key: str, principal: str) -> tuple[schemas.Task, bool]:
        self._look()
        self.submitted.append((request, key, principal))
        task = a_task(f"key{key}"[:26].lower(), capability=request.capability, state="open")
        is_new = task.id not in self.tasks_
        self.put(task)
        return task, is_new

    missed = ""  # by a cancel

    async def cancel(self, task: str, *, principal: str) -> task_schemas.CancelledTask:
        found = self.tasks_[task]
        if found.state == "done":
            raise MeshError("already_ended", task=task, state="done")
        ended = msgspec.structs.replace(found, state="cancelled")
        heirs = sum(each.parent_iid == found.iid for each in self.tasks_.values())
        shown = msgspec.structs.asdict(ended)
        return task_schemas.CancelledTask(**shown, with_it=heirs, missed=self.missed)

    async def retry(self, task: str, request: task_schemas.RetryRequest, *, principal: str) -> schemas.Task:
        found = self.tasks_[task]
        if found.state == "done":
            raise MeshError("done_already", task=task)
        if found.state not in schemas.ENDED_STATES:
            raise MeshError("under_way", task=task, state=found.state)
        self.retried.append((task, request, principal))
        end = history.RetryView(LIFE, principal, found.state, found.epoch, found.owner, "", "")
        opened = msgspec.structs.replace(found, state="open", retries=found.retries + 1, retried=(*found.retried, end))
        self.put(opened)
        return opened

    async def call(self, capability: str, request: schemas.CallRequest, *, principal: str) -> schemas.CallAnswer:
        self._look()
        self.called.append((capability, request))
        return schemas.CallAnswer(self.answers, capability, B, "b", 1.5, agent="scorer")

    async def ping(self, name: str) -> schemas.Pong:
        peer = self.peer(name)
        return schemas.Pong(peer.name, peer.id, 1.25)

    def invite(self) -> schemas.Invitation:
        return schemas.Invitation("mj1_token", "xyz", "f" * 52, ("nats://127.0.0.1:4333",), reach="this host only")

    @asynccontextmanager
    async def follow(self, after_seq: int | None) -> AsyncIterator[Following]:
        now = self.kept[-1].seq if self.kept else 0
        since = now if after_seq is None else min(after_seq, now)
        async with aclosing(self._events(since)) as events:
            yield Following(since, events)

    async def _events(self, seen: int) -> AsyncGenerator[schemas.Stamped, None]:
        while True:
            news = self.news
            for stamped in [each for each in self.kept if each.seq > seen]:
                seen = stamped.seq
                yield stamped
            await news.wait()

    def stop(self) -> None:
        self.is_stopping = True

    def metrics(self) -> bytes:
        return b"meshd_up 1\n"


async def _settled() -> None:
    """Let a connection that was made at the last moment be accepted: CPython 3.11 trips over it while it closes."""
    for _ in range(4):
        await asyncio.sleep(0)


class Served:
    """An API over a fake node, on a thread of its own, so that blocking clients can ask it."""

    def __init__(self, folder: Path, backend: FakeBackend) -> None:
        self.folder = folder
        self.backend = backend
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the API's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    def happen(self, event: Event) -> None:
        """Something happens on the fake node."""
        self._loop.call_soon_threadsafe(self.backend.happen, event)

    def __enter__(self) -> "Served":
        self._thread.start()
        self._state = StateDir.open(self.folder)
        self._api = Api(self.backend, self._state)
        self.address: Address = self.run(self._api.start())
        return self

    def close(self) -> None:
        """The daemon goes away."""
        self.run(_settled())
        self.run(self._api.close())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._state.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
