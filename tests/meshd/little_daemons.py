"""Daemons in one process: real engines, performers, hostings and services over a broker and a bucket in memory.

Only the agents are made up: each does what the test tells it. Time is real, and waits are short.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from random import Random

from meshd import clock
from meshd.api import schemas
from meshd.config import load
from meshd.crew import Crew
from meshd.engine import Engine
from meshd.hosting import Hosting
from meshd.observe.listening import Listening
from meshd.observe.stream import Stream, encoded
from meshd.perform import Performer
from meshd.ports import AgentWatcher, Desk, Finished, Outcome, Schema, Work
from meshd.service import Service
from meshd.shelf import Shelf
from meshd.store.memory import MemoryBucket, MemoryStore
from meshd.supervise import Supervisor
from meshd.transport.memory import MemoryBus, MemoryTransport
from meshd.upkeep import Premises, Upkeep
from meshd.views import Views
from protocol.envelope import Opener, Sealer
from protocol.errors import MeshError
from protocol.events import Event
from protocol.identity import Identity, admission, warrant
from protocol.ids import mesh_id
from protocol.inputs import Found, Input, Received
from protocol.link import LinkSettings
from protocol.node import Node, NodeSettings
from protocol.replica import Me
from protocol.subjects import Subjects
from protocol.watched import TaskSettings
from protocol.wire.agents import Card
from protocol.wire.task import TaskRecord
from tests.meshd.api.fake_audits import FakeAudits
from tests.waiting import DEADLINE_S, until, until_told

ROOT = Identity(b"\x07" * 32)
CAPABILITY = "work@1"
QUICK = TaskSettings(lease_s=0.6, ask_interval_s=0.1, award_timeout_s_min=0.3, backoff_s_min=0.01, answer_s=1.0)
LINK = LinkSettings(beat_s=0.5, islanded_after_s=0.5)

Do = Callable[[Work, Desk], Awaitable[Outcome]]


async def echo(work: Work, _desk: Desk) -> Outcome:
    """What an agent does unless it is told otherwise."""
    return Finished(work.input)


class Actor:
    """An agent as its adapter shows it; `do` is its work, `runs` what it was given."""

    def __init__(self, name: str = "actor", do: Do = echo, *, capability: str = CAPABILITY, slots: int = 2) -> None:
        self.card = Card(name=name, capabilities=(capability,), slots=slots)
        self.state = "stopped"
        self.detail = ""
        self.schemas: dict[str, Schema] = {}
        self.runs: list[Work] = []
        self.stopped: list[str] = []  # tasks whose run was cancelled
        self.said: list[str] = []  # to its log
        self.watcher: AgentWatcher = lambda name, state, detail: None
        self._do = do

    async def start(self) -> None:
        self.turn("ready")

    async def run(self, work: Work, desk: Desk) -> Outcome:
        self.runs.append(work)
        try:
            return await self._do(work, desk)
        except asyncio.CancelledError:
            self.stopped.append(work.task)
            raise

    async def stop(self) -> None:
        self.turn("stopped")

    def turn(self, state: str, detail: str = "") -> None:
        """It is in another state now."""
        self.state, self.detail = state, detail
        self.watcher(self.card.name, state, detail)

    @property
    def logged(self) -> int:
        return len(self.said)

    def log(self) -> list[str]:
        return self.said[-500:]


class Held:
    """Work that goes on until the test lets it end."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def __call__(self, work: Work, _desk: Desk) -> Outcome:
        await self.release.wait()
        return Finished(work.input)


