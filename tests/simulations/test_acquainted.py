"""Nodes that know each other from the beginning: a view as if they had joined, and nothing said to get it."""

from collections import Counter
from typing import ClassVar

from msgspec import structs

from simulations.scenario import Expectation, Scenario, parsed
from simulations.seen import Said, Seen
from simulations.setting import Check, Setting, Wanted
from simulations.world import World

KNOWN = """
about = "nodes that know each other"
nodes = 12
run_s = 12
start = "known"
[expect]
eventually = {"one-view" = 0.5, "one-digest" = 0.5, "all-well" = 1.0}
"""


def _known(extra: str = "") -> Scenario:
    return parsed(KNOWN + extra, origin="known")


def test_nodes_that_know_each_other_see_the_same_before_anything_is_said() -> None:
    world = World(_known(), seed=3)
    verdict = world.run()
    assert verdict.violations == ()
    assert "Delta" not in verdict.sent
    nodes = [host.node for host in world.hosts.values()]
    assert {node.gossip.facts.hashes() for node in nodes} == {nodes[0].gossip.facts.hashes()}
    assert all(len(node.membership.alive()) == 12 for node in nodes)
    assert all(
        len(node.catalogue.offered("work@1", host.now())) == 12
        for node, host in zip(nodes, world.hosts.values(), strict=True)
    )


def test_a_known_world_finds_its_dead_and_does_its_work() -> None:
    work = "[work]\ntasks = 6\nfrom_s = 0.5\nevery_s = 0.1\n"
    crash = '[[fault]]\nkind = "crash"\nnode = "n7"\nat_s = 2\n'
    longer = structs.replace(_known(work + crash), expect=Expectation(eventually={"one-view": 8.5, "tasks-end": 8.5}))
    verdict = World(longer, seed=5).run()
    assert verdict.violations == ()
    assert verdict.sent["Dead"] >= 1


def test_who_starts_late_in_a_known_world_joins_as_ever() -> None:
    verdict = World(_known('[[fault]]\nkind = "join"\nnode = "n4"\nat_s = 3\n'), seed=3).run()
    assert verdict.violations == ()
    assert verdict.sent["Delta"] > 0


def test_a_known_world_is_the_same_world_again() -> None:
    assert World(_known(), seed=4).run().digest == World(_known(), seed=4).run().digest


class Beacons:
    """When somebody said that it is there, in whole seconds."""

    wants: ClassVar[Wanted] = (Said,)

    def __init__(self, setting: Setting) -> None:
        self._timeline = setting.timeline
        self.counted: Counter[int] = Counter()

    def on(self, seen: Seen) -> str | None:
        if isinstance(seen, Said) and seen.kind == "Alive":
            self.counted[int(self._timeline.now_s)] += 1
        return None


def test_of_many_who_start_together_each_has_its_first_beacon_at_another_time() -> None:
    watching: list[Beacons] = []

    def watch(setting: Setting) -> Check:
        watching.append(Beacons(setting))
        return watching[0]

    scenario = structs.replace(_known(), nodes=30, run_s=24.0, expect=Expectation(always=()))
    World(scenario, seed=1, watch=[watch]).run()
    assert watching[0].counted.total() >= 30
    assert max(watching[0].counted.values()) <= 8
