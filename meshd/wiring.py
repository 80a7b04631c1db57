"""The parts of one daemon, made and tied to each other; nothing runs yet.

Invariant: every part is made here, once, and gets by its constructor what it needs. Neighbours:
`app` starts and stops what is wired here.
"""

import logging
import random
import secrets
from collections.abc import Callable

from msgspec import Struct

from meshd import clock
from meshd.api import schemas
from meshd.crew import MEMORY, Crew
from meshd.engine import GRACE_S, Engine
from meshd.hosting import Hosting
from meshd.observe import logs
from meshd.observe.listening import Listening
from meshd.observe.metrics import Metrics
from meshd.observe.outlet import Outlet
from meshd.observe.stream import Stream
from meshd.perform import Performer
from meshd.service import Service
from meshd.settings import Settings
from meshd.shelf import Shelf
from meshd.statedir import Mesh
from meshd.store.jetstream import JetStreamStore
from meshd.supervise import Supervisor
from meshd.transport.nats import NatsTransport
from meshd.upkeep import Premises, Upkeep
from meshd.views import Views
from protocol.envelope import Opener, Sealer
from protocol.events import Event
from protocol.identity import Identity
from protocol.inputs import Input, Received
from protocol.node import Node, NodeSettings
from protocol.replica import Me
from protocol.subjects import Subjects


class Reach(Struct, frozen=True):
    """The servers to use, and what they ask for."""

    urls: tuple[str, ...]
    user: str
    password: str


class Shell(Struct, frozen=True):
    """What the API may ask of the daemon around the node."""

    invite: Callable[[], schemas.Invitation]
    stop: Callable[[], None]
    notes: Callable[[], tuple[str, ...]]
    attention: Callable[[], tuple[str, ...]]
    premises: Premises


class Wired(Struct, frozen=True):
    """All parts, and the sink that takes what the transport brings."""

    subjects: Subjects
    transport: NatsTransport
    store: JetStreamStore
    hosting: Hosting
    crew: Crew
    performer: Performer
    engine: Engine
    stream: Stream
    outlet: Outlet
    views: Views
    service: Service
    sink: Callable[[Input], None]


def wire(
    *,
    me: Me,
    mesh: Mesh,
    identity: Identity,
    settings: Settings,
    supervisor: Supervisor,
    log: logging.Logger,
    reach: Reach,
    shell: Shell,
) -> Wired:
    """Make every part of the daemon of `me` in `mesh`."""
    subjects = Subjects(mesh.id)
    rng = secrets.SystemRandom()  # the numbers of probes must not be guessed from what was seen before
    transport, store = _ports(me, subjects, reach, supervisor, rng)
    node = _node(me, mesh, identity, settings, rng)
    stream, metrics = Stream(me=me.id), Metrics()
    outlet = Outlet(lambda kind, encoded: transport.publish(subjects.event(src=me.id, kind=kind), encoded))

    def tell_log(event: Event) -> None:
        logs.log_event(log, event, name_of=views.name_of)

    observers = (stream.tell, metrics.on_event, lambda event: views.on_event(event), tell_log, outlet.tell)
    hosting = Hosting(supervisor=supervisor, observers=observers)
    crew = _crew(settings, hosting, shell, supervisor)
    performer = Performer(
        transport=transport, store=store, workshop=hosting, observers=observers, supervisor=supervisor
    )
    engine = Engine(node=node, performer=performer, patience_s=settings.tasks.answer_s + GRACE_S)
    views: Views = Views(
        node=node,
        hosting=hosting,
        transport=transport,
        mesh=mesh.id,
        notes=shell.notes,
        attention=attention_of(shell, store),
        keep_s=settings.results.keep_s,
    )

    def render() -> bytes:
        metrics.set_gauges(views.gauges(engine, performer) | edges(transport, stream))
        return metrics.render()

    service = Service(
        engine=engine,
        hosting=hosting,
        crew=crew,
        stream=stream,
        listening=Listening(transport=transport, subject=subjects.events(), stream=stream, supervisor=supervisor),
        shelf=Shelf(store=store, open=lambda key, frame: node.record_of(key, frame, clock.now())),
        views=views,
        upkeep=Upkeep(engine, hosting, store, transport, views, performer, shell.premises),
        default_deadline_s=settings.tasks.deadline_s,
        invite=shell.invite,
        stop=shell.stop,
        metrics=render,
    )
    sink = _parted(subjects, engine, stream)
    return Wired(subjects, transport, store, hosting, crew, performer, engine, stream, outlet, views, service, sink)


def _crew(settings: Settings, hosting: Hosting, shell: Shell, supervisor: Supervisor) -> Crew:
    home = shell.premises.directory
    return Crew(
        hosting=hosting,
        folder=home / settings.agents.folder,
        memory=home / MEMORY,
        drain_s=settings.agents.drain_s,
        supervisor=supervisor,
    )


def attention_of(shell: Shell, store: JetStreamStore) -> Callable[[], tuple[str, ...]]:
    """What somebody should see to: what the shell says, why writes wait, and a record that had to be made anew."""

    def attention() -> tuple[str, ...]:
        waits = (f"the record {store.problem}",) if store.problem else ()
        anew = (f"the stream {store.made_anew} was missing, and was made anew without its records",)
        return (*shell.attention(), *waits, *(anew if store.made_anew else ()))

    return attention


def edges(transport: NatsTransport, stream: Stream) -> dict[str, float | dict[str, float]]:
    """What came to nothing at the edges of the daemon, by metric."""
    faults = {fault: float(count) for fault, count in transport.counts.items()}
    return {"meshd_transport_faults_total": faults, "meshd_events_malformed_total": float(stream.malformed)}


def _parted(subjects: Subjects, engine: Engine, stream: Stream) -> Callable[[Input], None]:
    """A sink that keeps what others tell of events from the engine: nobody decides anything by it."""

    def sink(input: Input) -> None:
        source = subjects.event_source(input.subject) if isinstance(input, Received) else None
        if source is None:
            engine.put(input)
        elif isinstance(input, Received):
            stream.tell_of(source, input.frame)

    return sink


def _ports(
    me: Me, subjects: Subjects, reach: Reach, supervisor: Supervisor, rng: random.Random
) -> tuple[NatsTransport, JetStreamStore]:
    """A connection each, so that bulk never delays a heartbeat."""
    name, user, password = f"meshd {me.name}", reach.user, reach.password
    transport = NatsTransport(reach.urls, name=name, supervisor=supervisor, rng=rng, user=user, password=password)
    store = JetStreamStore(
        reach.urls, bucket=subjects.bucket, name=f"{name} data", rng=rng, user=user, password=password
    )
    return transport, store


def _node(me: Me, mesh: Mesh, identity: Identity, settings: Settings, rng: random.Random) -> Node:
    sealer = Sealer(signer=identity, life=me.life)
    return Node(
        me=me,
        mesh=mesh.id,
        settings=NodeSettings(
            membership=settings.membership,
            gossip=settings.gossip,
            tasks=settings.tasks,
            link=settings.link,
            routing=settings.routing.policy,
            keep_s=settings.results.keep_s,
        ),
        sealer=sealer,
        opener=Opener(me=me.id, subjects=Subjects(mesh.id), root_key=mesh.root_key, own=sealer),
        rng=rng,
    )
