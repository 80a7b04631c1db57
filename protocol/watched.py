"""One task as its watcher sees it: the record as last known, and what is under way with it.

Invariant: at most one write of a task is under way at this watcher. Mutable, private to `ledger`;
pure leaf.
"""

from enum import Enum
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from protocol import limits, records
from protocol.bids import Closed, with_late
from protocol.inputs import Cancel, Retry
from protocol.leases import longest_s
from protocol.owners import Owner
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId, WallMs
from protocol.records import Standing
from protocol.routing import Candidate
from protocol.wire.auction import Answered, Attempt, Round, Unwritten
from protocol.wire.task import ENDED, Status, TaskRecord, TaskState

BY_AGENT = "agent_"  # how an attempt ended that an agent failed begins with this
NOT_TRIED = "agent_unavailable"  # except this


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
    watched_max: Annotated[
        int,
        Meta(ge=1, le=limits.TASKS_WATCHED_MAX, description="unfinished tasks here from which on a submit is refused"),
    ] = limits.TASKS_WATCHED_MAX
    sweep_s: Annotated[float, Meta(ge=1, le=3600, description="every record is looked at once in this time")] = 60.0
    settle_s: Annotated[
        float, Meta(ge=0, le=600, description="how long a view must stand before an unknown home counts as gone")
    ] = 15.0
    bids_from_ms: Annotated[
        float,
        Meta(ge=0, le=86_400_000, description="a run expected to take this long is worth asking for bids"),
    ] = 100.0
    bid_window_s_min: Annotated[
        float, Meta(ge=0.001, le=0.25, description="least time bids are waited for; four round trips when that is more")
    ] = 0.05
    price_ms: Annotated[
        float, Meta(ge=0, le=1e9, description="how many milliseconds one unit of an agent's price weighs against it")
    ] = 1_000.0
    score: Annotated[
        Literal["expected-finish", "fastest", "cheapest"], Meta(description="which bid is best: lowest of this score")
    ] = "expected-finish"


EXCLUSIVE_LEASES = 2  # without a write of its owner, which stops after one: then the award stands for nobody
REFUSALS = frozenset({"busy", "draining", "no_agent", "deadline"})  # of an award; all else gives it back
ASKING = ("bids", "broadcast")  # the gears that ask for bids
LOOKS_MAX = 5  # at a record whose writer nobody has introduced, over half a minute
UNBID_S = 1.0  # by then somebody may be free again


class Phase(Enum):
    """What the watcher is doing about a task."""

    WRITING = "writing"  # a change is on its way to the store
    WAITING = "waiting"  # nobody has it, or its owner is silent and there is no other
    ASKING = "asking"  # bids are being waited for; nobody has it
    OFFERED = "offered"  # the award was sent, and is not accepted yet
    HELD = "held"  # the owner has it


