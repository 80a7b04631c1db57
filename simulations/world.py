"""The world: one scenario with one seed, from the first node's start to the last promise.

Invariant: a function of scenario and seed. It composes and lets time pass; it knows nothing of
the protocol. Neighbours: everything else in this package; `report` shows a `Verdict`.
"""

import gc
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias, assert_never, get_args

from msgspec import Struct

from protocol.events import PeerAlive, PeerLeft, PeerSuspect, is_death
from protocol.ids import mesh_id
from protocol.primitives import NS_PER_S
from simulations.accusations import Accusations
from simulations.acquainted import acquaint
from simulations.broker import Broker
from simulations.chance import Chance
from simulations.checks import CHECKS, LATE
from simulations.crowds import Places
from simulations.ends import ENDS
from simulations.faults import late
from simulations.figures import FIGURES, Figures
from simulations.frames import frames_of
from simulations.glimpses import Glimpses
from simulations.havoc import Havoc
from simulations.host import Host
from simulations.network import Network
from simulations.people import People
from simulations.scenario import Scenario
from simulations.seen import Answered, Broke, Handled, Happened, Routine, Said, Seen, Sight, Span, Stored, Unmoved
from simulations.setting import Check, Setting
from simulations.sights import by_kind, kind_of, told
from simulations.signing import Keys
from simulations.store import Store
from simulations.surroundings import Surroundings
from simulations.timeline import Timeline, ns
from simulations.trace import Line, Trace
from simulations.work import Client

_On: TypeAlias = Callable[[Seen], str | None]
_PASSING = (Handled, Routine, Unmoved, Said)  # too many of them to be lines of the trace
ALLOCATIONS_PER_SEARCH = 100_000  # of the interpreter's search for garbage; 700 unless told
_NODE = re.compile(r"\bn[0-9]+\b")
HAPPEN = "faults-happen"  # broken by a fault that never began, or did not end
MEASURED = "figures-measured"  # broken by a figure that has no number
LOOK_S = 0.25  # how often the promises are looked at


class Violation(Struct, frozen=True):
    """A rule that was broken: which, when, and in what way."""

    rule: str
    at_s: float
    what: str
    ancestry: tuple[int, ...] = ()  # lines of the trace, each the cause of the next, the last that of the violation


class Verdict(Struct, frozen=True):
    """What came of one run."""

    seed: int
    digest: str
    steps: int
    ended_s: float
    violations: tuple[Violation, ...]
    kept: dict[str, float]  # promise → seconds after the last fault
    figures: dict[str, float]  # those that were asked for, and measured
    sights: dict[str, int]  # every sight that was seen, and how often
    sent: dict[str, int]  # messages by kind
    lines: tuple[Line, ...]  # the last things that happened


