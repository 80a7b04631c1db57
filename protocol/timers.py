"""Deadlines of one machine, by key; the machine asks which are due.

Invariant: one deadline a key; equal deadlines come due in the order they were set, so the same
inputs give the same effects. The head of the heap is armed: `next`, asked after every input, is
one look. Neighbours: each machine keeps one of its own.
"""

from collections.abc import Hashable, Iterable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from protocol.primitives import Mono

Key = TypeVar("Key", bound=Hashable)

ALL = 1 << 62
_STALE_RATIO_MAX = 4  # rebuild the heap when cancelled entries outnumber live ones this many times


def soonest(deadlines: Iterable[Mono | None]) -> Mono | None:
    """The earliest of some deadlines, each of which may be none; asked after every input."""
    first: Mono | None = None
    for at in deadlines:
        if at is not None and (first is None or at < first):
            first = at
    return first


class Timers(Generic[Key]):
    """A heap of (deadline, sequence, key) with lazy cancellation."""

    def __init__(self) -> None:
        self._heap: list[tuple[Mono, int, Key]] = []
        self._live: dict[Key, tuple[Mono, int]] = {}
        self._sequence = 0

    def set(self, key: Key, at: Mono) -> None:
        """Arm `key` for the monotonic time `at` (nanoseconds), replacing an earlier deadline."""
        self._sequence += 1
        self._live[key] = (at, self._sequence)
        heappush(self._heap, (at, self._sequence, key))
        self._drop_stale()
        if len(self._heap) > 64 + _STALE_RATIO_MAX * len(self._live):
            self._heap = [(at, seq, key) for key, (at, seq) in self._live.items()]
            heapify(self._heap)

    def cancel(self, key: Key) -> None:
        """Disarm `key`; harmless when it is not armed."""
        if self._live.pop(key, None) is not None:
            self._drop_stale()

    def deadline(self, key: Key) -> Mono | None:
        """When `key` comes due, or None."""
        entry = self._live.get(key)
        return None if entry is None else entry[0]

    def postpone(self, by_ns: int) -> None:
        """Move every deadline later: the clock stood still that long."""
        self._live = {key: (at + by_ns, seq) for key, (at, seq) in self._live.items()}
        self._heap = [(at, seq, key) for key, (at, seq) in self._live.items()]
        heapify(self._heap)

    def next(self) -> Mono | None:
        """The earliest deadline, or None."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: Mono, *, most: int = ALL) -> list[Key]:
        """Keys whose deadline has come, earliest first, `most` of them; each is disarmed."""
        if not self._heap or self._heap[0][0] > now:
            return []
        keys: list[Key] = []
        while self._heap and self._heap[0][0] <= now and len(keys) < most:
            _, _, key = heappop(self._heap)
            del self._live[key]
            keys.append(key)
            self._drop_stale()
        return keys

    def _drop_stale(self) -> None:
        while self._heap:
            at, sequence, key = self._heap[0]
            if self._live.get(key) == (at, sequence):
                return
            heappop(self._heap)

    def __len__(self) -> int:
        return len(self._live)
