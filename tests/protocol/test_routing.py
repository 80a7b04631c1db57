"""Orderings of candidates, one property for all and one sentence for each."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.routing import POLICIES, Candidate, Policy, but_for, failing, near_first, slow_last, without

CANDIDATES = st.lists(
    st.builds(
        Candidate,
        node=st.text("abc", min_size=1, max_size=3),
        agent=st.sampled_from(["x", "y"]),
        free=st.integers(0, 3),
        slots=st.just(3),
        age_s=st.floats(0, 10),
        latency_ms=st.integers(0, 5),
        is_self=st.booleans(),
    ),
    max_size=20,
)


def candidate(node: str, free: int, *, is_self: bool = False, latency_ms: int = 0) -> Candidate:
    return Candidate(node, "x", free, 8, 0.1, latency_ms, 0.0, is_self)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@given(candidates=CANDIDATES, seed=st.integers())
def test_every_policy_keeps_everybody_and_puts_the_busy_last(
    policy: Policy, candidates: list[Candidate], seed: int
) -> None:
    before = list(candidates)
    ordered = policy(candidates, Random(seed))
    assert candidates == before, "the list that was given is not touched"
    assert sorted(map(repr, ordered)) == sorted(map(repr, candidates))
    is_free = [each.free > 0 for each in ordered]
    assert is_free == sorted(is_free, reverse=True)
    assert policy(candidates, Random(seed)) == ordered


def test_local_first_begins_with_an_own_free_agent_and_never_with_a_busy_one() -> None:
    others = [candidate("b", 9), candidate("c", 9)]
    first = POLICIES["local-first"]([*others, candidate("a", 1, is_self=True)], Random(1))[0]
    assert first.node == "a"
    first = POLICIES["local-first"]([*others, candidate("a", 0, is_self=True)], Random(1))[0]
    assert first.node != "a"


def test_random_two_prefers_room_but_does_not_send_everybody_to_one_node() -> None:
    nodes = [candidate(f"n{index}", index + 1) for index in range(10)]
    firsts = [POLICIES["random-two"](nodes, Random(seed))[0].free for seed in range(400)]
    assert len(set(firsts)) > 5
    assert sum(firsts) / len(firsts) > 6.2  # an even choice would be 5.5; the larger of two is about 7


def test_least_loaded_takes_most_room_then_least_latency_then_the_id() -> None:
    nodes = [candidate("d", 2, latency_ms=9), candidate("c", 2), candidate("b", 2), candidate("a", 1)]
    assert [each.node for each in POLICIES["least-loaded"](nodes, Random(1))] == ["b", "c", "d", "a"]


def test_who_takes_several_times_as_long_as_is_usual_comes_last() -> None:
    found = [candidate("a", 2, is_self=True), candidate("b", 1), candidate("c", 0), candidate("d", 1)]
    took_ms = {"a": 3_000.0, "b": 300.0, "c": 290.0, "d": 800.0}
    assert [each.node for each in slow_last(found, took_ms=took_ms)] == ["b", "c", "d", "a"]


@pytest.mark.parametrize("took_ms", [{}, {"a": 3_000.0}, {"a": 0.0, "b": 300.0}, {"a": 40.0, "b": 1.0}])
def test_nobody_is_slow_without_another_that_was_seen_or_when_all_are_fast(took_ms: dict[str, float]) -> None:
    found = [candidate("a", 1), candidate("b", 1)]
    assert slow_last(found, took_ms=took_ms) == found


def test_who_fails_where_others_do_not_is_doubted_and_nobody_is_when_all_fail() -> None:
    assert failing({"a": 0.05, "b": 0.9, "c": 1.0}) == {"a"}
    assert failing({"a": 0.05, "b": 0.06}) == set()
    assert failing({}) == set()


def test_the_doubted_are_left_out_only_while_somebody_else_is_free() -> None:
    found = [candidate("a", 1, is_self=True), candidate("b", 1), candidate("c", 0)]
    assert [each.node for each in without(found, {"a"})] == ["b", "c"]
    assert [each.node for each in without(found, {"a", "b"})] == ["c", "a", "b"]
    assert without(found, set()) == found
    assert [each.node for each in but_for(found, {"a"})] == ["b", "c"]
    assert but_for(found, {"a", "b", "c"}) == found


@given(candidates=CANDIDATES, took_ms=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(0, 1e9)))
def test_somebody_who_is_not_slow_comes_first(candidates: list[Candidate], took_ms: dict[str, float]) -> None:
    took_ms = {each.node: took_ms.get(each.node, 0.0) for each in candidates}
    ordered = slow_last(candidates, took_ms=took_ms)
    assert sorted(map(repr, ordered)) == sorted(map(repr, candidates))
    middle = sorted(each for each in took_ms.values() if each)[: (sum(map(bool, took_ms.values())) + 1) // 2]
    assert not middle or took_ms[ordered[0].node] < max(3 * middle[-1], 50)


@given(candidates=CANDIDATES, far=st.sets(st.text("abc", min_size=1, max_size=3)))
def test_near_first_keeps_everybody_the_free_before_the_busy_and_else_their_order(
    candidates: list[Candidate], far: set[str]
) -> None:
    ordered = near_first(candidates, far=far)
    ranks = [(each.free <= 0, each.node in far) for each in ordered]
    assert ranks == sorted(ranks)
    for rank in set(ranks):
        same = [each for each in candidates if (each.free <= 0, each.node in far) == rank]
        assert [each for each in ordered if (each.free <= 0, each.node in far) == rank] == same


def test_near_first_takes_a_free_one_far_away_before_a_busy_one_near_by() -> None:
    found = [candidate("far", 9), candidate("full", 0), candidate("near", 1), candidate("far-full", 0)]
    ordered = near_first(found, far={"far", "far-full"})
    assert [each.node for each in ordered] == ["near", "far", "full", "far-full"]
