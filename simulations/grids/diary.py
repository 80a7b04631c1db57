"""What a measured run is about: who was accused or declared dead, and who learnt what when.

Invariant: watches and judges nothing. An incident is one incarnation of one life, however many
speak of it. Neighbours: `measures` lets a world run with it and reads it.
"""

from collections.abc import Collection
from typing import ClassVar, TypeAlias, assert_never

from msgspec import Struct

from protocol.effects import Spread
from protocol.events import NameConflict, PeerAlive, PeerDamped, PeerDead, PeerLeft
from protocol.primitives import NS_PER_S, NodeId
from protocol.wire.gossip import Dead, Suspect
from simulations.host import Host
from simulations.seen import Handled, Happened, Said, Seen, Span
from simulations.setting import Setting, Wanted

Belief: TypeAlias = PeerAlive | PeerDamped | PeerDead | PeerLeft
Incident: TypeAlias = tuple[NodeId, int, int]  # whom, in which life, at which incarnation


class Word(Struct, frozen=True):
    """From then on one node takes another for alive, dead or left; or only shows it as alive, which `was` damped."""

    at_s: float
    observer: str
    subject: str
    state: str
    was: str = ""  # of who is alive: what it was before
    is_damped: bool = False  # it is not shown as that


class Accused(Struct, frozen=True):
    """When somebody first said so, and was it running?"""

    at_s: float
    is_false: bool


class Diary:
    """Of one run."""

    wants: ClassVar[Wanted] = (Handled, Happened, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._hosts: dict[NodeId, Host] = {host.id: host for host in setting.hosts.values()}
        self.suspected: dict[Incident, Accused] = {}
        self.killed: dict[Incident, Accused] = {}
        self.conflicts = 0  # of names, as often as somebody saw one
        self.killed_alive = 0  # as often as somebody took who was running for dead
        self.raised_dead = 0  # as often as somebody took who was down for alive
        self.unheard_of = 0  # as often as somebody took for alive who is no host at all
        self.words: list[Word] = []
        self._held: set[tuple[str, int, NodeId]] = set()  # who shows whom as damped, in which life
        self.spans: list[tuple[float, str, tuple[str, ...], bool]] = []  # when, fault, nodes, does it begin

    def on(self, seen: Seen) -> None:
        """Accusations and deaths as they are spread, standings as they are believed, faults."""
        match seen:
            case Handled():
                for effect in seen.effects:
                    if isinstance(effect, Spread) and isinstance(effect.body, Suspect | Dead):
                        self._accused(effect.body)
            case Happened(event=PeerAlive() | PeerDamped() | PeerDead() | PeerLeft() as event):
                self._believed(seen, event)
            case Happened(event=NameConflict()):
                self.conflicts += 1
            case Span():
                self.spans.append((self._now_s, seen.fault, seen.nodes, seen.is_on))
            case _:
                pass

    @property
    def _now_s(self) -> float:
        return self._setting.timeline.now_ns / NS_PER_S

    def _accused(self, said: Suspect | Dead) -> None:
        host = self._hosts[said.peer]
        into = self.suspected if isinstance(said, Suspect) else self.killed
        is_false = host.is_up and host.life == said.life
        into.setdefault((said.peer, said.life, said.incarnation), Accused(self._now_s, is_false))

    def _believed(self, seen: Happened, event: Belief) -> None:
        host, state = self._hosts.get(event.peer), _state(event)
        if host is None:
            self.unheard_of += state == "alive"
            return
        is_damped, key = isinstance(event, PeerDamped), (seen.node, seen.life, event.peer)
        was = event.was if isinstance(event, PeerAlive | PeerDamped) else ""
        if isinstance(event, PeerAlive) and key in self._held:
            was = "damped"
        self.killed_alive += state == "dead" and host.is_up and host.life == event.life
        self.raised_dead += state == "alive" and was != "damped" and not host.is_up
        self.words.append(Word(self._now_s, seen.node, host.name, state, was, is_damped))
        self._held.discard(key)
        if is_damped and state == "alive":
            self._held.add(key)

    # --- readers

    def first(self, subject: str, state: str, *, since_s: float) -> dict[str, float]:
        """Observer → seconds after `since_s` at which it first took `subject` for that."""
        found: dict[str, float] = {}
        for word in self.words:
            if word.subject == subject and word.state == state and word.at_s >= since_s:
                found.setdefault(word.observer, word.at_s - since_s)
        return found

    def first_by(self, observer: str, subject: str, state: str, *, since_s: float) -> list[float]:
        """Seconds after `since_s` at which this observer first took it for that; nothing when it never did."""
        at_s = self.first(subject, state, since_s=since_s).get(observer)
        return [] if at_s is None else [at_s]

    def count(self, state: str, *, but: Collection[str] = (), observers: Collection[str] | None = None) -> int:
        """How often somebody, or one of `observers`, took anybody but these for that."""
        return sum(
            word.state == state and word.subject not in but and (observers is None or word.observer in observers)
            for word in self.words
        )

    def began_s(self, fault: str) -> list[tuple[str, float]]:
        """Node and second of each beginning of that kind of fault."""
        return [(nodes[0], at_s) for at_s, kind, nodes, is_on in self.spans if kind == fault and is_on and nodes]

    def suspected_s(self, subject: str, *, since_s: float) -> float | None:
        """Seconds after `since_s` at which anybody first suspected it; None: nobody did."""
        node = next(host.id for host in self._hosts.values() if host.name == subject)
        times = [said.at_s - since_s for (peer, _, _), said in self.suspected.items() if peer == node]
        return min((at_s for at_s in times if at_s >= 0), default=None)


class Traffic:
    """How many messages of each kind were handed to the broker, from a time on."""

    wants: ClassVar[Wanted] = (Said,)

    def __init__(self, setting: Setting, *, since_s: float) -> None:
        self._timeline = setting.timeline
        self._since_ns = int(since_s * NS_PER_S)
        self.sent: dict[str, int] = {}

    def on(self, seen: Seen) -> None:
        """Each message."""
        if isinstance(seen, Said) and self._timeline.now_ns >= self._since_ns:
            self.sent[seen.kind] = self.sent.get(seen.kind, 0) + 1


def _state(event: Belief) -> str:
    match event:
        case PeerDamped(state=state):
            return state
        case PeerAlive():
            return "alive"
        case PeerDead():
            return "dead"
        case PeerLeft():
            return "left"
        case _:
            assert_never(event)
