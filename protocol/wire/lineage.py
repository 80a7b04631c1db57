"""What led to a task or call: the works of its ancestors, so that the same work again is known for what it is.

Invariant: as deep as hops may be, and no deeper. Neighbours: `task` and `call` carry it.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from protocol import limits
from protocol.wire.bounds import Ability


class Work(Struct, frozen=True, array_like=True):
    """What one of them was to do: its capability, and a digest of that and its input (16 bytes)."""

    capability: Ability
    digest: Annotated[bytes, Meta(min_length=16, max_length=16)]


Lineage: TypeAlias = Annotated[tuple[Work, ...], Meta(max_length=limits.HOPS_MAX)]  # oldest first, without oneself
