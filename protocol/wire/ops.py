"""Family `ops`: what an operator asks of a node through another one.

Invariant: a question for schemas is answered by them, any other and every order by a report of how the
node stands then; what is asked too often is refused, and that is said now and then. A draining node is one
for this life: a restart takes new work again.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from protocol import limits
from protocol.ids import AGENT_NAME
from protocol.wire.bounds import NAME_CHARS_MAX, Ability, Count, Moment, Text, Token, Word

_AgentName: TypeAlias = Annotated[str, Meta(pattern=rf"^{AGENT_NAME.pattern}\Z")]
_Json: TypeAlias = Annotated[bytes, Meta(max_length=limits.SCHEMA_BYTES_MAX)]


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
    """How I stand. `view` is the hash of my view that acks carry too, `wall_ms` my clock."""

    request: Count
    wall_ms: Moment
    view: Annotated[bytes, Meta(max_length=32)]
    alive: Count
    draining: bool = False
    version: Text = ""
    obeyed: bool = True  # false: what was to be forgotten lives here
    held_by: Annotated[tuple[Word, ...], Meta(max_length=8)] = ()  # why it takes no new work


class Describe(Struct, frozen=True, array_like=True, tag="describe"):
    """What does this capability take and give at your agents?"""

    request: Count
    capability: Ability


class Shape(Struct, frozen=True, array_like=True):
    """What one agent takes and gives for a capability: JSON Schemas as JSON; no bytes when there are too many."""

    agent: _AgentName
    capability: Ability
    takes: _Json = b""
    gives: _Json = b""


class Description(Struct, frozen=True, array_like=True, tag="description"):
    """What my agents declare of what was asked for."""

    request: Count
    shapes: Annotated[tuple[Shape, ...], Meta(max_length=limits.CARDS_PER_NODE_MAX)]


class Look(Struct, frozen=True, array_like=True, tag="look"):
    """Whom do you see, and how?"""

    request: Count


class Sight(Struct, frozen=True, array_like=True):
    """How I see one node. `state` is alive, suspect, dead or left."""

    peer: Token
    name: Annotated[str, Meta(max_length=NAME_CHARS_MAX)]
    state: Word
    life: Count
    incarnation: Count


class Sights(Struct, frozen=True, array_like=True, tag="sights"):
    """Whom I see, the living first. `view` is their hash as in `ack`; `more`: some of the gone are left out."""

    request: Count
    view: Annotated[bytes, Meta(max_length=8)]
    sights: Annotated[tuple[Sight, ...], Meta(max_length=limits.SIGHTS_MAX)]
    more: bool = False


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """I did nothing: you ask me too often. Told now and then; else you hear nothing."""

    request: Count


AnyOrder: TypeAlias = Survey | Steer | Forget | Describe | Look
AnyReport: TypeAlias = Report | Description | Sights | Refused
