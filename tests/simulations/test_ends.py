"""Promises about the end that have something to be measured against."""

import pytest
from msgspec import structs

from protocol import handover, routing
from simulations.scenario import named
from simulations.world import World


def test_bidders_who_lie_move_most_tasks_where_nothing_is_held_against_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "BROKEN_BID", frozenset())
    verdict = World(named("bidders-lie"), seed=1).run()
    assert [each.rule for each in verdict.violations] == ["few-moves"]


def test_work_that_is_spread_by_load_alone_does_not_spare_a_slow_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "slow_last", lambda candidates, **_: candidates)
    scenario = named("straggler")
    blind = structs.replace(scenario.work, route="gossip")
    verdict = World(structs.replace(scenario, work=blind, routing="random-two"), seed=1).run()
    assert [each.rule for each in verdict.violations] == ["slow-spared"]
