"""JSON values about views: how far all nodes see the same, who sees what, and what befell one node.

Invariant: as in `schemas`: fields are added, never renamed or removed. Neighbours: `schemas` holds these,
the daemon fills them.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

SightName: TypeAlias = Literal["alive", "suspect", "dead", "left", "unknown"]


class Agreement(Struct, frozen=True):
    """Do others see what this node sees? As each of them said when it last answered a probe.

    `share` is `agreeing` of `heard`, who said something since this view changed; `unheard` have not yet. Some of those
    who differ are named; `slowest` has differed longest, for `slowest_s`, and said so last `slowest_heard_s` ago.
    `oldest_s` is the age of the oldest word that counts. `complete` is the share of the nodes seen by most others that
    this one sees. Both shares are null while nobody has said anything.
    """

    view: str = ""
    share: float | None = None
    agreeing: int = 0
    differing: tuple[str, ...] = ()
    unheard: int = 0
    slowest: str = ""
    slowest_s: float = 0.0
    complete: float | None = None
    heard: int = 0
    oldest_s: float = 0.0
    slowest_heard_s: float = 0.0


class FoundDead(Struct, frozen=True):
    """Who was found dead in the last minutes and is dead still: how many, the last first, and that one `ago_s`."""

    count: int = 0
    names: tuple[str, ...] = ()
    ago_s: float = 0.0


class StoryLine(Struct, frozen=True):
    """One thing that befell a node, as this node heard of it: `text` follows the node's name.

    `after_s` is how long it was suspected or gone, `unheard_s` how long this node had heard nothing of it, `health`
    how well this node was (0 is well); each where the event knows it.
    """

    time_ms: int
    kind: str
    text: str
    life: int = 0
    accusers: tuple[str, ...] = ()
    evidence: str = ""
    after_s: float | None = None
    unheard_s: float | None = None
    health: int | None = None


class OneView(Struct, frozen=True):
    """One view of the mesh, and who has it. `alive` counts the nodes in it; `ours` is true for the view of this node.

    `told` is false when it was not looked at: there are more views than are asked for.
    """

    view: str
    held_by: tuple[str, ...]
    alive: int
    ours: bool
    told: bool = True


class Sighting(Struct, frozen=True):
    """How one view has a node; `life` and `incarnation` are 0 where it is unknown."""

    state: SightName
    life: int = 0
    incarnation: int = 0


class Subject(Struct, frozen=True):
    """One node, and how it stands in each of the views that were told, which come first, in their order."""

    name: str
    id: str
    seen: tuple[Sighting, ...]


class Views(Struct, frozen=True):
    """Who sees what: the views of all nodes that answered, this one's first, and the nodes that they have otherwise.

    Those that are seen differently come first; `more` is how many nodes are left out, since there are more than one
    answer holds. `silent` did not answer, `unasked` is how many were not asked. `refused` said that they are asked too
    often, and can be asked again after `again_s`.
    """

    views: tuple[OneView, ...]
    subjects: tuple[Subject, ...]
    silent: tuple[str, ...] = ()
    unasked: int = 0
    more: int = 0
    refused: tuple[str, ...] = ()
    again_s: float = 0.0


class ViewsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which nodes: those that are seen differently, or `all`."""

    all: bool = False
