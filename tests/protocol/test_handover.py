"""An award on its way: the slot it counts on, the answers that end it, and what is held against whom."""

from random import Random

from protocol.events import AwardDeclined, LeaseLapsed
from protocol.handover import EXCLUDED_LEASES, Handover
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.primitives import NS_PER_S
from protocol.timers import Timers
from protocol.watched import Phase, Watched
from protocol.wire.auction import Attempt
from protocol.wire.task import Decline, TaskRecord
from tests.protocol.conversation import instant
from tests.protocol.work import ECHO, SAID, SETTINGS, B, Mesh, awarded, frame

NOW = instant(1.0)


class Desk:
    """A handover with one award under way, to a node with one slot."""

    def __init__(self, record: TaskRecord | None = None, *, seed: int = 7) -> None:
        self.mesh = Mesh({B: 1})
        self.owners = Owners()
        self.lapses = Lapses()
        self.timers: Timers[tuple[str, str]] = Timers()
        self.handover = Handover(
            settings=SETTINGS,
            owners=self.owners,
            lapses=self.lapses,
            view=self.mesh,
            timers=self.timers,
            rng=Random(seed),
        )
        record = record or awarded()
        self.watched = Watched(record, revision=1, frame=frame(record))
        self.handover.reserve(self.watched, self.mesh.candidates(ECHO, NOW)[0])
        self.sent = self.handover.offer(self.watched, NOW)

    def asked(self) -> list[str]:
        """The tasks whose owner is asked after them."""
        return [line.task for line in self.owners.held(self.watched.owner)]


def test_an_award_counts_on_its_slot_until_it_is_off() -> None:
    desk = Desk()
    assert desk.mesh.candidates(ECHO, NOW)[0].free == 0
    desk.handover.unreserve(desk.watched, NOW)
    desk.handover.unreserve(desk.watched, NOW)
    assert desk.mesh.candidates(ECHO, NOW)[0].free == 1


def test_an_owner_that_took_it_is_asked_after_it_and_not_waited_for() -> None:
    desk = Desk()
    assert desk.timers.deadline(("award", desk.watched.record.id)) is not None
    desk.handover.held(desk.watched, started_ms=5, said=SAID, now=NOW)
    assert (desk.watched.phase, desk.asked()) == (Phase.HELD, [desk.watched.record.id])
    assert desk.timers.deadline(("award", desk.watched.record.id)) is None


def _rests_s(*before: str, seed: int) -> float:
    """For how long a task rests whose owner has not kept its lease in the record, after these ends of attempts."""
    attempts = tuple(Attempt(epoch, B, reason, 0) for epoch, reason in enumerate(before))
    desk = Desk(awarded(attempts=attempts, exclusive=True), seed=seed)
    desk.handover.declined(desk.watched, Decline(desk.watched.record.id, 1, "unrenewed"), NOW)
    return max(0, desk.watched.not_before - NOW.mono_ns) / NS_PER_S


def test_exclusive_work_that_the_record_is_too_slow_for_rests_longer_each_time() -> None:
    def longest_s(*before: str) -> float:
        return max(_rests_s(*before, seed=seed) for seed in range(20))

    assert longest_s() == longest_s("silent") == 0.0, "another owner may begin it at once"
    longer = [longest_s(*["unrenewed"] * times) for times in (1, 3, 7, 31)]
    assert longer == sorted(longer)
    assert SETTINGS.lease_s == longer[0] < longer[-1] <= SETTINGS.backoff_s_max
    assert longest_s("unrenewed", "unrenewed", "agent_crashed", "unrenewed") == longer[0], "counted from the last other"


def test_who_declines_is_left_alone_for_as_long_as_it_says() -> None:
    desk = Desk()
    body = Decline(desk.watched.record.id, 1, "draining", retry_after_ms=700)
    event = desk.handover.declined(desk.watched, body, NOW).event
    assert isinstance(event, AwardDeclined)
    assert (event.owner, event.reason) == (B, "draining")
    assert (desk.watched.excluded, desk.asked()) == ({B: NOW.after(0.7)}, [])


def test_a_lapse_is_held_against_the_owner_unless_the_outage_was_ours() -> None:
    for is_ours, died in ((False, (B,)), (True, ())):
        desk = Desk()
        event = desk.handover.lapsed(desk.watched, evidence="silent", silent_s=3.0, is_ours=is_ours, now=NOW).event
        assert isinstance(event, LeaseLapsed)
        assert desk.watched.record.died == died
        assert desk.lapses.count(B, NOW) == len(died)
        assert desk.watched.excluded == {B: NOW.after(EXCLUDED_LEASES * SETTINGS.lease_s)}


def test_the_broker_names_an_award_by_its_number_once() -> None:
    desk = Desk()
    assert desk.sent.probe is not None
    assert desk.handover.absent(desk.sent.probe) == (desk.watched.record.id, 1)
    assert desk.handover.absent(desk.sent.probe) == ("", 0)
