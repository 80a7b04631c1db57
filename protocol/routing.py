"""Which of several agents gets the work: pure orderings of candidates, best first.

Invariant: an ordering returns every candidate once; whoever has no free slot comes after all who
have one. Neighbours: `catalogue` finds candidates; `node` applies the policy of the settings.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from msgspec import Struct

from protocol.primitives import NodeId, Rng, chosen

SLOW_TIMES = 3.0  # as long as in the middle: less may be chance, or a larger task
SLOW_MS_MIN = 50.0  # shorter runs differ by what happens on the way


class Candidate(Struct, frozen=True):
    """One agent that has a capability.

    `free` is slots as last heard, less own awards on their way; `age_s` is the age of what was
    heard; `latency_ms` and `cost` are the manifest's claims.
    """

    node: NodeId
    agent: str
    free: int
    slots: int
    age_s: float
    latency_ms: int = 0
    cost: float = 0.0
    is_self: bool = False
    is_off: bool = False  # its clock: it gets no task, for deadlines are dates


Policy: TypeAlias = Callable[[list[Candidate], Rng], list[Candidate]]


def local_first(candidates: list[Candidate], rng: Rng) -> list[Candidate]:
    """This node's own free agents, then the others by `random_two`. No message, no wait."""
    own = [each for each in candidates if each.is_self and each.free > 0]
    return own + random_two([each for each in candidates if not (each.is_self and each.free > 0)], rng)


def random_two(candidates: list[Candidate], rng: Rng) -> list[Candidate]:
    """Of two taken at random the one with more free slots, again and again (Mitzenmacher 2001).

    What is known of others is always a little old; always taking the best known sends everybody
    to the same node.
    """
    ready = [each for each in candidates if each.free > 0]
    order: list[Candidate] = []
    while ready:
        one, other = chosen(rng, len(ready)), chosen(rng, len(ready))
        best = other if _has_more_room(ready[other], ready[one]) else one
        order.append(ready[best])
        ready[best] = ready[-1]
        ready.pop()
    return order + [each for each in candidates if each.free <= 0]


def least_loaded(candidates: list[Candidate], rng: Rng) -> list[Candidate]:
    """Most free slots first, then the lowest declared latency, then by node id."""
    del rng  # an ordering without chance
    return sorted(candidates, key=lambda each: (-max(0, each.free), each.latency_ms, each.node, each.agent))


def slow_last(candidates: list[Candidate], *, took_ms: Mapping[NodeId, float]) -> list[Candidate]:
    """In their order, but for those that take several times as long as is usual: whoever else is free comes first.

    `took_ms` is what was seen of each node, 0 for one that nothing was seen of, which is not doubted.
    """
    seen = sorted(each for each in took_ms.values() if each > 0)
    if len(seen) < 2:
        return candidates
    slow_ms = max(SLOW_TIMES * seen[(len(seen) - 1) // 2], SLOW_MS_MIN)
    return _last(candidates, {node for node, each_ms in took_ms.items() if each_ms >= slow_ms})


def failing(success: Mapping[NodeId, float]) -> set[NodeId]:
    """Those who fail where others do not: with less than half of the best one's sure share of good runs."""
    best = max(success.values(), default=1.0)
    return {node for node, share in success.items() if share < best / 2}


def without(candidates: list[Candidate], doubted: set[NodeId]) -> list[Candidate]:
    """Those who are not doubted while one of them seems free, else everybody, the doubted last."""
    sure = [each for each in candidates if each.node not in doubted]
    return sure if any(each.free > 0 for each in sure) else _last(candidates, doubted)


def but_for(candidates: list[Candidate], doubted: Collection[NodeId]) -> list[Candidate]:
    """Those who are not doubted, or everybody when all are."""
    return [each for each in candidates if each.node not in doubted] or candidates


def near_first(candidates: list[Candidate], *, far: set[NodeId]) -> list[Candidate]:
    """The free before the busy, of either those of our region before others, and else in their order."""
    return sorted(candidates, key=lambda each: (each.free <= 0, each.node in far))  # stable


def _last(candidates: list[Candidate], behind: set[NodeId]) -> list[Candidate]:
    """In their order, but for those nodes."""
    return sorted(candidates, key=lambda each: each.node in behind)  # stable


def _has_more_room(one: Candidate, other: Candidate) -> bool:
    return (one.free, -one.latency_ms) > (other.free, -other.latency_ms)


POLICIES: Mapping[str, Policy] = {
    "local-first": local_first,
    "random-two": random_two,
    "least-loaded": least_loaded,
}
