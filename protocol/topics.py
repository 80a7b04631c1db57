"""What agents publish for each other: at most once, to who listens at that moment, without a record.

Invariant: an agent gets one event at a time, in the order in which they came to this node, beside its slots: events
keep no work waiting. What it does not keep up with is dropped, the oldest first, and counted. An event counts
those that led to it, so a circle of handlers comes to rest.
Neighbours: `node` passes in what is published here and elsewhere; what a handler asks for goes the way of all work.
"""

from collections import deque

from msgspec import Struct, field

from protocol import ids, limits
from protocol.allowances import Allowance
from protocol.awards import refused
from protocol.effects import Announce, Effect, Emit, Listen, Reply, RunAgent, Uttered
from protocol.events import EventsLost
from protocol.inputs import AgentFailed, AgentFinished, Publish
from protocol.primitives import Instant, NodeId
from protocol.replica import Me
from protocol.subjects import Subjects
from protocol.wire.agents import Card
from protocol.wire.topic import Published

EVENT = "event-"  # ids of events as agents see them, beside those of tasks and calls
OVERRUN = "overrun"  # why an event was lost: its agent did not keep up


class Hearing(Struct, frozen=True):
    """How one agent keeps up with what it listens to, since this node started."""

    waiting: int
    handled: int
    failed: int
    dropped: int


class _Event(Struct, frozen=True):
    topic: str
    publisher: str
    said: Published
    iid: str
    gid: str


class _Listener(Struct):
    """One agent of this node. Mutable."""

    card: Card
    waiting: deque[_Event] = field(default_factory=deque)
    in_hand: str = ""  # id of the event that it handles
    topic: str = ""  # of that event
    handled: int = 0
    lost: dict[str, int] = {}

    def lose(self, topic: str, why: str, detail: str) -> list[Effect]:
        """Count it; told at powers of two, for an agent that fails with every event fails often."""
        count = self.lost[why] = self.lost.get(why, 0) + 1
        return [] if count & (count - 1) else [Emit(EventsLost(self.card.name, topic, why, detail, count))]


