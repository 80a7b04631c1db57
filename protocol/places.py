"""The view of the rest of the mesh that ledger, calls and guardian are given: who lives, who can, how far.

Invariant: a reader of membership, catalogue and flaps; only the count of slots that awards under way will
use is written. Neighbours: `view` says what is asked; `node` makes it.
"""

from msgspec import structs

from protocol import ids
from protocol.catalogue import Catalogue
from protocol.effects import Emit
from protocol.events import CapabilitiesChanged
from protocol.flaps import Flaps
from protocol.guardian import Homes, guards
from protocol.membership import Membership
from protocol.primitives import Instant, NodeId, Rng
from protocol.regions import Regions
from protocol.replica import Me
from protocol.routing import POLICIES, Candidate, but_for, near_first
from protocol.timekeeping import Timekeeping


class Places:
    """`protocol.view.View` over one node's membership and catalogue."""

    def __init__(
        self,
        *,
        me: Me,
        membership: Membership,
        catalogue: Catalogue,
        time: Timekeeping,
        policy: str,
        rng: Rng,
        regions: Regions | None = None,
        flaps: Flaps | None = None,
    ) -> None:
        self._flaps = flaps or Flaps(quiet_s=0.0)
        self._time = time
        self._regions = regions or Regions(me)
        self._me = me
        self._membership = membership
        self._catalogue = catalogue
        self._policy = POLICIES[policy]
        self._rng = rng

    def candidates(self, capability: str, now: Instant) -> list[Candidate]:
        """Agents of live nodes with the capability, the best first."""
        found = [each for each in self._catalogue.match(capability, now) if self._membership.is_alive(each.node)]
        if self._time.off:
            found = [structs.replace(each, free=0, is_off=True) if self._is_off(each.node) else each for each in found]
        if self._flaps.damped:
            found = but_for(found, self._flaps.damped)
        if self._regions.is_one:
            return self._policy(found, self._rng)
        far = {each.node for each in found if self._regions.is_far(each.node)}
        return near_first(self._policy(found, self._rng), far=far)

    def _is_off(self, node: NodeId) -> bool:
        return node != self._me.id and node in self._time.off

    def draining(self, capability: str, now: Instant) -> tuple[str, ...]:
        """Names of live nodes that have the capability and take no new work."""
        rows = [row for row in self._catalogue.capabilities(now) if row.capability == capability and row.is_draining]
        peers = [self._membership.peer(row.node) for row in rows if self._membership.is_alive(row.node)]
        return tuple(sorted({peer.name for peer in peers if peer is not None}))

    def can_wait(self, capability: str, now: Instant) -> bool:
        """Somebody may do it soon, if nobody can now: a node that takes no new work, or one that is suspected."""
        rows = [
            row for row in self._catalogue.offered(capability, now) if self._membership.life_of(row.node) is not None
        ]
        return any(row.is_draining or not self._membership.is_alive(row.node) for row in rows)

    def reserve(self, node: NodeId, agent: str, task: str) -> None:
        """Count a slot that an award under way will use."""
        self._catalogue.reserve(node, agent, task)

    def accepted(self, node: NodeId, agent: str, task: str, said: int) -> None:
        """From its next load on, the node itself shows that slot as taken."""
        self._catalogue.accepted(node, agent, task, said)

    def release(self, node: NodeId, agent: str, task: str, said: int, now: Instant) -> None:
        """Count it no more."""
        self._catalogue.release(node, agent, task, said, now)

    def refused(self, node: NodeId, agent: str, task: str) -> None:
        """There was no slot after all."""
        self._catalogue.refused(node, agent, task)

    def life_of(self, node: NodeId) -> int | None:
        """The life of a node as last seen."""
        return self._me.life if node == self._me.id else self._membership.life_of(node)

    def round_trip_s(self, node: NodeId) -> float:
        """Seconds to a node and back."""
        return 0.0 if node == self._me.id else self._membership.round_trip_s(node)

    def living(self, node: NodeId) -> int | None:
        """The life of a node that is seen alive."""
        return self.life_of(node) if self._membership.is_alive(node) else None

    def homes(self, now: Instant) -> Homes:
        """Who may watch tasks, as seen from here."""
        alive = self._standing()
        settled_s = self._membership.settled_s(now)

        def is_known(node: NodeId) -> bool:
            return self._membership.peer(node) is not None

        def has_room(capability: str) -> bool:
            return any(each.free > 0 for each in self.candidates(capability, now))

        return Homes(alive, is_known, settled_s, has_room, self._doubtful())

    def guards(self, node: NodeId, task: str) -> bool:
        """May this node be a guardian of this task, as seen from here?"""
        return guards(node, task, (*self._standing(), *self._doubtful()))

    def _standing(self) -> tuple[NodeId, ...]:
        """Who is alive, oneself included, after the goodbye, too; sorted."""
        alive = self._membership.alive()
        return tuple(alive if self._membership.is_alive(self._me.id) else sorted([*alive, self._me.id]))

    def _doubtful(self) -> tuple[NodeId, ...]:
        """Who is suspected and will be cleared or found dead in seconds: until then its place is its own.

        While nobody is declared dead, that may last for ever: then who does not answer has no place.
        """
        return () if self._membership.is_frozen() else self._membership.suspects()

    def named(self, effect: Emit) -> Emit:
        """The event with the name of the node that it is about, where its machine does not know it."""
        event = effect.event
        if not isinstance(event, CapabilitiesChanged) or event.name:
            return effect
        peer = self._membership.peer(event.peer)
        return Emit(structs.replace(event, name=peer.name if peer is not None else ids.short(event.peer)))
