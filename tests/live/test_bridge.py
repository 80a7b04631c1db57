"""The same plan of faults for real daemons and for the simulator: medians of detection are near each other.

It keeps the simulator honest: what it says of a mesh that does not exist is worth what it says of one that does.
"""

import asyncio
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from protocol.events import PeerDead
from simulations import faults
from simulations.scenario import Scenario, named
from simulations.seen import Happened, Seen
from simulations.setting import Setting
from simulations.world import World
from tests.bench.fleet import Daemon, Fleet
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.chaos]

SEEDS = range(1, 13)
APART_MAX = 0.15
FOUND_S = 9.0  # of the beginning of a fault: what is found later is another's


class Deaths:
    """Looks on: who said when of whom that it is dead."""

    wants: ClassVar[tuple[type, ...]] = (Happened,)

    def __init__(self, setting: Setting) -> None:
        self._timeline = setting.timeline
        self.told: list[tuple[float, str]] = []

    def on(self, seen: Seen) -> None:
        """Keep it."""
        if isinstance(seen, Happened) and isinstance(seen.event, PeerDead):
            self.told.append((self._timeline.now_s, seen.event.name))


def deeds_of(scenario: Scenario) -> list[faults.Crash | faults.Pause]:
    found = (deed for fault in scenario.fault for deed in faults.deeds(fault, scenario.names))
    return [deed for deed in found if isinstance(deed, faults.Crash | faults.Pause)]


def last_observers(scenario: Scenario, told: Sequence[tuple[float, str]], kind: type[faults.Timed]) -> list[float]:
    """For each deed of this kind, when the last who found it out did, in seconds after it."""
    found = []
    for deed in deeds_of(scenario):
        after_s = [at_s - deed.at_s for at_s, name in told if name == deed.node]
        seen_s = [late_s for late_s in after_s if 0 < late_s < FOUND_S]
        if isinstance(deed, kind):
            assert seen_s, f"nobody found {deed} out"
            found.append(max(seen_s))
    return found


def simulated(scenario: Scenario, seeds: Iterable[int]) -> list[list[tuple[float, str]]]:
    runs = []
    for seed in seeds:
        watching: list[Deaths] = []

        def watch(setting: Setting, watching: list[Deaths] = watching) -> Deaths:
            watching.append(Deaths(setting))
            return watching[-1]

        verdict = World(scenario, seed=seed, watch=[watch]).run()
        assert not verdict.violations
        runs.append(watching[0].told)
    return runs


async def live(scenario: Scenario, directory: Path) -> list[tuple[float, str]]:
    async with Fleet(directory, nodes=scenario.nodes, preset=scenario.preset) as fleet:
        await fleet.found()
        await asyncio.gather(*(fleet.start(node) for node in fleet.nodes[1:]))
        await fleet.one_view(60.0)
        began_s = time.time()
        by_name = dict(zip(scenario.names, fleet.nodes, strict=True))
        await asyncio.gather(
            *(_carried_out(fleet, by_name[deed.node], deed, time.monotonic()) for deed in deeds_of(scenario))
        )
        await fleet.one_view(60.0)
        names = {daemon.name: name for name, daemon in by_name.items()}
        return [(each.at_s - began_s, names[each.name]) for _, each in fleet.told("peer_dead", began_s)]


async def _carried_out(fleet: Fleet, daemon: Daemon, deed: faults.Crash | faults.Pause, began_s: float) -> None:
    await asyncio.sleep(began_s + deed.at_s - time.monotonic())
    if isinstance(deed, faults.Crash):
        daemon.end()
    else:
        daemon.freeze()
    await asyncio.sleep(began_s + deed.at_s + deed.for_s - time.monotonic())
    if isinstance(deed, faults.Crash):
        fleet.spawn(daemon)
        await until(daemon.is_ready, 60.0, f"{daemon.name} being ready")
    else:
        daemon.thaw()


async def test_real_daemons_and_simulated_ones_find_the_same_faults_out_equally_fast(tmp_path: Path) -> None:
    scenario = named(str(Path(__file__).with_name("bridge.toml")))
    lived = await live(scenario, tmp_path)
    ran = simulated(scenario, SEEDS)
    apart = []
    for kind in (faults.Crash, faults.Pause):
        real = statistics.median(last_observers(scenario, lived, kind))
        model = statistics.median(late_s for told in ran for late_s in last_observers(scenario, told, kind))
        print(f"{kind.__name__}: live {real:.2f} s, simulated {model:.2f} s, ratio {real / model:.2f}")
        apart.append(abs(real / model - 1.0))
    assert max(apart) <= APART_MAX, f"live and simulated medians are apart by {max(apart):.0%}"
