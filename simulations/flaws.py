"""What is wrong with faults beyond their types: one hits nobody, or says nothing, or two are in each other's way.

Invariant: a fault that passes says something of somebody, and two that are of one life do not meet. Where somebody
plays a role, and whether all is already as it would make it, shows only in the run. Neighbours: `faults` says what
there is, `scenario` asks.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf

from simulations.crowds import ALL, members, span
from simulations.faults import (
    OF_NODES,
    ROLES,
    Attack,
    Clock,
    Fault,
    Impostor,
    Links,
    LoseAcks,
    OneWay,
    OnNodes,
    Partition,
    Purge,
    Skew,
    StaleReads,
    deeds,
    names_in,
)

_ALONE = (Impostor, Skew)  # each is a life of its own, and a node has one at a time
_OF_OTHERS = ("accuse", "bury", "inflate", "outbid", "ahead", "pose")  # lies that are told of somebody
BRIDGED_MIN = 3  # nodes: two that do not reach each other, and who reaches both


def flaw_of(faults: Sequence[Fault], names: tuple[str, ...], *, acks_lost: float = 0.0) -> str:
    """The first fault that cannot be, with its key and why, where this share of acknowledgements is lost anyway."""
    for number, fault in enumerate(faults):
        if isinstance(fault, LoseAcks) and not fault.share and acks_lost:
            continue  # for a while none is lost
        if problem := _of_one(fault, names):
            return f"fault[{number}]{problem}"
    return _in_the_way(faults, names)


def nobody_between(one: Iterable[str], other: Iterable[str], names: tuple[str, ...]) -> bool:
    """Is there no link from one of these to another node of those?"""
    src, dst = set(members(one, names)), set(members(other, names))
    return not (src and dst) or len(src | dst) == 1


def _of_one(fault: Fault, names: tuple[str, ...]) -> str:
    for key in ("nodes", "src", "dst", "one", "other"):
        if getattr(fault, key, None) == ():
            return f".{key}: there is nobody in it; name a node, a span (n3-n9) or all"
    for name in names_in(fault):
        if name not in names:
            return f": there is no node {name!r}; there are n1 to n{len(names)}"
    if fault.times > 1 and (not fault.for_s or fault.every_s <= fault.for_s):
        return ".every_s: it begins again before it has ended"
    if isinstance(fault, Impostor) and len(span(fault.of)) != 1:
        return f".of: it poses as one node, not as {fault.of!r}"
    return _parts(fault, names) if isinstance(fault, Partition) else _says_nothing(fault, names)


def _parts(fault: Partition, names: tuple[str, ...]) -> str:
    """What is wrong with a partition: it says two things at once, or cuts nobody off."""
    if fault.groups is not None and not fault.groups:
        return f".groups: there is no group in it; name two, or leave it out for {fault.shape or 'halves'}"
    if fault.nodes != (ALL,) and (fault.groups or fault.shape not in OF_NODES):
        kind = "a partition in groups" if fault.groups else f"shape {fault.shape or 'halves'}"
        return f".nodes: {kind} is of all nodes; some are named for {', '.join(OF_NODES)} alone"
    if fault.shape == "bridge" and len(names) < BRIDGED_MIN:
        return f".shape: a bridge has two sides, and there are {len(names)} nodes"
    if not fault.groups:
        is_of_one = len(names) == 1 and fault.shape not in OF_NODES
        return ".shape: there is one node, and nobody to part it from" if is_of_one else ""
    if fault.shape is not None:
        return f".shape: it has groups, and so no shape; leave out one of the two (shape = {fault.shape!r})"
    if len(fault.groups) == 1:
        return ".groups: one group is cut off from nobody; name two, and who is in none is in the first"
    for number, group in enumerate(fault.groups):
        if not group:
            return f".groups[{number}]: there is nobody in it; name a node or a span (n3-n9), or leave the group out"
    listed = [name for group in fault.groups for name in members(group, names)]
    twice = sorted({name for name in listed if listed.count(name) > 1})
    return f".groups: {twice[0]} stands in two groups" if twice else ""


def _says_nothing(fault: Fault, names: tuple[str, ...]) -> str:
    """The key for which nothing is to be otherwise."""
    match fault:
        case OneWay(src=src, dst=dst) if nobody_between(src, dst, names):
            return ".dst: no node is cut off from another"
        case Links(link=link) if not link:
            return ".link: it says nothing that is otherwise"
        case Links(one=one, other=other) if nobody_between(one, other, names):
            return ".other: there is no link between these"
        case Clock(ahead_s=0.0, drift=0.0):
            return ".ahead_s: the clock stays right; set ahead_s, or drift"
        case LoseAcks(share=0.0) | StaleReads(share=0.0) | Purge(share=0.0, shape="keys"):
            return ".share: of nothing nothing comes"
        case Impostor(node=node, of=of) if node == of:
            return ".of: it poses as itself"
        case Attack(node=node, of=of, shape=shape) if node == of and len(span(of)) == 1 and shape in _OF_OTHERS:
            return ".of: it tells lies of others"
        case _:
            return ""


def _in_the_way(faults: Sequence[Fault], names: tuple[str, ...]) -> str:
    """The first that begins in the midst of another of its kind."""
    for kind in _ALONE:
        numbers = [number for number, fault in enumerate(faults) if isinstance(fault, kind)]
        if len(numbers) < 2:
            continue
        until: dict[str, tuple[float, int]] = {}  # who is hit: to when, and by which
        times = sorted(time for number in numbers for time in _times(faults[number], number, names))
        for at_s, number, name, ends_s in times:
            busy_s, other = until.get(name, (-inf, number))
            if at_s <= busy_s and number != other:
                return f"fault[{number}].at_s: {name} is in the midst of fault[{other}] at {at_s:g} s; leave out one"
            until[name] = max((busy_s, other), (ends_s, number))
    return ""


def _times(fault: Fault, number: int, names: tuple[str, ...]) -> Iterator[tuple[float, int, str, float]]:
    """When it begins, which it is, whom it hits, and when it ends; who plays a role is not known before."""
    for deed in deeds(fault, names):
        name = deed.node if isinstance(deed, OnNodes) else ""
        if name not in ROLES:
            yield deed.at_s, number, name, deed.at_s + deed.for_s if deed.for_s else inf
