"""From a fault to the first who noticed, to the first who was sure, to everybody; and from the first to the others.

Invariant: told of events alone; what is remembered of facts is bounded. A time of detection runs
from the beginning of a fault that names a node. Who was well and within reach of it all along, and had not found out
when it was over, waited in vain; and never will, if that took `FOUND_S`. Neighbours: `observer` and `figures` tell it.
"""

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from protocol.events import Event, PeerAlive, PeerDamped, PeerDead, PeerLeft, PeerSuspect
from protocol.primitives import NS_PER_S, NodeId
from simulations.checks_news import FOUND_S
from simulations.host import Host
from simulations.reports.shapes import Distribution, Judged
from simulations.reports.tally import Tally
from simulations.seen import stands
from simulations.setting import Setting
from simulations.timeline import ns

Fact: TypeAlias = tuple[type, NodeId, int, int]

FACTS_MAX = 4_096  # that still spread
SILENCING = frozenset({"crash", "pause", "block", "unlink"})  # who is struck by these answers nobody
DETECTION = {
    "suspected": "from the fault to the first who suspected its node",
    "found dead": "from the fault to the first who took its node for dead",
    "known dead": "from the fault to each of the others that took its node for dead",
}
SPREAD = {
    "life": "from the first who knew of a new life, or a refutation, to each other",
    "death": "from the first who took a node for dead to each other",
    "goodbye": "from the first who heard a goodbye to each other",
}
_NAMES: dict[type, str] = {PeerAlive: "life", PeerDead: "death", PeerLeft: "goodbye"}


class Wait(Struct, frozen=True):
    """For so long this observer took a node for living that answered nobody, or that another took for dead."""

    observer: str
    subject: str
    waited_s: float


class Vain:
    """The waits of those who had not found out when it was over: how long each was, and the longest of them."""

    def __init__(self) -> None:
        self.never = 0  # of those who had time enough
        self.longest: Wait | None = None
        self.tally = Tally()

    def add(self, wait: Wait, *, is_due: bool) -> None:
        """One more."""
        self.never += is_due
        self.tally.add(wait.waited_s)
        if self.longest is None or wait.waited_s > self.longest.waited_s:
            self.longest = wait


