"""Who lives in which region, as this node sees it, and which few of each region bridge to the others.

Invariant: the bridges of a region follow from who lives there: the first few by rendezvous hash of its
name that are not suspect, so that who sees the same members names the same bridges, one coming or going moves at
most one, and others stand in for the suspect. Nobody is left out where all are.
Neighbours: `roster` says who lives; `prober`, `gossip` and `bridging` read.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice

from protocol import ids, limits
from protocol.primitives import NodeId
from protocol.replica import Me


class Regions:
    """The regions of one view, this node counted in its own."""

    def __init__(self, me: Me) -> None:
        self._me = me.id
        self.own = me.region
        self._region_of: dict[NodeId, str] = {me.id: me.region}
        self._ranked: dict[str, list[tuple[bytes, NodeId]]] = {me.region: [_rank(me.region, me.id)]}
        self._doubted: set[NodeId] = set()
        self._near: tuple[NodeId, ...] | None = None  # made when somebody asks
        self._far: tuple[NodeId, ...] | None = None
        self.place = 0  # our own among the bridges of our region, from 0; -1 when we are none of them

    # --- who came or went

    def settle(self, node: NodeId, region: str) -> None:
        """It lives there."""
        if node == self._me or self._region_of.get(node) == region:
            return
        self.part(node)
        self._region_of[node] = region
        insort(self._ranked.setdefault(region, []), _rank(region, node))
        self._take_place()

    def part(self, node: NodeId) -> None:
        """It does not live any more; harmless when it did not."""
        if node == self._me:
            return
        region = self._region_of.pop(node, None)
        self._doubted.discard(node)
        self._near = self._far = None
        if region is None:
            return
        ranked, rank = self._ranked[region], _rank(region, node)
        del ranked[bisect_left(ranked, rank)]
        if not ranked:
            del self._ranked[region]
        self._take_place()

    def doubt(self, node: NodeId) -> None:
        """It may be gone: others of its region bridge for it meanwhile."""
        self._doubted.add(node)
        self._take_place()

    def trust(self, node: NodeId) -> None:
        """It is there after all."""
        if node in self._doubted:
            self._doubted.discard(node)
            self._take_place()

    def _take_place(self) -> None:
        bridges = self.bridges(self.own)
        self.place = bridges.index(self._me) if self._me in bridges else -1

    # --- for readers

    @property
    def is_one(self) -> bool:
        """True while nobody is known who lives in another region."""
        return len(self._ranked) == 1

    @property
    def names(self) -> tuple[str, ...]:
        """Every region where somebody lives, sorted."""
        return tuple(sorted(self._ranked))

    def of(self, node: NodeId) -> str:
        """Where it lives; nothing when it is not known to live."""
        return self._region_of.get(node, "")

    def is_near(self, node: NodeId) -> bool:
        """Does it live in our region?"""
        return self._region_of.get(node) == self.own

    def is_far(self, node: NodeId) -> bool:
        """Does it live in another region?"""
        return self._region_of.get(node, self.own) != self.own

    @property
    def near(self) -> tuple[NodeId, ...]:
        """The others that live in our region, sorted."""
        if self._near is None:
            self._near = tuple(sorted(node for _, node in self._ranked[self.own] if node != self._me))
        return self._near

    @property
    def far(self) -> tuple[NodeId, ...]:
        """All that live in other regions, sorted."""
        if self._far is None:
            self._far = tuple(sorted(node for node, region in self._region_of.items() if region != self.own))
        return self._far

    def bridges(self, region: str) -> tuple[NodeId, ...]:
        """Those of a region that hear all others and carry what they hear into it, the first one first."""
        ranked = self._ranked.get(region, [])
        sure = (node for _, node in ranked if node not in self._doubted)
        return tuple(islice(sure, limits.BRIDGES)) or tuple(node for _, node in ranked[: limits.BRIDGES])

    def bridges_but(self, region: str) -> tuple[NodeId, ...]:
        """The bridges of all regions but this one, by region."""
        return tuple(node for name in self.names if name != region for node in self.bridges(name))

    @property
    def is_bridge(self) -> bool:
        """Are we one of the bridges of our region?"""
        return self.place >= 0

    @property
    def probed(self) -> tuple[NodeId, ...] | None:
        """Whom this node probes: those of its own region; None for all, as who bridges does."""
        return None if self.is_one or self.is_bridge else self.near

    def jury(self, accused: NodeId, accuser: NodeId, alive: Iterable[NodeId]) -> list[NodeId]:
        """Who may look after an accusation, ourselves first; nobody when we may not. `alive`: not suspect.

        The region of the accused does, and where that has too few the bridges of the others as well: all these
        hear of it. Somebody accused from afar the bridges of its accuser's region look after.
        """
        if self.is_one:
            return [self._me, *(each for each in alive if each != accuser)]
        fit = {node for _, node in self._ranked.get(self.of(accused), ())} - {accused, accuser}
        if len(fit) < limits.BRIDGES:
            fit.update(self.bridges_but(self.of(accused)))
        if self._me not in fit and self.is_far(accused) and not self.is_far(accuser):
            fit = set(self.bridges(self.own))
        return [each for each in (self._me, *alive) if each in fit and each != accuser] if self._me in fit else []


@lru_cache(maxsize=4 * limits.PEERS_MAX)
def _rank(region: str, node: NodeId) -> tuple[bytes, NodeId]:
    return ids.rendezvous(node, salt=f"bridge {region}")
