"""Who gets a task next: the gear, the candidate, and what of it is kept for those who ask why.

Invariant: whatever is decided is one record to write, or a wait; only the ledger writes. Pure leaf of
`ledger`; `gears` chooses the way, `handover` counts the slot.
"""

from protocol import awards, gears, records, routing
from protocol.bids import Wanted
from protocol.effects import Effect, Emit
from protocol.errors import LocalError
from protocol.handover import Handover
from protocol.late import Late
from protocol.performance import Performance
from protocol.primitives import Instant, NodeId
from protocol.routing import Candidate
from protocol.view import View
from protocol.watched import BY_AGENT, Phase, TaskSettings, Watched
from protocol.wire.task import Decline, TaskRecord, TaskState


class Giving:
    """What is known of runs so far, and the tasks that bids are wanted for."""

    def __init__(self, *, settings: TaskSettings, view: View, handover: Handover, late: Late) -> None:
        self.late = late
        self._settings = settings
        self._view = view
        self._handover = handover
        self._seen = Performance()
        self._wanted: list[Wanted] = []

    def next(self, watched: Watched, now: Instant, *, may_award: bool) -> TaskRecord | list[Effect]:
        """The record to write: an award, or the open record of a task that is not on record yet.

        Otherwise what is said while it waits: for bids (`Phase.ASKING`), or until somebody has room.
        """
        record = watched.record
        found = self._view.candidates(record.capability, now) if may_award else []
        able = awards.usable(watched, found, life_of=self._view.life_of, now=now)
        able = routing.slow_last(able, took_ms={each.node: self._took_ms(each.node, record, now) for each in able})
        doubted = watched.failed_at | self._failing(found, record, now)
        able = routing.without(able, doubted)
        usable = self.late.others(watched, able, now)  # who has a reservation takes it when there is room
        bidder = watched.next_bid(usable, now)
        if bidder is not None:
            why = f"the next best bid, after {watched.ended[-1].ended}" if watched.ended else "the best bid"
            return self._award(watched, bidder, "bids", why, now)
        is_late = record.route == "late" and (watched.late or not self.late.takes(watched))
        expected_ms = self._took_ms("", record, now) or awards.claimed_ms(usable)
        choice = gears.chosen(
            "auto" if is_late else record.route,
            usable,
            expected_ms=expected_ms,
            bids_from_ms=self._settings.bids_from_ms,
            may_ask=now.mono_ns >= watched.unbid_until,
        )
        if choice.gear in ("bids", "broadcast") and usable:
            watched.phase = Phase.ASKING
            self._wanted.append(awards.wanted(record, choice, usable, expected_ms))
            return []
        free = [each for each in usable if each.free > 0 and (each.is_self or choice.gear != "local")]
        if free and choice.gear != "late":
            return self._award(watched, free[0], choice.gear, choice.why, now)
        if not watched.is_known:
            return record
        busy = [each for each in found if each not in able and not each.is_off and watched.found_busy(each.node)]
        return self.late.reserve(watched, routing.but_for(able + busy, doubted), choice.why, now)

    def _award(self, watched: Watched, candidate: Candidate, gear: str, why: str, now: Instant) -> TaskRecord:
        life = self._view.life_of(candidate.node)
        if life is None:
            raise LocalError(f"a candidate without a life: {candidate.node}")
        self._handover.reserve(watched, candidate)
        watched.found(candidate.node, gear=gear, why=why, now=now)
        watched.why = watched.ended[-1].ended if watched.ended else watched.rounds[-1].gear
        ended = tuple(watched.ended)
        return records.awarded(
            watched.record,
            owner=candidate.node,
            owner_life=life,
            lease_s=self._settings.lease_s,
            now=now,
            ended=ended,
        )

    def take_wanted(self) -> list[Wanted]:
        """The tasks that bids are to be asked for, once."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def learn(self, record: TaskRecord, now: Instant) -> None:
        """A task has ended: how long such a run takes, and how it went with this owner."""
        if record.state is TaskState.FAILED and record.failure is not None and record.failure.code.startswith(BY_AGENT):
            self._doubt(record, now)
        if record.state is TaskState.DONE and record.started_ms:
            for whose in ("", record.owner):
                took_ms = record.finished_ms - record.started_ms
                self._seen.succeeded((whose, record.capability), took_ms=took_ms, now=now)

    def declined(self, watched: Watched, body: Decline, now: Instant) -> Emit:
        """The owner said no, or gives it back: when its agent failed, that is remembered of the node."""
        if body.counts:
            self._doubt(watched.record, now)
        return self._handover.declined(watched, body, now)

    def _doubt(self, record: TaskRecord, now: Instant) -> None:
        if record.owner:
            self._seen.failed((record.owner, record.capability), now)

    def _failing(self, found: list[Candidate], record: TaskRecord, now: Instant) -> set[NodeId]:
        seen = {each.node: self._seen.success((each.node, record.capability), now) for each in found}
        return routing.failing(seen)

    def _took_ms(self, whose: str, record: TaskRecord, now: Instant) -> float:
        return self._seen.of((whose, record.capability), now).latency_ms
