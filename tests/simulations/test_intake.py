"""What waits in front of a node, and when it is handled."""

import pytest

from protocol.inputs import Absent, Input, LinkChanged
from protocol.primitives import NS_PER_S
from simulations.chance import Chance
from simulations.intake import Intake
from simulations.timeline import Timeline, ns


class Bench:
    """An intake, and when it handled which probe."""

    def __init__(self, *, most: int = 1_000) -> None:
        self.timeline = Timeline()
        self.handled: list[tuple[float, int]] = []
        self.dropped = 0
        self.intake = Intake(
            timeline=self.timeline,
            rng=Chance(1).stream("a", "intake"),
            most=most,
            handle=self._handle,
            overrun=self._overrun,
        )

    def _handle(self, input: Input) -> None:
        self.handled.append((self.timeline.now_s, input.probe if isinstance(input, Absent) else 0))

    def _overrun(self) -> None:
        self.dropped += 1

    def put(self, *probes: int) -> None:
        for probe in probes:
            self.intake.put(Absent(probe))

    def wait(self, seconds: float) -> list[tuple[float, int]]:
        """What was handled since the last look."""
        end_ns = self.timeline.now_ns + ns(seconds)
        self.timeline.run(end_ns)
        seen, self.handled = self.handled, []
        return seen


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_well_host_handles_what_comes_as_it_comes(bench: Bench) -> None:
    bench.put(1, 2)
    assert bench.handled == [(0, 1), (0, 2)]


def test_a_starved_host_reads_late_and_in_order(bench: Bench) -> None:
    bench.intake.late_s = (0.5, 2.5)
    handled: list[tuple[float, int]] = []
    for probe in range(1, 41):
        bench.put(probe)
        handled += bench.wait(2.6)
    handled += bench.wait(3)
    assert [probe for _, probe in handled] == list(range(1, 41))
    lates = [at - 2.6 * (probe - 1) for at, probe in handled]
    assert 0.5 <= min(lates) < 0.8
    assert 2.2 < max(lates) <= 2.5


def test_who_is_well_again_still_reads_in_order(bench: Bench) -> None:
    bench.intake.late_s = (1.0, 1.0)
    bench.put(1)
    bench.intake.late_s = None
    bench.put(2)
    was_ailing = bench.intake.is_ailing  # for what waits is read late still
    assert bench.wait(2) == [(1.0, 1), (1.0, 2)]
    assert (was_ailing, bench.intake.is_ailing, bench.intake.caught_up_ns) == (True, False, ns(1))
    bench.put(3)
    assert bench.handled == [(2.0, 3)]


def test_a_slow_host_takes_its_time_for_each_and_is_busy_until_the_last(bench: Bench) -> None:
    bench.intake.cost_ns = NS_PER_S // 10
    bench.put(1, 2, 3)
    assert bench.intake.busy_until_ns == ns(0.3)
    assert [probe for _, probe in bench.wait(0.25)] == [1, 2]
    assert [probe for _, probe in bench.wait(0.25)] == [3]
    assert bench.intake.busy_until_ns == 0


def test_who_is_slow_no_more_is_not_slow_with_what_waits_either(bench: Bench) -> None:
    bench.intake.take_time(NS_PER_S)
    bench.put(1, 2, 3, 4)
    assert [probe for _, probe in bench.wait(1.5)] == [1]
    bench.intake.take_time(NS_PER_S // 10)
    assert [(round(at, 3), probe) for at, probe in bench.wait(0.1)] == [(1.6, 2)]
    bench.intake.take_time(0)
    assert [probe for _, probe in bench.wait(0)] == [3, 4]
    assert not bench.intake.is_ailing


def test_what_was_held_is_read_at_a_finite_rate_afterwards(bench: Bench) -> None:
    bench.intake.hold()
    bench.put(1, 2, 3)
    assert bench.wait(5) == []
    bench.intake.release(per_s=10)
    assert [(round(at, 3), probe) for at, probe in bench.wait(1)] == [(5.1, 1), (5.2, 2), (5.3, 3)]


def test_what_waits_for_a_stopped_host_is_read_at_once(bench: Bench) -> None:
    bench.intake.late_s = (1.0, 1.0)
    bench.put(1)
    bench.intake.hold()
    bench.put(2)
    bench.wait(3)
    bench.intake.take_all()
    assert bench.handled == [(3.0, 1), (3.0, 2)]
    assert bench.wait(5) == [(3.0, 1), (3.0, 2)], "and not once more"


def test_what_finds_no_room_is_dropped_and_seen_and_news_of_the_link_always_finds_room() -> None:
    bench = Bench(most=2)
    bench.intake.hold()
    bench.put(1, 2, 3)
    bench.intake.put(LinkChanged(up=False))
    assert bench.dropped == 1
    bench.intake.take_all()
    assert [probe for _, probe in bench.handled] == [1, 2, 0]


def test_a_new_life_reads_nothing_of_what_waited_for_the_old_one(bench: Bench) -> None:
    bench.intake.late_s = (1.0, 1.0)
    bench.put(1)
    bench.intake.clear()
    bench.put(2)
    assert bench.wait(3) == [(1.0, 2)]
