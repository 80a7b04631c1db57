"""One task as its watcher sees it: the record as last known, and what is under way with it.

Invariant: at most one write of a task is under way at this watcher. Mutable, private to `ledger`;
pure leaf.
"""

from enum import Enum
from typing import Annotated

from msgspec import Meta, Struct, structs

from protocol.owners import Owner
from protocol.primitives import Mono, NodeId, WallMs
from protocol.wire.task import Attempt, Status, TaskRecord, TaskState


class TaskSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How tasks are awarded, watched and given up."""

    deadline_s: Annotated[
        float, Meta(ge=1, le=2_592_000, description="when a task ends, unless its submit says earlier")
    ] = 86_400.0
    lease_s: Annotated[float, Meta(ge=0.3, le=600, description="how long an owner may stay silent")] = 3.0
    ask_interval_s: Annotated[float, Meta(ge=0.05, le=60, description="how often a watcher asks each owner")] = 0.5
    award_timeout_s_min: Annotated[
        float, Meta(ge=0.02, le=60, description="least time an owner has to accept; four round trips when that is more")
    ] = 0.5
    answer_s: Annotated[float, Meta(ge=1, le=300, description="how long a submit waits for its first write")] = 30.0
    backoff_s_min: Annotated[float, Meta(ge=0, le=60, description="first pause after an agent failed a task")] = 0.2
    backoff_s_max: Annotated[float, Meta(ge=0, le=3600, description="longest pause between attempts")] = 30.0
    attempts_max: Annotated[int, Meta(ge=1, le=100, description="failures of agents before the task fails")] = 5
    sweep_s: Annotated[float, Meta(ge=1, le=3600, description="every record is looked at once in this time")] = 60.0
    settle_s: Annotated[
        float, Meta(ge=0, le=600, description="how long a view must stand before an unknown home counts as gone")
    ] = 15.0


class Phase(Enum):
    """What the watcher is doing about a task."""

    WRITING = "writing"  # a change is on its way to the store
    WAITING = "waiting"  # nobody has it, or its owner is silent and there is no other
    OFFERED = "offered"  # the award was sent, and is not accepted yet
    HELD = "held"  # the owner has it


class Watched:
    """The watcher's side of one unfinished task."""

    __slots__ = (
        "cancels",
        "declined_epoch",
        "ended",
        "excluded",
        "frame",
        "is_blamed",
        "is_known",
        "lapsed_epoch",
        "not_before",
        "phase",
        "progress",
        "record",
        "reserved",
        "revision",
        "started_ms",
        "submits",
        "waits",
        "why",
    )

    def __init__(self, record: TaskRecord, *, revision: int, frame: bytes) -> None:
        self.record = record
        self.revision = revision
        self.frame = frame
        self.phase = Phase.WAITING
        self.is_known = revision > 0  # the first write stands
        self.ended: list[Attempt] = []  # attempts that ended since the last write
        self.excluded: dict[NodeId, Mono] = {}  # not to be asked again before then
        self.is_blamed = False  # the record counts its owner among the lost since then
        self.lapsed_epoch = 0  # the award whose owner fell silent
        self.declined_epoch = 0  # the award that its owner gave back
        self.not_before: Mono = 0
        self.reserved: tuple[NodeId, str] | None = None  # the slot that an award under way counts on
        self.why = ""  # why the award under way is made
        self.progress = b""
        self.started_ms: WallMs = 0
        self.submits: list[int] = []  # requests that wait for the first write
        self.waits: list[int] = []  # requests that wait for the end
        self.cancels: list[int] = []  # requests that want it cancelled

    @property
    def owner(self) -> Owner:
        """Who was awarded the task last."""
        return self.record.owner, self.record.owner_life

    @property
    def is_running(self) -> bool:
        """True when the owner says that it has it."""
        return self.phase is Phase.HELD and self.started_ms > 0

    def status(self) -> Status:
        """What only the watcher knows."""
        return Status(self.record.id, self.is_running, self.started_ms, self.progress)

    def is_awarded_to(self, node: NodeId, epoch: int) -> bool:
        """True when this very award stands and was not given back, and nothing else is on its way to the store."""
        record = self.record
        is_theirs = record.state is TaskState.AWARDED and record.owner == node and record.epoch == epoch
        return is_theirs and self.phase is not Phase.WRITING and self.declined_epoch != epoch

    def learn(self, record: TaskRecord, *, revision: int, frame: bytes) -> None:
        """This record stands now."""
        self.record, self.revision, self.frame = record, revision, frame
        self.is_known = True
        self.is_blamed = False
        self.ended.clear()

    def holds(self, *, started_ms: WallMs) -> None:
        """The owner has it; if it had been blamed for silence, it was slow and not gone."""
        if self.lapsed_epoch == self.record.epoch:
            self.lapsed_epoch = 0
            self.ended = [attempt for attempt in self.ended if attempt.epoch != self.record.epoch]
            if self.is_blamed:
                self.record = structs.replace(self.record, died=self.record.died[:-1])
                self.is_blamed = False
        self.phase = Phase.HELD
        self.started_ms = started_ms

    def blame(self) -> None:
        """The owner was lost with the task in hand: written with the next change, unless it answers after all."""
        if self.record.owner not in self.record.died:
            self.record = structs.replace(self.record, died=(*self.record.died, self.record.owner))
            self.is_blamed = True

    def resting_until(self, patient_until: Mono) -> Mono:
        """Not to be awarded before: its agent failed, or its owner may have seemed silent because of us."""
        is_in_hand = self.record.state is TaskState.AWARDED and self.declined_epoch != self.record.epoch
        return max(self.not_before, patient_until) if is_in_hand else self.not_before

    def let_go(self) -> None:
        """Nobody has it."""
        self.phase = Phase.WAITING
        self.started_ms = 0
        self.progress = b""
