"""Promises about the end that have something to be measured against."""

from msgspec import structs

from simulations.scenario import named
from simulations.world import World


def test_work_that_is_spread_without_asking_does_not_spare_a_slow_agent() -> None:
    scenario = named("straggler")
    blind = structs.replace(scenario.work, route="gossip")
    verdict = World(structs.replace(scenario, work=blind, routing="random-two"), seed=1).run()
    assert [each.rule for each in verdict.violations] == ["slow-spared"]
