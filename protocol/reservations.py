"""Tasks that wait for a slot of this node, and may be taken by another node first.

Invariant: bounded; the highest priority first, then the oldest, then the one whose deadline is nearest.
A reservation promises nothing, for the write that takes the task decides, and lasts a lease: by then its watcher
has reserved anew, or knows better. Pure leaf of `holder`.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct, structs

from protocol import ids, limits, records
from protocol.effects import Write
from protocol.primitives import NS_PER_MS, Instant, Mono, NodeId
from protocol.wire.auction import Reserve, Round
from protocol.wire.task import TaskRecord, TaskState

SPOKEN_S = 1.0  # after the word of its watcher, another's is not heard


def as_told(body: Reserve, record: TaskRecord) -> TaskRecord | None:
    """The record with what its watcher knows besides; None when it is not free to be taken.

    It is while it stands open, or once whoever was awarded it last gave it back or fell silent.
    """
    told = body.unwritten
    attempts = (*record.attempts, *told.attempts)[-limits.ATTEMPTS_KEPT :]
    is_lost = record.state is TaskState.AWARDED and any(each.epoch == record.epoch for each in attempts)
    if record.id != body.task or not (record.state is TaskState.OPEN or is_lost):
        return None
    return structs.replace(
        record,
        attempts=attempts,
        failures=max(record.failures, told.failures),
        died=tuple(dict.fromkeys((*record.died, *told.died)))[: limits.ATTEMPTS_KEPT],
        rounds=(*record.rounds, *told.rounds)[-limits.ROUNDS_KEPT :],
    )


class Reserved(Struct, frozen=True):
    """One task that waits, as its watcher told of it."""

    record: TaskRecord
    revision: int
    watcher: NodeId
    watcher_life: int
    asked: int
    why: str
    since: Instant
    tried: Mono = 0  # when the write that takes it left


_Rank: TypeAlias = tuple[int, int, int, str]


class Reservations:
    """One queue a capability; a task stands in it once."""

    def __init__(self, *, lease_s: float) -> None:
        self._lease_s = lease_s
        self._waiting: dict[str, Reserved] = {}  # the oldest word first
        self._taking: dict[str, Reserved] = {}  # whose write is under way
        self._queues: dict[str, list[_Rank]] = {}  # by capability, ascending; none is empty

    def add(self, reserved: Reserved) -> None:
        """The task waits here too; the newer word about it replaces the older."""
        record = reserved.record
        self.expire(reserved.since)
        known = self._waiting.get(record.id)
        is_anothers = known is not None and known.watcher != reserved.watcher
        if known is not None and is_anothers and reserved.since.since_s(known.since.mono_ns) < SPOKEN_S:
            return  # its watcher has spoken a moment ago
        self.discard(record.id)
        if record.id in self._taking:
            return
        if len(self._waiting) < limits.RESERVED_MAX:
            self._waiting[record.id] = reserved
            insort(self._queues.setdefault(record.capability, []), _rank(record))

    def expire(self, now: Instant) -> None:
        """Those of which nobody has spoken for a lease wait here no more."""
        while self._waiting:
            task, oldest = next(iter(self._waiting.items()))
            if now.since_s(oldest.since.mono_ns) < self._lease_s:
                return
            self.discard(task)

    def discard(self, task: str) -> None:
        """It does not wait here any more; harmless when it did not."""
        reserved = self._waiting.pop(task, None)
        if reserved is None:
            return
        queue, rank = self._queues[reserved.record.capability], _rank(reserved.record)
        del queue[bisect_left(queue, rank)]
        if not queue:
            del self._queues[reserved.record.capability]

    def take_back(self, task: str, *, watcher: NodeId, revision: int) -> None:
        """Whoever reserved it says that it does not wait any more; another's word, or an older one, is nothing."""
        reserved = self._waiting.get(task)
        if reserved is not None and reserved.watcher == watcher and reserved.revision <= revision:
            self.discard(task)

    def clear(self) -> None:
        """Nothing waits here."""
        self._waiting.clear()
        self._queues.clear()

    def first(self, has_room: Callable[[str], bool]) -> Reserved | None:
        """The most urgent task whose capability has room."""
        firsts = [queue[0] for capability, queue in self._queues.items() if has_room(capability)]
        return self._waiting[min(firsts)[-1]] if firsts else None

    def take(self, reserved: Reserved, *, owner: NodeId, owner_life: int, now: Instant) -> Write:
        """The write by which this node takes the task, if nobody was before it."""
        record = reserved.record
        self.discard(record.id)
        self._taking[record.id] = structs.replace(reserved, tried=now.mono_ns)
        award = records.awarded(record, owner=owner, owner_life=owner_life, lease_s=self._lease_s, now=now)
        *rounds, told = record.rounds or (None,)
        if told is None or (told.gear, told.epoch, told.owner) != ("late", award.epoch, ""):  # its watcher is older
            rounds = list(record.rounds)
            told = Round(award.epoch, "late", reserved.why, reserved.since.wall_ms, asked=reserved.asked)
        took_ms = told.took_ms + max(0, (now.mono_ns - reserved.since.mono_ns) // NS_PER_MS)
        told = structs.replace(told, owner=owner, took_ms=min(took_ms, limits.SPAN_MS_MAX))
        award = structs.replace(award, rounds=(*rounds, told)[-limits.ROUNDS_KEPT :])
        return Write(ids.task_key(record.id), award, expect=reserved.revision)

    def taken(self, record: TaskRecord) -> Reserved | None:
        """The outcome of a write of this record is in: what it was to take, or None for a write of another kind."""
        reserved = self._taking.get(record.id)
        if reserved is None or (record.state, record.epoch) != (TaskState.AWARDED, reserved.record.epoch + 1):
            return None
        return self._taking.pop(record.id)

    def count(self, capability: str) -> int:
        """How many wait for this."""
        return len(self._queues.get(capability, ()))

    def __len__(self) -> int:
        return len(self._waiting)


def _rank(record: TaskRecord) -> _Rank:
    return (-record.priority, record.submitted_ms, record.deadline_ms, record.id)