class Watched:
    """The watcher's side of one unfinished task."""

    __slots__ = (
        "amiss",
        "bereft_of",
        "bids",
        "bids_until",
        "cancels",
        "confirmed_ms",
        "declined_epoch",
        "ended",
        "excluded",
        "frame",
        "is_blamed",
        "is_given_back",
        "is_known",
        "is_own",
        "known_at",
        "lapsed_epoch",
        "late",
        "late_from",
        "late_until",
        "looks",
        "not_before",
        "phase",
        "progress",
        "put_backs",
        "quiet_until",
        "record",
        "reopening",
        "reserved",
        "rests_until_ms",
        "revision",
        "rounds",
        "started_ms",
        "submits",
        "unbid_until",
        "unproven",
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
        self.is_given_back = False  # its owner was at it, and is no more; a refusal may be followed by the award again
        self.is_own = False  # the revision is of a write of ours, and nobody has written since
        self.known_at: Mono = 0  # since when the revision is known
        self.is_blamed = False  # the record counts its owner among the lost since then
        self.lapsed_epoch = 0  # the award whose owner fell silent
        self.declined_epoch = 0  # the award that its owner gave back
        self.not_before: Mono = 0
        self.rests_until_ms: WallMs = 0  # the same by the wall, for people
        self.reserved: tuple[NodeId, str] | None = None  # the slot that an award under way counts on
        self.confirmed_ms: WallMs = 0  # when the record was last seen to stand
        self.amiss = ""  # why what stands under the key is not what we know: missing, unreadable, older
        self.looks = 0  # at a record that cannot be read yet
        self.put_backs = 0
        self.quiet_until: Mono = 0  # no writing over what is amiss before
        self.why = ""  # why the award under way is made
        self.rounds: list[Round] = []  # searches for an owner since the last write
        self.bids: list[tuple[NodeId, str]] = []  # node and agent that bid, best first, not tried yet
        self.bids_until: Mono = 0  # for how long those are worth trying
        self.late: dict[NodeId, int] = {}  # nodes that it is reserved at, and their lives
        self.late_from: Mono = 0  # when it has waited long enough to be reserved; 0 while it does not wait
        self.late_until: Mono = 0  # for how long they are left to take it
        self.unbid_until: Mono = 0  # nobody bid: they are not asked again before
        self.progress = b""
        self.started_ms: WallMs = 0  # of the last award, as its owner told
        self.submits: list[int] = []  # requests that wait for the first write
        self.reopening: Retry | None = None  # who has it opened again, by the write under way
        self.waits: list[int] = []  # requests that wait for the end
        self.cancels: list[Cancel] = []  # who wants it cancelled
        self.bereft_of = ""  # the ancestor that was cancelled, so that this has to end
        self.unproven: dict[str, None] | None = None  # ancestors that may have been; None: nobody has looked

    @property
    def owner(self) -> Owner:
        """Who was awarded the task last."""
        return self.record.owner, self.record.owner_life

    @property
    def is_running(self) -> bool:
        """True when the owner says that it has it."""
        return self.phase is Phase.HELD and self.started_ms > 0

    @property
    def is_asking(self) -> bool:
        """True while bids for it are waited for."""
        return self.phase is Phase.ASKING

    @property
    def is_idle(self) -> bool:
        """True while no write of it is under way, nor asked for."""
        return self.phase is not Phase.WRITING and not self.is_unwanted

    @property
    def is_unwanted(self) -> bool:
        """True when it is to be cancelled: by who asked for that, or together with an ancestor."""
        return bool(self.cancels or self.bereft_of)

    @property
    def ends_with(self) -> str:
        """The ancestor that was cancelled, together with which it ends; nothing when it ends by itself."""
        return self.bereft_of or next((order.parent for order in self.cancels if order.parent), "")

    @property
    def is_lost(self) -> bool:
        """True when whoever was awarded it last gave it back, or fell silent: it is on record, or will be."""
        return any(each.epoch == self.record.epoch for each in (*self.record.attempts, *self.ended))

    @property
    def was_bid_for(self) -> bool:
        """True when its owner won it by a bid."""
        last = self.record.rounds[-1] if self.record.rounds else None
        is_its = last is not None and (last.epoch, last.owner) == (self.record.epoch, self.record.owner)
        return last is not None and is_its and last.gear in ASKING

    @property
    def failed_at(self) -> set[NodeId]:
        """Nodes whose agents failed at it: perhaps it is them."""
        attempts = (*self.record.attempts, *self.ended)
        return {each.owner for each in attempts if each.ended.startswith(BY_AGENT) and each.ended != NOT_TRIED}

    def found_busy(self, node: NodeId) -> bool:
        """True for who would have taken it, had there been a slot."""
        return any((each.owner, each.ended) == (node, "busy") for each in self.ended)

    @property
    def unwritten(self) -> Unwritten:
        """What the record does not say yet, and whoever takes the task has to write."""
        return Unwritten(tuple(self.ended), self.record.failures, self.record.died, tuple(self.rounds))

    @property
    def is_sound(self) -> bool:
        """True while what stands under its key is what we know."""
        return self.is_known and not self.amiss

    def status(self) -> Status:
        """What only the watcher knows."""
        waits = self.is_known and self.phase in (Phase.WAITING, Phase.ASKING)
        return Status(self.record.id, self.is_running, self.started_ms, self.progress, waits, self.rests_until_ms)

    def is_awarded_to(self, node: NodeId, epoch: int) -> bool:
        """True when this very award stands and was not given back, and nothing else is on its way to the store."""
        record = self.record
        is_theirs = record.state is TaskState.AWARDED and record.owner == node and record.epoch == epoch
        return is_theirs and self.phase is not Phase.WRITING and self.declined_epoch != epoch

    def is_same_work(self, record: TaskRecord) -> bool:
        """True for a record of this very task, and not of other work under its id."""
        return (record.id, record.iid, record.digest) == (self.record.id, self.record.iid, self.record.digest)

    def is_news(self, stands: Standing) -> bool:
        """True when this is not what we know: later, the end, or nothing at all."""
        has_ended = stands.record is not None and stands.record.state in ENDED
        return self.is_known and (stands.revision > self.revision or has_ended or stands.revision == 0)

    def mistrust(self, stands: Standing) -> None:
        """What stands there is none, or older: it is to be replaced by what we know."""
        self.revision = stands.revision
        self.amiss = "older" if stands.record is not None else "unreadable" if stands.revision else "missing"

    def as_known(self, own_lease_s: float) -> TaskRecord:
        """The record as it should stand, with the attempts that ended since and the longest lease there may be."""
        record = self.record
        attempts = (*record.attempts, *self.ended)[-limits.ATTEMPTS_KEPT :]
        longest_ms = int(longest_s(max(own_lease_s, record.lease_ms / 1_000)) * 1_000) if record.exclusive else 0
        return structs.replace(record, attempts=attempts, lease_ms=max(record.lease_ms, longest_ms))

    def put_back(self, now: Instant) -> None:
        """What stands under the key is being replaced: not again at once, should it come back."""
        self.quiet_until = now.after(records.quiet_s(self.put_backs))
        self.put_backs += 1

    def learn(self, record: TaskRecord, *, revision: int, frame: bytes, now: Instant, is_own: bool = False) -> None:
        """This record stands now; `is_own` by our own write."""
        if record.epoch != self.record.epoch:
            self.started_ms = 0
        self.record, self.revision, self.frame = record, revision, frame
        self.is_known = True
        self.confirmed_ms, self.known_at, self.amiss, self.looks = now.wall_ms, now.mono_ns, "", 0
        self.is_own, self.is_blamed, self.is_given_back = is_own, False, False
        self.ended.clear()
        self.rounds.clear()

    def is_renewed(self, record: TaskRecord, revision: int) -> bool:
        """True when its owner wrote this award anew, and nothing else: it is alive, whether it is heard or not."""
        same = (record.owner, record.owner_life, record.epoch, record.retries)
        is_same = same == (*self.owner, self.record.epoch, self.record.retries)
        is_anew = is_same and revision != self.revision
        return is_anew and record.exclusive and record.state is self.record.state is TaskState.AWARDED

    def renewed(self, record: TaskRecord, revision: int, frame: bytes, now: Instant) -> None:
        """That stands now, with a lease of its own; what is to be written of earlier awards is kept."""
        self.record = structs.replace(self.record, lease_ms=record.lease_ms)
        self.revision, self.frame, self.is_own = revision, frame, False
        self.confirmed_ms, self.known_at, self.amiss, self.looks = now.wall_ms, now.mono_ns, "", 0
        if not self.is_given_back:
            self.lapsed_epoch, self.declined_epoch = self.record.epoch, 0  # neither silence nor a refusal holds
            self.holds(started_ms=self.started_ms)

    def fenced_until(self, own_lease_s: float) -> Mono:
        """An exclusive award is moved on by nobody before: until then its owner may be at it.

        Not fenced is one that was given back, and one of which nobody has written since we did: a write says the rest.
        """
        record = self.record
        if not record.exclusive or record.state is not TaskState.AWARDED or self.is_own or self.is_given_back:
            return 0
        return self.known_at + int(EXCLUSIVE_LEASES * records.lease_s(record, own_lease_s) * NS_PER_S)

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

    def rest(self, pause_s: float, now: Instant) -> None:
        """Not to be awarded for so long."""
        self.not_before = now.after(pause_s)
        self.rests_until_ms = now.wall_ms + int(pause_s * 1_000)

    def resting_until(self, patient_until: Mono) -> Mono:
        """Not to be awarded before: its agent failed, or its owner may have seemed silent because of us."""
        is_in_hand = self.record.state is TaskState.AWARDED and self.declined_epoch != self.record.epoch
        return max(self.not_before, patient_until) if is_in_hand else self.not_before

    def lapse(self, evidence: str, detail: str, now: Instant) -> None:
        """The owner did not keep its lease, or never took the award: said once of each award."""
        record = self.record
        if self.lapsed_epoch != record.epoch:
            self.ended.append(Attempt(record.epoch, record.owner, evidence, now.wall_ms, detail))
        self.lapsed_epoch = record.epoch
        self.let_go()

    def decline(self, attempt: Attempt, *, failures: int) -> None:
        """The owner gave it back; failures of its agent, held against the task, are written with the next change."""
        self.declined_epoch, self.is_given_back = attempt.epoch, attempt.ended not in REFUSALS
        self.ended.append(attempt)
        self.record = structs.replace(self.record, failures=self.record.failures + failures)
        self.let_go()

    def hear(self, closed: Closed, now: Instant) -> None:
        """The auction is over: these bids are tried in their order."""
        self.phase = Phase.WAITING
        self.rounds = [*self.rounds, closed.round][-limits.ROUNDS_KEPT :]
        self.bids, self.bids_until = list(closed.ranked), closed.fresh_until
        if not self.bids:
            self.unbid_until = now.after(UNBID_S)

    def next_bid(self, usable: list[Candidate], now: Instant) -> Candidate | None:
        """The best bidder that is still there and was not tried, or None."""
        if now.mono_ns >= self.bids_until:
            self.bids.clear()
        while self.bids:
            node, agent = self.bids.pop(0)
            for candidate in usable:
                if (candidate.node, candidate.agent) == (node, agent):
                    return candidate
        return None

    def reserve_at(self, nodes: tuple[NodeId, ...], why: str, now: Instant) -> None:
        """It waits for whichever of these has room first; the search goes on from where it began."""
        epoch, at_ms = self.record.epoch + 1, now.wall_ms
        if self.rounds and (self.rounds[-1].gear, self.rounds[-1].epoch) == ("late", epoch):
            at_ms = self.rounds.pop().at_ms
        answers = tuple(Answered(node, "reserved") for node in nodes)
        took_ms = min(max(0, now.wall_ms - at_ms), limits.SPAN_MS_MAX)  # the clock may have stepped
        told = Round(epoch, "late", why, at_ms, took_ms=took_ms, asked=len(nodes), answers=answers)
        self.rounds = [*self.rounds, told][-limits.ROUNDS_KEPT :]

    def found(self, owner: NodeId, *, gear: str, why: str, now: Instant) -> None:
        """The search for an owner ended with this one; bids name their round, whatever else makes one of its own."""
        epoch = self.record.epoch + 1
        last = self.rounds[-1] if self.rounds else None
        is_same = last is not None and (last.gear == gear or (last.gear in ASKING and gear in ASKING))
        if last is not None and is_same and last.epoch == epoch and not last.owner:
            self.rounds[-1] = structs.replace(last, owner=owner)
        else:
            self.rounds.append(Round(epoch, gear, why, now.wall_ms, owner=owner))

    def hear_late(self, node: NodeId) -> None:
        """Somebody answered after its round had closed: it changes nothing but what is told of it."""
        if self.rounds:
            self.rounds = list(with_late(tuple(self.rounds), node))
        else:
            self.record = structs.replace(self.record, rounds=with_late(self.record.rounds, node))

    def with_rounds(self, record: TaskRecord) -> TaskRecord:
        """The record to be written, with the searches since the last write."""
        if not self.rounds:
            return record
        return structs.replace(record, rounds=(*record.rounds, *self.rounds)[-limits.ROUNDS_KEPT :])

    def let_go(self) -> None:
        """Nobody has it."""
        self.phase = Phase.WAITING
        self.progress = b""
