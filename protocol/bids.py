"""What a task wants bids for, what each bid is worth, and in which order they are tried.

Invariant: a score is a pure function of the bid and of what the asker saw itself; every term of it is kept.
Pure leaf: `ledger` wants and gets, `auction` asks, and the simulator compares the scores of the table.
"""

from collections.abc import Callable, Mapping
from math import floor, log
from typing import TypeAlias

from msgspec import Struct, structs

from protocol import limits
from protocol.performance import sure_success
from protocol.primitives import Instant, Mono, NodeId, Rng, chosen
from protocol.routing import Candidate
from protocol.wire.auction import Answered, Bid, Round

SUCCESS_MIN = 0.05  # below it nobody is told from nobody
FAILED_MS = 1_000.0  # what a run that fails costs beside its time: the pause before the next, or all when it is final
LAPSE_MS = 1_000.0  # what one lapse weighs: a lease lost is worth a second of anybody's speed
STEP = 1.05  # scores within five percent are equal, and chance decides: no herd follows the best
FLOOR_MS = 1.0  # of a score: nothing measured here is finer


class Wanted(Struct, frozen=True):
    """A task that bids are to be asked for: who could do it, and how many of them to ask."""

    task: str
    epoch: int  # of the award that it would become
    capability: str
    gear: str  # bids | broadcast
    why: str
    input_bytes: int
    deadline_ms: int
    candidates: tuple[Candidate, ...]  # alive and not excluded, the best known first
    iid: str = ""
    gid: str = ""
    usual_ms: float = 0.0  # a run with whoever, as the asker saw or was told; 0 when nothing is known


class Closed(Struct, frozen=True):
    """An auction that is over: its evidence, and who bid, best first, while the bids are fresh."""

    task: str
    epoch: int
    round: Round
    ranked: tuple[tuple[NodeId, str], ...]  # node and agent
    fresh_until: Mono


Score: TypeAlias = Callable[[Answered], float]


def expected_finish(bid: Answered) -> float:
    """When it would be done, doubted by how often it is; dearer by its price and by broken leases."""
    return _at_last_ms(bid) + bid.cost_ms + bid.lapses_ms


def fastest(bid: Answered) -> float:
    """The price does not matter."""
    return _at_last_ms(bid) + bid.lapses_ms


def cheapest(bid: Answered) -> float:
    """The price first; time only tells equals apart."""
    return bid.cost_ms / max(bid.success, SUCCESS_MIN) + bid.lapses_ms + _at_last_ms(bid) / 1_000.0


def _at_last_ms(bid: Answered) -> float:
    """Until it has succeeded: a run for each that is expected, and what those cost that fail."""
    success = max(bid.success, SUCCESS_MIN)
    return (bid.finish_ms + (1.0 - success) * FAILED_MS) / success


SCORES: Mapping[str, Score] = {"expected-finish": expected_finish, "fastest": fastest, "cheapest": cheapest}


def scored(
    node: NodeId, bid: Bid, *, at_ms: int, usual_ms: float, price_ms: float, lapses: float, score: Score
) -> Answered:
    """The bid with every term of its score. `price_ms` is what one unit of price weighs; `usual_ms` is taken for
    the run of a node that never saw one end well: who knows nothing is not quick.
    """
    run_ms = float(bid.latency_ms + bid.deviation_ms) or usual_ms
    terms = Answered(
        node,
        "bid",
        at_ms=at_ms,
        agent=bid.agent,
        free=bid.free,
        queue_delay_ms=bid.queue_delay_ms,
        latency_ms=bid.latency_ms,
        deviation_ms=bid.deviation_ms,
        successes=bid.successes,
        failures=bid.failures,
        confidence=bid.confidence,
        price=bid.price,
        finish_ms=_weight(bid.queue_delay_ms + run_ms),
        success=round(sure_success(bid.successes, bid.failures), 4),
        cost_ms=_weight(bid.price * price_ms),
        lapses_ms=_weight(lapses * LAPSE_MS),
    )
    return structs.replace(terms, score=_weight(score(terms)))


def _weight(number: float) -> float:
    return min(round(number, 3), limits.WEIGHT_MAX)  # what is written must be readable


def ranked(bids: list[Answered], rng: Rng) -> list[Answered]:
    """The lowest score first; within five percent by chance."""
    mixed: list[Answered] = []
    left = list(bids)
    while left:
        mixed.append(left.pop(chosen(rng, len(left))))
    return sorted(mixed, key=lambda each: floor(log(max(each.score, FLOOR_MS), STEP)))  # stable


def is_as_good_as_any(bid: Answered, best_ms: float) -> bool:
    """True when nobody asked could do clearly better: no queue, and within a tenth of the best possible."""
    return bid.queue_delay_ms == 0 and best_ms > 0.0 and bid.score <= 1.1 * best_ms


def best_possible(candidates: list[Candidate], *, price_ms: float, score: Score) -> float:
    """The score of the best claim among those asked; 0, which nobody reaches, when one of them claims nothing."""
    if not all(each.latency_ms for each in candidates):
        return 0.0
    claims = [
        Answered(each.node, "bid", finish_ms=float(each.latency_ms), success=1.0, cost_ms=each.cost * price_ms)
        for each in candidates
    ]
    return min((score(claim) for claim in claims), default=0.0)


def took_ms(since: Instant, now: Instant) -> int:
    """Whole milliseconds between two moments."""
    return max(0, (now.mono_ns - since.mono_ns) // 1_000_000)


def with_late(rounds: tuple[Round, ...], node: NodeId) -> tuple[Round, ...]:
    """The evidence once somebody answered after the end: named where it stood as silent, else only counted."""
    if not rounds:
        return rounds
    *former, last = rounds
    answers = tuple(
        structs.replace(each, said="late") if each.node == node and each.said in ("silent", "unheard") else each
        for each in last.answers
    )
    return (*former, structs.replace(last, answers=answers, strays=last.strays + 1))
