"""Tallies: bounded, exact where it matters, and two can be added up."""

from hypothesis import given
from hypothesis import strategies as st

from simulations.reports.tally import Tally, tally_of

TIMES = st.lists(st.floats(0, 10_000), min_size=1, max_size=200)


@given(TIMES)
def test_quantiles_are_those_of_the_sorted_times_to_three_digits(times: list[float]) -> None:
    shown = tally_of(times).shown("x", "")
    ranked = sorted(times)
    median = ranked[(len(ranked) + 1) // 2 - 1]
    assert shown.count == len(times)
    assert shown.p50_s is not None
    assert abs(shown.p50_s - median) <= max(1e-6, median / 99)
    assert shown.curve[-1][1] == 1.0
    assert len(shown.curve) <= 101


@given(TIMES, TIMES)
def test_two_tallies_add_up_to_that_of_all(one: list[float], other: list[float]) -> None:
    merged = tally_of(one)
    merged.merge(tally_of(other).counts)
    assert merged.counts == tally_of([*one, *other]).counts


def test_nothing_measured_is_a_distribution_of_nothing() -> None:
    assert Tally().shown("x", "").count == 0
