"""Watches one run for a report: told what the rules are told, it keeps counts, standings and times.

Invariant: looks at all nodes once a column of time, at all pairs never; memory is bounded by nodes
squared and the columns. Neighbours: `world` tells it, `building` makes a report of it.
"""

from typing import ClassVar

from msgspec import structs

from protocol.events import PeerAlive, PeerDamped, PeerDead, PeerForgotten, PeerLeft, PeerSuspect, PeerUnreachable
from protocol.primitives import NS_PER_S, NodeId
from simulations.crowds import members
from simulations.faults import OnNodes
from simulations.reports.shapes import FaultSpan
from simulations.reports.times import Times
from simulations.reports.usage import Messages, Tasks
from simulations.reports.views import ALIVE, DEAD, LEFT, MAP_NODES_MAX, SUSPECT, UNKNOWN, UNREACHABLE, Views
from simulations.scenario import Scenario
from simulations.seen import Happened, Said, Seen, Span
from simulations.setting import Check, Setting, Wanted

COLUMNS_MAX = 150  # of a curve over time
WIDTHS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SPANS_MAX = 2_000  # more faults are counted, and not drawn
SIDES_MAX = 50_000  # names and spans in all sides, some 400 KB; faults whose sides have no room are counted


class Observer:
    """Give `begin` to a world as one who watches; read it when the world has run."""

    wants: ClassVar[Wanted] = (Happened, Said, Span)

    def __init__(self, scenario: Scenario) -> None:
        self._names = scenario.names
        self._index = {name: number for number, name in enumerate(scenario.names)}
        self.column_s = next((width for width in WIDTHS_S if scenario.run_s / width <= COLUMNS_MAX), WIDTHS_S[-1])
        self._column_ns = int(self.column_s * NS_PER_S)
        self._closes_ns = self._column_ns
        self.views = Views(scenario.nodes, _drawn(scenario), run_s=scenario.run_s)
        self.messages = Messages(scenario.nodes, self.column_s, is_encoded=scenario.wire != "none")
        self.tasks = Tasks()
        self._lives: dict[str, tuple[int, int]] = {}  # of each node: its life, and when we first heard of it
        self._restless: list[str] = []  # nodes that may be up by now, or down
        self.spans: list[FaultSpan] = []
        self._open: dict[int, int] = {}  # faults under way, by their numbers: their places in `spans`
        self.spans_left_out = 0
        self._sided = 0  # names and spans in the sides that are kept
        self.sides_left_out = 0
        self.struck_s = 0.0  # when the last fault began or ended

    def begin(self, setting: Setting) -> Check:
        """The world is about to run."""
        self._setting = setting
        self._ids: dict[NodeId, int] = {host.id: self._index[host.name] for host in setting.hosts.values()}
        self.times = Times(setting)
        return self

    def on(self, seen: Seen) -> str | None:
        """One thing more. Breaks no rule."""
        now_ns = self._setting.timeline.now_ns
        while now_ns >= self._closes_ns:
            self._close(self._closes_ns)
            self._closes_ns += self._column_ns
        if self._restless:
            self._look_at(self._restless, now_ns)
        self.views.look(now_ns / NS_PER_S)
        match seen:
            case Said():
                self.messages.count(self._index[seen.node], seen.kind, seen.size)
                if seen.kind == "Reserve":
                    self.tasks.reserve()
            case Happened():
                self._happened(seen, now_ns)
            case Span():
                self._span(seen, now_ns / NS_PER_S)
            case _:
                pass
        return None

    def end(self) -> float:
        """The world has stopped; when, in seconds."""
        now_ns = self._setting.timeline.now_ns
        self.times.end()
        while now_ns >= self._closes_ns:
            self._close(self._closes_ns)
            self._closes_ns += self._column_ns
        begun_ns = self._closes_ns - self._column_ns
        if now_ns > begun_ns:
            self._close(now_ns, took_s=(now_ns - begun_ns) / NS_PER_S)
        return now_ns / NS_PER_S

    # --- parts

    def _close(self, at_ns: int, *, took_s: float = 0.0) -> None:
        self._look_at(self._names, at_ns)
        self.views.close_column()
        self.messages.close_column(self.views.up, took_s=took_s or self.column_s)

    def _look_at(self, names: list[str] | tuple[str, ...], now_ns: int) -> None:
        """Who of these is up, in truth."""
        for name in names:
            self.views.turn(self._index[name], is_up=self._setting.hosts[name].is_up, now_s=now_ns / NS_PER_S)
        self._restless = [name for name in self._restless if name not in names]

    def _happened(self, seen: Happened, now_ns: int) -> None:
        now_s, observer = now_ns / NS_PER_S, self._index[seen.node]
        life, began_ns = self._lives.get(seen.node, (0, 0))
        if seen.life != life:
            began_ns = now_ns
            self._lives[seen.node] = seen.life, now_ns
            self.views.begin(observer, now_s=now_s)
            self.views.turn(observer, is_up=True, now_s=now_s)
        event, see = seen.event, self.views.see
        match event:
            case PeerAlive(peer=peer) | PeerDamped(state="alive", peer=peer):
                see(observer, self._ids[peer], ALIVE, now_s=now_s)
            case PeerSuspect(peer=peer):
                subject = self._ids[peer]
                if self.views.standing(observer, subject) != UNREACHABLE:
                    see(observer, subject, SUSPECT, now_s=now_s)
            case PeerDead(peer=peer) | PeerDamped(peer=peer):
                see(observer, self._ids[peer], DEAD, now_s=now_s)
            case PeerLeft(peer=peer):
                see(observer, self._ids[peer], LEFT, now_s=now_s)
            case PeerForgotten(peer=peer):
                see(observer, self._ids[peer], UNKNOWN, now_s=now_s)
            case PeerUnreachable(peers=peers):
                for peer in peers:
                    see(observer, self._ids[peer], UNREACHABLE, now_s=now_s)
            case _:
                self.tasks.on(event)
                return
        self.times.on(event, began_ns=began_ns)

    def _span(self, seen: Span, now_s: float) -> None:
        self.struck_s = now_s
        self.times.strike(seen.fault, seen.nodes, is_on=seen.is_on)
        self._restless += seen.nodes  # the deed follows the word
        if seen.is_on and len(self.spans) < SPANS_MAX:
            self._open[seen.number] = len(self.spans)
            size = sum(len(side) for side in seen.sides)
            sides = seen.sides if self._sided + size <= SIDES_MAX else ()
            self._sided += size if sides else 0
            self.sides_left_out += sides != seen.sides
            self.spans.append(FaultSpan(seen.fault, seen.nodes, round(now_s, 3), None, seen.shape, sides))
        elif seen.is_on:
            self.spans_left_out += 1
        elif seen.number in self._open:
            place = self._open.pop(seen.number)
            self.spans[place] = structs.replace(self.spans[place], until_s=round(now_s, 3))


def _drawn(scenario: Scenario) -> list[int]:
    """Which nodes have a place on the map: all, or those that faults name and the first of the others."""
    if scenario.nodes <= MAP_NODES_MAX:
        return list(range(scenario.nodes))
    texts = [fault.node for fault in scenario.fault if isinstance(fault, OnNodes)]
    index = {name: number for number, name in enumerate(scenario.names)}
    named = [index[name] for name in members(texts, scenario.names)]
    return sorted(list(dict.fromkeys([*named, *range(scenario.nodes)]))[:MAP_NODES_MAX])
