"""Family `gossip`: facts that nodes state about themselves and each other, and their repair.

Invariant: a fact is signed by who states it and versioned by who owns it, so it may be relayed
by anybody as the frame it came in. A tombstone (`Dead`, `Left`) proves by itself whom it buries.
Neighbours: `membership` and `catalogue` read facts, `gossip` repairs them.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from protocol import limits
from protocol.primitives import NodeId
from protocol.wire.agents import Card
from protocol.wire.bounds import Token

Page: TypeAlias = Annotated[tuple[bytes, ...], Meta(max_length=limits.FACTS_PER_DELTA_MAX)]  # of sealed facts
Buckets: TypeAlias = Annotated[tuple[int, ...], Meta(max_length=limits.DIGEST_BUCKETS)]
Bucket: TypeAlias = Annotated[int, Meta(ge=0, lt=limits.DIGEST_BUCKETS)]


class Alive(Struct, frozen=True, array_like=True, tag="alive"):
    """I am here. The life stands in the envelope; `admission` proves that this key belongs to the mesh."""

    incarnation: int
    name: str
    region: str
    domain: str
    admission: bytes
    fresh: bool = False  # just started: please tell me what you know
    version: str = ""


class Suspect(Struct, frozen=True, array_like=True, tag="suspect"):
    """`peer` does not answer me. `evidence` is timeout or absent."""

    peer: NodeId
    life: int
    incarnation: int
    evidence: str


class Confirm(Struct, frozen=True, array_like=True, tag="confirm"):
    """I looked after somebody else's suspicion, and `peer` does not answer me either."""

    peer: NodeId
    life: int
    incarnation: int
    evidence: str


class Dead(Struct, frozen=True, array_like=True, tag="dead"):
    """`peer` is dead: this is the declarer's own accusation, and it carries those of others.

    `accusations` are the sealed suspect and confirm facts of other nodes; `alive` is the sealed
    alive fact of the dead node in that life, so that who never knew it can trust the life.
    """

    peer: NodeId
    life: int
    incarnation: int
    evidence: str
    accusations: Annotated[tuple[bytes, ...], Meta(max_length=limits.ACCUSATIONS_MAX)]
    alive: bytes = b""


class Left(Struct, frozen=True, array_like=True, tag="left"):
    """I go. Final at once for this life. `admission` as in `Alive`: a goodbye must open everywhere."""

    incarnation: int
    admission: bytes = b""


class Capabilities(Struct, frozen=True, array_like=True, tag="capabilities"):
    """All agents of this node; `version` rises with every change inside a life."""

    version: int
    cards: tuple[Card, ...]


class Load(Struct, frozen=True, array_like=True, tag="load"):
    """How busy this node is: by agent, how many slots are free."""

    version: int
    free: tuple[tuple[str, int], ...]
    running: int
    waiting: int
    draining: bool = False


AnyFact: TypeAlias = Alive | Suspect | Confirm | Dead | Left | Capabilities | Load


class Row(Struct, frozen=True, array_like=True):
    """One line of a fine digest: the version of one fact, `number` 0 when it is lacking."""

    about: Token
    slot: str  # standing | capabilities | load
    life: int
    number: int


class Digest(Struct, frozen=True, array_like=True, tag="digest"):
    """What I have. Coarse: `buckets`, 64 hashes. Fine: `rows`, complete for the buckets in `scope`.

    A coarse digest is answered by a fine one of what differs; a fine one by deltas of what the
    sender lacks, and by a fine one, without scope, of what the receiver lacks.
    """

    round: int
    buckets: Buckets = ()
    scope: Annotated[tuple[Bucket, ...], Meta(max_length=limits.DIGEST_BUCKETS)] = ()
    rows: Annotated[tuple[Row, ...], Meta(max_length=limits.ROWS_PER_DIGEST_MAX)] = ()
    more: bool = False  # other buckets differ too: ask again soon


class Carried(Struct, frozen=True, array_like=True, tag="carried"):
    """To our region: what others said, sealed as they did; by bridges of other regions, by accusers the answer."""

    facts: Page


class Delta(Struct, frozen=True, array_like=True, tag="delta"):
    """What you lack: one page of sealed facts, in an order in which each can be opened."""

    round: int
    facts: Page


Repair: TypeAlias = Digest | Delta | Carried  # what it costs to answer, or to read, is more than it weighs
