"""Family `swim`: is this life of a node there?

Invariant: a probe goes to one life by subject, so an answer proves that very life.
Neighbour: `membership` sends and answers these.
"""

from typing import Annotated

from msgspec import Meta, Struct

from protocol.wire.bounds import Count


class Ping(Struct, frozen=True, array_like=True, tag="ping"):
    """Are you there? You are suspect at `suspect_incarnation`, if ≥ 0 (Lifeguard's buddy); with probe 0, dead.

    Nobody waits for the answer to probe 0.
    """

    probe: int
    suspect_incarnation: int = -1


class Ack(Struct, frozen=True, array_like=True, tag="ack"):
    """I am, at this incarnation. `view` is a hash of the nodes that I see, `sees` how many they are."""

    probe: int
    incarnation: int
    view: Annotated[bytes, Meta(max_length=8)] = b""
    sees: Count = 0
