"""Family `ops`: what an operator asks of a node through another one.

Invariant: every question and order is answered by a report of how the node stands then. A draining
node is one for this life: a restart takes new work again.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from protocol.wire.bounds import Count, Moment, Text, Token


class Survey(Struct, frozen=True, array_like=True, tag="survey"):
    """How do you stand?"""

    request: Count


class Steer(Struct, frozen=True, array_like=True, tag="steer"):
    """Take no new work (`draining`), or take it again."""

    request: Count
    draining: bool


class Forget(Struct, frozen=True, array_like=True, tag="forget"):
    """Show this gone node no more. Who sees it alive goes on doing so."""

    request: Count
    peer: Token


class Report(Struct, frozen=True, array_like=True, tag="report"):
    """How I stand. `view` is a hash of the lives that I see alive, `wall_ms` my clock."""

    request: Count
    wall_ms: Moment
    view: Annotated[bytes, Meta(max_length=32)]
    alive: Count
    draining: bool = False
    version: Text = ""
    obeyed: bool = True  # false: what was to be forgotten lives here


AnyOrder: TypeAlias = Survey | Steer | Forget
