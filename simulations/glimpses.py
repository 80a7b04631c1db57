"""Sights that no single event tells: what led to it is known from the trace, or what stood when it came.

Invariant: looks at the world and changes nothing; what is found is told as a `Sight`. Neighbours: `world`
shows it everything, `sights` has the names.
"""

from collections.abc import Callable, Mapping

from protocol.effects import Spread
from protocol.events import AuctionClosed, CapabilitiesChanged, PeerAlive, PeerDamped, PeerDead, PeerLeft
from protocol.wire.gossip import Alive
from protocol.wire.task import TaskState
from simulations.host import Host
from simulations.seen import Happened, Seen, Sight, Span
from simulations.store import Store
from simulations.trace import Trace

_NEWS = PeerAlive | PeerDamped | PeerDead | PeerLeft | CapabilitiesChanged


class Glimpses:
    """Of one world."""

    def __init__(self, *, trace: Trace, store: Store, hosts: Mapping[str, Host], see: Callable[[Seen], None]) -> None:
        self._trace = trace
        self._store = store
        self._hosts = hosts
        self._see = see
        self._cuts = 0  # partitions that are open

    def on(self, seen: Seen) -> None:
        """One thing more."""
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
