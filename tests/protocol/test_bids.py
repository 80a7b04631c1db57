"""What a bid is worth, term by term, and the order in which bids are tried."""

from collections import Counter
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec import msgpack, structs

from protocol import bids, limits
from protocol.wire.auction import Answered, Bid, Round
from tests.protocol.work import B, C, D

BID = Bid(1, "t" * 26, 1, "echo", 2, 0, 100, 20, 0.0, 0.0, 0.9, 0.0)


def _scored(
    node: str = B, *, usual_ms: float = 0.0, price_ms: float = 1_000.0, lapses: float = 0.0, **fields: float
) -> Answered:
    bid = structs.replace(BID, **fields)
    return bids.scored(
        node, bid, at_ms=3, usual_ms=usual_ms, price_ms=price_ms, lapses=lapses, score=bids.expected_finish
    )


def test_a_score_is_the_finish_by_the_doubt_plus_price_and_lapses_and_keeps_its_terms() -> None:
    bid = _scored(queue_delay_ms=30, successes=3.0, failures=1.0, price=0.5, lapses=2.0)
    assert (bid.finish_ms, bid.cost_ms, bid.lapses_ms) == (150.0, 500.0, 2_000.0)
    assert bid.success == pytest.approx(0.8 - 0.1633, abs=1e-3)
    failing_ms = (1.0 - bid.success) * bids.FAILED_MS
    assert bid.score == pytest.approx((150.0 + failing_ms) / bid.success + 500.0 + 2_000.0, abs=0.01)


def test_who_never_saw_a_run_end_well_is_not_quick() -> None:
    hole = _scored(latency_ms=0, deviation_ms=0, failures=9.0, usual_ms=120.0)
    healthy = _scored(C, latency_ms=120, deviation_ms=0, successes=9.0, usual_ms=120.0)
    newcomer = _scored(D, latency_ms=0, deviation_ms=0, usual_ms=120.0)
    assert hole.score > 10 * healthy.score
    assert newcomer.score == healthy.score, "it gets its share of work"


def test_who_was_quick_and_fails_now_is_behind_who_is_slow() -> None:
    broken = _scored(latency_ms=5, deviation_ms=1, successes=3.0, failures=9.0)
    assert broken.score > _scored(C, latency_ms=1_000, successes=20.0).score


@pytest.mark.parametrize(
    "worse",
    [{"queue_delay_ms": 50}, {"latency_ms": 200}, {"deviation_ms": 90}, {"failures": 1.0}, {"price": 0.2}],
    ids=lambda each: next(iter(each)),
)
def test_every_term_can_lose_an_auction(worse: dict[str, float]) -> None:
    for seed in range(20):
        order = bids.ranked([_scored(B, **worse), _scored(C)], Random(seed))
        assert [each.node for each in order] == [C, B]


def test_a_lapse_lowers_the_rank_of_the_best_claim() -> None:
    order = bids.ranked([_scored(B, latency_ms=1, lapses=1.0), _scored(C)], Random(7))
    assert order[0].node == C


def test_chance_decides_among_bids_within_five_percent() -> None:
    equals = [_scored(node, latency_ms=100, deviation_ms=0) for node in (B, C, D)]
    firsts = Counter(bids.ranked(equals, Random(seed))[0].node for seed in range(300))
    assert min(firsts[node] for node in (B, C, D)) > 60


@given(
    st.integers(0, limits.SPAN_MS_MAX),
    st.floats(0, limits.WEIGHT_MAX),
    st.floats(0, limits.WEIGHT_MAX),
    st.floats(0, limits.WEIGHT_MAX),
    st.floats(0, 1e9),
    st.sampled_from(sorted(bids.SCORES)),
)
def test_the_evidence_of_any_bid_that_can_be_read_can_be_read_again(
    span: int, successes: float, failures: float, price: float, price_ms: float, score: str
) -> None:
    bid = structs.replace(
        BID, queue_delay_ms=span, latency_ms=span, successes=successes, failures=failures, price=price
    )
    scored = bids.scored(B, bid, at_ms=1, usual_ms=0.0, price_ms=price_ms, lapses=1e9, score=bids.SCORES[score])
    told = Round(1, "bids", "", 1, answers=(scored,))
    assert msgpack.decode(msgpack.encode(told), type=Round) == told
    assert bids.ranked([scored, scored], Random(1))


def test_each_score_of_the_table_prefers_what_it_says() -> None:
    quick, cheap = _scored(B, latency_ms=100, price=5.0), _scored(C, latency_ms=900)
    best = {name: min((quick, cheap), key=score).node for name, score in bids.SCORES.items()}
    assert best == {"expected-finish": C, "fastest": B, "cheapest": C}


def test_a_late_answer_is_named_where_it_stood_as_silent() -> None:
    rounds = (Round(1, "bids", "", 1, asked=2, answers=(Answered(B, "bid"), Answered(C, "silent"))),)
    (told,) = bids.with_late(rounds, C)
    assert ([each.said for each in told.answers], told.strays) == (["bid", "late"], 1)
    (told,) = bids.with_late(rounds, B)
    assert ([each.said for each in told.answers], told.strays) == (["bid", "silent"], 1)
    assert bids.with_late((), B) == ()
