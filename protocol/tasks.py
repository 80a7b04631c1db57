"""The tasks that a node watches, by id, with all that is let go together with one.

Invariant: of a task that is not watched nothing is left: no timer, no place in a queue, no slot counted on, no
owner asked; and every request about it was answered. Pure leaf of `ledger`, which decides.
"""

from collections.abc import Iterator

from protocol import ids, records
from protocol.awards import refused
from protocol.backlog import Backlog
from protocol.effects import Effect, Reply, Write
from protocol.handover import Handover
from protocol.late import Late
from protocol.owners import Owners
from protocol.primitives import Instant, NodeId
from protocol.timers import Timers
from protocol.watched import Phase, Watched
from protocol.wire.task import ENDED, Status, TaskRecord, TaskState

LEFT_AT_ONCE = 512  # tasks let go in one turn: 5 ms
PURPOSES = ("answer", "award", "deadline", "kin", "late", "look", "retry")  # of the timers that one task may have


class Tasks:
    """All watched tasks; those of them that wait are in `backlog`."""

    def __init__(
        self, *, owners: Owners, handover: Handover, late: Late, timers: Timers[tuple[str, str]], keep_s: float
    ) -> None:
        self._owners = owners
        self._handover = handover
        self._late = late
        self._timers = timers
        self._keep_s = keep_s
        self._tasks: dict[str, Watched] = {}
        self._leaving: list[str] = []
        self._heirs: dict[str, dict[str, None]] = {}  # ancestor → what descends from it
        self.backlog = Backlog()

    def watch(self, record: TaskRecord, *, revision: int, frame: bytes) -> Watched:
        """From now on."""
        watched = self._tasks[record.id] = Watched(record, revision=revision, frame=frame)
        for ancestor in record.ancestors:
            self._heirs.setdefault(ancestor, {})[record.id] = None
        return watched

    def get(self, task: str) -> Watched | None:
        """The task, if it is watched."""
        return self._tasks.get(task)

    def descendants(self, task: str) -> list[Watched]:
        """The watched tasks that this one led to, itself or through others."""
        return [self._tasks[heir] for heir in self._heirs.get(task, ())]

    def awarded_to(self, sender: NodeId, task: str, epoch: int) -> Watched | None:
        """The task, if this very award of it to the sender stands."""
        watched = self._tasks.get(task)
        return watched if watched is not None and watched.is_awarded_to(sender, epoch) else None

    def status(self, tasks: tuple[str, ...]) -> tuple[Status, ...]:
        """What only the watcher knows of these."""
        return tuple(self._tasks[task].status() for task in tasks if task in self._tasks)

    def first(self, capability: str, count: int) -> list[Watched]:
        """Those that wait, the most urgent first."""
        return [self._tasks[task] for task in self.backlog.first(capability, count)]

    def to_reserve(self, capability: str, now: Instant) -> Iterator[Watched]:
        """Those that wait and are reserved next; each is given out before the next is asked for."""
        count = self._late.next(capability, self.backlog.count(capability), now)
        for watched in self.first(capability, count):
            if self._late.room(capability, now) <= 0:
                return
            if self._late.is_due(watched, now):
                yield watched

    def revision_of(self, task: str) -> int | None:
        """The revision under which a watched task is known to stand; -1 for none, None when it is not watched."""
        watched = self._tasks.get(task)
        return None if watched is None else watched.revision if watched.is_sound else -1

    def abandon(self, home: NodeId, now: Instant) -> list[Effect]:
        """The home is back and watches its own tasks again."""
        return self.leave(tuple(each.record.id for each in self if each.record.home == home), now)

    def __contains__(self, task: str) -> bool:
        return task in self._tasks

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)

    # --- one of them

    def write(self, watched: Watched, record: TaskRecord, now: Instant, *, urgent: bool = False) -> list[Effect]:
        """Change its record; until the outcome is in, nobody is asked about it and nobody is given it."""
        self.backlog.discard(record.id)
        self._timers.cancel(("award", record.id))
        self._owners.release(record.id)
        watched.phase = Phase.WRITING
        record = watched.with_rounds(record)
        if watched.amiss:
            watched.put_back(now)
        keep_s = records.keep_s(record, self._keep_s) if record.state in ENDED else 0.0
        return [Write(ids.task_key(record.id), record, expect=watched.revision, keep_s=keep_s, urgent=urgent)]

    def stand_by(self, watched: Watched, now: Instant) -> None:
        """No write is under way: its owner is asked, unless it gave the task back, or fell silent before."""
        record = watched.record
        watched.phase = Phase.WAITING
        if record.state is TaskState.AWARDED and record.epoch != watched.declined_epoch:
            self._handover.keep_asking(watched, now)
            if record.epoch != watched.lapsed_epoch:
                watched.phase = Phase.HELD

    def answer_submits(self, watched: Watched) -> list[Effect]:
        """It is on record: whoever submitted it is told."""
        self._timers.cancel(("answer", watched.record.id))
        requests, watched.submits = watched.submits, []
        return [Reply(request, value=watched.record) for request in requests]

    def drop(self, watched: Watched, now: Instant, code: str, **fields: object) -> list[Effect]:
        """There is no such task: whoever asked for anything is told why."""
        requests = (*watched.submits, *watched.waits, *(order.request for order in watched.cancels))
        watched.waits = []
        self.forget(watched, now)
        return [refused(request, code, **fields) for request in requests]

    def leave(self, tasks: tuple[str, ...], now: Instant) -> list[Effect]:
        """Others watch these: let them go, some at a time, but for those that something of ours is under way with."""
        self._leaving += tasks
        some, self._leaving = self._leaving[:LEFT_AT_ONCE], self._leaving[LEFT_AT_ONCE:]
        if self._leaving:
            self._timers.set(("leave", ""), now.mono_ns)
        known = [self._tasks[task] for task in some if task in self._tasks]
        return [effect for watched in known if watched.is_idle for effect in self.forget(watched, now)]

    def forget(self, watched: Watched, now: Instant) -> list[Effect]:
        """Watch it no more; whoever waits for its end has to ask elsewhere."""
        task = watched.record.id
        self._handover.unreserve(watched, now)
        self._owners.release(task)
        self.backlog.discard(task)
        self._late.drop(watched, now)  # who tries to take it will find that it is gone
        for purpose in PURPOSES:
            self._timers.cancel((purpose, task))
        for ancestor in self._tasks.pop(task).record.ancestors:
            heirs = self._heirs.get(ancestor, {})
            heirs.pop(task, None)
            if not heirs:
                self._heirs.pop(ancestor, None)
        return [refused(request, "unknown_task", task=task) for request in watched.waits]
