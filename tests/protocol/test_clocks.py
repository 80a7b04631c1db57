"""How far others' clocks are: answers measure, dates alone do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.clocks import ASK_INTERVAL_S, Clocks
from protocol.primitives import NS_PER_MS, Instant
from tests.protocol.conversation import instant

HOUR_MS = 3_600_000


def answered(clocks: Clocks, ahead_ms: int, *, took_ms: int = 10, at: float = 0.0) -> int:
    """b answers a question; its clock is that far ahead, half way through. What is held of it then."""
    now = instant(at)
    asked = now.mono_ns - took_ms * NS_PER_MS
    clocks.measure("b", now.wall_ms - took_ms // 2 + ahead_ms, asked=asked, now=now)
    return clocks.ahead_ms("b")


def test_an_answer_measures_a_clock_to_within_the_time_it_took() -> None:
    assert answered(Clocks(), 3 * HOUR_MS) == pytest.approx(3 * HOUR_MS, abs=6)
    assert answered(Clocks(), -3 * HOUR_MS) == pytest.approx(-3 * HOUR_MS, abs=6)


def test_an_answer_that_was_long_on_its_way_says_nothing_of_a_clock() -> None:
    assert answered(Clocks(), 0, took_ms=60_000) == 0
    assert answered(Clocks(), 20_000, took_ms=60_000) == 0


@given(st.lists(st.tuples(st.integers(-1 << 40, 1 << 40), st.integers(0, 90_000)), min_size=1, max_size=8))
def test_a_measure_always_fits_the_last_answer(answers: list[tuple[int, int]]) -> None:
    clocks = Clocks()
    for ahead_ms, took_ms in answers:
        assert abs(answered(clocks, ahead_ms, took_ms=took_ms) - ahead_ms) <= took_ms // 2 + 2


def test_when_our_own_clock_is_set_all_others_move_at_once_and_back() -> None:
    clocks, step_ms = Clocks(), 3 * HOUR_MS
    answered(clocks, 0)
    assert not clocks.has_been_set(instant(0.0))
    ahead = Instant(mono_ns=instant(1.0).mono_ns, wall_ms=instant(1.0).wall_ms + step_ms)
    assert clocks.has_been_set(ahead)
    assert clocks.ahead_ms("b") == -step_ms
    assert clocks.middle_ms(["b", "b"]) == -step_ms
    assert clocks.has_been_set(instant(2.0))
    assert (clocks.ahead_ms("b"), clocks.middle_ms(["b", "b"])) == (0, 0)


def test_a_clock_that_drifts_is_not_set() -> None:
    clocks = Clocks()
    for second in range(100):
        drifted = Instant(mono_ns=instant(second).mono_ns, wall_ms=instant(second).wall_ms + 400 * second)
        assert not clocks.has_been_set(drifted)
    assert limits.CLOCK_STEP_MS_MIN > 400


def test_frames_carry_the_hosts_date_and_others_are_dated_by_their_own_clocks() -> None:
    clocks = Clocks()
    answered(clocks, -3 * HOUR_MS)
    clocks.ours_ms = 3 * HOUR_MS  # it is ours that is wrong: the node goes by the mesh's time
    now = instant(0.0)
    assert clocks.host(now).wall_ms == now.wall_ms + 3 * HOUR_MS
    assert clocks.time_of("a stranger", now) == now.wall_ms


def test_a_node_is_asked_about_its_dates_no_oftener_than_that() -> None:
    clocks = Clocks()
    times = [0.0, ASK_INTERVAL_S / 2, ASK_INTERVAL_S, ASK_INTERVAL_S * 1.5]
    assert [clocks.may_ask("b", instant(at)) for at in times] == [True, False, True, False]
    assert clocks.may_ask("c", instant(0.1))


def test_what_is_kept_of_clocks_is_bounded() -> None:
    clocks, now = Clocks(), instant(0.0)
    for number in range(2 * limits.PEERS_MAX + 10):
        clocks.measure(f"n{number}", now.wall_ms + HOUR_MS, asked=now.mono_ns, now=now)
        clocks.may_ask(f"n{number}", now)
    assert clocks.ahead_ms("n0") == 0
    assert len(clocks._ahead_ms) <= 2 * limits.PEERS_MAX
    assert len(clocks._asked) <= limits.PEERS_MAX
