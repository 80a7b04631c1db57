"""What the little world of `tests.explore` is made of: hosts, and what is on its way between them and the store.

Invariant: values alone, which `explore` moves.
"""

import msgspec
from msgspec import Struct

from protocol import effects as fx
from protocol import inputs
from protocol.envelope import PREAMBLE_BYTES
from protocol.identity import SIGNATURE_BYTES
from protocol.node import Node
from protocol.primitives import NodeId
from protocol.wire.task import TaskRecord


class Packet(Struct):
    """A message on its way."""

    src: int
    to: int
    life: int
    send: fx.Send
    step: int


class Errand(Struct):
    """Something for the store: asked, then done there, then known to who asked."""

    host: int
    life: int
    wants: fx.Write | fx.Read | fx.List
    step: int
    answer: inputs.Input | None = None


class Notice(Struct):
    """What one host will learn about another."""

    host: int
    about: int
    life: int | None
    step: int


class Host(Struct):
    """One host: its node while it is up, and how long it is in trouble."""

    node: Node | None
    life: int
    id: NodeId
    since: int = 0  # the step at which its trouble began
    back: int = 0  # step at which it starts again, is connected again, goes on; 0 for never
    trouble: str = ""  # down | cut | mute | paused
    runs: dict[int, int] = {}  # epoch → step at which its agent is done
    stopping: tuple[int, ...] = ()  # epochs whose agent was told to stop
    ended: tuple[int, ...] = ()  # epochs whose agent ended because its daemon stood still, which hears of it then
    facts: dict[str, inputs.Received] = {}


def record_in(frame: bytes) -> TaskRecord:
    """The record in a frame that nobody doubts."""
    start = PREAMBLE_BYTES + int.from_bytes(frame[4:6], "big")
    return msgspec.msgpack.decode(frame[start:-SIGNATURE_BYTES], type=TaskRecord)
