"""Tasks that are under way when the interesting part begins are where they were wanted, and move as any other."""

from typing import ClassVar

import pytest

from protocol.wire.task import TaskState
from simulations.scenario import ScenarioError, parsed
from simulations.seen import Seen, Stored
from simulations.setting import Setting
from simulations.world import World

TEXT = """
about = "three tasks under way, and one of their owners dies"
nodes = 4
run_s = 30
agents = { odd = { n1 = { slots = 0 } } }
[work]
placed = [
    { home = "n1", owner = "n2", others = ["n3"] },
    { home = "n2", owner = "n2", others = ["n3", "n4"] },
    { home = "n3", owner = "n4" },
]
[[fault]]
kind = "crash"
node = "n2"
at_s = 15
"""


class Awards:
    """Who was given what, in order."""

    wants: ClassVar[tuple[type, ...]] = (Stored,)

    def __init__(self, setting: Setting) -> None:
        self._names = {host.id: host.name for host in setting.hosts.values()}
        self.owners: dict[str, list[str]] = {}

    def on(self, seen: Seen) -> None:
        """Keep it."""
        record = seen.record if isinstance(seen, Stored) else None
        if record is not None and record.state is TaskState.AWARDED:
            self.owners.setdefault(record.capability, []).append(self._names[record.owner])


def test_a_placed_task_begins_at_its_owner_and_moves_only_to_who_could_do_it() -> None:
    watching: list[Awards] = []

    def watch(setting: Setting) -> Awards:
        watching.append(Awards(setting))
        return watching[-1]

    verdict = World(parsed(TEXT, origin="test"), seed=3, watch=[watch]).run()
    assert not verdict.violations
    [first, second, third] = (watching[0].owners[f"placed-{number}@1"] for number in range(3))
    assert first == ["n2", "n3"]
    assert second[0] == "n2"
    assert second[1:] in (["n3"], ["n4"])
    assert third == ["n4"], "its owner lives, and it runs to the end"


def test_a_node_without_slots_has_no_agent() -> None:
    world = World(parsed(TEXT, origin="test"), seed=3)
    assert not world.run().violations
    now = world.hosts["n3"].now()
    offering = {offered.node for offered in world.hosts["n3"].node.catalogue.offered("work@1", now)}
    assert world.hosts["n1"].id not in offering
    assert world.hosts["n4"].id in offering


@pytest.mark.parametrize("wrong", ["n5", "all", ""])
def test_a_placed_task_of_a_node_that_does_not_exist_is_refused_with_its_key(wrong: str) -> None:
    with pytest.raises(ScenarioError, match=rf"work.placed\[2\]: there is no node '{wrong}'"):
        parsed(TEXT.replace('home = "n3"', f'home = "{wrong}"'), origin="test")
