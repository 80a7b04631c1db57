"""How far the clocks of others are from ours, measured by questions: an answer is new, whatever its date says.

Invariant: only the answer to an open question moves a measure, and no further than it must; when our own
clock is set, all measures move at once. Neighbours: `envelope` dates frames by their sender's clock,
`timekeeping` judges whose clock is off.
"""

from collections.abc import Collection
from statistics import median_high, median_low

from msgspec import structs

from protocol import limits
from protocol.primitives import NS_PER_MS, NS_PER_S, Instant, Mono, NodeId, WallMs

ASK_INTERVAL_S = 0.25  # one node is asked about its date at most this often


class Clocks:
    """The clocks of one view, in milliseconds ahead of this host's; those behind are negative.

    Every `Instant` given here is the node's: the host's clock, or the mesh's while `ours_ms` says
    how far the host's is ahead of it.
    """

    def __init__(self) -> None:
        self._ahead_ms: dict[NodeId, int] = {}
        self._asked: dict[NodeId, Mono] = {}
        self._anchor_ms: int | None = None  # what the host's clock says when the monotonic one says nothing
        self.ours_ms = 0  # how far the host's clock is ahead of most others; 0 while it is as right as theirs
        self.moves = 0  # how many measures have changed so far

    def has_been_set(self, host: Instant) -> bool:
        """Was the host's clock set since this was last asked? Then every other is that much further from it."""
        anchor_ms = host.wall_ms - host.mono_ns // NS_PER_MS
        former_ms, self._anchor_ms = self._anchor_ms, anchor_ms
        if former_ms is None or abs(anchor_ms - former_ms) < limits.CLOCK_STEP_MS_MIN:
            return False
        step_ms = anchor_ms - former_ms
        self._ahead_ms = {node: ahead_ms - step_ms for node, ahead_ms in self._ahead_ms.items()}
        self.moves += 1
        return True

    def measure(self, node: NodeId, sent_ms: WallMs, *, asked: Mono, now: Instant) -> None:
        """It answered a question of ours: between asking and hearing, its clock said `sent_ms`."""
        least = sent_ms - self.host(now).wall_ms - 1
        most = least + (now.mono_ns - asked) // NS_PER_MS + 2
        former = self._ahead_ms.pop(node, 0)
        ahead_ms = max(least, min(former, most))
        if ahead_ms != former:
            self.moves += 1
        if len(self._ahead_ms) >= 2 * limits.PEERS_MAX:
            del self._ahead_ms[next(iter(self._ahead_ms))]
        self._ahead_ms[node] = ahead_ms

    def ahead_ms(self, node: NodeId) -> int:
        """How far its clock is ahead of the host's; who was never measured has the time of most others."""
        return self._ahead_ms.get(node, -self.ours_ms)

    def middle_ms(self, nodes: Collection[NodeId]) -> int:
        """What the clocks of `nodes` and the host's say in the middle, ahead of the host's; unmeasured, it is as ours.

        Of two in the middle the one nearer to the host's, for then no more than half differ from it.
        """
        ahead = sorted((0, *(self._ahead_ms.get(node, 0) for node in nodes)))
        return min(median_low(ahead), median_high(ahead), key=abs)

    def host(self, now: Instant) -> Instant:
        """What the host's clocks say: what we date our frames with."""
        return structs.replace(now, wall_ms=now.wall_ms + self.ours_ms) if self.ours_ms else now

    def time_of(self, node: NodeId, now: Instant) -> WallMs:
        """What its clock says now: what its frames are dated with."""
        return self.host(now).wall_ms + self.ahead_ms(node)

    def may_ask(self, node: NodeId, now: Instant) -> bool:
        """Is it time to ask it, because of a date that does not fit? Not again before a while."""
        last = self._asked.pop(node, None)
        is_time = last is None or now.mono_ns - last >= ASK_INTERVAL_S * NS_PER_S
        if len(self._asked) >= limits.PEERS_MAX:
            del self._asked[next(iter(self._asked))]
        self._asked[node] = now.mono_ns if last is None or is_time else last
        return is_time


def spoken(ahead_ms: int) -> str:
    """3 h 0 min ahead of, 12 s behind."""
    seconds = round(abs(ahead_ms) / 1_000)
    for unit, part, unit_s, part_s in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if seconds >= unit_s:
            length = f"{seconds // unit_s} {unit} {seconds % unit_s // part_s} {part}"
            break
    else:
        length = f"{seconds} s"
    return f"{length} {'ahead of' if ahead_ms > 0 else 'behind'}"
