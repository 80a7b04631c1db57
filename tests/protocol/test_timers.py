"""Timers: held against a model that keeps a plain dictionary."""

from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocol.timers import Timers

Armed: TypeAlias = dict[str, tuple[int, int]]  # key → (deadline, when it was set)
KEYS = st.sampled_from("abcdefg")


class TimersAgainstAModel(RuleBasedStateMachine):
    """Whatever is done in whatever order, the timers say what the dictionary says."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: Timers[str] = Timers()
        self.armed: Armed = {}
        self.order = 0
        self.now = 0

    @rule(key=KEYS, delay=st.integers(-3, 12), times=st.integers(1, 80))
    def set(self, key: str, delay: int, times: int) -> None:
        """Many times over, so that the stale entries of the heap are swept."""
        for step in range(times):
            self.order += 1
            self.timers.set(key, self.now + delay + times - step)
        self.armed[key] = (self.now + delay + 1, self.order)

    @rule(key=KEYS)
    def cancel(self, key: str) -> None:
        self.timers.cancel(key)
        self.armed.pop(key, None)

    @rule(by=st.integers(0, 9))
    def postpone(self, by: int) -> None:
        self.timers.postpone(by)
        self.armed = {key: (at + by, order) for key, (at, order) in self.armed.items()}

    @rule(passed=st.integers(0, 6))
    def time_passes(self, passed: int) -> None:
        self.now += passed
        due = sorted((at, order, key) for key, (at, order) in self.armed.items() if at <= self.now)
        assert self.timers.due(self.now) == [key for _, _, key in due]
        for _, _, key in due:
            del self.armed[key]

    @precondition(lambda self: self.armed)
    @rule()
    def waits_until_the_next(self) -> None:
        deadline = self.timers.next()
        assert deadline is not None
        assert deadline <= self.now or self.timers.due(deadline - 1) == []

    @invariant()
    def agrees(self) -> None:
        assert len(self.timers) == len(self.armed)
        assert self.timers.next() == min((at for at, _ in self.armed.values()), default=None)
        assert {key: self.timers.deadline(key) for key in "abcdefg"} == {
            key: self.armed[key][0] if key in self.armed else None for key in "abcdefg"
        }


TestTimersAgainstAModel = TimersAgainstAModel.TestCase


@given(st.permutations("abcdefg"))
def test_equal_deadlines_come_due_in_the_order_they_were_set(keys: list[str]) -> None:
    timers: Timers[str] = Timers()
    for key in keys:
        timers.set(key, 5)
    assert timers.due(5) == list(keys)


@given(st.permutations("abcdefg"), st.integers(1, 8))
def test_some_of_the_due_are_taken_at_a_time_and_the_others_stay_due(keys: list[str], most: int) -> None:
    timers: Timers[str] = Timers()
    for key in keys:
        timers.set(key, 5)
    taken: list[str] = []
    while timers.next() == 5:
        some = timers.due(5, most=most)
        assert 0 < len(some) <= most
        taken += some
    assert taken == list(keys)


def test_cancelled_entries_do_not_pile_up() -> None:
    timers: Timers[int] = Timers()
    for number in range(10_000):
        timers.set(number % 3, 1_000_000 + number)
    assert len(timers._heap) < 200
