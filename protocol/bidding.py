"""The side of the one who is asked: a bid for an agent that is free now, or why there is none.

Invariant: a bid promises nothing and holds no slot; the award may still find it taken. Pure leaf of `holder`.
"""

from protocol import limits
from protocol.performance import Performance
from protocol.primitives import Instant
from protocol.slots import Slots
from protocol.wire.auction import Bid, Offer, Pass


def answer_to(
    offer: Offer, *, slots: Slots, seen: Performance, is_open: bool, waiting: int, now: Instant
) -> Bid | Pass:
    """What this node says to an offer. `waiting` tasks of the capability are queued here before it."""
    if not is_open:
        return Pass(offer.auction, offer.task, offer.epoch, "draining")
    if not slots.has(offer.capability):
        return Pass(offer.auction, offer.task, offer.epoch, "no_agent")
    if offer.deadline_ms <= now.wall_ms:
        return Pass(offer.auction, offer.task, offer.epoch, "deadline")
    best = slots.best(offer.capability)
    if best is None:
        return Pass(offer.auction, offer.task, offer.epoch, "busy")
    card, free = best
    track = seen.of((card.name, offer.capability), now)
    latency_ms = track.latency_ms if track.successes else float(card.latency_ms)
    return Bid(
        auction=offer.auction,
        task=offer.task,
        epoch=offer.epoch,
        agent=card.name,
        free=free,
        queue_delay_ms=_ms(waiting * latency_ms / free),
        latency_ms=_ms(latency_ms),
        deviation_ms=_ms(track.deviation_ms),
        successes=round(track.successes, 3),
        failures=round(track.failures, 3),
        confidence=card.confidence,
        price=card.cost_per_call,
    )


def _ms(span: float) -> int:
    return min(round(span), limits.SPAN_MS_MAX)