class LittleDaemon:
    """One node with all its parts; the first life begins with `start`."""

    def __init__(
        self, mesh: "LittleDaemons", name: str, actors: tuple[Actor, ...], *, life: int, called: str, region: str
    ) -> None:
        self.name, self.mesh, self.actors = name, mesh, actors
        self.failures, self.events = list[tuple[str, BaseException]](), list[Event]()
        self.supervisor = Supervisor(lambda name, failure: self.failures.append((name, failure)))
        identity = Identity(blake2b(name.encode(), digest_size=32).digest())
        granted = warrant(root=ROOT, issuer_key=ROOT.public_key, not_after_ms=clock.wall_ms() + 60_000)
        proof = admission(issuer=ROOT, root_key=ROOT.public_key, node_key=identity.public_key, warrant=granted)
        me = self.me = Me(identity.id, life, called, region, "d", proof)
        self.transport = MemoryTransport(mesh.bus)
        self.store = mesh.make_store(mesh.bucket, name=identity.id)
        self.node = Node(
            me=me,
            mesh=mesh.subjects.mesh,
            settings=NodeSettings(tasks=mesh.tasks, link=LINK, keep_s=mesh.keep_s),
            sealer=Sealer(signer=identity, life=me.life),
            opener=Opener(me=me.id, subjects=mesh.subjects, root_key=ROOT.public_key),
            rng=Random(name),
        )
        self.stream, self.audits = Stream(me=me.id), FakeAudits()
        observers = (self.stream.tell, self.events.append, self._tell_others, lambda event: self.views.on_event(event))
        self.hosting = Hosting(supervisor=self.supervisor, observers=observers)
        self.performer = Performer(
            transport=self.transport,
            store=self.store,
            workshop=self.hosting,
            observers=observers,
            supervisor=self.supervisor,
        )
        self.engine = Engine(node=self.node, performer=self.performer)
        self.views: Views = Views(
            node=self.node,
            hosting=self.hosting,
            transport=self.transport,
            mesh=mesh.subjects.mesh,
            notes=lambda: (),
            attention=lambda: (),
        )
        self.shelf = Shelf(store=self.store, open=self._opened, glance=self.node.glance)
        self.service = Service(
            engine=self.engine,
            hosting=self.hosting,
            crew=self._crew(),
            stream=self.stream,
            listening=Listening(
                transport=self.transport,
                subject=mesh.subjects.events(),
                stream=self.stream,
                supervisor=self.supervisor,
            ),
            shelf=self.shelf,
            views=self.views,
            audits=self.audits,
            upkeep=self._upkeep(),
            default_deadline_s=60.0,
            invite=_no_invitation,
            stop=lambda: None,
            metrics=lambda: b"",
        )

    def _opened(self, key: str, frame: bytes, revision: int) -> TaskRecord | None:
        return self.node.record_of(key, frame, clock.now(), revision=revision)

    def _crew(self) -> Crew:
        self.crew = Crew(
            hosting=self.hosting,
            folder=self.mesh.folder / self.name,
            memory=self.mesh.folder / f"{self.name}.json",
            drain_s=self.mesh.drain_s,
            supervisor=self.supervisor,
        )
        return self.crew

    def _upkeep(self) -> Upkeep:
        premises = Premises(Path("/nowhere"), load().origins)
        return Upkeep(self.engine, self.hosting, self.store, self.transport, self.views, self.performer, premises)

    def _tell_others(self, event: Event) -> None:
        subject = self.mesh.subjects.event(src=self.me.id, kind=str(event.__struct_config__.tag))
        self.transport.publish(subject, encoded(event))

    def _sink(self, input: Input) -> None:
        source = self.mesh.subjects.event_source(input.subject) if isinstance(input, Received) else None
        if source is None:
            self.engine.put(input)
        elif isinstance(input, Received):
            self.stream.tell_of(source, input.frame)

    async def start(self) -> None:
        """As `meshd.app` starts one, and joined when this returns."""
        await self.transport.open(self._sink)
        for entry in await self.store.scan("node"):
            self.engine.put(Found(entry.key, entry.revision, entry.frame))
        subjects = self.mesh.subjects
        for subject in (
            subjects.inbox(dst=self.me.id, life=self.me.life),
            subjects.facts(),
            subjects.carries(self.me.region),
        ):
            await self.transport.subscribe(subject)
        await self.transport.watch_absences(subjects.absences(src=self.me.id))
        self.supervisor.spawn("engine", self.engine.run())
        for actor in self.actors:
            actor.watcher = self.hosting.changed
        await self.hosting.take(self.actors)
        await self.until(lambda: self.node.state == "joined", what=f"{self.name} being joined")

    async def until(
        self, condition: Callable[[], object], what: str = "the condition", within_s: float = DEADLINE_S
    ) -> None:
        """Return as soon as it is true; a failure of the daemon is told at once."""
        await until(lambda: condition() or self.failures, within_s, what)
        assert self.failures == []

    async def kill(self) -> None:
        """As by kill -9: nothing is said, nothing is finished."""
        self.mesh.bus.detach(self.transport)
        await self.supervisor.close()

    # --- what people ask of it

    async def submit(self, input: object = None, *, key: str = "", **given: object) -> schemas.Task:
        """Submit a task and return it as accepted."""
        request = schemas.SubmitRequest(capability=CAPABILITY, input=input, **given)  # type: ignore[arg-type]  # named fields
        task, _ = await self.service.submit(request, key=key, principal="operator")
        return task

    async def ended(self, task: str) -> schemas.Task:
        """The task once it has ended."""
        shown = await self.service.wait(task, 20.0)
        assert shown.state in schemas.ENDED_STATES, shown
        return shown

    async def shows(self, task: str, state: str) -> schemas.Task:
        """The task once this node shows it in that state."""

        async def look() -> schemas.Task | None:
            shown = await self.service.task(task)
            return shown if shown.state == state else None

        shown = await until_told(look, what=f"{task} being {state}")
        assert shown is not None
        return shown

    def said(self, kind: type[Event]) -> list[Event]:
        """The events of one kind that happened here."""
        return [event for event in self.events if isinstance(event, kind)]


