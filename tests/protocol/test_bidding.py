"""The side of the one who is asked: a bid of what is free and was seen, or the reason for none."""

from msgspec import structs

from protocol.bidding import answer_to
from protocol.performance import Performance
from protocol.slots import Slots
from protocol.wire.auction import Bid, Offer, Pass
from tests.protocol.conversation import WALL_MS, instant
from tests.protocol.work import CARD, ECHO

OFFER = Offer(7, "t" * 26, 1, ECHO, 10, WALL_MS + 60_000)
CLAIMED = structs.replace(CARD, latency_ms=400, cost_per_call=0.5, confidence=0.8)


def _said(offer: Offer = OFFER, *, taken: int = 0, seen: Performance | None = None, is_open: bool = True) -> Bid | Pass:
    slots = Slots()
    slots.advertise((CLAIMED,))
    for number in range(taken):
        slots.take(number, ECHO)
    return answer_to(offer, slots=slots, seen=seen or Performance(), is_open=is_open, waiting=0, now=instant(0.0))


def test_who_never_ran_bids_what_its_manifest_claims() -> None:
    assert _said(taken=1) == Bid(7, OFFER.task, 1, "echo", 1, 0, 400, 0, 0.0, 0.0, 0.8, 0.5)


def test_what_was_seen_counts_more_than_what_is_claimed() -> None:
    seen = Performance()
    seen.succeeded(("echo", ECHO), took_ms=30.0, now=instant(0.0))
    seen.failed(("echo", ECHO), instant(0.0))
    bid = _said(seen=seen)
    assert isinstance(bid, Bid)
    assert (bid.latency_ms, bid.deviation_ms, bid.successes, bid.failures) == (30, 15, 0.98, 1.0)


def test_why_there_is_no_bid_is_said() -> None:
    assert _said(taken=2) == Pass(7, OFFER.task, 1, "busy")
    assert _said(is_open=False) == Pass(7, OFFER.task, 1, "draining")
    assert _said(structs.replace(OFFER, capability="other@1")) == Pass(7, OFFER.task, 1, "no_agent")
    assert _said(structs.replace(OFFER, deadline_ms=WALL_MS)) == Pass(7, OFFER.task, 1, "deadline")
