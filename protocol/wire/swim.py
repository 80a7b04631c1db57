"""Family `swim`: is this life of a node there?

Invariant: a probe goes to one life by subject, so an answer proves that very life.
Neighbour: `membership` sends and answers these.
"""

from typing import Annotated

from msgspec import Meta, Struct

from protocol.wire.bounds import Count


class Ping(Struct, frozen=True, array_like=True, tag="ping"):
    """Are you there? `suspect_incarnation` ≥ 0 tells the target that it is suspected at it (Lifeguard's buddy).

    Probe 0 asks nothing: the target is dead at that incarnation, where this comes from.
    """

    probe: int
    suspect_incarnation: int = -1


class Ack(Struct, frozen=True, array_like=True, tag="ack"):
    """I am, at this incarnation. `view` is a hash of the nodes that I see, `sees` how many they are."""

    probe: int
    incarnation: int
    view: Annotated[bytes, Meta(max_length=8)] = b""
    sees: Count = 0
