"""Figures that a scenario can bound: how soon who fell silent is found out, what is said wrongly, and the cost.

Invariant: each is one number of one run, over all observers; what was not measured has none, and no bound is met
by that. Who could have found out and did not counts with the time it had, once that is more than the bound.
Neighbours: `world` asks at the end; `reports.times` counts.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, TypeAlias

from protocol.primitives import NS_PER_S
from simulations.reports.shapes import Distribution
from simulations.reports.tally import Tally
from simulations.reports.times import Times, Vain, Wait
from simulations.seen import Happened, Said, Seen, Span
from simulations.setting import Setting, Wanted

Point: TypeAlias = Callable[[Distribution], float | None]

SUSPECTED, DETECTION, SPREAD = "suspected", "detection", "spread"  # how their figures begin


class Figures:
    """Of one run. A rule that is never broken: it only counts."""

    wants: ClassVar[Wanted] = (Happened, Said, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.times = Times(setting)
        self.messages = self.bytes = 0
        self._is_struck = False  # has anybody fallen silent?
        self._lives: dict[str, tuple[int, int]] = {}  # of each node: its life, and when it was first heard of
        self._worst: dict[str, tuple[float, int]] = {}  # by what is counted: the most, and the line that told it

    def on(self, seen: Seen) -> str | None:
        """One thing more."""
        match seen:
            case Said(size=size):
                self.messages += 1
                self.bytes += size
            case Span(fault=fault, nodes=nodes, is_on=is_on):
                self.times.strike(fault, nodes, is_on=is_on)
                self._is_struck |= bool(self.times.struck)
            case Happened(node=node, life=life, event=event):
                if self._lives.get(node, (0, 0))[0] != life:
                    self._lives[node] = life, self._setting.timeline.now_ns
                self.times.on(event, began_ns=self._lives[node][1])
                self._note()
            case _:
                pass
        return None

    def _note(self) -> None:
        """Where in the trace the most of each is told: the slowest, and the last of what should not be."""
        judged, spread, detection = self.times.judged, self.times.spread, self.times.detection
        most = {what: tally.most_s for what, tally in (*detection.items(), *spread.items())}
        most |= {"false-suspicions": judged.suspicions_of_well, "false-deaths": judged.deaths_of_well}
        for what, value in most.items():
            if value > self._worst.get(what, (0.0, 0))[0]:
                self._worst[what] = value, self._setting.line

    def line_of(self, name: str) -> int:
        """The line of the trace that tells the worst of what was found out of what this figure is of; 0: none does."""
        return max(self._worst.get(what, (0.0, 0)) for what in _OF.get(name.partition("-")[0], (name,)))[1]

    def end(self) -> None:
        """The run is over."""
        self.times.end()

    def in_vain(self, name: str) -> list[Vain]:
        """Those who never found out what this figure is of."""
        return [self.times.vain[what] for what in _OF.get(name.partition("-")[0], ())]

    def worst_wait(self, name: str) -> Wait | None:
        """The longest wait of those who never found out, where nobody who did had waited longer."""
        longest = self._longest(name)
        found_s = max(self._worst.get(what, (0.0, 0))[0] for what in _OF.get(name.partition("-")[0], (name,)))
        return longest if longest is not None and longest.waited_s > found_s else None

    def _longest(self, name: str) -> Wait | None:
        waits = [each.longest for each in self.in_vain(name) if each.longest]
        return max(waits, key=lambda wait: wait.waited_s, default=None)

    def told(self, name: str, most_s: float) -> str:
        """Who waited in vain for longer than the bound of this figure, in words that follow a number; or nothing."""
        vain = self.in_vain(name)
        pairs = sum(sum(each.tally.above(most_s).values()) for each in vain)
        longest = self._longest(name)
        if not pairs or longest is None:
            return ""
        more = f", and {pairs - 1} more such pairs" if pairs > 1 else ""
        return f"; after {longest.waited_s:.6g} s {longest.observer} had not found out about {longest.subject}{more}"

    def lacking(self, name: str, most: float) -> str:
        """Why this figure has no number."""
        if name.partition("-")[0] not in _OF:
            why = "nothing was sent"
        elif not self._is_struck:
            why = "nobody fell silent"
        elif name.startswith(SPREAD):
            why = f"nobody learned of a death after the first who did, and nobody had to for longer than {most:g} s"
        else:
            why = f"who fell silent was found out by nobody, and nobody had to find out for longer than {most:g} s"
        return f"not measured, for {why}"

    def a_node_and_second(self, count: int) -> float | None:
        """So many, over all nodes and the whole run; nothing was measured where there are none."""
        return count / len(self._setting.hosts) / (self._setting.timeline.now_ns / NS_PER_S) if count else None


Measure: TypeAlias = Callable[[Figures, float], float | None]  # of one run, and for this bound


def _point(figures: Figures, most: float, *, name: str) -> float | None:
    sort, _, point = name.partition("-")
    whole = Tally()
    for vain in figures.in_vain(name):
        whole.merge(vain.tally.above(most))
    for what in _OF[sort]:
        whole.merge((figures.times.spread if sort == SPREAD else figures.times.detection)[what].counts)
    return _POINTS[point](whole.shown("", ""))


_POINTS: Mapping[str, Point] = {
    "p50-s": lambda times: times.p50_s,
    "p99-s": lambda times: times.p99_s,
    "max-s": lambda times: times.max_s,
}
# From a crash, pause, block or unlink of a node to the first who suspects it, and to each who takes it for dead;
# from the first death of it to each other; of those who were well; and what was sent.
_OF: Mapping[str, tuple[str, ...]] = {
    SUSPECTED: ("suspected",),
    DETECTION: ("found dead", "known dead"),  # by the first, and by each other
    SPREAD: ("death",),
}
OF_TIME: Mapping[str, Measure] = {  # those that are seconds
    f"{sort}-{point}": partial(_point, name=f"{sort}-{point}") for sort in _OF for point in _POINTS
}
FIGURES: Mapping[str, Measure] = {
    **OF_TIME,
    "false-suspicions": lambda figures, _: figures.times.judged.suspicions_of_well,
    "false-deaths": lambda figures, _: figures.times.judged.deaths_of_well,
    "messages-node-s": lambda figures, _: figures.a_node_and_second(figures.messages),
    "bytes-node-s": lambda figures, _: figures.a_node_and_second(figures.bytes),
}
