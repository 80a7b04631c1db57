"""What one node says to all: each broadcast once more a little later, and pages of facts for one reader.

Invariant: a newer broadcast about the same thing replaces the older one that waits, and never more
than `BROADCASTS_MAX` wait. Core NATS delivers at most once; one repetition mends most losses,
digests mend the rest. Neighbour: `gossip` sends these.
"""

from collections.abc import Iterable, Iterator

from protocol import limits
from protocol.effects import Spread
from protocol.primitives import Instant, Mono, NodeId
from protocol.timers import Timers

Key = tuple[NodeId, str]  # whom it is about, and what it says


class Repeats:
    """Own broadcasts that will be sent once more, as they were sealed."""

    def __init__(self) -> None:
        self._waiting: dict[Key, Spread] = {}
        self._timers: Timers[Key] = Timers()

    def keep(self, key: Key, fact: Spread, at: Mono) -> None:
        """Send `fact` again at the monotonic time `at`, in place of what waits under this key."""
        self._waiting.pop(key, None)
        if len(self._waiting) >= limits.BROADCASTS_MAX:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            self._timers.cancel(oldest)
        self._waiting[key] = fact
        self._timers.set(key, at)

    def drop(self, about: NodeId) -> None:
        """What was said of this node holds no more, and is not said again."""
        for key in [key for key in self._waiting if key[0] == about]:
            del self._waiting[key]
            self._timers.cancel(key)

    def due(self, now: Instant) -> list[Spread]:
        """Those whose time has come, in the order they were first sent."""
        return [self._waiting.pop(key) for key in self._timers.due(now.mono_ns)]

    def next(self) -> Mono | None:
        """When the next one is due."""
        return self._timers.next()

    def clear(self) -> None:
        """Nothing waits any more: what was to be said is said anew."""
        self._waiting.clear()
        self._timers = Timers()

    def __len__(self) -> int:
        return len(self._waiting)


def pages(frames: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Frames in pages of at most `FACTS_PER_DELTA_MAX` and `DELTA_BYTES_MAX`, in their order."""
    page: list[bytes] = []
    page_bytes = 0
    for frame in frames:
        if page and (len(page) >= limits.FACTS_PER_DELTA_MAX or page_bytes + len(frame) > limits.DELTA_BYTES_MAX):
            yield tuple(page)
            page, page_bytes = [], 0
        page.append(frame)
        page_bytes += len(frame)
    if page:
        yield tuple(page)
