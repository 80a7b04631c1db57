"""Family `gossip`: facts that nodes state about themselves and each other, and their repair.

Invariant: a fact is signed by who states it and versioned by who owns it, so it may be relayed
by anybody as the frame it came in. Neighbours: `membership` and `catalogue` read facts, `gossip` repairs them.
"""

from typing import TypeAlias

from msgspec import Struct

from protocol.primitives import NodeId
from protocol.wire.agents import Card


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
    """I was chosen to verify a suspicion, and `peer` does not answer me either."""

    peer: NodeId
    life: int
    incarnation: int
    evidence: str


class Dead(Struct, frozen=True, array_like=True, tag="dead"):
    """`peer` is dead: `accusations` are the sealed suspect and confirm facts of distinct nodes that prove it."""

    peer: NodeId
    life: int
    incarnation: int
    evidence: str
    accusations: tuple[bytes, ...]


class Left(Struct, frozen=True, array_like=True, tag="left"):
    """I go. Final at once for this life."""

    incarnation: int


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


class Digest(Struct, frozen=True, array_like=True, tag="digest"):
    """What I have, as hashes of buckets of (node, fact kind, version); the other sends what differs."""

    round: int
    buckets: tuple[int, ...]
    answer: bool = False  # this is a counter-digest: do not answer with another


class Delta(Struct, frozen=True, array_like=True, tag="delta"):
    """What you lack or have otherwise: one page of sealed facts."""

    round: int
    facts: tuple[bytes, ...]
    more: bool = False
