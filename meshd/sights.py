"""Who sees what: the views of all nodes side by side, and the nodes that they differ in.

Invariant: pure, for it is done outside the loop; a view is compared by who lives in it, and in which life, and only
where it was told. What others told is shown as they told it, and only so much of it. Neighbour: `upkeep` asks.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from msgspec import Struct

from meshd.api.view_schemas import OneView, Sighting, SightName, Subject, Views
from protocol import limits
from protocol.primitives import NodeId
from protocol.replica import Peer
from protocol.wire.ops import Sight

STATES: Mapping[str, SightName] = {state: state for state in get_args(SightName)}
LIVING = ("alive", "suspect")
UNKNOWN = Sighting("unknown")
SUBJECTS_MAX = 1_024  # nodes in one answer, each as every view that was told has it: a megabyte


class Told(Struct, frozen=True):
    """What one node sees: everybody, and who lives there in which life, which is all that makes a view."""

    sights: Mapping[NodeId, Sight]
    living: frozenset[tuple[NodeId, str, int]]


class Group(Struct, frozen=True):
    """Nodes that say they have the same view; `told` is what one of them saw, when it was asked and answered."""

    view: bytes
    names: tuple[str, ...]
    alive: int
    told: Told | None = None


def told(sights: Iterable[Sight]) -> Told:
    """As one node told it. The gone and the unknown are the same to a view: it is about who lives."""
    table = {each.peer: each for each in sights}
    return Told(table, frozenset((each.peer, each.state, each.life) for each in table.values() if each.state in LIVING))


def of_peers(peers: Iterable[Peer]) -> Told:
    """What this node sees itself, as far as it would tell others: the gone are left out first."""
    living_first = sorted(peers, key=lambda peer: peer.state not in LIVING)[: limits.SIGHTS_MAX]
    return told(Sight(peer.id, peer.name, peer.state, peer.life, peer.incarnation) for peer in living_first)


def compared(own: Group, others: Sequence[Group], *, is_all: bool) -> Views:
    """The views side by side, ours first and the untold last, and those seen differently, or all, as far as they fit.

    Whom all see the same stands behind the others, and who is unknown here behind whom we know: what liars invent
    takes nobody's place.
    """
    groups = (own, *sorted(others, key=lambda group: group.told is None))
    ours, *theirs = tables = [group.told for group in groups if group.told is not None]
    differing = {node for table in theirs for node, _, _ in table.living ^ ours.living}
    names = {node: sight.name for node, sight in ours.sights.items()}  # ours first: what we call somebody counts
    most = len(names) + SUBJECTS_MAX
    for table in theirs:
        strangers = [node for node in table.sights if node not in names and (is_all or node in differing)]
        names |= {node: table.sights[node].name for node in strangers[: most - len(names)]}
    ranked = sorted(
        (node for node in names if is_all or node in differing),
        key=lambda node: (node not in differing, node not in ours.sights, names[node], node),
    )
    count = len(set().union(*(table.sights for table in tables))) if is_all else len(differing)
    return Views(
        views=tuple(
            OneView(group.view.hex(), group.names, group.alive, ours=group is own, told=group.told is not None)
            for group in groups
        ),
        subjects=tuple(
            Subject(names[node] or node[:8], node, tuple(_sighting(table.sights, node) for table in tables))
            for node in ranked[:SUBJECTS_MAX]
        ),
        more=max(0, count - SUBJECTS_MAX),
    )


def _sighting(table: Mapping[NodeId, Sight], node: NodeId) -> Sighting:
    sight = table.get(node)
    return UNKNOWN if sight is None else Sighting(STATES.get(sight.state, "unknown"), sight.life, sight.incarnation)
