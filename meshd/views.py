"""The node's values as the API shows them: pure readings, made when somebody looks.

Invariant: reads and never changes; what is not known is shown as unknown, not guessed.
Neighbours: `service` asks for these; `api.schemas` says what they look like.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from msgspec import structs

from meshd import clock, explained, outlook, values, waits
from meshd.agents import elsewhere
from meshd.api import agent_schemas, schemas
from meshd.engine import Engine
from meshd.hosting import Hosting
from meshd.observe.fates import Fates
from meshd.observe.metrics import Figure
from meshd.perform import Performer
from meshd.ports import Store, Transport
from protocol import ids
from protocol.calls import Answered
from protocol.catalogue import Offered
from protocol.clocks import spoken
from protocol.duty import HELD_BY
from protocol.errors import MeshError
from protocol.events import (
    CapabilitiesChanged,
    Event,
    PeerAlive,
    PeerDamped,
    PeerDead,
    PeerLeft,
    PeerSuspect,
    RecordLost,
    StateChanged,
    TaskPutBack,
)
from protocol.inputs import Cause
from protocol.node import Node
from protocol.primitives import NS_PER_S, Mono, NodeId
from protocol.replica import Peer
from protocol.wire.agents import Card
from protocol.wire.ops import Shape
from protocol.wire.task import ENDED, Status, TaskRecord

COPIES_S = 5.0  # how often the number of copies of the record is looked up


class Views:
    """One node, as of now."""

    def __init__(
        self,
        *,
        node: Node,
        hosting: Hosting,
        transport: Transport,
        mesh: str,
        notes: Callable[[], tuple[str, ...]],
        attention: Callable[[], tuple[str, ...]],
        blocked: Callable[[], str] = lambda: "",
        refusal: Callable[[], str] = lambda: "",
    ) -> None:
        self._node = node
        self._hosting = hosting
        self._transport = transport
        self._mesh = mesh
        self._notes = notes
        self._attention = attention
        self.blocked = blocked  # why nothing can be recorded, or nothing
        self._refusal = refusal  # why the store refused what wanted room last, until that is over
        self._copies: tuple[int, NodeId] = (0, "")  # of the record, and who leads them
        self._wounds: Counter[str] = Counter()  # of the record, since this daemon began
        self._cut_off_since: Mono | None = clock.monotonic_ns()
        self._gone = waits.Gone()
        self._fates = Fates(me=node.me.id)
        self._state_since: Mono = clock.monotonic_ns()

    async def keep_copies_known(self, store: Store) -> None:
        """Look up how many copies of the record there are, again and again."""
        while True:
            with suppress(MeshError):  # cut off: what was known last is shown
                self._copies = await store.copies()
            await asyncio.sleep(COPIES_S)

    def name_of(self, node: NodeId) -> str:
        """What a person calls a node."""
        peer = self._node.membership.peer(node)
        return peer.name if peer is not None and peer.name else ids.short(node)

    def placed(self, failure: MeshError) -> MeshError:
        """The same failure with the name of the node that it tells of by the beginning of its id."""
        short = failure.fields.get("node")
        peers = [peer for peer in self._node.membership.snapshot() if short and peer.id.startswith(str(short))]
        if len(peers) != 1:
            return failure
        place = {"node": self.name_of(peers[0].id), "node_id": peers[0].id}
        return MeshError(failure.code, **failure.fields | place)

    def on_event(self, event: Event) -> None:
        """Note when this node was cut off from the record, and what was wrong with the record itself."""
        if isinstance(event, RecordLost):
            self._wounds["lost"] += 1
        elif isinstance(event, TaskPutBack):
            self._wounds["put back"] += 1
        if isinstance(event, CapabilitiesChanged | PeerAlive | PeerSuspect | PeerDamped | PeerDead | PeerLeft):
            now, is_alive = clock.now(), self._node.membership.is_alive
            offered = (each.capability for each in self._node.catalogue.capabilities(now) if is_alive(each.node))
            self._gone.note(frozenset(offered), now.wall_ms)
        self._fates.note(event, clock.wall_ms())
        if isinstance(event, StateChanged):
            self._state_since = clock.monotonic_ns()
            is_joined = self._node.state in ("joined", "draining")
            self._cut_off_since = None if is_joined else self._cut_off_since or clock.monotonic_ns()

    def _damage(self) -> tuple[str, ...]:
        lost = "the record of the mesh was lost, or a part of it, since this node saw it: ended tasks may be gone"
        back = f"{self._wounds['put back']} records of tasks were missing, damaged or out of date, and were put back"
        return (*((lost,) if self._wounds["lost"] else ()), *((back,) if self._wounds["put back"] else ()))

    def cut_off_s(self) -> float:
        """Seconds since this node could last write the record; 0 while it can."""
        if self._cut_off_since is None:
            return 0.0
        return (clock.monotonic_ns() - self._cut_off_since) / NS_PER_S

    def no_room(self) -> str:
        """Why no new task can be recorded, or nothing: one state for readiness, figures and what wants attention."""
        refusal = self._refusal()
        return self.blocked() or (f"the record {refusal}" if refusal else "")

    def status(self) -> schemas.Status:
        """This node and how it stands."""
        node = self._node
        copies, where = self._copies
        state = _node_state(node.state)
        peers = node.membership.snapshot()
        convergence, is_frozen = outlook.convergence_of(node), node.membership.is_frozen()
        suspects = len([peer for peer in peers if peer.state == "suspect"])
        return schemas.Status(
            node=node.me.id,
            name=self.name_of(node.me.id),
            mesh=self._mesh,
            life=node.me.life,
            state=state,
            peers_alive=len([peer for peer in peers if peer.state == "alive"]),
            peers_suspect=0 if is_frozen else suspects,
            peers_unreachable=suspects if is_frozen else 0,
            tasks_running=node.holder.in_hand,
            tasks_waiting=node.ledger.waiting,
            nats=self._transport.server,
            version=node.me.version,
            region=node.me.region,
            domain=node.me.domain,
            record=schemas.Record(copies, self.name_of(where) if where else "unknown"),
            reason=self._reason(),
            held_by=node.duty.held_by,
            attention=(
                *outlook.outlived(node),
                *self._attention(),
                *self._damage(),
                *(problem.message for problem in self._hosting.problems),
                *_shared_names(peers),
                *outlook.twins(node, self.name_of),
                *self._clocks_off(),
                *outlook.disagreement(convergence, self.name_of),
            ),
            agreement=outlook.agreement(convergence, node.membership.agreement.view, self.name_of),
            notes=self._notes(),
            other_regions=len(node.regions.names) - 1,
            bridge=node.regions.is_bridge and not node.regions.is_one,
            outlived=node.refusals.is_outlived,
            found_dead=outlook.found_dead(peers, clock.wall_ms()),
            twin_silent_s=round(outlook.twin_silent_s(node), 1),
        )

    def _reason(self) -> str:
        """Why it is not joined, or takes nothing new, or nothing."""
        node = self._node
        return ", and ".join(filter(None, (_REASONS.get(node.state, ""), _held(node.duty.held_by))))

    def readiness(self) -> schemas.Readiness:
        """Whether this node takes and does work, and why not."""
        state, twin = _node_state(self._node.state), "".join(outlook.outlived(self._node))
        reason = self._reason() or self.no_room() or twin
        return schemas.Readiness(ready=state == "joined" and not reason, state=state, reason=reason)

    def peers(self) -> list[schemas.Peer]:
        """Every node in view, by name."""
        free = self._free()
        peers = sorted(self._node.membership.snapshot(), key=lambda peer: (peer.name, peer.id))
        return [self._peer(peer, free.get(peer.id, 0)) for peer in peers]

    def peer(self, peer: Peer) -> schemas.Peer:
        """One node, and what befell it."""
        shown = self._peer(peer, self._free().get(peer.id, 0))
        return structs.replace(shown, story=outlook.story(self._fates, peer.id, self.name_of))

    def _free(self) -> dict[NodeId, int]:
        """Free slots of every node; an agent with several capabilities counts once."""
        agents = {(each.node, each.card.name): _free(each) for each in self._node.catalogue.capabilities(clock.now())}
        free: dict[NodeId, int] = {}
        for (node, _), slots in agents.items():
            free[node] = free.get(node, 0) + slots
        return free

    def _peer(self, peer: Peer, free: int) -> schemas.Peer:
        catalogue = self._node.catalogue
        business = catalogue.business_of(peer.id, clock.now())
        cards = catalogue.cards_of(peer.id)
        load = schemas.PeerLoad(
            running=business.running if business else 0,
            waiting=business.waiting if business else 0,
            slots=sum(card.slots for card in cards),
            free=free,
            draining=business.is_draining if business else False,
            age_s=round(business.age_s, 3) if business and not peer.is_self else None,
        )
        is_hidden = self._node.membership.is_frozen() and not peer.is_self and peer.state == "suspect"
        damped = outlook.damped(self._node, peer.id)
        return schemas.Peer(
            name=peer.name,
            id=peer.id,
            life=peer.life,
            state="unreachable" if is_hidden else "damped" if damped and peer.state == "alive" else peer.state,
            incarnation=peer.incarnation,
            region=peer.region,
            since=peer.since_ms,
            agents=tuple(sorted(card.name for card in cards)),
            load=load,
            domain=peer.domain,
            version=peer.version,
            here=peer.is_self,
            clock_ahead_ms=self._node.time.off.get(peer.id, 0),
            evidence=peer.evidence,
            accusers=tuple(sorted(map(self.name_of, peer.accusers))),
            bridge=not self._node.regions.is_one and peer.id in self._node.regions.bridges(peer.region),
            damped=damped,
            twin=outlook.twin(self._node, peer.id),
        )

    def _clocks_off(self) -> list[str]:
        """A sentence for each clock that is off."""
        me, time = self._node.me.id, self._node.time
        than = "ours" if time.is_right else "most others"
        return [
            f"the clock of this host is {spoken(ms)} most others: set it; until then this node takes and gives no tasks"
            if node == me
            else f"the clock of {self.name_of(node)} is {spoken(ms)} {than}: it is given no tasks"
            for node, ms in time.off.items()
        ]

    def agents(self) -> list[schemas.AgentView]:
        """Every agent of the mesh; those of this node with their state."""
        me = self._node.me.id
        views: dict[tuple[str, NodeId], schemas.AgentView] = {}
        for offered in self._node.catalogue.agents(clock.now()):
            key = (offered.card.name, offered.node)
            state, _, detail = offered.card.problem.partition(": ")
            state = state if state in ("starting", "restarting", elsewhere.STATE) else "ready"
            views[key] = self._agent(offered.card, offered.node, _free(offered), state, detail)
        for hosted in self._hosting.hosted():
            card = hosted.agent.card
            free = card.slots - hosted.running if hosted.state == "ready" and not self._node.duty.is_draining else 0
            view = self._agent(card, me, max(0, free), hosted.state, hosted.detail)
            hearing = self._hearing(card.name)
            runs = agent_schemas.RunsView(**structs.asdict(self._hosting.tally.of(card.name)))
            views[card.name, me] = structs.replace(view, running=hosted.running, hearing=hearing, runs=runs)
        return [views[key] for key in sorted(views)]

    def _agent(self, card: Card, node: NodeId, free: int, state: str, detail: str) -> schemas.AgentView:
        return schemas.AgentView(
            name=card.name,
            node=node,
            node_name=self.name_of(node),
            capabilities=card.capabilities,
            kind=card.kind,
            slots=card.slots,
            free=free,
            state=state,
            detail=detail,
            domain=card.domain,
            version=card.version,
            purpose=card.purpose,
            owner_team=card.owner_team,
            latency_ms=card.latency_ms,
            cost_per_call=card.cost_per_call,
            confidence=card.confidence,
            visibility=card.visibility,
            topics=card.topics,
            here=node == self._node.me.id,
        )

    def _hearing(self, agent: str) -> agent_schemas.HearingView | None:
        found = self._node.topics.hearing().get(agent)
        return None if found is None else agent_schemas.HearingView(**structs.asdict(found))

    def capabilities(self) -> list[schemas.CapabilityView]:
        """What can be done, and by whom."""
        providers: dict[str, list[schemas.Provider]] = {}
        for each in self._node.catalogue.capabilities(clock.now()):
            provider = schemas.Provider(
                agent=each.card.name,
                node=each.node,
                node_name=self.name_of(each.node),
                slots=each.card.slots,
                free=_free(each),
                purpose=each.card.purpose,
            )
            providers.setdefault(each.capability, []).append(provider)
        return [
            schemas.CapabilityView(
                name=name,
                slots=sum(each.slots for each in able),
                free=sum(each.free for each in able),
                providers=tuple(sorted(able, key=lambda each: (each.agent, each.node))),
            )
            for name, able in sorted(providers.items())
        ]

    def task(self, record: TaskRecord, line: Status | None, late: Sequence[TaskRecord] = ()) -> schemas.Task:
        """One task, with what its home says beyond the record."""
        waits_for = None if record.state in ENDED else self._waits_for(record, line)
        return explained.task(record, line, late, name_of=self.name_of, waits_for=waits_for)

    def _waits_for(self, record: TaskRecord, line: Status | None) -> waits.Waits | None:
        now, is_alive = clock.now(), self._node.membership.is_alive
        offered = [each for each in self._node.catalogue.offered(record.capability, now) if is_alive(each.node)]
        off, gone_ms = self._node.time.off, self._gone.since(record.capability)
        return waits.of(record, line, offered, off=off, gone_ms=gone_ms, now_ms=now.wall_ms)

    def answer(self, capability: str, answer: object, took_ms: float) -> schemas.CallAnswer:
        """The reply to a call."""
        if not isinstance(answer, Answered):
            raise MeshError("internal", what="a call was answered without an answer")
        return schemas.CallAnswer(
            result=values.unpacked(answer.result),
            capability=capability,
            node=answer.node,
            node_name=self.name_of(answer.node),
            took_ms=round(took_ms, 3),
            agent=answer.agent,
            iid=answer.iid,
            gid=answer.gid,
        )

    def gauges(self, engine: Engine, performer: Performer) -> dict[str, Figure]:
        """The values of `/metrics` that are read and not counted, by metric."""
        node = self._node
        return {
            "meshd_build_info": {node.me.version: 1.0},
            "meshd_state": {node.state: 1.0},
            "meshd_state_seconds": (clock.monotonic_ns() - self._state_since) / NS_PER_S,
            **outlook.figures(node),
            "meshd_record_refusing": float(bool(self.no_room())),
            "meshd_connected": float(self._transport.is_up),
            "meshd_clocks_off": float(len(node.time.off)),
            "meshd_health": float(node.membership.health),
            "meshd_peers": Counter(peer.state for peer in node.membership.snapshot()),
            "meshd_agents": Counter(hosted.agent.state for hosted in self._hosting.hosted()),
            "meshd_tasks_running": float(node.holder.in_hand),
            "meshd_tasks_watched": float(node.ledger.watched),
            "meshd_slots_free": float(sum(free for _, free in node.free_slots())),
            "meshd_tasks_waiting": float(node.ledger.waiting),
            "meshd_inbox_inputs": float(engine.waiting),
            "meshd_inbox_refused_total": float(engine.refused),
            "meshd_writes_waiting": float(performer.writes_waiting),
            "meshd_write_seconds": (performer.written, performer.writing_s),
            "meshd_messages_sent_total": performer.sent,
            "meshd_messages_dropped_total": float(performer.dropped),
            "meshd_loop_lag_seconds": engine.take_lag_ms() / 1_000,
        }


def _free(offered: Offered) -> int:
    """Slots that somebody may be given: none on a node that takes no new work."""
    return 0 if offered.is_draining else offered.free


_REASONS = {
    "starting": "no write was acknowledged yet",
    "detached": "no server answers",
    "islanded": "writes are not answered, though the connection has not broken",
}


def _held(causes: tuple[Cause, ...]) -> str:
    """Why a node takes no new work, in words."""
    return " and ".join(HELD_BY[cause] for cause in causes)


def named(peers: tuple[Peer, ...], name: str) -> Peer:
    """One node by its name, its id or a unique prefix of its id. Raises unknown_peer, short_id or ambiguous.

    Of several that bear a name it is the one that is shown by it, if one is.
    """
    exact = [peer for peer in peers if name in _calls(peer)]
    living = [peer for peer in exact if peer.state in ("alive", "suspect")]
    found = [peer for peer in living if name == peer.name] or living or exact
    if not found and name:
        found = [peer for peer in peers if peer.id.startswith(name)]
        if found and len(name) < ids.PREFIX_CHARS_MIN:
            raise MeshError("short_id", given=f"no peer is called {name}, and it", chars=ids.PREFIX_CHARS_MIN)
    if not found:
        raise MeshError("unknown_peer", peer=name)
    if len(found) > 1:
        candidates = ", ".join(f"{peer.name} ({peer.id})" for peer in found[:8])
        raise MeshError("ambiguous", given=name, candidates=candidates)
    return found[0]


def _calls(peer: Peer) -> tuple[str, ...]:
    """What it may be called in full: other nodes may show it by another of these than we do."""
    bare = ids.bare(peer.name)
    return (bare, ids.distinct(bare, peer.id), peer.id)


def living(peers: tuple[Peer, ...], name: str) -> Peer:
    """One node that can be asked. Raises not_alive, and what `named` raises."""
    peer = named(peers, name)
    if peer.state not in ("alive", "suspect"):
        raise MeshError("not_alive", peer=peer.name, state=peer.state)
    return peer


def described(found: schemas.CapabilityView, told: Mapping[NodeId, tuple[Shape, ...]]) -> schemas.CapabilityView:
    """A capability with what the nodes of its agents told of it; who told nothing that can be shown is named."""
    shown: list[schemas.SchemaView] = []
    untold: list[str] = []
    for each in found.providers:
        shape = next((shape for shape in told.get(each.node, ()) if shape.agent == each.agent), None)
        takes = None if shape is None else values.heard_schema(shape.takes)
        gives = None if shape is None else values.heard_schema(shape.gives)
        if takes is None or gives is None:
            untold.append(f"{each.agent} on {each.node_name}")
        else:
            shown.append(schemas.SchemaView(each.agent, takes, gives, each.node, each.node_name))
    return structs.replace(found, schemas=tuple(shown), untold=tuple(untold))


def _shared_names(peers: tuple[Peer, ...]) -> list[str]:
    """A sentence for each name that several living nodes bear: people and records mean one of them by it."""
    bearers: dict[str, list[Peer]] = {}
    for peer in peers:
        if peer.state in ("alive", "suspect"):
            bearers.setdefault(ids.bare(peer.name), []).append(peer)
    shared = {name: sorted(found, key=lambda peer: (peer.name != name, peer.life)) for name, found in bearers.items()}
    return [
        f"{len(found)} nodes are called {name}: {', '.join(peer.name for peer in found)}; the first"
        f" {'came first' if found[0].name == name else 'has run longest'}: start the others again with another --name"
        for name, found in shared.items()
        if len(found) > 1
    ]


def _node_state(state: str) -> schemas.NodeStateName:
    match state:
        case "starting" | "joined" | "detached" | "islanded" | "draining":
            return state
        case _:
            raise MeshError("internal", what=f"a state called {state}")
