"""Tallies: bounded, exact where it matters, and two can be added up."""

from hypothesis import given
from hypothesis import strategies as st

from simulations.reports.tally import Tally

TIMES = st.lists(st.floats(0, 10_000), min_size=1, max_size=200)


def _tally(seconds: list[float]) -> Tally:
    tally = Tally()
    for took_s in seconds:
        tally.add(took_s)
    return tally


@given(TIMES)
def test_quantiles_are_those_of_the_sorted_times_to_three_digits(times: list[float]) -> None:
    shown = _tally(times).shown("x", "")
    ranked = sorted(times)
    median = ranked[(len(ranked) + 1) // 2 - 1]
    assert shown.count == len(times)
    assert shown.p50_s is not None
    assert abs(shown.p50_s - median) <= max(1e-6, median / 99)
    assert shown.curve[-1][1] == 1.0
    assert len(shown.curve) <= 101


@given(TIMES, TIMES)
def test_two_tallies_add_up_to_that_of_all(one: list[float], other: list[float]) -> None:
    merged = _tally(one)
    merged.merge(_tally(other).counts)
    assert merged.counts == _tally([*one, *other]).counts


def test_nothing_measured_is_a_distribution_of_nothing() -> None:
    assert Tally().shown("x", "").count == 0


def test_the_curve_ends_below_one_by_the_share_of_those_that_never_came_to_an_end() -> None:
    shown = _tally([1.0, 2.0, 3.0]).shown("x", "", never=2)
    assert (shown.count, shown.never, shown.curve[-1]) == (3, 2, (3.0, 0.6))
    assert (shown.p50_s, shown.p90_s, shown.max_s) == (3.0, None, 3.0)
    assert Tally().shown("x", "", never=4).never == 4
