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
from protocol.primitives import Instant, Mono, NodeId, WallMs
from protocol.timers import Timers
from protocol.watched import TaskSettings
from protocol.wire.task import ENDED, TaskRecord, TaskState

GUARDIANS = 3  # the first acts at once, the next ones a lease later each, on what is still in need
SWEEP_PARTITIONS = 2  # looked at together; 20 ms at 10,000 keys
RETRY_S = 1.0  # the listing failed: the store is away
TEXTS_MAX = 1_024  # ids of nodes and names of capabilities that are shared among those
SEEN_MAX = 65_536  # records remembered as they were when they were opened; with more, each sweep opens some again


class Homes(Struct, frozen=True):
    """What the node's view says about who could watch tasks."""

    alive: tuple[NodeId, ...]  # oneself included
    is_known: Callable[[NodeId], bool]
    settled_s: float  # how long the view has stood
    has_room: Callable[[str], bool] = lambda capability: True  # somebody could do a task of it now
    suspects: tuple[NodeId, ...] = ()  # not alive, and not gone: what they guard is theirs until they are

    @property
    def guards(self) -> tuple[NodeId, ...]:
        """Who has a rank as guardian."""
        return (*self.alive, *self.suspects)


class Seen(Struct, frozen=True):
    """What is remembered of a record, so that the next listing need not open it."""

    revision: int
    home: NodeId = ""  # nobody's when the task has ended
    owner: NodeId = ""  # nobody's while it is open
    capability: str = ""
    moved_ms: WallMs = 0  # when it was submitted, or awarded last


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
        for node in nodes:  # none, mostly: who is suspected or cleared changes places, and is still there
            for partition, (theirs, ours) in enumerate(zip(_places(node), self._ours, strict=True)):
                if theirs < ours:
                    self._better[partition] += step


class Guardian:
    """Which partitions to list, and which of the records found to adopt."""

    def __init__(self, *, me: NodeId, settings: TaskSettings) -> None:
        self._me = me
        self._settings = settings
        self._timers: Timers[str] = Timers()
        self._wanted: dict[str, dict[int, None]] = {}  # purpose → partitions to list when its timer comes
        self._ranks = _Ranks(me)
        self._seen: dict[str, Seen] = {}  # by key
        self._texts: dict[str, str] = {}  # ids and capabilities of many records, once each
        self._listed_for: tuple[tuple[NodeId, ...], ...] = ()  # whom partitions were last wanted without
        self._may_help = True  # of one page of a listing, those before us in rank are helped with one task
        self._swept = 0
        self._has_listed_all = False
        self._is_usable = False

    def on_link(self, *, is_usable: bool, now: Instant) -> list[Effect]:
        """The store can be read, or not. The first time, everything is listed: our own tasks may be there."""
        self._is_usable = is_usable
        if not is_usable:
            self._seen.clear()  # who knows what bucket comes back
            return []
        if not self._has_listed_all:
            self._has_listed_all = True
            self._timers.set("sweep", now.after(self._sweep_step_s()))
            return [List((partition,)) for partition in range(PARTITIONS)]
        return []

    def on_record_lost(self) -> None:
        """Another bucket stands there: its revisions say nothing about what was seen before."""
        self._seen.clear()

    def on_gone(self, homes: Homes, now: Instant) -> list[Effect]:
        """A node is not alive any more: look at the partitions that are ours to guard."""
        ranks = self._ranks.among(homes.guards)
        if self._listed_for == (homes.alive, homes.guards):
            return self.on_tick(now)
        self._listed_for = homes.alive, homes.guards
        for partition, rank in enumerate(ranks):
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

    def unseen(
        self, entries: tuple[Entry, ...], homes: Homes, now: Instant, revision_of: Callable[[str], int | None]
    ) -> list[Entry]:
        """Those of a page of a listing that must be opened: news of a task that we watch, or what may be ours.

        `revision_of` tells of a task that we watch which revision we know, else None.
        """
        self._may_help = True
        tasks = [entry for entry in entries if ids.is_task_key(entry.key)]
        return [each for each in tasks if self._is_wanted(each, homes, now, revision_of(ids.task_of(each.key)))]

    def _is_wanted(self, entry: Entry, homes: Homes, now: Instant, watched: int | None) -> bool:
        if watched is not None:
            return watched != entry.revision
        seen = self._seen.get(entry.key)
        if seen is None or seen.revision != entry.revision:
            return True
        return self._is_ours(seen, self._rank(ids.task_of(entry.key), homes), homes, now)

    def is_ours(self, record: TaskRecord, homes: Homes, now: Instant, *, revision: int = 0) -> bool:
        """Should this node watch the task of this record? `revision` is 0 when it is not from the bucket."""
        seen, key, rank = self._summary(record, revision), ids.task_key(record.id), self._rank(record.id, homes)
        if self._is_ours(seen, rank, homes, now):
            self._seen.pop(key, None)
            self._may_help = self._may_help and not self.is_anothers(record, homes)
            return True
        self._remember(key, seen)
        return False

    def is_anothers(self, record: TaskRecord, homes: Homes) -> bool:
        """True for an open task that we watch and need not: its home lives, or a guardian before us."""
        if record.home == self._me or record.state is not TaskState.OPEN:
            return False
        return record.home in homes.alive or self._rank(record.id, homes) > 0

    def _rank(self, task: str, homes: Homes) -> int:
        return self._ranks.among(homes.guards)[ids.partition(task)]

    def _is_ours(self, seen: Seen, rank: int, homes: Homes, now: Instant) -> bool:
        home = seen.home
        if not home or home == self._me:
            return home == self._me
        if home in homes.alive or rank >= GUARDIANS:
            return False
        if not homes.is_known(home) and homes.settled_s < self._settings.settle_s:
            return False
        return rank == 0 or self._is_in_need(seen, rank, homes, now)

    def _is_in_need(self, seen: Seen, rank: int, homes: Homes, now: Instant) -> bool:
        """The guardians before us have had their time, and nobody is doing it, though somebody could."""
        if now.wall_ms - seen.moved_ms < rank * self._settings.lease_s * 2_000:
            return False
        if seen.owner:
            return seen.owner not in homes.alive
        return self._may_help and homes.has_room(seen.capability)

    def _summary(self, record: TaskRecord, revision: int) -> Seen:
        if record.state in ENDED:
            return Seen(revision)
        owner = record.owner if record.state is TaskState.AWARDED else ""
        moved_ms = max(record.opened_ms, record.awarded_ms)
        return Seen(revision, self._same(record.home), self._same(owner), self._same(record.capability), moved_ms)

    def _same(self, text: str) -> str:
        """One copy of a text that stands in thousands of records."""
        if len(self._texts) >= TEXTS_MAX:
            self._texts.clear()
        return self._texts.setdefault(text, text)

    def _remember(self, key: str, seen: Seen) -> None:
        self._seen.pop(key, None)
        self._seen[key] = seen
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]

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


def guards(node: NodeId, task: str, among: tuple[NodeId, ...]) -> bool:
    """True for one of the guardians of a task, as far as these nodes are concerned."""
    ours, partition = _places(node), ids.partition(task)
    better = (each for each in among if each != node and _places(each)[partition] < ours[partition])
    return node in among and sum(1 for _ in better) < GUARDIANS


@lru_cache(maxsize=256)  # who goes mostly was here when it came
def _places(node: NodeId) -> tuple[tuple[bytes, NodeId], ...]:
    """Where a node stands in the order of each partition's guardians."""
    return tuple(ids.rendezvous(node, salt=f"partition/{partition}") for partition in range(PARTITIONS))
