"""Sights that no single event tells: what led to it is known from the trace, or what stood when it came.

Invariant: looks at the world and changes nothing; what is found is told as a `Sight`. Neighbours: `world`
shows it everything, `sights` has the names.
"""

from collections.abc import Callable, Mapping

from protocol.effects import Spread
from protocol.events import AuctionClosed, CapabilitiesChanged, PeerAlive, PeerDamped, PeerDead, PeerLeft
from protocol.primitives import NodeId
from protocol.wire.gossip import Alive
from protocol.wire.task import ENDED, TaskRecord, TaskState
from simulations.host import Host
from simulations.network import RECORD
from simulations.seen import Happened, Seen, Sight, Span, Stored
from simulations.setting import Setting
from simulations.store import Store
from simulations.timeline import ns
from simulations.trace import Trace

_NEWS = PeerAlive | PeerDamped | PeerDead | PeerLeft | CapabilitiesChanged
_CUTS = ("partition", "one-way", "unlink", "outage", "hold")  # faults after which some do not reach others
LONG_LEASES = 2.0  # by then whoever is cut off has been given up


class Glimpses:
    """Of one world."""

    def __init__(self, *, trace: Trace, store: Store, setting: Setting, see: Callable[[Seen], None]) -> None:
        self._trace = trace
        self._store = store
        self._hosts = setting.hosts
        self._see = see
        self._cuts = 0  # partitions that are open
        self._cut_off = _CutOff(setting)

    def on(self, seen: Seen) -> None:
        """One thing more."""
        if isinstance(seen, Span | Stored) and (name := self._cut_off.on(seen)):
            self._see(Sight(name, "exclusive-cut-off"))
        match seen:
            case Happened(node=node, event=AuctionClosed(bids=bids)) if bids and self._cuts:
                self._see(Sight(node, "bids-in-a-cut"))
            case Happened(node=node, event=event) if isinstance(event, _NEWS):
                if self._trace.brought()[:1] == ("Delta",):
                    self._see(Sight(node, "gap-repaired"))
            case Span(fault="partition", is_on=is_on):
                self._cuts += 1 if is_on else -1
            case Span(fault="crash", is_on=True, nodes=nodes):
                for name in nodes:
                    self._crash(self._hosts[name])
            case _:
                pass

    def said(self, src: str, fact: Spread) -> None:
        """A node spreads a word of its own; of that it lives after all: who told it that it was doubted?"""
        if not isinstance(fact.body, Alive) or not fact.body.incarnation:
            return
        by, *before = self._trace.brought() or ("",)
        if by == "Ping":
            self._see(Sight(src, "suspect-told"))
            if before and before[0] in ("Suspect", "Confirm"):
                self._see(Sight(src, "saved-by-verifier"))

    def _crash(self, host: Host) -> None:
        """What it had in hand."""
        running = host.running()
        if running:
            self._see(Sight(host.name, "crashed-at-work"))
        for record in self._store.records() if host.is_up else ():
            if record.state is TaskState.AWARDED and record.owner == host.id and record.id not in running:
                self._see(Sight(host.name, "crashed-before-work"))
                return


class _CutOff:
    """Of exclusive tasks: which was at work when a cut began that kept its owner, its home and the record apart, and
    had not ended two leases later, when the cut still stood. Nothing else shows whether two owners ever run it.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._long_ns = ns(LONG_LEASES * setting.settings.tasks.lease_s)
        self._at_work: dict[str, TaskRecord] = {}
        self._ended_ns: dict[str, int] = {}
        self._open: list[tuple[str, tuple[str, ...], int, tuple[TaskRecord, ...]]] = []  # cuts, and what was at work

    def on(self, seen: Span | Stored) -> str:
        """The owner of one, when such a cut ends."""
        now_ns = self._setting.timeline.now_ns
        if isinstance(seen, Stored):
            if seen.record is not None and seen.record.exclusive:
                self._note(seen.record, now_ns)
        elif seen.fault in _CUTS and seen.is_on:
            self._open.append((seen.fault, seen.nodes, now_ns, tuple(self._at_work.values())))
        elif seen.fault in _CUTS:
            cut = next(each for each in self._open if each[:2] == (seen.fault, seen.nodes))
            self._open.remove(cut)
            long_ns = cut[2] + self._long_ns
            names = {host.id: host.name for host in self._setting.hosts.values()}
            for record in cut[3] if long_ns <= now_ns else ():
                has_lasted = self._ended_ns.get(record.id, now_ns) >= long_ns
                if has_lasted and (seen.fault == "hold" or self._are_apart(record, names)):
                    return names[record.owner]
        return ""

    def _note(self, record: TaskRecord, now_ns: int) -> None:
        if record.state is TaskState.AWARDED:
            self._at_work[record.id] = record
        else:
            self._at_work.pop(record.id, None)
        if record.state in ENDED:
            self._ended_ns[record.id] = now_ns

    def _are_apart(self, record: TaskRecord, names: Mapping[NodeId, str]) -> bool:
        places = sorted({names[record.owner], names[record.home], RECORD})
        reaches = self._setting.network.reaches
        return not all(reaches(one, other) for one in places for other in places if one != other)
