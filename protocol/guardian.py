"""Whose tasks this node must take up: its own after a restart, and those of homes that are gone.

Invariant: a listing only finds tasks; what happens to them is the ledger's, and a compare-and-set
makes doubles harmless. Neighbours: `membership` says who lives, `ledger` adopts what is found.
"""

from collections.abc import Callable

from msgspec import Struct

from protocol import ids
from protocol.effects import Effect, List
from protocol.ids import PARTITIONS
from protocol.primitives import Instant, Mono, NodeId
from protocol.timers import Timers
from protocol.watched import TaskSettings
from protocol.wire.task import ENDED, TaskRecord, TaskState

GUARDIANS = 3  # the first acts at once, the next ones a lease later each, on what is still in need
SWEEP_PARTITIONS = 2  # looked at together; 20 ms at 10,000 keys
RETRY_S = 1.0  # the listing failed: the store is away


class Homes(Struct, frozen=True):
    """What the node's view says about who could watch tasks."""

    alive: tuple[NodeId, ...]  # oneself included
    is_known: Callable[[NodeId], bool]
    settled_s: float  # how long the view has stood


class Guardian:
    """Which partitions to list, and which of the records found to adopt."""

    def __init__(self, *, me: NodeId, settings: TaskSettings) -> None:
        self._me = me
        self._settings = settings
        self._timers: Timers[str] = Timers()
        self._wanted: dict[str, dict[int, None]] = {}  # purpose → partitions to list when its timer comes
        self._swept = 0
        self._has_listed_all = False
        self._is_usable = False

    def on_link(self, *, is_usable: bool, now: Instant) -> list[Effect]:
        """The store can be read, or not. The first time, everything is listed: our own tasks may be there."""
        self._is_usable = is_usable
        if not is_usable:
            return []
        if not self._has_listed_all:
            self._has_listed_all = True
            self._timers.set("sweep", now.after(self._sweep_step_s()))
            return [List((partition,)) for partition in range(PARTITIONS)]
        return []

    def on_gone(self, homes: Homes, now: Instant) -> list[Effect]:
        """A node is not alive any more: look at the partitions that are ours to guard."""
        for partition in range(PARTITIONS):
            rank = self._rank(partition, homes)
            if rank < GUARDIANS:
                purpose = f"guard{rank}"
                self._wanted.setdefault(purpose, {})[partition] = None
                self._timers.set(purpose, now.after(rank * self._settings.lease_s))
        return self.on_tick(now)

    def on_listed(self, partitions: tuple[int, ...], *, failed: bool, now: Instant) -> None:
        """A listing that failed is made again."""
        if failed:
            for partition in partitions:
                self._wanted.setdefault("again", {})[partition] = None
            self._timers.set("again", now.after(RETRY_S))

    def is_ours(self, record: TaskRecord, homes: Homes, now: Instant) -> bool:
        """Should this node watch the task of this record?"""
        if record.state in ENDED:
            return False
        if record.home == self._me:
            return True
        if record.home in homes.alive:
            return False
        if not homes.is_known(record.home) and homes.settled_s < self._settings.settle_s:
            return False
        rank = self._rank(ids.partition(record.id), homes)
        return rank == 0 or (rank < GUARDIANS and self._is_in_need(record, rank, homes, now))

    def _is_in_need(self, record: TaskRecord, rank: int, homes: Homes, now: Instant) -> bool:
        """The guardians before us have had their time, and nobody is doing it."""
        moved_ms = max(record.submitted_ms, record.awarded_ms)
        if now.wall_ms - moved_ms < rank * self._settings.lease_s * 2_000:
            return False
        return record.state is TaskState.OPEN or record.owner not in homes.alive

    def _rank(self, partition: int, homes: Homes) -> int:
        order = ids.ranked(homes.alive, salt=f"partition/{partition}")
        return order.index(self._me) if self._me in order else GUARDIANS

    def on_tick(self, now: Instant) -> list[Effect]:
        """Listings that are due, and the slow sweep that finds what every other way missed."""
        effects: list[Effect] = []
        for purpose in self._timers.due(now.mono_ns):
            if purpose == "sweep":
                self._timers.set("sweep", now.after(self._sweep_step_s()))
                partitions = [(self._swept + step) % PARTITIONS for step in range(SWEEP_PARTITIONS)]
                self._swept = (self._swept + SWEEP_PARTITIONS) % PARTITIONS
            else:
                partitions = list(self._wanted.pop(purpose, {}))
            if self._is_usable:
                effects += [List((partition,)) for partition in partitions]
            elif purpose != "sweep":
                self._wanted[purpose] = dict.fromkeys(partitions)
                self._timers.set(purpose, now.after(RETRY_S))
        return effects

    def next_deadline(self) -> Mono | None:
        """The earliest listing that is due."""
        return self._timers.next()

    def _sweep_step_s(self) -> float:
        return self._settings.sweep_s * SWEEP_PARTITIONS / PARTITIONS
