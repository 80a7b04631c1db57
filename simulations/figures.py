"""Figures that a scenario can bound: how soon who fell silent is found out, what is said wrongly, and the cost.

Invariant: each is one number of one run, over all observers; what was not measured has none, and no bound is met
by that. Neighbours: `world` asks at the end; `reports.times` counts.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import ClassVar, TypeAlias

from protocol.primitives import NS_PER_S
from simulations.reports.shapes import Distribution
from simulations.reports.tally import Tally
from simulations.reports.times import Times
from simulations.seen import Happened, Said, Seen, Span
from simulations.setting import Setting, Wanted

Point: TypeAlias = Callable[[Distribution], float | None]

FOUND_DEAD = ("found dead", "known dead")  # by the first, and by each other


class Figures:
    """Of one run. A rule that is never broken: it only counts."""

    wants: ClassVar[Wanted] = (Happened, Said, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.times = Times(setting)
        self.messages = self.bytes = 0
        self._lives: dict[str, tuple[int, int]] = {}  # of each node: its life, and when it was first heard of

    def on(self, seen: Seen) -> str | None:
        """One thing more."""
        match seen:
            case Said(size=size):
                self.messages += 1
                self.bytes += size
            case Span(fault=fault, nodes=nodes, is_on=is_on):
                self.times.strike(fault, nodes, is_on=is_on)
            case Happened(node=node, life=life, event=event):
                if self._lives.get(node, (0, 0))[0] != life:
                    self._lives[node] = life, self._setting.timeline.now_ns
                self.times.on(event, began_ns=self._lives[node][1])
            case _:
                pass
        return None

    def a_node_and_second(self, count: int) -> float | None:
        """So many, over all nodes and the whole run; nothing was measured where there are none."""
        return count / len(self._setting.hosts) / (self._setting.timeline.now_ns / NS_PER_S) if count else None


def _detection(figures: Figures, *, of: tuple[str, ...], point: Point) -> float | None:
    return point(_together(figures.times.detection[name] for name in of))


def _spread(figures: Figures, *, point: Point) -> float | None:
    return point(_together([figures.times.spread["death"]]))


def _together(tallies: Iterable[Tally]) -> Distribution:
    whole = Tally()
    for tally in tallies:
        whole.merge(tally.counts)
    return whole.shown("", "")


_POINTS: Mapping[str, Point] = {
    "p50-s": lambda times: times.p50_s,
    "p99-s": lambda times: times.p99_s,
    "max-s": lambda times: times.max_s,
}
# From a crash, pause, block or unlink of a node to the first who suspects it, and to each who takes it for dead;
# from the first death of it to each other; of those who were well; and what was sent.
FIGURES: Mapping[str, Callable[[Figures], float | None]] = {
    **{f"suspected-{name}": partial(_detection, of=("suspected",), point=point) for name, point in _POINTS.items()},
    **{f"detection-{name}": partial(_detection, of=FOUND_DEAD, point=point) for name, point in _POINTS.items()},
    **{f"spread-{name}": partial(_spread, point=point) for name, point in _POINTS.items()},
    "false-suspicions": lambda figures: figures.times.judged.suspicions_of_well,
    "false-deaths": lambda figures: figures.times.judged.deaths_of_well,
    "messages-node-s": lambda figures: figures.a_node_and_second(figures.messages),
    "bytes-node-s": lambda figures: figures.a_node_and_second(figures.bytes),
}
