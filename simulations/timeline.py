"""Virtual time: what happens next, in nanoseconds since the world began.

Invariant: what is due at the same instant happens in the order in which it was arranged, and what
is arranged has for its cause what was under way when it was. Neighbours: everything arranges its
future here; only `world` lets it pass.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeAlias

from protocol.primitives import NS_PER_S

Deed: TypeAlias = Callable[..., None]


class Timeline:
    """A heap of (when, sequence, deed, arguments, cause)."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.steps = 0
        self.cause = 0  # the line of the trace that led to what happens now; 0: the scenario
        self._heap: list[tuple[int, int, Deed, tuple[Any, ...], int]] = []
        self._sequence = 0

    @property
    def now_s(self) -> float:
        """Seconds since the world began."""
        return self.now_ns / NS_PER_S

    def at(self, when_ns: int, deed: Deed, *arguments: object) -> None:
        """Do it then; at once, but after what is due already, when that is past."""
        self._sequence += 1
        at_ns = when_ns if when_ns > self.now_ns else self.now_ns
        heappush(self._heap, (at_ns, self._sequence, deed, arguments, self.cause))

    def after(self, delay_ns: int, deed: Deed, *arguments: object) -> None:
        """Do it that much later."""
        self.at(self.now_ns + delay_ns, deed, *arguments)

    def run(self, until_ns: int) -> None:
        """Let everything happen that is due up to `until_ns`."""
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            self.now_ns, _, deed, arguments, self.cause = heappop(heap)
            self.steps += 1
            deed(*arguments)
        self.now_ns = until_ns


def ns(seconds: float) -> int:
    """Seconds as whole nanoseconds."""
    return int(seconds * NS_PER_S)
