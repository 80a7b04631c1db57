"""Promises about the end that have something to be measured against."""

import pytest
from msgspec import structs

from protocol import handover, routing
from protocol.replica import Heard
from protocol.wire.gossip import Suspect
from simulations.ends import one_view
from simulations.scenario import named, parsed
from simulations.timeline import ns
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


def test_a_doubt_of_a_moment_ago_is_no_other_view_and_one_that_stands_is() -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 600\n', origin="x"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.timeline.run(ns(10))
    n1, n2, n3 = world.hosts.values()
    assert one_view(world) is None
    doubt = Heard(n2.id, n2.life, 1, n1.now().wall_ms, Suspect(n3.id, n3.life, 0, "timeout"), b"", "")
    n1.node.membership.on_fact(doubt, n1.now())
    assert n1.node.membership.suspects() == (n3.id,)
    assert one_view(world) is None
    world.timeline.now_ns += ns(2.5)
    assert one_view(world) == "n1 sees as alive: n1, n2"
