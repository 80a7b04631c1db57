"""The parts of one daemon, made and tied to each other; nothing runs yet.

Invariant: every part is made here, once, and gets by its constructor what it needs. Neighbours:
`app` starts and stops what is wired here.
"""

import logging
import random
import secrets
from collections.abc import Callable, Mapping

from msgspec import Struct

from meshd import clock
from meshd.api import schemas
from meshd.auditing import Auditing, Reading
from meshd.crew import MEMORY, Crew
from meshd.engine import GRACE_S, Engine
from meshd.hosting import Hosting
from meshd.observe import logs
from meshd.observe.audit import Audit
from meshd.observe.journal import Journal
from meshd.observe.listening import Listening
from meshd.observe.metrics import Figure, Metrics
from meshd.observe.outlet import Outlet
from meshd.observe.segments import FOLDER
from meshd.observe.shipping import Sending, Shipping
from meshd.observe.stream import Stream
from meshd.perform import Observer, Performer
from meshd.service import Service
from meshd.settings import Settings
from meshd.shelf import Shelf
from meshd.statedir import Mesh
from meshd.store.archive import JetStreamArchive
from meshd.store.jetstream import RESERVED, JetStreamStore
from meshd.supervise import Supervisor
from meshd.transport.nats import FAULTS, NatsTransport
from meshd.upkeep import Premises, Upkeep
from meshd.views import Views, named
from protocol.envelope import KEPT_MS, Opener, Sealer
from protocol.events import Event
from protocol.identity import Identity
from protocol.ids import short
from protocol.inputs import Drain, Input, Received
from protocol.node import Node, NodeSettings
from protocol.replica import Me
from protocol.subjects import Subjects
from protocol.wire.task import TaskRecord

FULL_FROM = 0.8  # from here on somebody should see to it


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
    blocked: Callable[[], str] = lambda: ""  # why nothing can be recorded now, or nothing


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
    auditing: Auditing
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
    transport, store = _ports(me, subjects, reach, supervisor, rng, settings.results.bytes_max)
    opener, sealer = _voice(me, mesh, identity)
    node = _node(me, mesh, settings, opener, sealer, rng)
    stream, metrics = Stream(me=me.id), Metrics()
    outlet = Outlet(lambda kind, encoded: transport.publish(subjects.event(src=me.id, kind=kind), encoded))
    engine: Engine  # made further down, of parts that tell it and them
    views: Views
    ground = _Ground(subjects, identity, opener, settings, supervisor, reach, shell)
    auditing = _auditing(node, ground, lambda input: engine.put(input), lambda event: _tell_all(observers, event))
    observers = (*_readers(auditing, stream, metrics), *_tellers(lambda: views, log), outlet.tell)
    hosting = Hosting(supervisor=supervisor, observers=observers, region=me.region)
    crew = _crew(settings, hosting, shell, supervisor)
    performer = Performer(
        transport=transport,
        store=store,
        workshop=hosting,
        observers=observers,
        supervisor=supervisor,
        gate=auditing.gate,
    )
    patience_s, lag_ms = settings.tasks.answer_s + GRACE_S, settings.membership.lag_ms
    engine = Engine(node=node, performer=performer, patience_s=patience_s, lag_ms=lag_ms)
    attention = attention_of(shell, store, auditing.attention)
    views = _views(node, hosting, transport, mesh, shell, attention, store)
    service = Service(
        engine=engine,
        hosting=hosting,
        crew=crew,
        stream=stream,
        listening=Listening(transport=transport, subject=subjects.events(), stream=stream, supervisor=supervisor),
        shelf=_shelf(node, store),
        views=views,
        audits=auditing,
        upkeep=Upkeep(engine, hosting, store, transport, views, performer, shell.premises),
        default_deadline_s=settings.tasks.deadline_s,
        invite=shell.invite,
        stop=shell.stop,
        metrics=_rendering(
            metrics, lambda: views.gauges(engine, performer) | edges(transport, stream) | auditing.gauges()
        ),
    )
    sink = _parted(subjects, engine, stream)
    return Wired(
        subjects, transport, store, hosting, crew, performer, engine, stream, outlet, views, auditing, service, sink
    )


def _crew(settings: Settings, hosting: Hosting, shell: Shell, supervisor: Supervisor) -> Crew:
    home = shell.premises.directory
    return Crew(
        hosting=hosting,
        folder=home / settings.agents.folder,
        memory=home / MEMORY,
        drain_s=settings.agents.drain_s,
        supervisor=supervisor,
    )


def _readers(auditing: Auditing, stream: Stream, metrics: Metrics) -> tuple[Observer, ...]:
    """Who reads events first: what happened is on its way to the disk before anybody hears of it."""
    return auditing.gate.tell, stream.tell, metrics.on_event


def _tellers(views: Callable[[], Views], log: logging.Logger) -> tuple[Observer, ...]:
    """Who reads them with the names that people know."""
    return lambda event: views().on_event(event), lambda event: logs.log_event(log, event, name_of=views().name_of)


def _views(
    node: Node,
    hosting: Hosting,
    transport: NatsTransport,
    mesh: Mesh,
    shell: Shell,
    attention: Callable[[], tuple[str, ...]],
    store: JetStreamStore,
) -> Views:
    return Views(
        node=node,
        hosting=hosting,
        transport=transport,
        mesh=mesh.id,
        notes=shell.notes,
        attention=attention,
        blocked=shell.blocked,
        refusal=lambda: store.refusal,
    )


