"""Time and chance: the little arithmetic that everything else stands on."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from protocol.primitives import NS_PER_S, Instant, chosen

NOW = Instant(mono_ns=5 * NS_PER_S, wall_ms=1_800_000_000_000)


@given(st.integers(0, 10_000_000))
def test_a_deadline_in_whole_milliseconds_is_as_far_away_as_it_was_set(delay_ms: int) -> None:
    passed_s = Instant(NOW.after(delay_ms / 1_000), 0).since_s(NOW.mono_ns)
    assert abs(passed_s - delay_ms / 1_000) < 1e-6


def test_deadlines_ignore_the_wall_clock() -> None:
    assert NOW.after(1.5) == Instant(NOW.mono_ns, 0).after(1.5) == 5 * NS_PER_S + 3 * NS_PER_S // 2


@given(st.integers(1, 1_000), st.integers())
def test_a_choice_is_an_index(count: int, seed: int) -> None:
    assert 0 <= chosen(Random(seed), count) < count


def test_every_index_is_chosen_now_and_then() -> None:
    rng = Random(7)
    assert {chosen(rng, 5) for _ in range(200)} == set(range(5))
