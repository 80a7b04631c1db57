"""How often somebody may do something: so many a second, and a number at once after a while without.

Invariant: bounded in those that it remembers; who was forgotten has all of it again. Pure leaf; `topics`,
`hearing` and `duty` ask.
"""

from msgspec import Struct

from protocol import limits
from protocol.primitives import Instant, Mono, NodeId


class Allowance(Struct):
    """What is left of one. Mutable."""

    left: float
    as_of: Mono

    def take(self, now: Instant, *, per_s: int, most: int) -> bool:
        """Once more; False when nothing is left."""
        self.left = min(float(most), self.left + now.since_s(self.as_of) * per_s)
        self.as_of = now.mono_ns
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


class Allowances:
    """One for each node."""

    def __init__(self, *, per_s: int, most: int) -> None:
        self._per_s = per_s
        self._most = most
        self._of: dict[NodeId, Allowance] = {}

    def take(self, node: NodeId, now: Instant) -> bool:
        """Once more of that node; False when it has nothing left."""
        found = self._of.pop(node, None) or Allowance(float(self._most), now.mono_ns)
        if len(self._of) >= limits.PEERS_MAX:
            del self._of[next(iter(self._of))]
        self._of[node] = found  # last in the order: heard most recently
        return found.take(now, per_s=self._per_s, most=self._most)
