"""Worlds that once failed, each as small as it could be made, and a few seeds of the swarm: none fails again.

A seed draws another world when a kind of fault is added, so what it drew is kept and not its number: a file in
`failed/`, whose name ends in the seed it is run with and which says what was wrong.
"""

from pathlib import Path

import pytest

from simulations.running import Choice
from simulations.scenario import named
from simulations.world import World

FAILED = sorted((Path(__file__).parent / "failed").glob("*.toml"))
SEEDS = (11, 27, 86, 94)
SMALL = ("nodes=6", "run_s=80", "wire=mac")


@pytest.mark.parametrize("path", FAILED, ids=[path.stem for path in FAILED])
def test_what_failed_once_does_not_again(path: Path) -> None:
    seed = int(path.stem.rpartition("-")[2])
    assert World(named(str(path)), seed=seed).run().violations == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_small_worlds_of_seeds_that_failed_at_their_size_hold(seed: int) -> None:
    scenario = Choice("swarm", SMALL, swarm=True).scenario(seed)
    assert scenario.nodes == 6
    assert World(scenario, seed=seed).run().violations == ()
