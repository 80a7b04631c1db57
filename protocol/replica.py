"""What a node knows of all nodes: the newest fact of each kind, by rules that do not depend on order.

Invariant: of two facts about one node every replica keeps the same one, whatever came first or
twice (a join semilattice: `Version` is totally ordered and the greater stays). Incarnations and
lives only rise. Neighbours: `gossip` keeps a `Replica`; `membership` compares by the same versions.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Literal, TypeAlias

from msgspec import Struct

from protocol import ids, limits
from protocol.envelope import Envelope
from protocol.primitives import NodeId, WallMs
from protocol.wire.gossip import Alive, Capabilities, Confirm, Dead, Digest, Left, Load, Row, Suspect
from protocol.wire.kinds import AnyBody

PeerState: TypeAlias = Literal["alive", "suspect", "dead", "left"]
Slot: TypeAlias = Literal["standing", "capabilities", "load"]

Key: TypeAlias = tuple[NodeId, Slot]

BUCKETS = limits.DIGEST_BUCKETS
_FACT = ("heard", "relayed")  # what an envelope is remembered as


class Me(Struct, frozen=True):
    """This life of this node, as it presents itself; `admission` is the proof of `identity.admission`.

    `seen` is the last revision of its own key that an earlier life saw.
    """

    id: NodeId
    life: int
    name: str
    region: str
    domain: str
    admission: bytes = b""
    version: str = ""
    seen: int = 0


class Heard(Struct, frozen=True, dict=True):
    """One opened and verified fact. `is_relayed`: it came inside a delta, however old it is."""

    src: NodeId
    life: int
    seq: int
    sent_ms: WallMs
    body: AnyBody
    frame: bytes
    subject: str
    is_relayed: bool = False

    @cached_property
    def place(self) -> "tuple[Key, Version] | None":
        """Whom it is about, in which slot, and its version. None for what is not kept."""
        found = placed(self.src, self.life, self.body)
        return None if found is None else ((found[0], found[1]), found[2])

    @cached_property
    def kept(self) -> "tuple[Key, Entry] | None":
        """As replicas keep it: one entry, however many of a process do. None for what is not kept."""
        return None if self.place is None else (self.place[0], Entry(self.place[1], self))

    @cached_property
    def fault(self) -> str:
        """Why no honest node says this, as a short code, or nothing."""
        return fault(self.body)


def heard_of(envelope: Envelope, *, is_relayed: bool = False) -> Heard:
    """An opened envelope as a fact: one and the same, however many of a process ask, for it never changes."""
    known: Heard | None = envelope.__dict__.get(_FACT[is_relayed])
    if known is None:
        known = envelope.__dict__[_FACT[is_relayed]] = _heard(envelope, is_relayed=is_relayed)
    return known


def _heard(envelope: Envelope, *, is_relayed: bool) -> Heard:
    header = envelope.header
    return Heard(
        envelope.src,
        header.life,
        header.seq,
        header.sent_ms,
        envelope.body,
        envelope.frame,
        header.subject,
        is_relayed=is_relayed,
    )


class Peer(Struct, frozen=True):
    """One node as this node sees it; `since_ms` is when it came into this state, by the wall."""

    id: NodeId
    name: str
    life: int
    state: PeerState
    incarnation: int
    region: str
    domain: str
    since_ms: WallMs
    version: str = ""
    is_self: bool = False
    evidence: str = ""
    accusers: tuple[NodeId, ...] = ()


class Version(Struct, frozen=True, order=True):
    """Which of two facts of one kind about one node is newer: the life first, then the number inside it."""

    life: int
    number: int


class Entry(Struct, frozen=True):
    """One fact in a replica with its version."""

    version: Version
    heard: Heard


def standing(*, life: int, incarnation: int, state: PeerState) -> Version:
    """The version of what somebody is: within one life alive(i) < dead(i) < alive(i+1), and left is above all.

    So a death yields only to a refutation by its subject, and a goodbye to nothing but a new life.
    """
    is_left, is_dead = state == "left", state == "dead"
    return Version(life, (is_left << 62) + 2 * incarnation + is_dead)


def placed(src: NodeId, life: int, body: AnyBody) -> tuple[NodeId, Slot, Version] | None:
    """Where a fact belongs: whom it is about, its slot and version. None for what is not kept."""
    match body:
        case Alive():
            return src, "standing", standing(life=life, incarnation=body.incarnation, state="alive")
        case Left():
            return src, "standing", standing(life=life, incarnation=body.incarnation, state="left")
        case Dead():
            return body.peer, "standing", standing(life=body.life, incarnation=body.incarnation, state="dead")
        case Capabilities():
            return src, "capabilities", Version(life, body.version)
        case Load():
            return src, "load", Version(life, body.version)
        case _:
            return None


def sealed_inside(body: Dead) -> tuple[bytes, ...]:
    """The frames a dead fact carries: open each as a relayed fact; those that open are its proof."""
    carried = (body.alive, *body.accusations) if body.alive else body.accusations
    return carried[: limits.ACCUSATIONS_MAX + 1]


def fault(body: AnyBody) -> str:
    """Why no honest node says this, as a short code, or nothing. Checked at the entrance, once."""
    match body:
        case Alive():
            return _fault_of_alive(body)
        case Left():
            return "" if 0 <= body.incarnation <= limits.INCARNATION_MAX else "bad_incarnation"
        case Suspect() | Confirm() | Dead():
            if not 0 < body.life < 1 << 62 or not 0 <= body.incarnation <= limits.INCARNATION_MAX:
                return "bad_incarnation"
            return "" if body.evidence in ("timeout", "absent") else "bad_evidence"
        case Capabilities():
            return _fault_of_cards(body)
        case Load():
            numbers = (body.version, body.running, body.waiting, *(free for _, free in body.free))
            is_sound = len(body.free) <= limits.CARDS_PER_NODE_MAX and all(0 <= each < 1 << 53 for each in numbers)
            return "" if is_sound else "bad_load"
        case _:
            return ""


def _fault_of_alive(body: Alive) -> str:
    if not 0 <= body.incarnation <= limits.INCARNATION_OWN_MAX:
        return "bad_incarnation"
    tokens = (body.name, body.region, *([body.domain] if body.domain else []))
    if not all(ids.is_token(token) for token in tokens):
        return "bad_name"
    return "" if len(body.version) <= ids.SHORT_CHARS * 8 else "bad_name"


def _fault_of_cards(body: Capabilities) -> str:
    if not 0 <= body.version < 1 << 53 or len(body.cards) > limits.CARDS_PER_NODE_MAX:
        return "bad_cards"
    if len({card.name for card in body.cards}) != len(body.cards):
        return "bad_cards"
    for card in body.cards:
        texts = (card.kind, card.domain, card.version, card.purpose, card.owner_team, card.visibility)
        is_sound = (
            ids.AGENT_NAME.fullmatch(card.name) is not None
            and len(card.capabilities) <= limits.CAPABILITIES_PER_CARD_MAX
            and all(ids.is_capability(each) for each in card.capabilities)
            and len(card.topics) <= limits.TOPICS_PER_AGENT_MAX
            and all(ids.is_topic(each) for each in card.topics)
            and 0 <= card.slots <= limits.SLOTS_MAX
            and 0 <= card.latency_ms < 1 << 53
            and 0.0 <= card.cost_per_call < 1e12
            and 0.0 <= card.confidence <= 1.0
            and all(len(text) <= limits.TEXT_CHARS_MAX for text in texts)
        )
        if not is_sound:
            return "bad_cards"
    return ""


@lru_cache(maxsize=2 * limits.PEERS_MAX)
def _bucket(about: NodeId) -> int:
    return blake2b(about.encode(), digest_size=1).digest()[0] % BUCKETS


@lru_cache(maxsize=4 * limits.PEERS_MAX)
def _hash(about: NodeId, slot: Slot, version: Version) -> int:
    text = f"{about}\0{slot}\0{version.life}\0{version.number}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class Replica:
    """The newest facts, by node and slot, and 64 hashes that tell two replicas apart.

    A bucket's hash is the exclusive or of its facts' hashes, so it costs one step a change.
    """

    def __init__(self) -> None:
        self._rows: tuple[dict[Key, Entry], ...] = tuple({} for _ in range(BUCKETS))
        self._hashes = [0] * BUCKETS

    def get(self, about: NodeId, slot: Slot) -> Entry | None:
        """The fact that stands there."""
        return self._rows[_bucket(about)].get((about, slot))

    def put(self, key: Key, entry: Entry) -> None:
        """Let `entry` stand there, whatever stood before: compare first."""
        about, slot = key
        rows, bucket = self._rows, _bucket(about)
        former = rows[bucket].pop(key, None)
        rows[bucket][key] = entry
        if former is not None and former.version == entry.version:
            return  # the same word, said again
        self._hashes[bucket] ^= _hash(about, slot, entry.version)
        if former is not None:
            self._hashes[bucket] ^= _hash(about, slot, former.version)

    def drop(self, about: NodeId, slot: Slot) -> None:
        """Let nothing stand there."""
        bucket = _bucket(about)
        former = self._rows[bucket].pop((about, slot), None)
        if former is not None:
            self._hashes[bucket] ^= _hash(about, slot, former.version)

    def hashes(self) -> tuple[int, ...]:
        """The coarse digest: one hash a bucket."""
        return tuple(self._hashes)

    def differing(self, hashes: tuple[int, ...]) -> list[int]:
        """Buckets whose hash is another than the one given."""
        return [bucket for bucket in range(BUCKETS) if self._hashes[bucket] != hashes[bucket]]

    def rows(self, bucket: int) -> Iterator[Row]:
        """The fine digest of one bucket."""
        for (about, slot), entry in self._rows[bucket].items():
            yield Row(about, slot, entry.version.life, entry.version.number)

    def entries(self) -> Iterator[tuple[NodeId, Slot, Entry]]:
        """All facts."""
        for rows in self._rows:
            for (about, slot), entry in rows.items():
                yield about, slot, entry

    def against(self, fine: Digest) -> tuple[list[Entry], list[Row]]:
        """What the sender of a fine digest lacks, and what we lack, as rows with our own versions."""
        theirs: dict[tuple[NodeId, str], Version] = {}
        for row in fine.rows:
            theirs[(row.about, row.slot)] = Version(row.life, row.number)
        ahead: list[Entry] = []
        behind: list[Row] = []
        for (about, name), version in theirs.items():
            slot = _SLOTS.get(name)
            mine = None if slot is None else self.get(about, slot)
            held = Version(0, 0) if mine is None else mine.version  # a fact that neither has is no difference
            if mine is not None and version < held:
                ahead.append(mine)
            elif slot is not None and held < version:
                behind.append(Row(about, slot, held.life, held.number))
        for bucket in sorted(set(fine.scope)):
            ahead += [entry for key, entry in self._rows[bucket].items() if key not in theirs]
        return ahead, behind

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows)


_SLOTS: dict[str, Slot] = {"standing": "standing", "capabilities": "capabilities", "load": "load"}


def in_opening_order(entries: Iterable[Entry]) -> list[Entry]:
    """An order in which a reader can open each: the living, then tombstones, then what the living can do.

    A tombstone is signed by somebody who may be buried too, but then later, and a tombstone
    admits whom it buries: so the latest come first.
    """

    def rank(entry: Entry) -> tuple[int, int, NodeId]:
        body = entry.heard.body
        if isinstance(body, Dead | Left):
            return 1, -entry.heard.sent_ms, entry.heard.src
        return (0 if isinstance(body, Alive) else 2), 0, entry.heard.src

    return sorted(entries, key=rank)
