"""Who can do what, and how busy they are: cards and loads as last heard, and this node's own.

Invariant: never more free slots than the card has; a slot that an own award will use counts as
taken from the award on, until a load shows it taken, or the award is off. Soft state: it
only makes work fast, never safe. Neighbours: `gossip` brings the facts, `routing` orders candidates.
"""

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from protocol import limits
from protocol.effects import Effect, Emit, Spread
from protocol.errors import MeshError
from protocol.events import CapabilitiesChanged
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId
from protocol.replica import Heard, Me, fault
from protocol.routing import Candidate
from protocol.timers import Timers
from protocol.wire.agents import Card
from protocol.wire.gossip import Capabilities, Load

LOAD_INTERVAL_S = 0.2  # own loads go out at most this often; the newest waits
LOAD_S_PER_NODE = 0.01  # and no oftener than this times nodes: a hundred a second are heard at most, of all together
RELEASED_S = 0.5  # a slot known to be free again is believed this long without a load that says so

_NONE_RESERVED: dict[str, int] = {}  # of most agents of most nodes, never written to

Cards: TypeAlias = tuple[Card, ...]
_Free: TypeAlias = tuple[tuple[str, int], ...]


class Offered(Struct, frozen=True):
    """One capability of one agent of one node, for listings."""

    capability: str
    node: NodeId
    card: Card
    free: int
    is_draining: bool


class Business(Struct, frozen=True):
    """How busy a node said it is, `age_s` seconds ago."""

    running: int
    waiting: int
    is_draining: bool
    age_s: float


class _Pool:
    """The slots of one agent of one node: as last heard, and what we know better.

    A node numbers all its frames, so whatever order they arrive in, its load shows just the
    awards that it accepted and the work that it ended in frames with a lower number.
    """

    __slots__ = ("card", "free", "released", "reserved", "said")

    def __init__(self, card: Card) -> None:
        self.card = card
        self.free = card.slots
        self.said = 0  # number of the frame that said so
        self.reserved = _NONE_RESERVED  # own awards that no load shows yet: task, number of its accept or 0
        self.released: tuple[tuple[int, Mono], ...] = ()  # own work that ended, though no load shows it yet

    def hear(self, free: int, said: int) -> None:
        """A load says so, in the frame of this number."""
        self.free, self.said = max(0, min(free, self.card.slots)), said
        if self.reserved:
            self.reserved = {task: accepted for task, accepted in self.reserved.items() if not 0 < accepted < said}
        if self.released:
            self.released = tuple(each for each in self.released if each[0] > said)

    def accept(self, task: str, said: int) -> None:
        """The award has its slot."""
        if said < self.said:
            self.reserved.pop(task, None)
        elif task in self.reserved:
            self.reserved[task] = said

    def release(self, task: str, said: int, now: Mono) -> None:
        """Own work ended, or never took its slot."""
        is_shown = self.reserved.pop(task, None) is None
        if is_shown and said > self.said:
            self.released = (*self.released, (said, now))

    def refuse(self, task: str) -> None:
        """There was no room: what was heard is old."""
        self.reserved.pop(task, None)
        self.released = ()
        self.free = min(self.free, len(self.reserved))

    def left(self, now: Mono) -> int:
        """How many are free, as far as we know."""
        if self.released:
            self.released = tuple(each for each in self.released if each[1] > now - int(RELEASED_S * NS_PER_S))
        return max(0, min(self.card.slots, self.free - len(self.reserved) + len(self.released)))


class _Place:
    """What one node can do. `heard` is when its load was last heard, or its cards before any load."""

    __slots__ = ("heard", "is_draining", "life", "pools", "running", "version", "waiting")

    def __init__(self) -> None:
        self.life = self.version = 0
        self.pools: dict[str, _Pool] = {}
        self.heard: Mono = 0
        self.running = self.waiting = 0
        self.is_draining = False

    def take_cards(self, cards: Cards, now: Instant) -> None:
        former, self.pools = self.pools, {}
        for card in cards:
            pool = former.get(card.name)
            if pool is None or pool.card.slots != card.slots:
                pool = _Pool(card)
            pool.card = card
            self.pools[card.name] = pool
        self.heard = now.mono_ns

    def take_load(self, load: Load, said: int, now: Instant) -> None:
        for agent, free in load.free:
            pool = self.pools.get(agent)
            if pool is not None:
                pool.hear(free, said)
        self.running, self.waiting, self.is_draining = load.running, load.waiting, load.draining
        self.heard = now.mono_ns