def _no_invitation() -> schemas.Invitation:
    raise MeshError("denied", what="an invitation")


class LittleDaemons:
    """The broker, the bucket, and the daemons on them by name."""

    def __init__(self, tasks: TaskSettings = QUICK, keep_s: float = 86_400.0, folder: Path = Path("/nowhere")) -> None:
        self.folder = folder  # holds a folder of manifests for each node that has some
        self.drain_s = 5.0
        self.bus = MemoryBus()
        self.bucket = MemoryBucket()
        self.make_store = MemoryStore
        self.subjects = Subjects(mesh_id(ROOT.public_key))
        self.tasks = tasks
        self.keep_s = keep_s
        self.daemons: dict[str, LittleDaemon] = {}
        self._life = clock.wall_ms()

    async def start(self, name: str, *actors: Actor, called: str = "", region: str = "r") -> LittleDaemon:
        """Start a node, or a new life of one; it and all others see each other when this returns."""
        self._life += 1
        daemon = LittleDaemon(self, name, actors, life=self._life, called=called or name, region=region)
        self.daemons[name] = daemon
        await daemon.start()
        for other in self.daemons.values():
            await other.until(lambda other=other: self.sees_all(other), what=f"{other.name} seeing {name}")  # type: ignore[misc]  # a default that binds the loop's variable
        return daemon

    def sees_all(self, daemon: LittleDaemon) -> bool:
        """Every other is alive in its view, in its present life and with the agents that are up."""
        lives = {peer.id: peer.life for peer in daemon.node.membership.snapshot() if peer.state == "alive"}
        agents = {(each.node, each.card.name) for each in daemon.node.catalogue.capabilities(clock.now())}
        living = list(self.daemons.values())
        ready = {(each.me.id, actor.card.name) for each in living for actor in each.actors if actor.state == "ready"}
        return all(lives.get(each.me.id) == each.me.life for each in living) and agents >= ready

    async def kill(self, name: str) -> LittleDaemon:
        """As by kill -9."""
        daemon = self.daemons.pop(name)
        await daemon.kill()
        return daemon


@asynccontextmanager
async def little_daemons(
    tasks: TaskSettings = QUICK, keep_s: float = 86_400.0, folder: Path = Path("/nowhere")
) -> AsyncIterator[LittleDaemons]:
    """A mesh without nodes yet; whatever was started has ended afterwards, and nothing failed in the background."""
    mesh = LittleDaemons(tasks, keep_s, folder)
    try:
        yield mesh
    finally:
        for daemon in mesh.daemons.values():
            await daemon.kill()
    assert {name: daemon.failures for name, daemon in mesh.daemons.items() if daemon.failures} == {}
