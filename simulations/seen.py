"""What the world shows to checks and to the report: everything that can be seen from outside of a node.

Invariant: a value says all there is to say; a check needs to ask nobody for what happened.
Neighbours: hosts, store and work say it; `checks` listen.
"""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from protocol.effects import Effect, List, Read, Reply, Send, Write
from protocol.events import Event
from protocol.inputs import Found, Input, Listed, Lost, Received, Tick, Written
from protocol.wire.task import TaskRecord


class Happened(Struct, frozen=True):
    """A node emitted an event, in one of its lives."""

    node: str
    life: int
    event: Event


class Stored(Struct, frozen=True):
    """The store took a write: `record` stands at `revision`. None for what is no task's record.

    An exclusive award `is_renewed` when the very same award stood there before: its owner goes on.
    """

    node: str
    key: str
    revision: int
    record: TaskRecord | None
    is_renewed: bool = False


class Answered(Struct, frozen=True):
    """A node answered a request of the client."""

    node: str
    reply: Reply


class Handled(Struct, frozen=True):
    """A node took an input of this kind, is now at this incarnation of its life, and wants this done."""

    node: str
    life: int
    kind: str
    incarnation: int
    input: Input | None = None
    effects: Sequence[Effect] = ()


class Routine(Handled, frozen=True):
    """The same of what most inputs lead to: a question or an answer to one other, or to the record, and no more."""


_ROUTINE: frozenset[type] = frozenset({Received, Tick, Written, Lost, Found, Listed, Send, Write, Read, List})


def is_routine(input: Input, effects: Sequence[Effect]) -> bool:
    """Was it for this node alone, or for it and one other? Its own numbers are looked at elsewhere."""
    return _ROUTINE.issuperset(map(type, (input, *effects)))


class Unmoved(Struct, frozen=True, gc=False):
    """A node took a message that led to nothing: it wants nothing done, and is at the incarnation it was at."""

    node: str
    input: Received


def where(error: Exception) -> str:
    """What went wrong, and in which lines, innermost last."""
    frames = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[1:]]
    return f"{type(error).__name__}: {error} ({' ▶ '.join(frames)})"


class Broke(Struct, frozen=True):
    """The core raised an exception, which it must never do."""

    node: str
    kind: str
    error: str


class Said(Struct, frozen=True):
    """A node handed a message to the broker, of so many bytes."""

    node: str
    kind: str
    size: int = 0


class Span(Struct, frozen=True):
    """A fault began or ended: the how-manieth of the run. `sides` are told as it begins, of one that has some."""

    fault: str
    nodes: tuple[str, ...]
    is_on: bool
    number: int = 0
    shape: str = ""
    sides: tuple[tuple[str, ...], ...] = ()


def stands(before: tuple[str, ...], fault: str, *, is_on: bool) -> tuple[str, ...]:
    """Of faults that stood, which do after this one began or ended; the end of one that did not is none."""
    if is_on:
        return (*before, fault)
    at = before.index(fault) if fault in before else len(before)
    return before[:at] + before[at + 1 :]


class Sight(Struct, frozen=True):
    """Something that happened below the nodes: a message lost or doubled, an acknowledgement lost."""

    node: str
    kind: str


Seen: TypeAlias = Happened | Stored | Answered | Handled | Routine | Unmoved | Broke | Said | Span | Sight