class Times:
    """Of one run."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.struck: dict[str, int] = {}  # by name: since when
        self._silencing: dict[str, tuple[str, ...]] = {}  # by name: what keeps it silent
        self.noticed: dict[tuple[str, str], int] = {}  # name, what it was noticed as → when first
        self._first: dict[Fact, int] = {}
        self._back: dict[NodeId, tuple[int, int]] = {}  # life and incarnation of the last return of each
        self.detection = {name: Tally() for name in DETECTION}
        self.spread = {name: Tally() for name in SPREAD}
        self.vain = {name: Vain() for name in (*DETECTION, *SPREAD)}
        self._due_ns = ns(
            max(FOUND_S, 4 * setting.settings.membership.suspicion_s_min)
        )  # who is silent is found by then
        self._judged = [0, 0, 0, 0]

    def strike(self, fault: str, names: tuple[str, ...], *, is_on: bool) -> None:
        """A fault began or ended; who is silent by several of them is from the first to the end of the last."""
        for name in names if fault in SILENCING else ():
            before = self._silencing.get(name, ())
            now = self._silencing[name] = self._silenced(before, fault, self._setting.hosts[name], is_on=is_on)
            if bool(now) == bool(before):
                continue
            if before:
                self._give_up(name)
            for what in DETECTION:
                self.noticed.pop((name, what), None)
            if now:
                self.struck[name] = self._setting.timeline.now_ns
            else:
                self.struck.pop(name, None)

    def end(self) -> None:
        """The run is over: who has not found out by now never will."""
        for name in self.struck:
            self._give_up(name)

    def _give_up(self, name: str) -> None:
        """Its silence is over: whoever could have found out by now, and did not.

        A death that nobody found goes round from when it was due.
        """
        since_ns = self.struck[name]
        found_ns = self.noticed.get((name, "found dead"))
        unaware = self._unaware_of(self._setting.hosts[name], since_ns)
        first = unaware[:1] if found_ns is None else []
        others = unaware[len(first) :]
        self._wait("found dead", first, name, since_ns)
        self._wait("known dead", others, name, since_ns)
        self._wait("death", others, name, since_ns + self._due_ns if found_ns is None else found_ns)
        if found_ns is None and (name, "suspected") not in self.noticed:
            self._wait("suspected", first, name, since_ns)

    def _wait(self, what: str, observers: list[str], subject: str, since_ns: int) -> None:
        now_ns = self._setting.timeline.now_ns
        waited_s, is_due = (now_ns - since_ns) / NS_PER_S, now_ns - self.struck[subject] > self._due_ns
        for observer in observers if waited_s > 0 else ():
            self.vain[what].add(Wait(observer, subject, waited_s), is_due=is_due)

    def _unaware_of(self, silent: Host, since_ns: int) -> list[str]:
        """Who takes it for living still, although well and within reach of it all along."""
        return [
            host.name
            for host in self._setting.hosts.values()
            if host is not silent
            and host.is_well
            and host.well_since_ns <= since_ns
            and host.node.membership.life_of(silent.id) is not None  # the cheaper question first: most know
            and self._setting.network.uncut_since_ns(host.name, silent.name) <= since_ns
        ]

    @staticmethod
    def _silenced(before: tuple[str, ...], fault: str, host: Host, *, is_on: bool) -> tuple[str, ...]:
        """What stands now: a crash ends what its life suffered from, and who is down cannot be paused."""
        if is_on and fault == "pause" and not host.is_up:
            return before
        kept = tuple(each for each in before if not (is_on and fault == "crash" and each in ("pause", "block")))
        return stands(kept, fault, is_on=is_on)

    def on(self, event: Event, *, began_ns: int) -> None:
        """What a node came to believe, in a life that began then."""
        match event:
            case PeerSuspect(name=name):
                self._notice(name, "suspected", "")
                self._judge(0, name)
            case PeerDead(name=name) | PeerDamped(state="dead", name=name):
                self._notice(name, "found dead", "known dead")
                self._judge(2, name)
                self._tell((PeerDead, event.peer, event.life, 0), began_ns)
            case PeerLeft():
                self._tell((PeerLeft, event.peer, event.life, 0), began_ns)
            case PeerDamped():
                self._return(event)
            case PeerAlive():
                self._return(event)
                self._tell((PeerAlive, event.peer, event.life, event.incarnation), began_ns)
            case _:
                pass

    def _judge(self, column: int, name: str) -> None:
        host = self._setting.hosts.get(name)
        self._judged[column] += 1
        self._judged[column + 1] += host is not None and host.is_well

    def _notice(self, name: str, first: str, others: str) -> None:
        since_ns = self.struck.get(name)
        if since_ns is None:
            return
        now_ns = self._setting.timeline.now_ns
        took_s = (now_ns - since_ns) / NS_PER_S
        if (name, first) not in self.noticed:
            self.noticed[name, first] = now_ns
            self.detection[first].add(took_s)
        elif others:
            self.detection[others].add(took_s)

    def _return(self, event: PeerAlive | PeerDamped) -> None:
        """It refuted its death: another one of this life is another fact."""
        number = event.life, event.incarnation
        if number > self._back.get(event.peer, (0, -1)):
            self._back[event.peer] = number
            self._first.pop((PeerDead, event.peer, event.life, 0), None)

    def _tell(self, fact: Fact, began_ns: int) -> None:
        now_ns = self._setting.timeline.now_ns
        kind = fact[0]
        first_ns = self._first.setdefault(fact, now_ns)
        if first_ns < now_ns and began_ns <= first_ns:
            self.spread[_NAMES[kind]].add((now_ns - first_ns) / NS_PER_S)
        if len(self._first) > FACTS_MAX:
            del self._first[next(iter(self._first))]

    def shown_detection(self) -> tuple[Distribution, ...]:
        """The curves."""
        return self._shown(DETECTION, self.detection)

    def shown_spread(self) -> tuple[Distribution, ...]:
        """The curves."""
        return self._shown(SPREAD, self.spread)

    def _shown(self, said: Mapping[str, str], tallies: Mapping[str, Tally]) -> tuple[Distribution, ...]:
        return tuple(tallies[name].shown(name, about, never=self.vain[name].never) for name, about in said.items())

    @property
    def judged(self) -> Judged:
        """Suspicions and deaths."""
        return Judged(*self._judged)
