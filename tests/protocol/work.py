"""What the tests of the work machines share: names, times, orders, records, and a view of the mesh.

Neighbour: `conversation` gives the moments.
"""

from typing import Any

import msgspec
from msgspec import structs

from protocol import ids, records
from protocol.effects import Effect, Emit, Send, Write
from protocol.inputs import Submit
from protocol.primitives import Instant, NodeId
from protocol.routing import Candidate
from protocol.watched import TaskSettings
from protocol.wire.agents import Card
from protocol.wire.task import TaskRecord
from tests.protocol.conversation import instant

ME, B, C, D = "a" * 32, "b" * 32, "c" * 32, "d" * 32
LIFE = 1_700_000_000_000
MESH = "mesh"
ECHO = "echo@1"
SETTINGS = TaskSettings(lease_s=3.0, ask_interval_s=0.5, award_timeout_s_min=0.25)
KEEP_S = 60.0
CARD = Card("echo", (ECHO,), 2)


def order(key: str = "k", *, request: int = 1, capability: str = ECHO, **fields: Any) -> Submit:
    """A submit by one person."""
    return structs.replace(Submit(request, capability, b"\x01", "someone", key), **fields)


def record(key: str = "k", *, home: NodeId = ME, at: float = 0.0, **fields: Any) -> TaskRecord:
    """The open record of `order(key)`."""
    wanted = order(key)
    task = ids.task_id(mesh=MESH, submitter=wanted.submitter, key=key)
    opened = records.opened(wanted, task=task, iid="an iid", gid="a gid", home=home, now=instant(at))
    return structs.replace(opened, **fields)


def awarded(key: str = "k", *, owner: NodeId = B, life: int = LIFE, at: float = 0.0, **fields: Any) -> TaskRecord:
    """The record of `order(key)` after its first award."""
    return records.awarded(record(key, at=at, **fields), owner=owner, owner_life=life, now=instant(at))


def frame(of: TaskRecord) -> bytes:
    """What stands in the bucket for a record, where nobody looks at signatures."""
    return msgspec.msgpack.encode(of)


class Mesh:
    """A `View` that is told what to say: free slots by node, and whose awards are under way."""

    def __init__(self, free: dict[NodeId, int]) -> None:
        self.free = free
        self.lives: dict[NodeId, int] = {}
        self.reserved: dict[NodeId, int] = {}
        self.capabilities: tuple[str, ...] = (ECHO,)

    def candidates(self, capability: str, now: Instant) -> list[Candidate]:
        """Every node with its slots, less what is reserved, in the order they were given."""
        del now
        found = self.free if capability in self.capabilities else {}
        return [
            Candidate(node, "echo", free - self.reserved.get(node, 0), 9, 0.0, is_self=node == ME)
            for node, free in found.items()
        ]

    def reserve(self, node: NodeId, agent: str, now: Instant) -> None:
        """One slot less."""
        del agent, now
        self.reserved[node] = self.reserved.get(node, 0) + 1

    def release(self, node: NodeId, agent: str, now: Instant) -> None:
        """One slot more."""
        del agent, now
        self.reserved[node] -= 1
        assert self.reserved[node] >= 0, "released, but never reserved"

    def life_of(self, node: NodeId) -> int | None:
        """One life for all, unless told otherwise."""
        return self.lives.get(node, LIFE)

    def round_trip_s(self, node: NodeId) -> float:
        """The loopback."""
        del node
        return 0.001


def bodies(effects: list[Effect], kind: type[Any]) -> list[Any]:
    """Bodies of this kind that are sent."""
    return [each.body for each in effects if isinstance(each, Send) and isinstance(each.body, kind)]


def said(effects: list[Effect], kind: type[Any]) -> list[Any]:
    """Events of this kind."""
    return [each.event for each in effects if isinstance(each, Emit) and isinstance(each.event, kind)]


def only_write(effects: list[Effect]) -> Write:
    """The one write among the effects."""
    (write,) = (each for each in effects if isinstance(each, Write))
    return write
