"""The broker: takes messages from those who are connected to those who listen.

Invariant: at most once, and nothing is kept for who is away. Who sends to a life that nobody
listens for is told so, if the message asked for it: `Absent`, as the real broker's "no responders".
Neighbours: hosts connect and publish; `network` says what arrives when.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Annotated, Protocol, TypeAlias

from msgspec import Meta, Struct

from protocol.effects import Carry, Send, Spread
from protocol.inputs import Absent, Input, Received
from protocol.limits import INBOX_MAX
from protocol.primitives import NS_PER_S, NodeId
from simulations.chance import Delay
from simulations.network import Network
from simulations.seen import Said, Seen, Sight
from simulations.timeline import Timeline
from simulations.trace import Trace

Ear: TypeAlias = Callable[[str, bytes, object], None]  # is told subject, frame and body


class Listener(Protocol):
    """Where messages go: a host."""

    def receive(self, input: Input, life: int) -> None:
        """An input for one life of it."""
        ...


class BrokerModel(Struct, frozen=True, forbid_unknown_fields=True):
    """How the broker behaves: how late "no responders" comes, how soon clients are back after an outage,
    how many messages wait for one client, and how many a second it flushes after it stood still (0: all at once).
    """

    absent: Delay = Delay()
    reconnect: Delay = Delay(p50_ms=200.0, p99_ms=298.0, shape="uniform")
    pending_max: Annotated[int, Meta(ge=1, le=10_000_000)] = INBOX_MAX
    flush_per_s: Annotated[float, Meta(ge=0, le=1e9)] = 200_000.0


class Broker:
    """Who is connected, and under which life."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        network: Network,
        trace: Trace,
        see: Callable[[Seen], None],
        model: BrokerModel | None = None,
    ) -> None:
        self.model = model or BrokerModel()
        self._timeline = timeline
        self._network = network
        self._trace = trace
        self._see = see
        self._listeners: dict[str, tuple[Listener, NodeId, int]] = {}
        self._narrow: dict[str, str] = {}  # who hears the facts of one region alone, and which subjects these are
        self._names: dict[tuple[NodeId, int], str] = {}
        self._held: deque[tuple[Callable[..., None], tuple[object, ...], int]] = (
            deque()
        )  # what waits, each with its cause
        self._is_still = self._is_flushing = False
        self._over: list[Callable[[], None]] = []  # who is told when nothing waits any more
        self._ears: list[Ear] = []  # who hears all, and should not
        self._heeders: list[Callable[[str, Spread], None]] = []  # are told of facts before they go out
        self.is_down = False  # nobody can connect
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

    # --- faults

    def hold(self) -> None:
        """It stands still: everybody stays connected, and nothing arrives."""
        self._is_still = True

    def release(self, over: Callable[[], None]) -> None:
        """It goes on, with all that it was given meanwhile first; and says when that is over."""
        self._is_still = False
        self._over.append(over)
        if not self._is_flushing:
            self._is_flushing = True
            self._timeline.after(0, self._flush)

    def _flush(self) -> None:
        """The first of what waits; what comes before the last of it waits behind it."""
        self._is_flushing = False
        if self._is_still:
            return
        if self._held:
            deed, arguments, self._timeline.cause = self._held.popleft()
            deed(*arguments)
        if self._held:
            self._is_flushing = True
            gap_ns = int(NS_PER_S / self.model.flush_per_s) if self.model.flush_per_s else 0
            self._timeline.after(gap_ns, self._flush)
            return
        over, self._over = self._over, []
        for each in over:
            each()

    def _is_held(self, deed: Callable[..., None], *arguments: object) -> bool:
        if self._is_still or self._is_flushing:
            self._held.append((deed, arguments, self._timeline.cause))
            return True
        return False

    # --- people

    def overhear(self, ear: Ear) -> None:
        """From now on somebody hears all that is said."""
        self._ears.append(ear)

    def heed(self, told: Callable[[str, Spread], None]) -> None:
        """From now on somebody is told of every fact before it goes out, and by whom it is."""
        self._heeders.append(told)

    def utter(self, src: str, subject: str, frame: bytes, kind: str) -> None:
        """Any bytes, by anybody, under any subject: to those who listen there."""
        _, _, family, *place = subject.split(".")
        if self.is_down:
            return
        if family == "node":
            heard_by = [self._names.get((place[0], int(place[1])), src)]
        else:
            heard_by = [name for name in self._listeners if subject.startswith(self._narrow.get(name, ""))]
        for dst in heard_by:
            if dst != src:
                self._carry(src, dst, subject, frame, kind)

    # --- messages

    def send(self, src: str, message: Send) -> None:
        """One message to one life."""
        if src not in self._listeners:
            return
        self._count(src, message.body, len(message.frame))
        self._tell(message.subject, message.frame, message.body)
        dst = self._names.get((message.to, message.life))
        if dst is None or self._network.is_known_cut(src, dst):
            if message.reply:
                probe = int(message.reply.rpartition(".")[2])
                life = self._listeners[src][2]
                self._timeline.after(self._absent_ns(src), self._absent, src, life, probe)
            return
        self._carry(src, dst, message.subject, message.frame, type(message.body).__name__)

    def tune(self, name: str, facts: str) -> None:
        """From now on it hears the facts on these subjects, and no others; who never said so hears all."""
        prefix = facts.removesuffix("*")
        self._narrow.pop(name, None)
        if "*" not in prefix:
            self._narrow[name] = prefix

    def carry(self, src: str, load: Carry, region: Iterable[str]) -> None:
        """What a bridge carries, to all others of its region."""
        if src in self._listeners:
            self._count(src, load.body, len(load.frame))
            for dst in region:
                if dst != src and dst in self._listeners:
                    self._carry(src, dst, load.subject, load.frame, type(load.body).__name__)

    def spread(self, src: str, fact: Spread) -> None:
        """One fact to everybody else who hears that region."""
        if src not in self._listeners:
            return
        self._count(src, fact.body, len(fact.frame))
        former = self._timeline.cause
        for heed in self._heeders:
            heed(src, fact)
        self._tell(fact.subject, fact.frame, fact.body)
        for dst in self._listeners:
            if dst != src and fact.subject.startswith(self._narrow.get(dst, "")):
                self._carry(src, dst, fact.subject, fact.frame, type(fact.body).__name__)
        self._timeline.cause = former

    def _count(self, src: str, body: object, size: int) -> None:
        kind = type(body).__name__
        self.sent[kind] = self.sent.get(kind, 0) + 1
        self._see(Said(src, kind, size))

    def _tell(self, subject: str, frame: bytes, body: object) -> None:
        for ear in self._ears:
            ear(subject, frame, body)

    def _absent_ns(self, src: str) -> int:
        return self.model.absent.draw_ns(self._network.dice(src, "broker"))

    def _carry(self, src: str, dst: str, subject: str, frame: bytes, kind: str) -> None:
        arrivals = self._network.arrivals(src, dst, frame, kind=kind)
        if not arrivals:
            self._trace.note(self._timeline.now_ns, src, "lost", f"{kind} to {dst}", frame)
            self._see(Sight(src, "lost"))
        elif len(arrivals) > 1:
            self._see(Sight(src, "doubled"))
        life = self._listeners[dst][2]
        for when_ns, worn in arrivals:
            if worn is not frame:
                self._see(Sight(dst, "harmed"))
            self._timeline.at(when_ns, self._arrive, src, dst, life, subject, worn, kind)

    def _arrive(self, src: str, dst: str, life: int, subject: str, frame: bytes, kind: str) -> None:
        if not self.is_connected(dst, life) or self._is_held(self._arrive, src, dst, life, subject, frame, kind):
            return
        self._trace.note(self._timeline.now_ns, dst, "message", f"{kind} from {src}", frame)
        self._listeners[dst][0].receive(Received(subject, frame), life)

    def _absent(self, src: str, life: int, probe: int) -> None:
        if self.is_connected(src, life) and not self._is_held(self._absent, src, life, probe):
            self._trace.note(self._timeline.now_ns, src, "absent", f"probe {probe}")
            self._listeners[src][0].receive(Absent(probe), life)