def attention_of(
    shell: Shell, store: JetStreamStore, of_audit: Callable[[], tuple[str, ...]]
) -> Callable[[], tuple[str, ...]]:
    """What somebody should see to: what the shell says, why writes wait, a record made anew, and the audit."""

    def attention() -> tuple[str, ...]:
        problem = store.problem or store.refusal
        waits = (f"the record {problem}",) if problem else ()
        anew = (f"the stream {store.made_anew} was missing, and was made anew without its records",)
        return (*shell.attention(), *waits, *fullness(store), *(anew if store.made_anew else ()), *of_audit())

    return attention


def fullness(store: JetStreamStore) -> tuple[str, ...]:
    """A sentence about a record that will soon take no more tasks, or takes none."""
    if not store.bytes_max or store.bytes < FULL_FROM * store.bytes_max:
        return ()
    how = f"{store.bytes / store.bytes_max:.0%} full ({store.bytes >> 20} of {store.bytes_max >> 20} MiB)"
    refused = f"above {1 - RESERVED:.0%} new tasks are refused"
    cure = "make results.keep_s shorter or results.bytes_max larger"
    return (f"the record of the mesh is {how}, and {refused}: {cure}",)


def edges(transport: NatsTransport, stream: Stream) -> dict[str, float | dict[str, float]]:
    """What came to nothing at the edges of the daemon, by metric."""
    faults = {fault: float(transport.counts[fault]) for fault in FAULTS}
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
    me: Me, subjects: Subjects, reach: Reach, supervisor: Supervisor, rng: random.Random, bytes_max: int
) -> tuple[NatsTransport, JetStreamStore]:
    """A connection each, so that bulk never delays a heartbeat."""
    name, user, password = f"meshd {me.name}", reach.user, reach.password
    transport = NatsTransport(reach.urls, name=name, supervisor=supervisor, rng=rng, user=user, password=password)
    store = JetStreamStore(
        reach.urls,
        bucket=subjects.bucket,
        name=f"{name} data",
        rng=rng,
        user=user,
        password=password,
        bytes_max=bytes_max,
    )
    return transport, store


def _rendering(metrics: Metrics, gauges: Callable[[], Mapping[str, Figure]]) -> Callable[[], bytes]:
    """The text of `/metrics`, with the gauges as they stand when it is asked for."""

    def render() -> bytes:
        metrics.set_gauges(gauges())
        return metrics.render()

    return render


def _voice(me: Me, mesh: Mesh, identity: Identity) -> tuple[Opener, Sealer]:
    """Who opens what others say, and who signs what this life of the node says."""
    sealer = Sealer(signer=identity, life=me.life)
    return Opener(me=me.id, subjects=Subjects(mesh.id), root_key=mesh.root_key, own=sealer), sealer


def _shelf(node: Node, store: JetStreamStore) -> Shelf:
    """The mesh's records, as this node reads them."""

    def opened(key: str, frame: bytes, revision: int) -> TaskRecord | None:
        return node.record_of(key, frame, clock.now(), revision=revision)

    return Shelf(store=store, open=opened, glance=node.glance)


class _Ground(Struct, frozen=True):
    """What the audit is built on."""

    subjects: Subjects
    identity: Identity
    opener: Opener
    settings: Settings
    supervisor: Supervisor
    reach: Reach
    shell: Shell


def _tell_all(observers: tuple[Observer, ...], event: Event) -> None:
    for observer in observers:
        observer(event)


def _auditing(node: Node, ground: _Ground, put: Callable[[Input], None], tell: Callable[[Event], None]) -> Auditing:
    """The journal in the state directory, its way into the stream, and what is answered about both."""
    me, subjects, identity, opener, supervisor = (
        node.me,
        ground.subjects,
        ground.identity,
        ground.opener,
        ground.supervisor,
    )
    settings, reach = ground.settings, ground.reach
    subject, peers = subjects.audit(src=me.id), node.membership
    sealer = Sealer(signer=identity, life=me.life)
    journal = Journal(ground.shell.premises.directory / FOLDER, node=me.id, life=me.life)
    archive = JetStreamArchive(
        reach.urls,
        stream=subjects.audit_stream,
        subjects=subjects.audits(),
        name=f"meshd {me.name} audit",
        rng=secrets.SystemRandom(),
        user=reach.user,
        password=reach.password,
        keep_s=settings.audit.keep_s,
    )
    sending = Sending(
        subject=subject,
        stream=subjects.audit_stream,
        signer=identity,
        seal=lambda body: sealer.seal(body, subject=subject, now=clock.now(), ttl_ms=KEPT_MS),
        open=lambda frame: opener.open_audit(subject, frame),
    )
    reading = Reading(
        subjects=subjects,
        open=lambda subject, frame: opener.open_audit(subject, frame),
        name_of=lambda id: peer.name if (peer := peers.peer(id)) is not None and peer.name else short(id),
        id_of=lambda name: named(peers.snapshot(), name).id,
    )
    return Auditing(
        me=me,
        audit=Audit(journal, on_failing=lambda is_failing: put(Drain(on=is_failing, cause="audit"))),
        shipping=Shipping(journal, archive, sending),
        archive=archive,
        reading=reading,
        settings=settings.audit,
        supervisor=supervisor,
        tell=tell,
    )


def _node(me: Me, mesh: Mesh, settings: Settings, opener: Opener, sealer: Sealer, rng: random.Random) -> Node:
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
        opener=opener,
        rng=rng,
    )
