"""Whose clock is off, ours perhaps: named once, and asked about when a frame's date does not fit.

Invariant: who is off is told by measures alone, never by a date that nobody asked for. The time is what the
clock in the middle of the view says, ourselves counted; when the host's is off from that, this node goes by it.
Neighbours: `clocks` measures, `membership` asks, `places` gives no work to who is off.
"""

from collections.abc import Mapping

from msgspec import structs

from protocol import limits
from protocol.clocks import Clocks, spoken
from protocol.effects import Effect, Emit
from protocol.envelope import Envelope
from protocol.events import ClockOff, ClockRight
from protocol.membership import Membership
from protocol.primitives import Instant, NodeId
from protocol.replica import Me
from protocol.wire.swim import Ack

ASKED_MAX = 16  # nodes asked at once when our own clock was set; the others are asked in their turn


class Timekeeping:
    """What this node thinks of the clocks of its view."""

    def __init__(self, *, me: Me, clocks: Clocks, membership: Membership) -> None:
        self._me = me
        self._clocks = clocks
        self._membership = membership
        self._off: dict[NodeId, int] = {}  # how far ahead of most, as it was told last
        self._judged: tuple[int, tuple[NodeId, ...]] = (0, ())  # the measures and the view that this is of

    @property
    def is_right(self) -> bool:
        """Is the host's clock as right as those of the others?"""
        return not self._clocks.ours_ms

    @property
    def off(self) -> Mapping[NodeId, int]:
        """Whose clock is off, ours perhaps, and how far it is ahead of most others, in milliseconds."""
        return self._off

    def by_the_mesh(self, host: Instant) -> tuple[Instant, list[Effect]]:
        """The time that this node goes by; when the host's clock has just been set, others are asked for theirs."""
        has_been_set = self._clocks.has_been_set(host)
        if has_been_set:
            self._judge()
        now = host
        if self._clocks.ours_ms:
            now = structs.replace(host, wall_ms=host.wall_ms - self._clocks.ours_ms)
        if not has_been_set:
            return now, []
        asked = self._membership.living()[:ASKED_MAX]
        return now, [effect for node in asked for effect in self._membership.ask(node, now)]

    def on_ack(self, opened: Envelope, body: Ack, now: Instant) -> bool:
        """An answer: if we asked, its date is its sender's clock of a moment ago. True when that is news."""
        asked = self._membership.asked_at(opened.src, opened.header.life, body.probe)
        if asked is None:
            return False
        former_ms = self._clocks.ahead_ms(opened.src)
        self._clocks.measure(opened.src, opened.header.sent_ms, asked=asked, now=now)
        return abs(self._clocks.ahead_ms(opened.src) - former_ms) > limits.CLOCK_OFF_MS

    def problem(self) -> dict[str, object]:
        """What is wrong with the host's clock, for people."""
        return {"node": self._me.name, "off": spoken(self._clocks.ours_ms)}

    def after(self) -> list[Effect]:
        """Whose clock is off now and was not, or is right again."""
        living = self._membership.living()
        if self._judged == (self._clocks.moves, living):
            return []
        self._judged = (self._clocks.moves, living)
        self._judge()
        ours_ms = self._clocks.ours_ms
        found = {node: self._clocks.ahead_ms(node) + ours_ms for node in living}
        off = {node: ms for node, ms in {**found, self._me.id: ours_ms}.items() if self._is_off(node, ms)}
        told: list[Effect] = []
        for node, ms in off.items():
            if abs(ms - self._off.get(node, 0)) > limits.CLOCK_OFF_MS:
                self._off[node] = ms
                told.append(Emit(ClockOff(node, self._name(node), ms)))
        for node in [each for each in self._off if each not in off]:
            del self._off[node]
            if node in found or node == self._me.id:
                told.append(Emit(ClockRight(node, self._name(node))))
        return told

    def _is_off(self, node: NodeId, ms: int) -> bool:
        """A clock that was off has to come a little closer than it had to go, so that nothing is told in turns."""
        return abs(ms) > (limits.CLOCK_OFF_MS * 4 // 5 if node in self._off else limits.CLOCK_OFF_MS)

    def _judge(self) -> None:
        middle_ms = self._clocks.middle_ms(self._membership.living())
        self._clocks.ours_ms = -middle_ms if self._is_off(self._me.id, middle_ms) else 0

    def _name(self, node: NodeId) -> str:
        peer = self._membership.peer(node)
        return "" if peer is None else peer.name
