"""The clocks of a host: one that nobody sets, and one that can be wrong."""

from protocol.primitives import NS_PER_S
from simulations.hostclock import EPOCH_MS, HostClock
from simulations.timeline import Timeline, ns


def _at(seconds: float) -> tuple[Timeline, HostClock]:
    timeline = Timeline()
    timeline.run(ns(seconds))
    return timeline, HostClock(timeline, origin_ns=ns(100))


def test_both_clocks_go_on_with_the_world() -> None:
    _, clock = _at(2)
    assert clock.now().mono_ns == 102 * NS_PER_S
    assert clock.now().wall_ms == EPOCH_MS + 2_000


def test_a_wall_clock_that_is_set_and_drifts_is_ahead_of_the_world_and_the_other_is_not() -> None:
    timeline, clock = _at(2)
    clock.set(ahead_s=10.0, drift=0.5)
    timeline.run(ns(4))
    assert clock.ahead_s == 11.0
    assert clock.now().wall_ms == EPOCH_MS + 15_000
    assert clock.now().mono_ns == 104 * NS_PER_S
    clock.set()
    assert clock.ahead_s == 0.0


def test_a_host_may_live_before_the_world_begins() -> None:
    _, clock = _at(0)
    clock.early_ns = ns(1.5)
    assert clock.now().mono_ns == ns(98.5)
    assert clock.now().wall_ms == EPOCH_MS - 1_500