class Topics:
    """Who listens on this node, and what waits for them."""

    def __init__(self, *, me: Me, subjects: Subjects) -> None:
        self._me = me
        self._subjects = subjects
        self._listeners: dict[str, _Listener] = {}
        self._allowances: dict[str, Allowance] = {}
        self._heard: tuple[str, ...] = ()
        self._number = 0

    def advertise(self, cards: tuple[Card, ...]) -> list[Effect]:
        """The agents that are here now, all of them; one without slots is not ready, and what it hears waits."""
        former = self._listeners
        self._listeners = {}
        for card in cards:
            if card.topics:
                listener = self._listeners[card.name] = former.get(card.name) or _Listener(card)
                listener.card = card
        here = {card.name for card in cards}
        self._allowances = {name: each for name, each in self._allowances.items() if name in here}
        wanted = tuple(sorted({topic for each in self._listeners.values() for topic in each.card.topics}))
        effects: list[Effect] = [] if wanted == self._heard else [self._listen(wanted)]
        self._heard = wanted
        for listener in self._listeners.values():
            effects += self._next(listener)
        return effects

    def _listen(self, topics: tuple[str, ...]) -> Listen:
        return Listen(tuple(self._subjects.topic(each) for each in topics))

    # --- what is said

    def publish(self, order: Publish, now: Instant) -> list[Effect]:
        """An agent of this node says something."""
        if not ids.is_topic(order.topic):
            return [refused(order.request, "bad_topic", topic=repr(order.topic[: limits.TEXT_CHARS_MAX]))]
        if len(order.value) > limits.EVENT_BYTES_MAX:
            sizes = {"bytes": len(order.value), "limit": limits.EVENT_BYTES_MAX}
            return [refused(order.request, "too_large", what="the event", **sizes)]
        if order.hops > limits.HOPS_MAX:
            what = f"this event would be number {order.hops} that one led to; the limit is {limits.HOPS_MAX}"
            return [refused(order.request, "bad_input", what=what)]
        most = limits.EVENTS_PER_S_MAX
        allowance = self._allowances.setdefault(order.agent, Allowance(most, now.mono_ns))
        if not allowance.take(now, per_s=most, most=most):
            limit = f"{most} events/s"
            return [refused(order.request, "overloaded", what=f"the share of {order.agent}", limit=limit)]
        said = Published(order.agent, order.value, order.hops, "domain" if order.visibility == "domain" else "mesh")
        effects: list[Effect] = [Reply(order.request, value=Uttered(order.agent, order.topic, order.iid, order.gid))]
        if order.visibility != "private":
            effects.append(Announce(said, self._subjects.topic(order.topic), order.iid, order.gid))
        event = _Event(order.topic, f"{said.agent}@{ids.short(self._me.id)}", said, order.iid, order.gid)
        return effects + self._hear(event)

    # --- what is heard

    def on_published(self, src: NodeId, subject: str, said: Published, *, iid: str, gid: str) -> list[Effect]:
        """An event of another node."""
        return self._hear(_Event(self._subjects.topic_of(subject), f"{said.agent}@{ids.short(src)}", said, iid, gid))

    def _hear(self, event: _Event) -> list[Effect]:
        """For each agent here that listens to it."""
        effects: list[Effect] = []
        for listener in self._listeners.values():
            if event.topic in listener.card.topics and self._may_hear(listener.card, event):
                effects += self._put(listener, event)
        return effects

    def _may_hear(self, card: Card, event: _Event) -> bool:
        domain, _, _ = event.topic.partition(".")
        return event.said.visibility == "mesh" or domain == (card.domain or self._me.domain)

    def _put(self, listener: _Listener, event: _Event) -> list[Effect]:
        effects: list[Effect] = []
        if len(listener.waiting) >= limits.EVENTS_WAITING_MAX:
            missed = listener.waiting.popleft()
            effects += listener.lose(missed.topic, OVERRUN, f"{limits.EVENTS_WAITING_MAX} events wait already")
        listener.waiting.append(event)
        return effects + self._next(listener)

    def _next(self, listener: _Listener) -> list[Effect]:
        if listener.in_hand or not listener.waiting or not listener.card.slots:
            return []
        event = listener.waiting.popleft()
        self._number += 1
        listener.in_hand = f"{EVENT}{ids.short(self._me.id)}-{self._number}"
        listener.topic = event.topic
        return [
            RunAgent(
                agent=listener.card.name,
                task=listener.in_hand,
                epoch=0,
                attempt=1,
                capability="",
                input=event.said.value,
                deadline_s=limits.EVENT_S_MAX,
                iid=event.iid,
                gid=event.gid,
                hops=event.said.hops + 1,
                ancestors=(),
                topic=event.topic,
                publisher=event.publisher,
            )
        ]

    def on_end(self, report: AgentFinished | AgentFailed) -> list[Effect]:
        """The agent is done with the event in its hand, one way or the other."""
        for listener in self._listeners.values():
            if listener.in_hand == report.task:
                listener.in_hand = ""
                listener.handled += 1
                lost: list[Effect] = []
                if isinstance(report, AgentFailed):
                    lost = listener.lose(listener.topic, report.code, report.message[: limits.TEXT_CHARS_MAX])
                return lost + self._next(listener)
        return []

    # --- for readers

    def hearing(self) -> dict[str, Hearing]:
        """How each agent that listens keeps up, by its name."""
        return {
            name: Hearing(
                waiting=len(each.waiting) + bool(each.in_hand),
                handled=each.handled,
                failed=sum(count for why, count in each.lost.items() if why != OVERRUN),
                dropped=each.lost.get(OVERRUN, 0),
            )
            for name, each in self._listeners.items()
        }
