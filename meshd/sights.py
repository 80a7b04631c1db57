"""Who sees what: the views of all nodes side by side, and the nodes that they differ in.

Invariant: pure; a view is compared by who lives in it, and in which life, and only where it was told. What others
told is shown as they told it. Neighbour: `upkeep` asks.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from msgspec import Struct

from meshd.api.view_schemas import OneView, Sighting, SightName, Subject, Views
from protocol.primitives import NodeId
from protocol.replica import Peer
from protocol.wire.ops import Sight, Sights

STATES: Mapping[str, SightName] = {state: state for state in get_args(SightName)}
LIVING = ("alive", "suspect")
UNKNOWN = Sighting("unknown")
STRANGERS_MAX = 1_024  # nodes that only others see: liars could invent thousands, and each costs a look at every view


class Group(Struct, frozen=True):
    """Nodes that say they have the same view; `told` is what one of them saw, when it was asked and answered."""

    view: bytes
    names: tuple[str, ...]
    alive: int
    told: Sights | None = None


def of_peers(peers: Iterable[Peer]) -> tuple[Sight, ...]:
    """What this node sees itself."""
    return tuple(Sight(peer.id, peer.name, peer.state, peer.life, peer.incarnation) for peer in peers)


def compared(own: Group, others: Sequence[Group], *, is_all: bool) -> Views:
    """The views side by side, ours first and the untold last, and those seen differently, or all, by name."""
    groups = (own, *sorted(others, key=lambda group: group.told is None))
    tables = [{each.peer: each for each in group.told.sights} for group in groups if group.told is not None]
    names = {node: sight.name for node, sight in tables[0].items()}  # ours first: what we call somebody counts
    most = len(names) + STRANGERS_MAX
    for table in tables[1:]:
        strangers = [node for node in table if node not in names]
        names |= {node: table[node].name for node in strangers[: most - len(names)]}
    subjects = [
        Subject(names[node] or node[:8], node, tuple(_sighting(table, node) for table in tables))
        for node in names
        if is_all or _differs(tables, node)
    ]
    return Views(
        views=tuple(
            OneView(group.view.hex(), group.names, group.alive, ours=group is own, told=group.told is not None)
            for group in groups
        ),
        subjects=tuple(sorted(subjects, key=lambda each: (each.name, each.id))),
    )


def _sighting(table: Mapping[NodeId, Sight], node: NodeId) -> Sighting:
    sight = table.get(node)
    return UNKNOWN if sight is None else Sighting(STATES.get(sight.state, "unknown"), sight.life, sight.incarnation)


def _differs(tables: Sequence[Mapping[NodeId, Sight]], node: NodeId) -> bool:
    """The gone and the unknown are the same to a view: it is about who lives."""
    return len({_standing(table.get(node)) for table in tables}) > 1


def _standing(sight: Sight | None) -> tuple[str, int] | None:
    return (sight.state, sight.life) if sight is not None and sight.state in LIVING else None
