"""A study: cells to measure, and a table made of what was measured.

Invariant: a table is a function of the samples; a cell without samples leaves its places empty.
Neighbours: `kinship`, `swim`, `lifeguard` and `goals` are studies; `command` measures them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from simulations.grids.measures import NEVER_S
from simulations.grids.samples import Cell, Samples, quantile
from simulations.scenario import Scenario, checked

Row: TypeAlias = tuple[str, ...]
Settings: TypeAlias = Mapping[str, float | int | bool]

NOTHING = "–"  # in a place that nothing was measured for
# Lifeguard's parts and meshd's second accuser switched off: what is left is SWIM with one broadcast for a rumour.
SWIM_ALONE: Settings = {
    "health_max": 0,
    "suspicion_stretch": 1.0,
    "accusers": 1,
    "buddy": False,
}


class Study(Struct, frozen=True):
    """`rows` makes the table's rows of the samples of all cells; `about` and `notes` are sentences for its reader.

    A row begins with one of `keys`, and then says of how many worlds it is.
    """

    name: str
    about: str
    cells: Callable[[], tuple[Cell, ...]]
    keys: Callable[[], list[Row]]
    columns: Row
    rows: Callable[[Samples], list[Row]]
    notes: str


def world(about: str, *, nodes: int, run_s: float, **rest: Any) -> Scenario:
    """A scenario to measure: all know all, there is no work in it, and no rule but that the core raises nothing."""
    usual = {"start": "known", "join_s": 0.5, "expect": {"always": ["no-exception"]}}
    return checked({"about": about, "nodes": nodes, "run_s": run_s, **usual, **rest}, origin=about)


def mean(values: Sequence[float]) -> str:
    """In as many digits as a table of such needs."""
    if not values:
        return NOTHING
    average = sum(values) / len(values)
    return f"{average:.0f}" if average >= 10 or average == int(average) else f"{average:.2f}"


def seconds(values: Sequence[float], share: float) -> str:
    """One quantile of them, nearest rank."""
    return shown_s(quantile(values, share)) if values else NOTHING


def shown_s(value: float) -> str:
    """Seconds, milliseconds below a fifth of one."""
    if value >= NEVER_S:
        return "never"
    return f"{1_000 * value:.0f} ms" if value < 0.2 else f"{value:.2f}"
