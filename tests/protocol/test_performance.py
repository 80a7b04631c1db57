"""What was observed of runs: means that follow, doubts that fade, newcomers that are not doubted."""

import hypothesis.strategies as st
from hypothesis import given

from protocol.performance import FORGOTTEN_S, HALF_LIFE_S, TRACKS_MAX, Lapses, Performance, Track, sure_success
from tests.protocol.conversation import instant

KEY = ("echo", "echo@1")
NOW = instant(0.0)


def test_nothing_is_known_of_who_never_ran() -> None:
    assert Performance().of(KEY, NOW) == Track()


def test_the_first_run_is_the_mean_and_later_ones_move_it_by_a_fifth() -> None:
    seen = Performance()
    seen.succeeded(KEY, took_ms=100.0, now=NOW)
    assert seen.of(KEY, NOW).latency_ms == 100.0
    seen.succeeded(KEY, took_ms=200.0, now=NOW)
    assert seen.of(KEY, NOW).latency_ms == 120.0


def test_a_slow_agent_that_became_fast_is_believed_within_some_runs() -> None:
    seen = Performance()
    for took_ms in [1_000.0] * 20 + [10.0] * 20:
        seen.succeeded(KEY, took_ms=took_ms, now=NOW)
    assert seen.of(KEY, NOW).latency_ms < 30.0


def test_who_was_slow_and_got_nothing_for_long_is_doubted_no_more() -> None:
    seen = Performance()
    seen.succeeded(KEY, took_ms=9_000.0, now=NOW)
    seen.failed(KEY, NOW)
    assert seen.of(KEY, instant(FORGOTTEN_S - 1)).failures == 1.0
    assert seen.of(KEY, instant(FORGOTTEN_S)) == Track()
    seen.succeeded(KEY, took_ms=10.0, now=instant(FORGOTTEN_S))
    assert seen.of(KEY, instant(FORGOTTEN_S)) == Track(10.0, 5.0, 1.0, 0.0)


def test_a_failure_before_any_success_says_nothing_of_how_long_a_run_takes() -> None:
    seen = Performance()
    seen.failed(KEY, NOW)
    seen.succeeded(KEY, took_ms=80.0, now=NOW)
    assert seen.of(KEY, NOW).latency_ms == 80.0


def test_old_failures_fade() -> None:
    seen = Performance()
    for _ in range(5):
        seen.failed(KEY, NOW)
    doubted = sure_success(seen.of(KEY, NOW).successes, seen.of(KEY, NOW).failures)
    for _ in range(200):
        seen.succeeded(KEY, took_ms=1.0, now=NOW)
    assert doubted < 0.05 < 0.9 < sure_success(seen.of(KEY, NOW).successes, seen.of(KEY, NOW).failures)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_success_is_a_share_and_one_more_failure_never_raises_it(successes: float, failures: float) -> None:
    assert 0.0 <= sure_success(successes, failures + 1.0) <= 1.0
    assert sure_success(successes, failures + 1.0) <= sure_success(successes, 0.0) == 1.0


def test_what_is_kept_is_bounded() -> None:
    seen = Performance()
    for number in range(TRACKS_MAX + 5):
        seen.succeeded((str(number), "echo@1"), took_ms=1.0, now=NOW)
    assert seen.of(("0", "echo@1"), NOW) == Track()
    assert seen.of((str(TRACKS_MAX), "echo@1"), NOW).successes == 1.0


def test_a_lapse_is_half_forgotten_after_ten_minutes() -> None:
    lapses = Lapses()
    lapses.add("b", instant(0.0))
    lapses.add("b", instant(0.0))
    assert lapses.count("b", instant(HALF_LIFE_S)) == 1.0
    assert lapses.count("c", instant(0.0)) == 0.0
