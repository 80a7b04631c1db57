"""No herd: within one interval of gossip, during which nobody hears of the others' awards, work is still spread."""

from collections import Counter
from math import sqrt

from msgspec import structs

from protocol.catalogue import LOAD_INTERVAL_S
from protocol.wire.task import TaskState
from simulations.scenario import Scenario, parsed
from simulations.seen import Seen, Stored
from simulations.timeline import ns
from simulations.world import World

BURST = parsed(
    """
about = "eight nodes give out a burst of work by what they heard of each other"
nodes = 8
run_s = 8
routing = "random-two"
agents = { runs_s = [0.1, 0.2], slots = 16 }
work = { tasks = 200, from_s = 4, every_s = 0.01, route = "gossip" }
""",
    origin="burst",
)


def _excess(scenario: Scenario, seed: int) -> float:
    """The most awards to one node in one interval, in standard deviations of chance above the mean."""
    world = World(scenario, seed=seed)
    awards: dict[int, Counter[str]] = {}
    see = world.see

    def counted(seen: Seen) -> None:
        if isinstance(seen, Stored) and seen.record is not None and seen.record.state is TaskState.AWARDED:
            interval = world.timeline.now_ns // ns(LOAD_INTERVAL_S)
            awards.setdefault(interval, Counter())[seen.record.owner] += 1
        see(seen)

    world.store._see = counted
    assert not world.run().violations
    means = {interval: sum(each.values()) / scenario.nodes for interval, each in awards.items()}
    full = [interval for interval, mean in means.items() if mean >= 1.0]  # a few awards are no sample
    return max((max(awards[interval].values()) - means[interval]) / sqrt(means[interval]) for interval in full)


def test_no_node_is_given_more_than_four_deviations_above_the_mean_in_one_interval() -> None:
    assert all(_excess(BURST, seed) <= 4.0 for seed in (1, 2))


def test_who_always_takes_the_best_known_makes_a_herd() -> None:
    assert _excess(structs.replace(BURST, routing="least-loaded"), 1) > 4.0
