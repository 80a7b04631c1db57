"""Tasks that wait for somebody to do them, by capability: the highest priority first, then the oldest.

Invariant: a task waits at most once. Pure leaf; `ledger` fills and drains it.
"""

from collections import Counter
from heapq import heappop, heappush

from protocol.wire.task import TaskRecord


class Backlog:
    """One queue a capability; removal is lazy."""

    def __init__(self) -> None:
        self._queues: dict[str, list[tuple[int, int, str]]] = {}
        self._waiting: dict[str, str] = {}
        self._counts: Counter[str] = Counter()  # by capability

    def push(self, record: TaskRecord) -> None:
        """`record`'s task waits; harmless when it does already."""
        if record.id not in self._waiting:
            self._waiting[record.id] = record.capability
            self._counts[record.capability] += 1
            queue = self._queues.setdefault(record.capability, [])
            heappush(queue, (-record.priority, record.submitted_ms, record.id))

    def discard(self, task: str) -> None:
        """The task waits no more; harmless when it did not."""
        capability = self._waiting.pop(task, None)
        if capability is not None:
            self._counts[capability] -= 1

    def count(self, capability: str) -> int:
        """How many wait for this."""
        return self._counts[capability]

    def capabilities(self) -> list[str]:
        """Capabilities that something waits for."""
        for capability in [name for name, queue in self._queues.items() if not self._trimmed(queue)]:
            del self._queues[capability], self._counts[capability]
        return list(self._queues)

    def first(self, capability: str, count: int) -> list[str]:
        """Up to `count` waiting tasks, next first; they stay until they are discarded."""
        queue = self._trimmed(self._queues.get(capability, []))
        taken: dict[str, tuple[int, int, str]] = {}  # by task: one that waited before may stand there twice
        while queue and len(taken) < count:
            entry = heappop(queue)
            if entry[2] in self._waiting:
                taken[entry[2]] = entry
        for entry in taken.values():
            heappush(queue, entry)
        return list(taken)

    def __len__(self) -> int:
        return len(self._waiting)

    def _trimmed(self, queue: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
        while queue and queue[0][2] not in self._waiting:
            heappop(queue)
        return queue
