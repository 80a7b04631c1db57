"""How an owner is looked for: the cheapest way that is right, from asking nobody to asking all.

Invariant: a pure function of what the watcher knows; the reason comes with the choice and is kept.
Neighbours: `routing` orders candidates, `auction` asks for bids, `ledger` carries the choice out.
"""

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from protocol.routing import Candidate

Gear: TypeAlias = Literal["local", "gossip", "bids", "broadcast", "late"]
Route: TypeAlias = Literal["auto", "local", "gossip", "bids", "late", "broadcast"]

ROUTES: tuple[str, ...] = get_args(Route)
BROADCAST_FROM_MS = 1_000.0  # a run this long is worth a message to everybody who could do it
BROADCAST_NODES_MAX = 32  # the last of 64 bids comes after 4.5 ms, each costs a signature to check


class Choice(Struct, frozen=True):
    """A gear, and why this one."""

    gear: Gear
    why: str


def chosen(
    route: str, candidates: list[Candidate], *, expected_ms: float, bids_from_ms: float, may_ask: bool
) -> Choice:
    """The gear for a task now. `candidates` live and are not excluded, in the order of the routing policy;
    `may_ask` is false just after nobody bid.
    """
    own = [each for each in candidates if each.is_self]
    free = [each for each in candidates if each.free > 0]
    firsts = candidates[:1] if route == "auto" else own  # the policy of the settings says who comes first
    why = f"asked for by the route {route}"
    if route == "late":
        return Choice("late", why)
    if route in ("local", "auto") and any(each.is_self and each.free > 0 for each in firsts):
        return Choice("local", "an agent of this node is free")
    if route == "local" and own:
        return Choice("late", "this node's own agents are busy")
    if route == "bids" and may_ask:
        return Choice("bids", why)
    if route == "broadcast" and may_ask:
        return Choice("broadcast", why)
    if not free:
        return Choice("late", "nobody who could do it seems free")
    if route == "gossip":
        return Choice("gossip", why)
    if not may_ask:
        return Choice("gossip", "nobody bid a moment ago")
    return _compared(candidates, free, expected_ms, bids_from_ms)


def _compared(candidates: list[Candidate], free: list[Candidate], expected_ms: float, bids_from_ms: float) -> Choice:
    """Is it worth asking, where the load that was heard does for most?"""
    if len({each.node for each in free}) < 2:
        return Choice("gossip", "one node seems free")
    prices_differ = len({each.cost for each in free}) > 1
    nodes = len({each.node for each in candidates})
    if prices_differ and expected_ms >= BROADCAST_FROM_MS and nodes <= BROADCAST_NODES_MAX:
        return Choice("broadcast", f"prices differ, and a run takes about {expected_ms:.0f} ms")
    if prices_differ:
        return Choice("bids", "prices differ")
    if expected_ms >= bids_from_ms:
        return Choice("bids", f"a run takes about {expected_ms:.0f} ms")
    return Choice("gossip", "somebody seems free, and a run is short")