class _Stop(Exception):
    """A rule was broken: there is no use in going on."""


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Little of what a run makes is garbage in cycles, and looking for it takes a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS_PER_SEARCH, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class World:
    """One run."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        write: Callable[[Line], object] | None = None,
        watch: Sequence[Callable[[Setting], Check]] = (),  # who only looks, and breaks nothing
    ) -> None:
        self._scenario = scenario
        self.timeline = Timeline()
        self.settings = scenario.settings()
        self._chance = Chance(seed)
        self._trace = Trace(self.timeline, write)
        self.network = Network(timeline=self.timeline, chance=self._chance, model=scenario.link, names=scenario.names)
        self._broker = Broker(
            timeline=self.timeline, network=self.network, trace=self._trace, see=self.see, model=scenario.broker
        )
        self.store = Store(
            timeline=self.timeline, network=self.network, chance=self._chance, model=scenario.store, see=self.see
        )
        keys = Keys(scenario.wire)
        self._around = around = Surroundings(
            timeline=self.timeline,
            chance=self._chance,
            broker=self._broker,
            store=self.store,
            trace=self._trace,
            keys=keys,
            frames=frames_of(scenario.wire),
            mesh=mesh_id(keys.root_key),
            settings=self.settings,
            agents=scenario.agents,
            places=Places(scenario.regions, scenario.names),
            see=self.see,
            placed=scenario.work.placed,
        )
        self.hosts: Mapping[str, Host] = {name: Host(name, around) for name in scenario.names}
        self._accusations = Accusations(trace=self._trace, frames=around.frames, hosts=self.hosts)
        self._glimpses = Glimpses(trace=self._trace, store=self.store, setting=self, see=self.see)
        self._broker.heed(self._glimpses.said)
        self._broker.heed(self._accusations.said)
        self.client = Client(
            timeline=self.timeline,
            chance=self._chance,
            model=scenario.work,
            deadline_s=scenario.tasks.deadline_s,
            hosts=self.hosts,
        )
        self._havoc = self._made_havoc()
        self._rules = self._told(watch)
        self._is_begun = True  # what nodes know from before is no line of the trace
        self._violations: list[Violation] = []
        self._kept: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        self._sights: dict[str, int] = {}
        self._by_kind = by_kind()
        self._views: dict[tuple[str, str], int] = {}  # observer, subject → the line of what the one last found out
        self._done_to: dict[str, int] = {}  # node → the line of the last fault that began or ended there

    def _made_havoc(self) -> Havoc:
        return Havoc(
            timeline=self.timeline,
            chance=self._chance,
            network=self.network,
            broker=self._broker,
            store=self.store,
            hosts=self.hosts,
            people=People(self._around, self.hosts),
            see=self.see,
        )

    def _told(self, watch: Sequence[Callable[[Setting], Check]]) -> dict[type, list[tuple[str, _On]]]:
        """Who is told of what kind of thing, by name."""
        checks = [(name, CHECKS[name](self)) for name in self._scenario.expect.always]
        self._figures = Figures(self)
        checks += [("figures", self._figures)] if self._scenario.expect.figures else []
        checks += [(make.__name__, make(self)) for make in watch]
        return {kind: [(name, check.on) for name, check in checks if kind in check.wants] for kind in get_args(Seen)}

    # --- what is seen

    def see(self, seen: Seen) -> None:
        """Something happened: into the trace, to the checks, to the client."""
        kind = type(seen)
        line = self.line = self._show(seen) if self._is_begun and kind not in _PASSING else 0
        for name, on in self._rules[kind]:
            problem = on(seen)
            if problem is not None:
                self._break(name, problem, line)
                raise _Stop
        if isinstance(seen, Answered):
            self.client.on_reply(seen.reply)

    def _show(self, seen: Seen) -> int:
        """Its line in the trace."""
        line = self._note(seen)
        for name, is_it in self._by_kind.get(kind_of(seen), ()):
            if is_it(seen):
                self._sights[name] = self._sights.get(name, 0) + 1
                if name in self._scenario.expect.never:
                    self._break(f"never {name}", told(seen, {host.id: host.name for host in self.hosts.values()}), line)
                    raise _Stop
        self._glimpses.on(seen)
        self._havoc.heed(seen)
        return line

    def _note(self, seen: Seen) -> int:
        now_ns, note = self.timeline.now_ns, self._trace.note
        match seen:
            case Happened(event=event) if is_death(event):
                return self._accusations.note(seen, event)
            case Happened(event=PeerAlive(name=name) | PeerSuspect(name=name) | PeerLeft(name=name)):
                line = self._views[seen.node, name] = note(now_ns, seen.node, "event", str(seen.event))
                return line
            case Happened():
                return note(now_ns, seen.node, "event", str(seen.event))
            case Stored():
                record = seen.record
                word = "renewed" if seen.is_renewed else "" if record is None else record.state.value
                what = "" if record is None else f": {word} epoch {record.epoch}"
                return note(now_ns, seen.node, "stored", f"{seen.key} at {seen.revision}{what}")
            case Answered():
                return note(now_ns, seen.node, "reply", f"{seen.reply.request} {seen.reply.code or 'ok'}")
            case Broke():
                return note(now_ns, seen.node, "broke", f"{seen.kind}: {seen.error}")
            case Span():
                said = f"{seen.fault} {'begins' if seen.is_on else 'ends'} {' '.join(seen.nodes)}"
                line = note(now_ns, "world", "fault", said)
                self._done_to |= dict.fromkeys(seen.nodes, line)
                return line
            case Sight():
                return note(now_ns, seen.node, "sight", seen.kind)
            case Handled() | Unmoved() | Said():
                return 0  # an input was noted when it came, a message will be when it arrives
            case _:
                assert_never(seen)

    def _break(self, rule: str, what: str, line: int = 0) -> None:
        """A rule was broken by what this line of the trace tells, if there is one."""
        cause = line or self.timeline.cause
        if rule in ENDS:  # a promise is looked at by nobody
            cause = self._trace.last_about(what)
        elif rule in FIGURES:
            cause = line
        elif rule in (MEASURED, HAPPEN):  # of the whole run, and of no line of it
            cause = 0
        elif rule in LATE:
            observer, subject, *_ = [*_NODE.findall(what), "", ""]
            cause = self._last_between(observer, subject) or cause
        self._violations.append(Violation(rule, self.timeline.now_s, what, self._trace.ancestry(cause)))

    def _last_between(self, observer: str, subject: str) -> int:
        """The last line in which one node found something out of another, or that was hit."""
        return max(self._views.get((observer, subject), 0), self._done_to.get(subject, 0))

    # --- a run

    def run(self) -> Verdict:
        """From the beginning to the end, or to the first broken rule."""
        scenario = self._scenario
        absent = late(scenario.fault, scenario.names)
        try:
            with _seldom_collected():
                self._start([host for name, host in self.hosts.items() if name not in absent])
                self.client.arrange()
                self._havoc.arrange(scenario.fault)
                self.timeline.at(ns(LOOK_S), self._look)
                self.timeline.run(ns(scenario.run_s))
            self._conclude()
        except _Stop:
            pass
        return Verdict(
            seed=self._chance.seed,
            digest=self._trace.digest,
            steps=self.timeline.steps,
            ended_s=self.timeline.now_s,
            violations=tuple(self._violations),
            kept=self._kept,
            figures=self._measured,
            sights=self._sights,
            sent=dict(sorted(self._broker.sent.items())),
            lines=self._trace.lines,
        )

    def _start(self, hosts: Sequence[Host]) -> None:
        """All at once, when they have known each other for long, or each at a drawn time."""
        if self._scenario.start == "known":
            self._is_begun = False
            acquaint(hosts, self._around)
            self._is_begun = True
            return
        for host in hosts:
            starts_s = self._chance.stream(host.name, "start").random() * self._scenario.join_s
            self.timeline.at(ns(starts_s), host.start)

    def _quiet_ns(self) -> int | None:
        """Since when nothing is done to the mesh any more, or None."""
        if self._havoc.open:
            return None
        scenario = self._scenario
        last_s = scenario.work.last_s if scenario.work.tasks else 0.0
        quiet_ns = max(self._havoc.last_ns, ns(last_s), ns(scenario.started_s))
        return quiet_ns if quiet_ns <= self.timeline.now_ns else None

    def _look(self) -> None:
        """Promises: which are kept by now, and which are late."""
        self.timeline.after(ns(LOOK_S), self._look)
        quiet_ns = self._quiet_ns()
        if quiet_ns is None:
            self._kept.clear()
            return
        since_s = (self.timeline.now_ns - quiet_ns) / NS_PER_S
        for name, within_s in self._scenario.expect.eventually.items():
            lacking = ENDS[name](self)
            if lacking is None:
                self._kept.setdefault(name, since_s)
                continue
            self._kept.pop(name, None)
            if since_s >= within_s:
                what = f"{lacking}, {within_s:g} s after the last fault"
                self._break(name, what)
                raise _Stop

    def _conclude(self) -> None:
        promised = self._scenario.expect.eventually
        if missed := self._havoc.missed():
            self._break(HAPPEN, missed)
            return
        if self._havoc.open and promised:
            self._break(HAPPEN, f"{self._havoc.open} faults had not ended with the run, and promises wait for it")
            return
        for name in promised:
            if name not in self._kept:
                lacking = ENDS[name](self) or "it held, and then did not"
                self._break(name, lacking)
        self._figures.end()
        for name, most in self._scenario.expect.figures.items():
            value = FIGURES[name](self._figures, most)
            if value is None:
                self._break(MEASURED, f"{name}: {self._figures.lacking(name, most)}")
                continue
            self._measured[name] = value
            if value > most:
                vain, wait = self._figures.told(name, most), self._figures.worst_wait(name)
                line = self._figures.line_of(name) if wait is None else self._last_between(wait.observer, wait.subject)
                self._break(name, f"{value:.6g}, and at most {most:g} was expected{vain}", line)
