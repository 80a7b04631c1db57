"""One node as its API shows it: the engine's answers in the terms of `api.schemas`.

Invariant: says nothing that the node, the record or the agents do not say; `MeshError` is the only
exception that comes out. Neighbours: `api` calls it; `views` turns values into schemas.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress

from msgspec import structs

from meshd import clock, explained, offspring, values, views
from meshd.api import agent_schemas, schemas
from meshd.api.backend import Audits, Following
from meshd.api.task_schemas import CancelledTask, Goal, RetryRequest, Why
from meshd.crew import Crew
from meshd.engine import GRACE_S, Engine
from meshd.hosting import Hosting
from meshd.listing import Fits, Row
from meshd.observe.listening import Listening
from meshd.observe.stream import Happened, Stream
from meshd.shelf import Shelf
from meshd.upkeep import Upkeep
from protocol import ids, limits
from protocol.errors import MeshError
from protocol.inputs import Cancel, Inquiry, MakeCall, Operate, Retry, Submit
from protocol.primitives import NS_PER_MS, NodeId
from protocol.records import work_digest
from protocol.replica import Peer
from protocol.wire.ops import Describe, Description, Shape, Survey
from protocol.wire.task import ENDED, Status, TaskRecord, TaskState

TOLD_BY_HOME = ("running", "awarded")  # states that the record alone does not tell apart
PAGE = 256  # tasks that their homes are asked about at once
SUBMIT_GRACE_S = 5.0  # a submit waits out a short outage; in a longer one it is refused at once
LOOK_GRACE_S = 1.0  # and so does a look at the record
RAN = frozenset({"agent_failed", "timed_out", "stopping"})  # how a call ends that an agent was given
DESCRIBED_BY_MAX = 16  # nodes that are asked what a capability takes; beyond it one looks at them by --node


class Service:
    """`api.backend.Backend` over one running node."""

    def __init__(
        self,
        *,
        engine: Engine,
        hosting: Hosting,
        crew: Crew,
        stream: Stream,
        listening: Listening,
        shelf: Shelf,
        views: views.Views,
        audits: Audits,
        upkeep: Upkeep,
        default_deadline_s: float,
        invite: Callable[[], schemas.Invitation],
        stop: Callable[[], None],
        metrics: Callable[[], bytes],
    ) -> None:
        self._engine = engine
        self._node = engine.node
        self._hosting = hosting
        self._crew = crew
        self._stream = stream
        self._listening = listening
        self._shelf = shelf
        self._views = views
        self.audits = audits
        self.upkeep = upkeep
        self._default_deadline_s = default_deadline_s
        self.invite = invite
        self.stop = stop
        self.metrics = metrics
        hosting.bind(sink=engine.put, ask=engine.ask, wait_for=self.ended)

    # --- how it stands

    def status(self) -> schemas.Status:
        """How this node stands."""
        return self._views.status()

    def ready(self) -> schemas.Readiness:
        """Whether it takes and does work."""
        return self._views.readiness()

    def peers(self) -> list[schemas.Peer]:
        """Every node in view, this one included."""
        return self._views.peers()

    def peer(self, name: str) -> schemas.Peer:
        """One node by name, id or unique prefix of its id."""
        return self._views.peer(self._named(name))

    def agents(self) -> list[schemas.AgentView]:
        """Every agent of the mesh."""
        return [structs.replace(a, file=self._crew.file_of(a.name)) if a.here else a for a in self._views.agents()]

    async def add_agent(self, request: agent_schemas.NewAgent) -> schemas.AgentView:
        """Host one more."""
        hosted = await self._crew.add(request.manifest, file=request.file, is_replacement=request.replace)
        return self._own(hosted.agent.card.name)

    async def remove_agent(self, name: str) -> agent_schemas.Leaving:
        """Host it no more."""
        left = await self._crew.remove(name)
        return agent_schemas.Leaving(name, 0 if left is None else left.running)

    async def start_agent(self, name: str) -> schemas.AgentView:
        """Start one that is stopped or was given up."""
        await self._crew.start_one(name)
        return self._own(name)

    async def stop_agent(self, name: str) -> schemas.AgentView:
        """Stop one until it is started."""
        await self._crew.stop_one(name)
        return self._own(name)

    def _own(self, name: str) -> schemas.AgentView:
        for agent in self.agents():
            if agent.here and agent.name == name:
                return agent
        raise MeshError("unknown_agent", agent=name)

    def agent_log(self, name: str) -> agent_schemas.AgentLog:
        """What an agent of this node wrote last."""
        if self._hosting.one(name) is None:
            elsewhere = [agent.node_name for agent in self._views.agents() if agent.name == name]
            if elsewhere:
                raise MeshError("agent_elsewhere", agent=name, where=elsewhere[0])
            raise MeshError("unknown_agent", agent=name)
        count, lines = self._hosting.log(name)
        first = count - len(lines) + 1
        told = (agent_schemas.LogLine(seq, line) for seq, line in enumerate(lines, start=first))
        return agent_schemas.AgentLog(name, tuple(told))

    def capabilities(self) -> list[schemas.CapabilityView]:
        """What can be done in the mesh."""
        return self._views.capabilities()

    async def capability(self, name: str) -> schemas.CapabilityView:
        """Who can, and what each of them takes and gives. Raises no_agent."""
        found = next((each for each in self._views.capabilities() if each.name == name), None)
        if found is None:
            raise MeshError("no_agent", capability=name)
        nodes = list(dict.fromkeys(each.node for each in found.providers))[:DESCRIBED_BY_MAX]
        told = await asyncio.gather(*(self._described(node, name) for node in nodes))
        return views.described(found, dict(zip(nodes, told, strict=True)))

    async def _described(self, node: NodeId, capability: str) -> tuple[Shape, ...]:
        try:
            answer = await self._engine.ask(lambda request: Operate(request, node, Describe(0, capability)))
        except MeshError:
            return ()
        return answer.shapes if isinstance(answer, Description) else ()

    async def ping(self, name: str) -> schemas.Pong:
        """Probe one node now, a suspect too."""
        peer = views.living(self._node.membership.snapshot(), name)
        began = clock.monotonic_ns()
        try:
            await self._engine.ask(lambda request: Operate(request, peer.id, Survey(0)))
        except MeshError as failure:
            if failure.code != "timed_out":
                raise
            raise MeshError("timed_out", what=peer.name, seconds=failure.fields["seconds"]) from None
        took_ms = (clock.monotonic_ns() - began) / NS_PER_MS
        return schemas.Pong(name=peer.name, id=peer.id, rtt_ms=round(took_ms, 3))

    def _named(self, name: str) -> Peer:
        return views.named(self._node.membership.snapshot(), name)

    # --- tasks

    async def tasks(
        self, wanted: schemas.TaskFilter, *, after: schemas.Cursor | None, limit: int
    ) -> list[schemas.Task]:
        """Tasks of the whole mesh, newest first."""
        self._refuse_when_detached()
        await self._shelf.refresh()
        fits = _fitting(wanted, self._home_of(wanted.home))
        position = None if after is None else (after.submitted_ms, after.id)
        shown: list[schemas.Task] = []
        while len(shown) < limit:
            count = PAGE if wanted.state in TOLD_BY_HOME else min(limit - len(shown), PAGE)
            found = await self._shelf.page(fits, after=position, count=count)
            lines = await self._lines(found)
            told = [self._views.task(record, lines.get(record.id)) for record in found]
            shown += [task for task in told if wanted.state not in TOLD_BY_HOME or task.state == wanted.state]
            if len(found) < count:
                break
            position = found[-1].submitted_ms, found[-1].id
        return shown[:limit]

    def _home_of(self, name: str) -> NodeId:
        """The id of the node that a filter names; an unknown one fits nothing."""
        try:
            return self._named(name).id if name else ""
        except MeshError:
            return name

    async def task(self, name: str) -> schemas.Task:
        """One task by its id or a unique prefix."""
        self._refuse_when_detached()
        return await self._shown(await self._shelf.one(name))

    async def why(self, name: str) -> Why:
        """All that decided about a task."""
        self._refuse_when_detached()
        record = await self._shelf.one(name)
        return explained.why(record, await self._shown(record), name_of=self._views.name_of)

    async def goal(self, gid: str) -> Goal:
        """The tasks of a goal as a tree. Raises unknown_goal."""
        found = await self.tasks(schemas.TaskFilter(gid=gid), after=None, limit=schemas.PAGE_MAX + 1)
        if not found:
            raise MeshError("unknown_goal", goal=gid)
        return explained.goal(gid, found[: schemas.PAGE_MAX], is_cut=len(found) > schemas.PAGE_MAX)

    async def _shown(self, record: TaskRecord) -> schemas.Task:
        lines = await self._lines([record])
        is_plain = record.state is TaskState.DONE and record.epoch == 1
        late = [] if is_plain else await self._shelf.late(record.id)
        return self._views.task(record, lines.get(record.id), late)

    async def _lines(self, records: list[TaskRecord]) -> dict[str, Status]:
        """What the homes of unfinished tasks say of them; a home that is gone says nothing."""
        by_home: dict[NodeId, list[str]] = {}
        for record in records:
            if record.state is TaskState.AWARDED:
                by_home.setdefault(record.home, []).append(record.id)
        asked: list[tuple[NodeId, tuple[str, ...]]] = [
            (home, tuple(tasks[start : start + limits.TASKS_PER_ASK_MAX]))
            for home, tasks in by_home.items()
            for start in range(0, len(tasks), limits.TASKS_PER_ASK_MAX)
        ]
        answers = await asyncio.gather(*(self._inquire(home, tasks) for home, tasks in asked))
        return {line.task: line for lines in answers for line in lines}

    async def _inquire(self, home: NodeId, tasks: tuple[str, ...]) -> tuple[Status, ...]:
        try:
            answer = await self._engine.ask(lambda request: Inquiry(request, home, tasks))
        except MeshError:
            return ()
        return answer if isinstance(answer, tuple) else ()

    async def wait(self, task: str, timeout_s: float) -> schemas.Task:
        """The task when it has ended, or as it stands after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._shown(await self.ended(task))
        except TimeoutError:
            return await self.task(task)

    async def ended(self, task: str) -> TaskRecord:
        """The record of a task once it has ended: told by its watcher here, or looked up."""
        while True:
            try:
                record = await self._engine.end_of(task)
            except MeshError as failure:
                if failure.code != "unknown_task":
                    raise
                return await self._shelf.ended(task)
            if isinstance(record, TaskRecord) and record.state in ENDED:
                return record

    async def submit(self, request: schemas.SubmitRequest, *, key: str, principal: str) -> tuple[schemas.Task, bool]:
        """Accept a task durably; the second value tells whether this made it."""
        iid = ids.minted(secrets.SystemRandom())
        with self._recorded("task.refuse", request.capability, principal, iid, request.gid):
            return await self._accepted(request, key=key, principal=principal, iid=iid)

    @contextmanager
    def _recorded(self, action: str, capability: str, principal: str, iid: str, gid: str) -> Iterator[None]:
        """What is refused within is recorded; what ran and failed was recorded when it began."""
        try:
            yield
        except MeshError as refusal:
            if refusal.code not in RAN:
                resource, code = f"capability/{capability}", refusal.code
                self.audits.refused(action, resource, who=principal, code=code, iid=iid, gid=gid)
                refusal.fields.setdefault("iid", iid)
            raise

    async def _accepted(
        self, request: schemas.SubmitRequest, *, key: str, principal: str, iid: str
    ) -> tuple[schemas.Task, bool]:
        self.audits.check()
        await self._outage_over(SUBMIT_GRACE_S)
        encoded = values.packed(request.input, what="the input", bytes_max=limits.INPUT_BYTES_MAX)
        own_key = key or secrets.token_hex(16)

        def make(number: int) -> Submit:
            return Submit(
                request=number,
                capability=request.capability,
                input=encoded,
                submitter=principal,
                key=own_key,
                gid=request.gid,
                priority=5 if request.priority is None else request.priority,
                deadline_s=request.deadline_s or self._default_deadline_s,
                exclusive=request.exclusive,
                route=request.route,
                iid=iid,
            )

        record = await self._engine.ask(make)
        if not isinstance(record, TaskRecord):
            raise MeshError("internal", what="a submit was answered without a record")
        if record.digest != work_digest(capability=request.capability, input=encoded):
            raise MeshError("key_reused", key=own_key, task=record.id)
        return self._views.task(record, None), record.iid == iid

    async def _outage_over(self, grace_s: float) -> None:
        """Return once the record can be written; nothing of what waits here was. Raises detached, disk_full."""
        if problem := self._views.blocked():
            raise MeshError("disk_full", problem=problem)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, grace_s - self._views.cut_off_s())):
                await self._engine.until(lambda: not self._views.cut_off_s())
        if self._views.cut_off_s():
            raise MeshError("detached", state=self._node.state)

    def _refuse_when_detached(self) -> None:
        """An islanded node may well be able to read."""
        if self._views.cut_off_s() > LOOK_GRACE_S and self._node.state == "detached":
            raise MeshError("detached", state=self._node.state)

    async def cancel(self, task: str, *, principal: str = "") -> CancelledTask:
        """End a task that has not ended, and all that it led to; what this misses ends soon by itself."""
        record = await self._cancelled(task, principal)
        with_it, missed = 0, ""
        try:
            if record.epoch:  # else it never ran, and led to nothing
                with_it = await offspring.cancel(
                    self._shelf, record, cancel_one=lambda each: self._cancelled(each, principal, task)
                )
        except MeshError as failure:
            missed = failure.message
        shown = structs.asdict(self._views.task(record, None))
        return CancelledTask(**shown, with_it=with_it, missed=missed)

    async def _cancelled(self, task: str, principal: str, parent: str = "") -> TaskRecord:
        record = await self._engine.ask(lambda request: Cancel(request, task, principal, parent))
        if not isinstance(record, TaskRecord):
            raise MeshError("internal", what="a cancel was answered without a record")
        return record

    async def retry(self, task: str, request: RetryRequest, *, principal: str) -> schemas.Task:
        """Open a task again that ended without a result."""
        self.audits.check()
        await self._outage_over(SUBMIT_GRACE_S)
        await offspring.refuse_bereft(self._shelf, task)
        deadline_s = request.deadline_s or 0.0
        record = await self._engine.ask(lambda number: Retry(number, task, principal, deadline_s))
        if not isinstance(record, TaskRecord):
            raise MeshError("internal", what="a retry was answered without a record")
        return self._views.task(record, None)

    async def call(self, capability: str, request: schemas.CallRequest, *, principal: str = "") -> schemas.CallAnswer:
        """Request and reply."""
        iid, gid = ids.minted(secrets.SystemRandom()), ids.minted(secrets.SystemRandom())
        with self._recorded("call.refuse", capability, principal, iid, gid):
            return await self._called(capability, request, by=principal, iid=iid, gid=gid)

    async def _called(
        self, capability: str, request: schemas.CallRequest, *, by: str, iid: str, gid: str
    ) -> schemas.CallAnswer:
        self.audits.check()
        encoded = values.packed(request.input, what="the input", bytes_max=limits.INPUT_BYTES_MAX)
        began = clock.monotonic_ns()

        def make(number: int) -> MakeCall:
            within_s, agent = request.timeout_s, request.agent
            return MakeCall(number, capability, encoded, within_s, agent=agent, iid=iid, gid=gid, by=by)

        try:
            answer = await self._engine.ask(make, timeout_s=request.timeout_s + GRACE_S)
        except MeshError as failure:
            raise self._views.placed(failure) from None
        return self._views.answer(capability, answer, (clock.monotonic_ns() - began) / NS_PER_MS)

    @asynccontextmanager
    async def follow(self, after_seq: int | None) -> AsyncIterator[Following]:
        """What happens, from `after_seq` on."""
        async with self._listening.follow():
            now = self._stream.seq
            since = now if after_seq is None else min(after_seq, now)
            async with aclosing(self._stream.follow(since)) as told, aclosing(_stamped(told)) as events:
                yield Following(since, events)


async def _stamped(told: AsyncIterator[Happened]) -> AsyncGenerator[schemas.Stamped, None]:
    async for each in told:
        yield schemas.Stamped(each.seq, each.time_ms, each.node, each.event)


def _fitting(wanted: schemas.TaskFilter, home: NodeId) -> Fits:
    """Whether a task may be wanted, from what stands in its record."""
    state = "awarded" if wanted.state == "running" else wanted.state

    def fits(row: Row) -> bool:
        return (
            state in ("", row.state)
            and wanted.capability in ("", row.capability)
            and wanted.gid in ("", row.gid)
            and home in ("", row.home)
        )

    return fits
