"""What somebody wants done to a live mesh, in words of its own: names, regions and times become faults.

    --cut region:a,region:b@10s   --cut n1,n2:n3@10s+15s   --kill n1@10s   --pause n1@10s+5s   --broker-down 10s+20s

Invariant: every word is resolved against the mesh as it is, or refused with the word and what there is.
Neighbours: `live` is that mesh; `forecast` plays the faults.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from simulations import faults
from simulations.faults import Fault
from simulations.live import LiveMesh, LiveNode
from simulations.scenario import ScenarioError

Kind: TypeAlias = Literal["cut", "kill", "pause", "broker-down"]

TIME_MAX_S = 3_600.0
NAMED_MAX = 12  # names that an error lists
ID_CHARS_MIN = 4  # of the beginning of an id
SILENT_LINK_S = 12.0  # a connection that is cut without a word is given up about then
REGION = "region:"

_BETWEEN = re.compile(r"(?<!(?<![a-z0-9_-])region):")  # a colon, but not that of `region:`
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "": 1.0}
_TIME = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(ms|s|m|h|)", re.ASCII)


class Wish(Struct, frozen=True):
    """One option as it was given."""

    kind: Kind
    text: str


class Span(NamedTuple):
    """When it begins, and how long it lasts; 0: to the end."""

    at_s: float
    for_s: float


class Granted(Struct, frozen=True):
    """What a wish comes to: the faults, the sentence that tells it, and when it begins and ends (0: never)."""

    faults: tuple[Fault, ...]
    says: str
    at_s: float
    ends_s: float


def seconds(text: str, option: str) -> float:
    """`10s`, `500ms`, `2m`, `1h` or a bare number of seconds. Raises ScenarioError."""
    found = _TIME.fullmatch(text)
    value = float(found[1]) * _UNITS[found[2]] if found else -1.0
    if not 0 <= value <= TIME_MAX_S:
        raise ScenarioError(f"{option}: {text!r} is no time from 0 to {TIME_MAX_S:g} s, for example 10s")
    return value


def granted(wish: Wish, mesh: LiveMesh, *, run_s: float, from_s: float) -> Granted:
    """The faults of one wish; the world's clock is `from_s` ahead of the wish's. Raises ScenarioError."""
    option = f"--{wish.kind} {wish.text}"
    who, at, when = wish.text.rpartition("@")
    if wish.kind == "broker-down":
        who, at, when = "", "@", wish.text
    if not at or (not who and wish.kind != "broker-down"):
        raise ScenarioError(f"{option}: there is no {'@TIME' if not at else 'node'} in it, for example n1@10s")
    span = _span(when, option, run_s=run_s, must_end=wish.kind in ("pause", "broker-down"))
    at_s = from_s + span.at_s
    ends_s = span.at_s + span.for_s if span.for_s else 0.0
    lasts = f"for {span.for_s:g} s" if span.for_s else "to the end"
    match wish.kind:
        case "broker-down":
            outage = faults.Outage(at_s=at_s, for_s=span.for_s)
            return Granted((outage,), f"the broker is gone {lasts}", span.at_s, ends_s)
        case "kill":
            nodes = _several(who, mesh, option)
            made: tuple[Fault, ...] = tuple(
                faults.Crash(at_s=at_s, node=node.stand_in, for_s=span.for_s) for node in nodes
            )
            back = f" and started again after {span.for_s:g} s" if span.for_s else ""
            return Granted(made, f"{_named(nodes)} killed{back}", span.at_s, ends_s)
        case "pause":
            nodes = _several(who, mesh, option)
            made = tuple(faults.Pause(at_s=at_s, node=node.stand_in, for_s=span.for_s) for node in nodes)
            return Granted(made, f"{_named(nodes)} stopped {lasts}", span.at_s, ends_s)
        case "cut":
            groups = _groups(who, mesh, option)
            made = _cut(groups, mesh, at_s=at_s, for_s=span.for_s, until_s=from_s + run_s)
            said = " | ".join(_named(group) for group in groups)
            return Granted(made, f"cut {lasts}: {said}{_of_server(mesh)}", span.at_s, ends_s)


def _span(text: str, option: str, *, run_s: float, must_end: bool) -> Span:
    at, plus, lasts = text.partition("+")
    at_s = seconds(at, option)
    for_s = seconds(lasts, option) if plus else 0.0
    if plus and not for_s:
        raise ScenarioError(f"{option}: it lasts no time")
    if must_end and not plus:
        raise ScenarioError(f"{option}: it does not say how long, for example 10s+5s")
    if at_s + for_s >= run_s:
        raise ScenarioError(f"{option}: it ends after {at_s + for_s:g} s, and the run after {run_s:g} s (--run)")
    return Span(at_s, for_s)


# --- who


def _groups(text: str, mesh: LiveMesh, option: str) -> tuple[tuple[LiveNode, ...], ...]:
    """`a,b:c` are two groups; of regions alone each is a group; one group is cut off from all others."""
    parts = _BETWEEN.split(text)
    words = text.split(",")
    if len(parts) == 1 and len(words) > 1 and all(word.startswith(REGION) for word in words):
        parts = words
    groups = [_several(part, mesh, option) for part in parts]
    named = [node for group in groups for node in group]
    twice = next((node for node in named if named.count(node) > 1), None)
    if twice is not None:
        raise ScenarioError(f"{option}: {twice.name!r} stands in two groups")
    rest = tuple(node for node in mesh.nodes if node not in named)
    if len(groups) == 1:
        if not rest:
            raise ScenarioError(f"{option}: all nodes are in it, and there is nothing to cut them off from")
        return (rest, *groups)
    home = next((number for number, group in enumerate(groups) if mesh.server in group), 0)
    groups[home] += rest  # whoever is not named is where the server is
    return tuple(groups)


def _several(text: str, mesh: LiveMesh, option: str) -> tuple[LiveNode, ...]:
    """Nodes and regions, each at most once."""
    found: list[LiveNode] = []
    for word in text.split(","):
        nodes = _region(word.removeprefix(REGION), mesh, option) if word.startswith(REGION) else ()
        for node in nodes or (_one(word, mesh, option),):
            if node in found:
                raise ScenarioError(f"{option}: {node.name!r} is named twice")
            found.append(node)
    return tuple(found)


def _region(region: str, mesh: LiveMesh, option: str) -> tuple[LiveNode, ...]:
    nodes = mesh.of_region(region)
    if not nodes:
        raise ScenarioError(f"{option}: there is no region {region!r}; there are {_listed(mesh.regions)}")
    return nodes


def _one(word: str, mesh: LiveMesh, option: str) -> LiveNode:
    found = [node for node in mesh.nodes if node.name == word]
    found = found or [node for node in mesh.nodes if len(word) >= ID_CHARS_MIN and node.id.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = _listed([node.id[:8] for node in found])
        raise ScenarioError(f"{option}: {word!r} may be several nodes, {ids}; name it by the beginning of its id")
    if word in mesh.gone:
        raise ScenarioError(f"{option}: {word!r} is gone already")
    raise ScenarioError(f"{option}: there is no node {word!r}; there are {_listed([n.name for n in mesh.nodes])}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more


def _named(nodes: Sequence[LiveNode]) -> str:
    return _listed([node.name for node in nodes])


# --- a cut


def _cut(
    groups: Sequence[Sequence[LiveNode]], mesh: LiveMesh, *, at_s: float, for_s: float, until_s: float
) -> tuple[Fault, ...]:
    """Groups with servers of their own part; with one server, whoever is not beside it is alone, and finds out."""
    texts = [tuple(node.stand_in for node in group) for group in groups]
    record = mesh.server.stand_in if mesh.server is not None else ""
    if mesh.servers > 1:
        return (faults.Partition(at_s=at_s, for_s=for_s, groups=tuple(texts), record=record),)
    home = next((number for number, names in enumerate(texts) if record in names), 0)
    away = [name for number, names in enumerate(texts) if number != home for name in names]
    alone = tuple((name,) for name in away)
    cut = faults.Partition(at_s=at_s, for_s=for_s, groups=(texts[home], *alone), record=record or texts[home][0])
    left_s = (for_s or until_s - at_s) - SILENT_LINK_S
    if left_s <= 0:
        return (cut,)
    return (cut, *(faults.Unlink(at_s=at_s + SILENT_LINK_S, for_s=left_s, node=name) for name in away))


def _of_server(mesh: LiveMesh) -> str:
    if mesh.servers > 1:
        return ""
    where = f"is on {mesh.server.name}" if mesh.server is not None else "is taken to be with the first"
    return f"; the one server {where}, and who is cut off from it hears nobody"
