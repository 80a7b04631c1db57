"""How soon news of a member is everywhere: that it crashed, that it is well after all, that it said goodbye.

Invariant: broken by what has not come about in time, as `checks.LATE` says; who was disturbed, cut off or lost a
message is excused. Neighbours: `checks` lists these, `checks_members` has what no view may ever hold.
"""

from typing import ClassVar

from protocol.effects import Spread
from protocol.events import PeerAlive, PeerDamped, PeerDead, PeerLeft, PeerSuspect
from protocol.primitives import NodeId
from protocol.wire.gossip import Left
from simulations.checks_members import CLEAR_S, REFUTED_S, name_of
from simulations.host import Host
from simulations.seen import Handled, Happened, Routine, Seen, Sight, Span
from simulations.setting import Setting, Wanted
from simulations.timeline import ns

FOUND_S = 20.0  # a hang is found within 8.5 s for the most part; two who lost messages take longer
HEARD_S = 1.0
_LOSSES = ("lost", "harmed", "overrun")


class _Excuses:
    """Who lost a message when, and since when two are well and within reach of each other."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._lost_ns: dict[str, int] = {}

    def note(self, sight: Sight) -> None:
        """A message of this node did not arrive, or what arrived there was of no use."""
        if sight.kind in _LOSSES:
            self._lost_ns[sight.node] = self._setting.timeline.now_ns

    def has_lost(self, name: str, since_ns: int) -> bool:
        """Did a message of it, or to it, get lost since then?"""
        return self._lost_ns.get(name, -1) >= since_ns

    def are_clear(self, one: Host, other: Host, since_ns: int) -> bool:
        """Both well, and within reach of each other, since then?"""
        well_ns = max(one.well_since_ns, other.well_since_ns)
        return max(well_ns, self._setting.network.clear_since_ns(one.name, other.name)) <= since_ns


class DeadAreFound:
    """E1: while nobody else is disturbed, a node that crashed stands alive nowhere after a while."""

    wants: ClassVar[Wanted] = (Handled, Routine, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._down: dict[str, int] = {}  # who crashed, and when
        self._span_ns = 0  # when the last fault began or ended

    def on(self, seen: Seen) -> str | None:
        """Crashes, and whoever does something after one."""
        now_ns = self._setting.timeline.now_ns
        if isinstance(seen, Span):
            self._span_ns = now_ns
            for name in seen.nodes if seen.fault == "crash" and seen.is_on else ():
                self._down[name] = now_ns
        elif isinstance(seen, Handled) and self._down:
            observer = self._setting.hosts[seen.node]
            self._down.pop(seen.node, None)  # it is back, whatever of its faults have ended or have not
            for name, since_ns in self._down.items():
                quiet_ns = max(since_ns, self._span_ns, observer.well_since_ns)
                if now_ns - quiet_ns < ns(FOUND_S) or observer.node.membership.is_frozen():
                    continue
                gone = self._setting.hosts[name]
                if not gone.is_up and observer.node.membership.life_of(gone.id) is not None:
                    return f"{seen.node} does not know that {name} is gone, {FOUND_S:g} s after everything else"
        return None


class RefutedSoon:
    """E3: who is well and within reach does not stay suspect."""

    wants: ClassVar[Wanted] = (Handled, Routine, Happened, Sight)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._excuses = _Excuses(setting)
        self._within_s = max(REFUTED_S, 4 * setting.settings.membership.probe_timeout_s)
        self._suspects: dict[str, dict[NodeId, int]] = {}  # observer → suspect → since when, the oldest first

    def on(self, seen: Seen) -> str | None:
        """Suspicions and their ends, and whoever does something while it has one."""
        now_ns = self._setting.timeline.now_ns
        if isinstance(seen, Sight):
            self._excuses.note(seen)
        elif isinstance(seen, Happened):
            suspects = self._suspects.setdefault(seen.node, {})
            match seen.event:
                case PeerSuspect(peer=peer, accuser=accuser) if not self._are_parted(accuser, peer):
                    suspects.setdefault(peer, now_ns)
                case PeerAlive() | PeerDamped() | PeerDead() | PeerLeft():
                    suspects.pop(seen.event.peer, None)
                case _:
                    pass
        elif isinstance(seen, Handled) and (suspects := self._suspects.get(seen.node, {})):
            observer = self._setting.hosts[seen.node]
            if observer.well_since_ns > now_ns - ns(self._within_s):
                suspects.clear()  # a new life, or one that could not hear
                return None
            peer, since_ns = next(iter(suspects.items()))
            subject = self._setting.hosts[name_of(self._setting, peer)]
            if now_ns - since_ns < ns(self._within_s):
                return None
            is_excused = any(self._excuses.has_lost(each.name, since_ns) for each in (observer, subject))
            del suspects[peer]
            if not is_excused and self._excuses.are_clear(observer, subject, since_ns):
                return f"{seen.node} suspects {subject.name} for {self._within_s:g} s, which is well and within reach"
        return None

    def _are_parted(self, accuser: NodeId, suspect: NodeId) -> bool:
        """Does a cut keep one from asking or the other from answering? Then it is asked when its time is up."""
        one, other = name_of(self._setting, accuser), name_of(self._setting, suspect)
        return not (self._setting.network.reaches(one, other) and self._setting.network.reaches(other, one))


class GoodbyesHeard:
    """E6: within a second of a goodbye that it could say nobody in reach takes that life for a living one."""

    wants: ClassVar[Wanted] = (Handled, Routine, Sight)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._excuses = _Excuses(setting)
        self._left: list[tuple[int, str, int]] = []  # when, who and in which life
        self._next: dict[str, int] = {}  # observer → the first of these that it was not judged by

    def on(self, seen: Seen) -> str | None:
        """Goodbyes, and what everybody knows a second later."""
        now_ns = self._setting.timeline.now_ns
        if isinstance(seen, Sight):
            self._excuses.note(seen)
        elif isinstance(seen, Handled):
            for effect in seen.effects:
                is_goodbye = isinstance(effect, Spread) and isinstance(effect.body, Left)
                if is_goodbye and self._setting.hosts[seen.node].is_linked:
                    self._left.append((now_ns, seen.node, seen.life))
            at = self._next.get(seen.node, 0)
            if at < len(self._left) and now_ns - self._left[at][0] >= ns(HEARD_S):
                self._next[seen.node] = at + 1
                return self._judged(self._setting.hosts[seen.node], *self._left[at])
        return None

    def _judged(self, observer: Host, since_ns: int, name: str, life: int) -> str | None:
        gone = self._setting.hosts[name]
        is_cut = self._setting.network.clear_since_ns(observer.name, name) > since_ns
        if observer is gone or is_cut or observer.well_since_ns > since_ns:
            return None
        if any(self._excuses.has_lost(each, since_ns) for each in (name, observer.name)):
            return None
        if observer.region != gone.region and not self._is_carried(observer, gone, since_ns):
            return None
        if observer.node.membership.life_of(gone.id) == life:
            return f"{observer.name} takes {name} for alive, {HEARD_S:g} s after its goodbye"
        return None

    def _is_carried(self, observer: Host, gone: Host, since_ns: int) -> bool:
        """Was a bridge of the observer's region well all along, and within reach of both?"""
        bridges = observer.node.regions.bridges(observer.region)
        hosts = [host for host in self._setting.hosts.values() if host.id in bridges]
        clear_ns = since_ns - ns(CLEAR_S)
        clear = self._setting.network.clear_since_ns
        return any(
            host.well_since_ns <= clear_ns
            and max(clear(host.name, gone.name), clear(host.name, observer.name)) <= clear_ns
            and not self._excuses.has_lost(host.name, clear_ns)
            for host in hosts
        )
