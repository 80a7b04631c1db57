"""Figures that a scenario can bound: how soon who fell silent is found out, what is said wrongly, and the cost.

Invariant: each is one number of one run, over all observers; what was not measured has none, and no bound is met
by that. Who could have found out and did not counts with the time it had, once that is more than the bound.
Neighbours: `world` asks at the end; `reports.times` counts.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, TypeAlias

from msgspec import Struct

from protocol.primitives import NS_PER_S
from simulations.host import Host
from simulations.reports.shapes import Distribution
from simulations.reports.tally import Tally, tally_of
from simulations.reports.times import Times
from simulations.seen import Happened, Said, Seen, Span
from simulations.setting import Setting, Wanted

Point: TypeAlias = Callable[[Distribution], float | None]

SUSPECTED, DETECTION, SPREAD = "suspected", "detection", "spread"  # how their figures begin
FOUND_DEAD = ("found dead", "known dead")  # by the first, and by each other


class Wait(Struct, frozen=True):
    """For so long this observer took a node for living that answered nobody, or that another took for dead."""

    observer: str
    subject: str
    waited_s: float


class Figures:
    """Of one run. A rule that is never broken: it only counts."""

    wants: ClassVar[Wanted] = (Happened, Said, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.times = Times(setting)
        self.messages = self.bytes = 0
        self._lives: dict[str, tuple[int, int]] = {}  # of each node: its life, and when it was first heard of
        self._waits: dict[str, list[Wait]] = {SUSPECTED: [], DETECTION: [], SPREAD: []}

    def on(self, seen: Seen) -> str | None:
        """One thing more."""
        match seen:
            case Said(size=size):
                self.messages += 1
                self.bytes += size
            case Span(fault=fault, nodes=nodes, is_on=is_on):
                struck, noticed = dict(self.times.struck), dict(self.times.noticed)
                self.times.strike(fault, nodes, is_on=is_on)
                for name in nodes:
                    if name in struck and self.times.struck.get(name) != struck[name]:
                        self._give_up(name, struck[name], noticed)
            case Happened(node=node, life=life, event=event):
                if self._lives.get(node, (0, 0))[0] != life:
                    self._lives[node] = life, self._setting.timeline.now_ns
                self.times.on(event, began_ns=self._lives[node][1])
            case _:
                pass
        return None

    def end(self) -> None:
        """The run is over: who has not found out by now never will."""
        for name, since_ns in self.times.struck.items():
            self._give_up(name, since_ns, self.times.noticed)

    def _give_up(self, name: str, since_ns: int, noticed: Mapping[tuple[str, str], int]) -> None:
        """The silence of this node is over, or begins anew: whoever could have found out by now, and did not."""
        now_ns = self._setting.timeline.now_ns
        waited_s = (now_ns - since_ns) / NS_PER_S
        unaware = self._unaware_of(self._setting.hosts[name], since_ns)
        self._waits[DETECTION] += [Wait(each, name, waited_s) for each in unaware]
        found_ns = noticed.get((name, FOUND_DEAD[0]))
        if found_ns is not None:
            spread_s = (now_ns - found_ns) / NS_PER_S
            self._waits[SPREAD] += [Wait(each, name, spread_s) for each in unaware]
        elif unaware and (name, SUSPECTED) not in noticed:
            self._waits[SUSPECTED].append(Wait(unaware[0], name, waited_s))

    def _unaware_of(self, silent: Host, since_ns: int) -> list[str]:
        """Who takes it for living still, although well and within reach of it all along."""
        return [
            host.name
            for host in self._setting.hosts.values()
            if host is not silent
            and host.is_well
            and host.well_since_ns <= since_ns
            and self._setting.network.uncut_since_ns(host.name, silent.name) <= since_ns
            and host.node.membership.life_of(silent.id) is not None
        ]

    def waits(self, name: str, most_s: float) -> list[Wait]:
        """Who waited longer than the bound of this figure, in vain."""
        return [each for each in self._waits.get(name.partition("-")[0], ()) if each.waited_s > most_s]

    def vain(self, name: str, most_s: float) -> str:
        """The same, in words that follow a number; nothing when all found out in time."""
        waits = self.waits(name, most_s)
        if not waits:
            return ""
        longest = max(waits, key=lambda wait: wait.waited_s)
        more = f", and {len(waits) - 1} more such pairs" if len(waits) > 1 else ""
        return f"; after {longest.waited_s:.6g} s {longest.observer} had not found out about {longest.subject}{more}"

    def a_node_and_second(self, count: int) -> float | None:
        """So many, over all nodes and the whole run; nothing was measured where there are none."""
        return count / len(self._setting.hosts) / (self._setting.timeline.now_ns / NS_PER_S) if count else None


Measure: TypeAlias = Callable[[Figures, float], float | None]  # of one run, and for this bound


def _point(figures: Figures, most: float, *, name: str, tallies: Callable[[Times], list[Tally]]) -> float | None:
    whole = tally_of(wait.waited_s for wait in figures.waits(name, most))
    for tally in tallies(figures.times):
        whole.merge(tally.counts)
    return _POINTS[name.partition("-")[2]](whole.shown("", ""))


_POINTS: Mapping[str, Point] = {
    "p50-s": lambda times: times.p50_s,
    "p99-s": lambda times: times.p99_s,
    "max-s": lambda times: times.max_s,
}
# From a crash, pause, block or unlink of a node to the first who suspects it, and to each who takes it for dead;
# from the first death of it to each other; of those who were well; and what was sent.
_TALLIES: Mapping[str, Callable[[Times], list[Tally]]] = {
    SUSPECTED: lambda times: [times.detection[SUSPECTED]],
    DETECTION: lambda times: [times.detection[name] for name in FOUND_DEAD],
    SPREAD: lambda times: [times.spread["death"]],
}
OF_TIME: Mapping[str, Measure] = {  # those that are seconds
    f"{sort}-{point}": partial(_point, name=f"{sort}-{point}", tallies=tallies)
    for sort, tallies in _TALLIES.items()
    for point in _POINTS
}
FIGURES: Mapping[str, Measure] = {
    **OF_TIME,
    "false-suspicions": lambda figures, _: figures.times.judged.suspicions_of_well,
    "false-deaths": lambda figures, _: figures.times.judged.deaths_of_well,
    "messages-node-s": lambda figures, _: figures.a_node_and_second(figures.messages),
    "bytes-node-s": lambda figures, _: figures.a_node_and_second(figures.bytes),
}
