"""Refused frames: each is counted, and a flood is not echoed."""

from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.envelope import Refusal
from protocol.events import FrameRefused
from protocol.refusals import TOLD_PER_S, TWIN_S, Refusals
from tests.protocol.conversation import instant
from tests.protocol.work import said


def _told(refusals: Refusals, code: str, seconds: float = 0.0) -> list[FrameRefused]:
    return said(refusals.told(Refusal(code, "src", "subject"), instant(seconds)), FrameRefused)


def test_the_first_of_a_second_are_told_one_by_one() -> None:
    refusals = Refusals()
    assert [len(_told(refusals, "replayed")) for _ in range(TOLD_PER_S + 1)] == [1] * TOLD_PER_S + [0]
    assert [event.count for event in _told(refusals, "replayed", 1.0)] == [2], "with the one that was not told"


def test_a_flood_is_told_at_powers_of_two() -> None:
    refusals = Refusals()
    events = [event for _ in range(100_000) for event in _told(refusals, "replayed")]
    assert len(events) < TOLD_PER_S + 20


def test_our_own_echo_is_no_news() -> None:
    assert _told(Refusals(), "echo") == []


def _twin(refusals: Refusals, code: str, life: int, seconds: float = 0.0) -> None:
    refusals.told(Refusal(code, "src", "subject", life=life), instant(seconds))


def test_who_hears_a_newer_life_of_its_own_key_knows_that_it_is_outlived_since_when_it_is_silent_and_that_it_left() -> (
    None
):
    refusals = Refusals()
    _told(refusals, "echo")
    assert not refusals.is_outlived
    _twin(refusals, "twin", 7, 1.0)
    assert (refusals.is_outlived, refusals.outlived_by) == (True, 7)
    assert refusals.twin_silent_s(instant(31.0)) == 30.0
    bereft = [refusals.is_bereft]
    _twin(refusals, "twin_left", 7, 2.0)
    bereft.append(refusals.is_bereft)
    assert bereft == [False, True]
    _twin(refusals, "twin", 9, 3.0)
    assert (refusals.outlived_by, refusals.is_bereft) == (9, False), "another one has begun since"


def test_whose_key_two_daemons_have_is_known_for_a_while_and_of_so_many() -> None:
    refusals = Refusals()
    for number in range(limits.TWINS_MAX + 1):
        refusals.told(Refusal("two_lives", f"n{number}", "subject"), instant(0.0))
    assert refusals.twins(instant(TWIN_S - 0.1)) == tuple(f"n{number}" for number in range(1, limits.TWINS_MAX + 1))
    refusals.told(Refusal("two_lives", "n3", "subject"), instant(TWIN_S))
    assert refusals.twins(instant(TWIN_S)) == ("n3",)


@given(st.lists(st.tuples(st.sampled_from(["replayed", "expired"]), st.integers(0, 3)), max_size=300))
def test_no_refused_frame_is_told_twice_or_forgotten(frames: list[tuple[str, int]]) -> None:
    refusals, told = Refusals(), {"replayed": 0, "expired": 0}
    frames.sort(key=lambda each: each[1])
    for code, second in frames:
        for event in _told(refusals, code, float(second)):
            told[event.code] += event.count
    for code in told:
        (last,) = _told(refusals, code, 10.0)
        assert told[code] + last.count == sum(each[0] == code for each in frames) + 1
