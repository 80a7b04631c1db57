"""An award on its way: from the slot it counts on to the owner who has it, says no, or is not heard.

Invariant: a task counts on at most one slot, and is asked after at one owner at most.
Pure leaf of `ledger`, which decides what comes next; `offers` knows what the broker may report lost.
"""

from protocol import awards, records
from protocol.effects import Emit, Send
from protocol.events import AwardDeclined, LeaseLapsed
from protocol.offers import Offers
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.primitives import Instant, Rng
from protocol.routing import Candidate
from protocol.timers import Timers
from protocol.view import View
from protocol.watched import Phase, TaskSettings, Watched
from protocol.wire.task import Decline, Held

BROKEN_BID = frozenset({"no_agent", "agent_unavailable"})  # not busy or draining: that may have come between
EXCLUDED_LEASES = 10  # while others live, a node that lapsed a task does not get it again for this long


class Handover:
    """Awards that were written and are not ended; the ledger's timers wake them."""

    def __init__(
        self,
        *,
        settings: TaskSettings,
        owners: Owners,
        lapses: Lapses,
        view: View,
        timers: Timers[tuple[str, str]],
        rng: Rng,
    ) -> None:
        self._settings = settings
        self._owners = owners
        self._lapses = lapses
        self._view = view
        self._timers = timers
        self._rng = rng
        self._offers = Offers()

    # --- slots

    def reserve(self, watched: Watched, candidate: Candidate) -> None:
        """The award under way counts on a slot of this agent."""
        self._view.reserve(candidate.node, candidate.agent, watched.record.id)
        watched.reserved = (candidate.node, candidate.agent)

    def unreserve(self, watched: Watched, now: Instant, said: int = 0) -> None:
        """It counts on none; harmless when it did not."""
        if watched.reserved is not None:
            self._view.release(*watched.reserved, watched.record.id, said, now)
            watched.reserved = None

    # --- the owner's answer

    def offer(self, watched: Watched, now: Instant) -> Send:
        """Send the award; its owner has four round trips to answer."""
        record = watched.record
        watched.phase = Phase.OFFERED
        self._owners.release(record.id)
        within_s = max(self._settings.award_timeout_s_min, 4 * self._view.round_trip_s(record.owner))
        self._timers.set(("award", record.id), now.after(within_s))
        return self._offers.send(watched)

    def absent(self, number: int) -> tuple[str, int]:
        """The task and epoch of an award that nobody received; ("", 0) for one that is forgotten."""
        return self._offers.absent(number)

    def held(self, watched: Watched, *, started_ms: int, said: int, now: Instant) -> None:
        """The owner has it."""
        watched.holds(started_ms=started_ms)
        if watched.reserved is not None:
            self._view.accepted(*watched.reserved, watched.record.id, said)
        self._timers.cancel(("award", watched.record.id))
        self.keep_asking(watched, now)

    def keep_asking(self, watched: Watched, now: Instant) -> None:
        """The owner is asked about it from now on."""
        line = Held(watched.record.id, watched.record.epoch, watched.revision)
        lease_s = records.lease_s(watched.record, self._settings.lease_s) if watched.record.exclusive else 0.0
        self._owners.hold(watched.owner, line, lease_s=lease_s, now=now)

    def declined(self, watched: Watched, body: Decline, now: Instant) -> Emit:
        """The owner said no, or gives it back; when its agent failed, that counts against the task."""
        record = watched.record
        owner, attempt = record.owner, awards.given_back(body, owner=record.owner, now=now)
        if watched.was_bid_for and body.reason in BROKEN_BID:  # as good as a lapse: its word was not kept
            self._lapses.add(owner, now)
        watched.decline(attempt, failures=int(body.counts))
        pause_s = awards.pause_s(body, watched.record.failures, settings=self._settings, rng=self._rng)
        if body.counts:
            watched.rest(pause_s, now)
            self.unreserve(watched, now)
        elif body.reason == "busy" and watched.reserved is not None:
            self._view.refused(*watched.reserved, record.id)
            watched.reserved = None
        elif (tries := awards.unrenewed(watched)) > 1:  # once may be this owner's; more often it is the record
            pause_s = max(pause_s, awards.backoff_s(tries, settings=self._settings, rng=self._rng))
            watched.rest(pause_s, now)
        watched.excluded[owner] = now.after(pause_s)
        self._timers.set(("retry", record.id), watched.excluded[owner])
        self._owners.release(record.id)
        self._timers.cancel(("award", record.id))
        return Emit(AwardDeclined(record.id, record.iid, body.epoch, owner, attempt.ended, attempt.detail, record.gid))

    def unheard(self, watched: Watched, *, evidence: str, now: Instant) -> Emit:
        """The award was not answered in time, or nobody listens there."""
        record = watched.record
        detail = "the award was not answered"
        watched.lapse(evidence, detail, now)
        watched.excluded[record.owner] = now.after(self._settings.lease_s)
        self._timers.cancel(("award", record.id))
        return Emit(AwardDeclined(record.id, record.iid, record.epoch, record.owner, evidence, detail, record.gid))

    def lapsed(self, watched: Watched, *, evidence: str, silent_s: float, is_ours: bool, now: Instant) -> Emit:
        """Its owner kept no lease; unless the outage was ours, that is held against who lost it."""
        record = watched.record
        watched.lapse(evidence, "", now)
        watched.excluded[record.owner] = now.after(EXCLUDED_LEASES * self._settings.lease_s)
        if not is_ours:
            watched.blame()
            self._lapses.add(record.owner, now)
        self._timers.cancel(("award", record.id))
        said_s = round(silent_s, 3)
        return Emit(LeaseLapsed(record.id, record.iid, record.epoch, record.owner, evidence, said_s, record.gid))
