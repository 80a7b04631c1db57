"""One run that passes and one that fails, each with everything in it that a report can show."""

import pytest

from simulations.lineage import again
from simulations.reports.building import Occasion, run_report
from simulations.reports.gathering import Gathering, measured
from simulations.reports.observer import Observer
from simulations.reports.shapes import Commands, RunReport, Seed, SweepReport
from simulations.running import wanted_of
from simulations.scenario import Scenario, parsed
from simulations.world import World

HOSTILE = "</script><svg onload=alert(1)>\u202e`|*<!--"
SMALL = """
about = "four nodes, a crash, a little work"
nodes = 4
run_s = 30
work = { tasks = 6, from_s = 2, every_s = 0.5 }
[[fault]]
kind = "crash"
node = "n2"
at_s = 6
for_s = 12
[[fault]]
kind = "partition"
groups = [["n1"], ["n2-n4"]]
at_s = 20
for_s = 2
"""
FAILING = '[expect]\nnever = ["peer-dead"]\n'
LATE = (
    '[expect]\neventually = { one-view = 0.3, agents-known = 0.3 }\nsometimes = ["peer-dead"]\n'  # true of some seeds
)


def small(extra: str = "") -> Scenario:
    """The scenario of these tests."""
    return parsed(SMALL + extra, origin="small")


def reported(scenario: Scenario, *, name: str = "small", seed: int = 3) -> RunReport:
    """A report as the command makes it."""
    observer = Observer(scenario)
    verdict = World(scenario, seed=seed, watch=(observer.begin,)).run()
    _, ancestors = again(scenario, seed=seed, wanted=wanted_of(verdict))
    commands = Commands(run=f"run {name}", replay=f"replay {name}", shrink=f"shrink {name}")
    return run_report(Occasion(name, commands, is_repeatable=True), scenario, verdict, observer, ancestors=ancestors)


@pytest.fixture(scope="session")
def passing() -> RunReport:
    return reported(small())


@pytest.fixture(scope="session")
def failing() -> RunReport:
    return reported(small(FAILING), name=HOSTILE)


def gathered(scenario: Scenario, seeds: range) -> SweepReport:
    """A report of many runs, as the command makes it."""
    gathering = Gathering(scenario)
    for seed in seeds:
        observer = Observer(scenario)
        verdict = World(scenario, seed=seed, watch=(observer.begin,)).run()
        found = measured(scenario, verdict, observer)
        broken = verdict.violations[0] if verdict.violations else None
        row = Seed(
            name="small",
            seed=seed,
            passed=broken is None,
            rule=broken.rule if broken else "",
            at_s=broken.at_s if broken else None,
            what=broken.what if broken else "",
            digest=verdict.digest,
            nodes=found.nodes,
            messages_node_s=found.messages_node_s,
            bytes_node_s=found.bytes_node_s,
            whole_s=found.whole_s,
            command=f"run small --seed {seed}",
        )
        gathering.add(row, found, sights=verdict.sights)
    seeds_said = f"{seeds[0]}:{seeds[-1]}"
    return gathering.report(name=HOSTILE, seeds=seeds_said, digest="0" * 32, command="sweep small", is_drawn=False)


@pytest.fixture(scope="session")
def sweeping() -> SweepReport:
    return gathered(small(LATE), range(1, 7))