class Catalogue:
    """The agents of the mesh by capability, with their free slots."""

    def __init__(self, *, me: Me) -> None:
        self._me = me
        self._places: dict[NodeId, _Place] = {me.id: _Place()}
        self._able: dict[str, dict[tuple[NodeId, str], None]] = {}  # capability to (node, agent)
        self._cards: Capabilities | None = None  # own, as last said
        self._load: Load | None = None  # own, as it is
        self._busy: tuple[_Free, int, int, bool] | None = None  # the same, as it was given
        self._said: Load | None = None  # own, as last said
        self._load_version = 0
        self._said_at: Mono | None = None
        self._timers: Timers[Literal["load"]] = Timers()

    # --- others

    def on_fact(self, heard: Heard, now: Instant) -> list[Effect]:
        """Another node's cards or load, news to `gossip`."""
        body = heard.body
        if heard.src == self._me.id or heard.fault:
            return []
        place = self._places.get(heard.src)
        if place is not None and heard.life < place.life:
            return []
        match body:
            case Capabilities():
                return self._on_cards(heard, body, now)
            case Load() if place is not None and place.life == heard.life:
                place.take_load(body, heard.seq, now)
        return []

    def _on_cards(self, heard: Heard, body: Capabilities, now: Instant) -> list[Effect]:
        place = self._places.setdefault(heard.src, _Place())
        if place.life < heard.life:
            self.forget(heard.src)
            place = self._places[heard.src] = _Place()
            place.life = heard.life
        elif body.version <= place.version:
            return []
        place.version = body.version
        cards = tuple(card for card in body.cards if self._is_visible(card))
        self._index(heard.src, place, cards, now)
        return [Emit(_changed(heard.src, body.version, cards))]

    def _is_visible(self, card: Card) -> bool:
        return card.visibility == "mesh" or (card.visibility == "domain" and card.domain == self._me.domain)

    def _index(self, node: NodeId, place: _Place, cards: Cards, now: Instant) -> None:
        self._unindex(node, place)
        place.take_cards(cards, now)
        for card in cards:
            for capability in card.capabilities:
                self._able.setdefault(capability, {})[(node, card.name)] = None

    def _unindex(self, node: NodeId, place: _Place) -> None:
        for name, pool in place.pools.items():
            for capability in pool.card.capabilities:
                able = self._able.get(capability, {})
                able.pop((node, name), None)
                if not able:
                    self._able.pop(capability, None)

    def meet(self, node: NodeId, life: int) -> None:
        """The node is there in this life: what an earlier one could do is forgotten."""
        place = self._places.get(node)
        if place is not None and place.life < life:
            self.forget(node)

    def forget(self, node: NodeId) -> None:
        """The node is gone: nobody there can do anything."""
        place = self._places.get(node)
        if place is not None and node != self._me.id:
            self._unindex(node, place)
            del self._places[node]

    # --- ourselves

    def advertise(self, cards: Cards, now: Instant) -> list[Effect]:
        """This node's agents, all of them. Private ones are matched here and not told.

        Raises MeshError("bad_input") for cards that others would refuse, MeshError("too_large").
        """
        told = tuple(card for card in cards if card.visibility != "private")
        version = 1 if self._cards is None else self._cards.version + 1
        said = Capabilities(version, told)
        if fault(Capabilities(version, cards)):
            raise MeshError("bad_input", what="an agent's card has a name, capability or number out of bounds")
        size = len(msgspec.msgpack.encode(said))
        if size > limits.FACT_BYTES_MAX - limits.HEADER_BYTES_MAX:
            if any(card.problem for card in cards):  # what can best be spared
                return self.advertise(tuple(msgspec.structs.replace(card, problem="") for card in cards), now)
            raise MeshError("too_large", what="all agents' cards together", bytes=size, limit=limits.FACT_BYTES_MAX)
        self._index(self._me.id, self._places[self._me.id], cards, now)
        self._places[self._me.id].life = self._me.life
        if self._cards is not None and self._cards.cards == told:
            return []
        self._cards = said
        return [Spread(said), Emit(_changed(self._me.id, version, told))]

    def set_load(self, free: _Free, *, running: int, waiting: int, is_draining: bool, now: Instant) -> list[Effect]:
        """How busy this node is now; told when it changed, the less often the more nodes there are to hear it."""
        busy = (free, running, waiting, is_draining)
        if busy == self._busy:
            return []
        self._busy = busy
        load = self._load = Load(0, *busy)
        self._places[self._me.id].take_load(load, 0, now)
        if self._timers.next() is not None:
            return []
        interval_s = max(LOAD_INTERVAL_S, LOAD_S_PER_NODE * len(self._places))
        if self._said_at is None or now.since_s(self._said_at) >= interval_s:
            return self._say_load(now)
        self._timers.set("load", self._said_at + int(interval_s * NS_PER_S))
        return []

    def _say_load(self, now: Instant) -> list[Effect]:
        if self._load is None or self._load == self._said:
            return []
        self._said, self._said_at = self._load, now.mono_ns
        self._load_version += 1
        told = {card.name for card in self._cards.cards} if self._cards is not None else set()
        free = tuple((agent, slots) for agent, slots in self._load.free if agent in told)
        return [Spread(msgspec.structs.replace(self._load, version=self._load_version, free=free))]

    def on_tick(self, now: Instant) -> list[Effect]:
        """The load that waited."""
        return self._say_load(now) if self._timers.due(now.mono_ns) else []

    def next_deadline(self) -> Mono | None:
        """When to call `on_tick`."""
        return self._timers.next()

    # --- awards under way

    def reserve(self, node: NodeId, agent: str, task: str) -> None:
        """An own award to this agent is under way: its slot counts as taken at once."""
        pool = self._pool(node, agent)
        if pool is not None:
            pool.reserved = {**pool.reserved, task: False}

    def accepted(self, node: NodeId, agent: str, task: str, said: int) -> None:
        """The owner has it, by its frame number `said`: from there on its loads show it."""
        pool = self._pool(node, agent)
        if pool is None:
            return
        if node == self._me.id:
            pool.reserved.pop(task, None)  # our own load is exact
        else:
            pool.accept(task, said)

    def release(self, node: NodeId, agent: str, task: str, said: int, now: Instant) -> None:
        """That award has ended, by the owner's frame number `said`, or never took (0)."""
        pool = self._pool(node, agent)
        if pool is None:
            return
        if node == self._me.id:
            pool.reserved.pop(task, None)
        else:
            pool.release(task, said, now.mono_ns)

    def refused(self, node: NodeId, agent: str, task: str) -> None:
        """That award found every slot taken: none is free until a load says so, or own work ends there."""
        pool = self._pool(node, agent)
        if pool is not None:
            pool.refuse(task)

    def _pool(self, node: NodeId, agent: str) -> _Pool | None:
        place = self._places.get(node)
        return None if place is None else place.pools.get(agent)

    # --- for readers

    def match(self, capability: str, now: Instant) -> list[Candidate]:
        """Every agent with the capability on a node that takes work, by node id and agent, busy ones too."""
        found: list[Candidate] = []
        for node, agent in sorted(self._able.get(capability, {})):
            place = self._places[node]
            pool = place.pools[agent]
            if place.is_draining:
                continue
            found.append(
                Candidate(
                    node=node,
                    agent=agent,
                    free=pool.left(now.mono_ns),
                    slots=pool.card.slots,
                    age_s=now.since_s(place.heard),
                    latency_ms=pool.card.latency_ms,
                    cost=pool.card.cost_per_call,
                    is_self=node == self._me.id,
                )
            )
        return found

    def able(self, capability: str) -> set[NodeId]:
        """Nodes with the capability that take work."""
        return {node for node, _ in self._able.get(capability, {}) if not self._places[node].is_draining}

    def capabilities(self, now: Instant) -> tuple[Offered, ...]:
        """Everything anybody can do, by capability, node and agent."""
        return tuple(row for capability in sorted(self._able) for row in self.offered(capability, now))

    def offered(self, capability: str, now: Instant) -> tuple[Offered, ...]:
        """Everybody who can do this, draining ones and busy ones too, by node and agent."""
        rows: list[Offered] = []
        for node, agent in sorted(self._able.get(capability, {})):
            place = self._places[node]
            pool = place.pools[agent]
            rows.append(Offered(capability, node, pool.card, pool.left(now.mono_ns), place.is_draining))
        return tuple(rows)

    def agents(self, now: Instant) -> tuple[Offered, ...]:
        """Every agent by node and name, with those that only listen; the capability is left empty."""
        return tuple(
            Offered("", node, pool.card, pool.left(now.mono_ns), place.is_draining)
            for node, place in sorted(self._places.items())
            for _, pool in sorted(place.pools.items())
        )

    def cards_of(self, node: NodeId) -> Cards:
        """The agents of one node, as it announced them."""
        place = self._places.get(node)
        return () if place is None else tuple(pool.card for pool in place.pools.values())

    def business_of(self, node: NodeId, now: Instant) -> Business | None:
        """How busy one node is, or None when it never said."""
        place = self._places.get(node)
        if place is None:
            return None
        return Business(place.running, place.waiting, place.is_draining, now.since_s(place.heard))


def _changed(node: NodeId, version: int, cards: Cards) -> CapabilitiesChanged:
    names = dict.fromkeys(capability for card in cards for capability in card.capabilities)
    return CapabilitiesChanged(node, "", version, tuple(names))  # the name is filled in by who knows it
