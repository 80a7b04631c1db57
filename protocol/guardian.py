"""Whose tasks this node must take up: its own after a restart, and those of homes that are gone.

Invariant: a listing only finds tasks; what happens to them is the ledger's, and a compare-and-set
makes doubles harmless. Neighbours: `membership` says who lives, `ledger` adopts what is found.
"""

from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct

from protocol import ids
from protocol.effects import Effect, List
from protocol.ids import PARTITIONS
from protocol.inputs import Entry
from protocol.primitives import Instant, Mono, NodeId
from protocol.timers import Timers
from protocol.watched import TaskSettings
from protocol.wire.task import ENDED, TaskRecord, TaskState

GUARDIANS = 3  # the first acts at once, the next ones a lease later each, on what is still in need
SWEEP_PARTITIONS = 2  # looked at together; 20 ms at 10,000 keys
RETRY_S = 1.0  # the listing failed: the store is away
PASSED_MAX = 65_536  # records known to need nobody or another; with more, each sweep opens them again


class Homes(Struct, frozen=True):
    """What the node's view says about who could watch tasks."""

    alive: tuple[NodeId, ...]  # oneself included
    is_known: Callable[[NodeId], bool]
    settled_s: float  # how long the view has stood


class _Ranks:
    """Our place among the living in each partition, kept up as nodes come and go.

    One candidate's coming or going moves nobody else, so that only those who came or went are
    looked at. `view` counts the changes.
    """

    def __init__(self, me: NodeId) -> None:
        self._me = me
        self._ours = _places(me)
        self._better = [0] * PARTITIONS
        self._alive: tuple[NodeId, ...] = ()
        self.view = 1

    def among(self, alive: tuple[NodeId, ...]) -> list[int]:
        """Our rank by partition, 0 the best."""
        if alive is not self._alive and alive != self._alive:
            before, after = set(self._alive), set(alive)
            self._count([node for node in alive if node not in before], 1)
            self._count([node for node in self._alive if node not in after], -1)
            self.view += 1
        self._alive = alive
        return self._better if self._me in alive else [GUARDIANS] * PARTITIONS

    def _count(self, nodes: list[NodeId], step: int) -> None:
        for partition, ours in enumerate(self._ours):
            self._better[partition] += step * sum(_places(node)[partition] < ours for node in nodes)


class Guardian:
    """Which partitions to list, and which of the records found to adopt."""

    def __init__(self, *, me: NodeId, settings: TaskSettings) -> None:
        self._me = me
        self._settings = settings
        self._timers: Timers[str] = Timers()
        self._wanted: dict[str, dict[int, None]] = {}  # purpose → partitions to list when its timer comes
        self._ranks = _Ranks(me)
        self._passed: dict[str, tuple[int, int]] = {}  # key → revision, and the view it is not ours in; 0 for any
        self._swept = 0
        self._has_listed_all = False
        self._is_usable = False

    def on_link(self, *, is_usable: bool, now: Instant) -> list[Effect]:
        """The store can be read, or not. The first time, everything is listed: our own tasks may be there."""
        self._is_usable = is_usable
        if not is_usable:
            self._passed.clear()  # who knows what bucket comes back
            return []
        if not self._has_listed_all:
            self._has_listed_all = True
            self._timers.set("sweep", now.after(self._sweep_step_s()))
            return [List((partition,)) for partition in range(PARTITIONS)]
        return []

    def on_record_lost(self) -> None:
        """Another bucket stands there: its revisions say nothing about what was seen before."""
        self._passed.clear()

    def on_gone(self, homes: Homes, now: Instant) -> list[Effect]:
        """A node is not alive any more: look at the partitions that are ours to guard."""
        for partition, rank in enumerate(self._ranks.among(homes.alive)):
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

    def unseen(self, entries: tuple[Entry, ...], homes: Homes, watches: Callable[[str], bool]) -> list[Entry]:
        """Without those that need not be opened: seen before, and over, or another's while the same nodes live."""
        self._ranks.among(homes.alive)
        tasks = [entry for entry in entries if ids.is_task_key(entry.key)]
        return [entry for entry in tasks if watches(ids.task_of(entry.key)) or not self._is_passed(entry)]

    def _is_passed(self, entry: Entry) -> bool:
        revision, view = self._passed.get(entry.key, (0, 0))
        return revision == entry.revision and view in (0, self._ranks.view)

    def is_ours(self, record: TaskRecord, homes: Homes, now: Instant, *, revision: int = 0) -> bool:
        """Should this node watch the task of this record? `revision` is 0 when it is not from the bucket."""
        if record.state in ENDED:
            return self._pass(record, revision, view=0)
        if record.home == self._me:
            return True
        rank = self._ranks.among(homes.alive)[ids.partition(record.id)]
        if record.home in homes.alive or rank >= GUARDIANS:
            return self._pass(record, revision, view=self._ranks.view)
        if not homes.is_known(record.home) and homes.settled_s < self._settings.settle_s:
            return False
        return rank == 0 or self._is_in_need(record, rank, homes, now)

    def _is_in_need(self, record: TaskRecord, rank: int, homes: Homes, now: Instant) -> bool:
        """The guardians before us have had their time, and nobody is doing it."""
        moved_ms = max(record.submitted_ms, record.awarded_ms)
        if now.wall_ms - moved_ms < rank * self._settings.lease_s * 2_000:
            return False
        return record.state is TaskState.OPEN or record.owner not in homes.alive

    def _pass(self, record: TaskRecord, revision: int, *, view: int) -> bool:
        """Not ours; remembered, so that the next sweep need not open it."""
        key = ids.task_key(record.id)
        self._passed.pop(key, None)
        self._passed[key] = revision, view
        if len(self._passed) > PASSED_MAX:
            del self._passed[next(iter(self._passed))]
        return False

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


@lru_cache(maxsize=256)  # who goes mostly was here when it came
def _places(node: NodeId) -> tuple[tuple[bytes, NodeId], ...]:
    """Where a node stands in the order of each partition's guardians."""
    return tuple(ids.rendezvous(node, salt=f"partition/{partition}") for partition in range(PARTITIONS))
