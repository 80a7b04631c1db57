"""The broker: takes messages from those who are connected to those who listen.

Invariant: at most once, and nothing is kept for who is away. Who sends to a life that nobody
listens for is told so, if the message asked for it: `Absent`, as the real broker's "no responders".
Neighbours: hosts connect and publish; `network` says what arrives when.
"""

from collections.abc import Callable
from typing import Protocol

from protocol.effects import Send, Spread
from protocol.inputs import Absent, Input, Received
from protocol.primitives import NodeId
from simulations.network import Network
from simulations.seen import Said, Seen, Sight
from simulations.timeline import Timeline
from simulations.trace import Trace


class Listener(Protocol):
    """Where messages go: a host."""

    def receive(self, input: Input, life: int) -> None:
        """An input for one life of it."""
        ...


class Broker:
    """Who is connected, and under which life."""

    def __init__(self, *, timeline: Timeline, network: Network, trace: Trace, see: Callable[[Seen], None]) -> None:
        self._timeline = timeline
        self._network = network
        self._trace = trace
        self._see = see
        self._listeners: dict[str, tuple[Listener, NodeId, int]] = {}
        self._names: dict[tuple[NodeId, int], str] = {}
        self.sent: dict[str, int] = {}  # messages by kind of body

    def connect(self, name: str, listener: Listener, *, node: NodeId, life: int) -> None:
        """From now on this life of a node hears what is sent to it."""
        self.disconnect(name)
        self._listeners[name] = (listener, node, life)
        self._names[(node, life)] = name

    def disconnect(self, name: str) -> None:
        """It hears nothing any more; harmless when it did not."""
        known = self._listeners.pop(name, None)
        if known is not None:
            del self._names[known[1:]]

    def is_connected(self, name: str, life: int) -> bool:
        """Does this life of it listen?"""
        known = self._listeners.get(name)
        return known is not None and known[2] == life

    def send(self, src: str, message: Send) -> None:
        """One message to one life."""
        if src not in self._listeners:
            return
        self._count(src, message.body)
        dst = self._names.get((message.to, message.life))
        if dst is None or self._network.is_known_cut(src, dst):
            if message.reply:
                probe = int(message.reply.rpartition(".")[2])
                life = self._listeners[src][2]
                self._timeline.after(self._network.delay_ns(src, "broker"), self._absent, src, life, probe)
            return
        self._carry(src, dst, message.subject, message.frame, type(message.body).__name__)

    def spread(self, src: str, fact: Spread) -> None:
        """One fact to everybody else."""
        if src not in self._listeners:
            return
        self._count(src, fact.body)
        for dst in self._listeners:
            if dst != src:
                self._carry(src, dst, fact.subject, fact.frame, type(fact.body).__name__)

    def _count(self, src: str, body: object) -> None:
        kind = type(body).__name__
        self.sent[kind] = self.sent.get(kind, 0) + 1
        self._see(Said(src, kind))

    def _carry(self, src: str, dst: str, subject: str, frame: bytes, kind: str) -> None:
        arrivals = self._network.arrivals(src, dst)
        if not arrivals:
            self._trace.note(self._timeline.now_ns, src, "lost", f"{kind} to {dst}", frame)
            self._see(Sight(src, "lost"))
        elif len(arrivals) > 1:
            self._see(Sight(src, "doubled"))
        life = self._listeners[dst][2]
        for when_ns in arrivals:
            self._timeline.at(when_ns, self._arrive, src, dst, life, subject, frame, kind)

    def _arrive(self, src: str, dst: str, life: int, subject: str, frame: bytes, kind: str) -> None:
        if not self.is_connected(dst, life):
            return
        self._trace.note(self._timeline.now_ns, dst, "message", f"{kind} from {src}", frame)
        self._listeners[dst][0].receive(Received(subject, frame), life)

    def _absent(self, src: str, life: int, probe: int) -> None:
        if self.is_connected(src, life):
            self._trace.note(self._timeline.now_ns, src, "absent", f"probe {probe}")
            self._listeners[src][0].receive(Absent(probe), life)
