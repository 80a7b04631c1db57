"""The record: keys with revisions, changed by compare-and-set, behind a network that loses things.

Invariant: the promises of the daemon's store port. A time-out is no outcome: the identical write
is repeated until it is acknowledged or refused, and a write of one's own whose acknowledgement
was lost comes back as written. What was sent may arrive after its sender died.
Neighbours: hosts write and read; `network` says whether the record can be reached.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from protocol.effects import Write
from protocol.inputs import Entry, Found, Listed, Lost, Written
from protocol.wire.task import ENDED, TaskRecord, TaskState
from simulations.chance import Chance, Delay
from simulations.links import Share
from simulations.network import RECORD, Network
from simulations.seen import Seen, Sight, Stored
from simulations.timeline import Timeline, ns

READ_S_MAX = 5.0  # what is not answered by then has failed
LAST = "~"  # above whatever a key may hold (`[a-z0-9._-]`)

Answer: TypeAlias = Callable[[Written | Lost | Found | Listed], None]
Wanted: TypeAlias = Callable[[], bool]


class StoreModel(Struct, frozen=True, forbid_unknown_fields=True):
    """How the record behaves: time of one operation, lost acknowledgements, time before a write is repeated."""

    delay: Delay = Delay(p50_ms=1.0, p99_ms=20.0)
    acks_lost: Share = 0.0
    repeat_s: Annotated[float, Meta(gt=0, le=60)] = 1.0


class Row(Struct, frozen=True):
    """What stands under a key."""

    revision: int
    frame: bytes
    record: TaskRecord | None
    removed_ns: int  # 0: never


class _Operation(Struct):
    """One write, read or listing under way. Mutable."""

    src: str
    apply: Callable[[], Written | Lost | Found | Listed]
    answer: Answer
    is_wanted: Wanted
    repeats: bool
    cause: int
    is_settled: bool = False


class Store:
    """All keys of the mesh, with one counter of revisions."""

    def __init__(
        self, *, timeline: Timeline, network: Network, chance: Chance, model: StoreModel, see: Callable[[Seen], None]
    ) -> None:
        self._timeline = timeline
        self._network = network
        self._chance = chance
        self._model = model
        self._see = see
        self._rows: dict[str, Row] = {}
        self._keys: list[str] | None = None  # of all rows, sorted; None: one came or went
        self._revision = 0
        self._is_stalled = False
        self._held: list[_Operation] = []
        self._acks_lost = model.acks_lost  # share; a fault may change it for a while
        self.forgotten: set[str] = set()  # tasks that had ended, and whose record somebody removed
        self._former: dict[str, tuple[int, Row | None]] = {}  # until when something else stood there, and what
        self._stale: tuple[float, int] = (0.0, 0)  # how many readings are of the past, and how long that is ago

    # --- what stands

    def row(self, key: str) -> Row | None:
        """What stands under this key now."""
        row = self._rows.get(key)
        if row is not None and row.removed_ns and row.removed_ns <= self._timeline.now_ns:
            self._remove(key)
            return None
        return row

    def records(self) -> list[TaskRecord]:
        """Every task's record, by key."""
        rows = [self.row(key) for key in self._under("") if key.count(".") == 1]
        return [row.record for row in rows if row is not None and row.record is not None]

    def presences(self, src: str) -> list[Entry] | None:
        """The keys that nodes write of themselves, as a starting daemon reads them; None: out of its reach."""
        if self._is_stalled or not (self._network.reaches(src, RECORD) and self._network.reaches(RECORD, src)):
            return None
        rows = [(key, self.row(key)) for key in self._under("node.")]
        return [Entry(key, row.revision, row.frame) for key, row in rows if row is not None]

    def _under(self, prefix: str) -> list[str]:
        """The keys that begin so, in order."""
        if self._keys is None:
            self._keys = sorted(self._rows)
        return self._keys[bisect_left(self._keys, prefix) : bisect_left(self._keys, prefix + LAST)]

    def _remove(self, key: str) -> None:
        del self._rows[key]
        self._keys = None

    # --- what nodes ask

    def write(self, src: str, change: Write, answer: Answer, is_wanted: Wanted) -> None:
        """Compare and set; answered with `Written` or `Lost`, however long it takes."""
        self._send(
            _Operation(
                src, lambda: self._judged(src, change), answer, is_wanted, repeats=True, cause=self._timeline.cause
            )
        )

    def read(self, src: str, key: str, answer: Answer, is_wanted: Wanted) -> None:
        """One key; answered with `Found`, which says so when the record could not be reached."""
        reading = _Operation(
            src, lambda: self._found(src, key), answer, is_wanted, repeats=False, cause=self._timeline.cause
        )
        self._send(reading)
        self._timeline.after(ns(READ_S_MAX), self._settle, reading, Found(key, 0, b"", failed="the store is silent"))

    def list(self, src: str, partitions: tuple[int, ...], answer: Answer, is_wanted: Wanted) -> None:
        """All records of some partitions; answered with `Listed`."""
        listing = _Operation(
            src, lambda: self._listed(src, partitions), answer, is_wanted, repeats=False, cause=self._timeline.cause
        )
        self._send(listing)
        failed = Listed(partitions, (), failed="the store is silent")
        self._timeline.after(ns(READ_S_MAX), self._settle, listing, failed)

    # --- faults

    def stall(self) -> None:
        """From now on nothing is done, and nothing refused."""
        self._is_stalled = True

    def resume(self) -> None:
        """What was held is done now, in the order in which it came."""
        self._is_stalled = False
        held, self._held = self._held, []
        for operation in held:
            self._timeline.cause = operation.cause
            self._arrive(operation)

    def lose_acks(self, share: float | None) -> None:
        """From now on so many writes are not acknowledged; None: as many as ever."""
        self._acks_lost = self._model.acks_lost if share is None else share

    def age(self, share: float, behind_ns: int) -> None:
        """From now on so many readings show what stood there so long ago; none again with a share of 0."""
        self._stale = (share, behind_ns)

    def purge(self, share: float, *, is_anew: bool) -> None:
        """So much of what stands is removed; or all of it, and revisions begin again."""
        rng = self._chance.stream("store", f"purge at {self._timeline.now_ns}")
        for key, row in sorted(self._rows.items()):
            if is_anew or rng.random() < share:
                self._remove(key)
                self._former[key] = (self._timeline.now_ns, row)
                if row.record is not None and row.record.state in ENDED:
                    self.forgotten.add(row.record.id)
        self._revision = 0 if is_anew else self._revision

    # --- the way there and back

    def _delay_ns(self, src: str) -> int:
        return self._model.delay.draw_ns(self._chance.stream(src, "store"))

    def _send(self, operation: _Operation) -> None:
        if operation.is_settled or not operation.is_wanted():
            return
        delay_ns = self._delay_ns(operation.src)
        if self._network.reaches(operation.src, RECORD):
            self._timeline.after(delay_ns, self._arrive, operation)
        if operation.repeats:
            self._timeline.after(ns(self._model.repeat_s), self._send, operation)

    def _arrive(self, operation: _Operation) -> None:
        if self._is_stalled:
            self._held.append(operation)
            return
        outcome = operation.apply()
        delay_ns = self._delay_ns(operation.src)
        is_lost = operation.repeats and self._chance.stream(operation.src, "acks").random() < self._acks_lost
        if is_lost:
            self._see(Sight(operation.src, "ack-lost"))
        elif self._network.reaches(RECORD, operation.src):
            self._timeline.after(delay_ns, self._settle, operation, outcome)

    def _settle(self, operation: _Operation, outcome: Written | Lost | Found | Listed) -> None:
        if not operation.is_settled:
            operation.is_settled = True
            if operation.is_wanted():
                operation.answer(outcome)

    # --- what it does

    def _judged(self, src: str, change: Write) -> Written | Lost:
        standing = self.row(change.key)
        if standing is not None and standing.frame == change.frame:
            return Written(change.key, standing.revision)  # this very write, acknowledged at last
        if self._is_refused(standing, change.expect):
            self._see(Sight(src, "write-refused"))
            return Lost(change.key, 0, b"") if standing is None else Lost(change.key, standing.revision, standing.frame)
        self._revision += 1
        record = change.record if isinstance(change.record, TaskRecord) else None
        removed_ns = self._timeline.now_ns + ns(change.keep_s) if change.keep_s > 0 else 0
        self._former[change.key] = (self._timeline.now_ns, standing)
        self._keys = self._keys if change.key in self._rows else None
        self._rows[change.key] = Row(self._revision, change.frame, record, removed_ns)
        self._see(Stored(src, change.key, self._revision, record, is_renewed=_is_renewed(standing, record)))
        return Written(change.key, self._revision)

    def _is_refused(self, standing: Row | None, expect: int) -> bool:
        """The fence: `expect` must be what stands there, 0 for nothing."""
        return (0 if standing is None else standing.revision) != expect

    def _found(self, src: str, key: str) -> Found:
        row = self._shown(key, self._is_stale(src))
        return Found(key, 0, b"") if row is None else Found(key, row.revision, row.frame)

    def _listed(self, src: str, partitions: tuple[int, ...]) -> Listed:
        is_stale = self._is_stale(src)
        keys = [key for partition in sorted(partitions) for key in self._under(f"p{partition:02d}.")]
        rows = [(key, self._shown(key, is_stale)) for key in keys]
        return Listed(partitions, tuple(Entry(key, row.revision, row.frame) for key, row in rows if row is not None))

    def _is_stale(self, src: str) -> bool:
        share, _ = self._stale
        is_stale = share > 0 and self._chance.stream(src, "stale").random() < share
        if is_stale:
            self._see(Sight(src, "stale-read"))
        return is_stale

    def _shown(self, key: str, is_stale: bool) -> Row | None:
        until_ns, former = self._former.get(key, (0, None)) if is_stale else (0, None)
        return former if until_ns > self._timeline.now_ns - self._stale[1] > 0 else self.row(key)


def _is_renewed(standing: Row | None, record: TaskRecord | None) -> bool:
    """Does the owner of an exclusive task write its award anew? One of another version may know fewer fields of it."""
    former = None if standing is None else standing.record
    if former is None or record is None or not record.exclusive or record.state is not TaskState.AWARDED:
        return False
    awards = [(each.id, each.state, each.retries, each.epoch, each.owner, each.owner_life) for each in (former, record)]
    return awards[0] == awards[1]
