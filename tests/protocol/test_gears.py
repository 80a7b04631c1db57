"""Which way an owner is looked for, and the reason that is given for it."""

from typing import Any

import pytest

from protocol.gears import ROUTES, Choice, chosen
from protocol.routing import Candidate
from tests.protocol.work import ME, B, C


def _who(node: str, *, free: int = 1, **fields: Any) -> Candidate:
    return Candidate(node, "echo", free, 4, 0.0, is_self=node == ME, **fields)


def _chosen(route: str, *candidates: Candidate, expected_ms: float = 0.0, may_ask: bool = True) -> Choice:
    return chosen(route, list(candidates), expected_ms=expected_ms, bids_from_ms=100.0, may_ask=may_ask)


TABLE: dict[str, tuple[Choice, str]] = {
    "own and free": (_chosen("auto", _who(ME), _who(B), expected_ms=5_000.0), "local"),
    "own is not what the policy puts first": (_chosen("auto", _who(B), _who(ME)), "gossip"),
    "a short run": (_chosen("auto", _who(B), _who(C), expected_ms=99.0), "gossip"),
    "a long run": (_chosen("auto", _who(B), _who(C), expected_ms=100.0), "bids"),
    "a long run and one who is free": (_chosen("auto", _who(B), _who(C, free=0), expected_ms=900.0), "gossip"),
    "prices differ": (_chosen("auto", _who(B, cost=1.0), _who(C)), "bids"),
    "prices differ on a long run": (_chosen("auto", _who(B, cost=1.0), _who(C), expected_ms=1_000.0), "broadcast"),
    "nobody bid just now": (_chosen("auto", _who(B), _who(C), expected_ms=900.0, may_ask=False), "gossip"),
    "nobody is free": (_chosen("auto", _who(B, free=0), _who(C, free=0), expected_ms=900.0), "late"),
    "nobody at all": (_chosen("auto"), "late"),
    "route local, own free": (_chosen("local", _who(B), _who(ME)), "local"),
    "route local, own busy": (_chosen("local", _who(B), _who(ME, free=0)), "late"),
    "route local, none here": (_chosen("local", _who(B)), "gossip"),
    "route gossip": (_chosen("gossip", _who(ME), _who(B), expected_ms=900.0), "gossip"),
    "route bids": (_chosen("bids", _who(ME), _who(B)), "bids"),
    "route bids, nobody bid just now": (_chosen("bids", _who(B), may_ask=False), "gossip"),
    "route bids, nobody bid and nobody free": (_chosen("bids", _who(B, free=0), may_ask=False), "late"),
    "route broadcast": (_chosen("broadcast", _who(ME), _who(B)), "broadcast"),
    "route late": (_chosen("late", _who(ME), _who(B)), "late"),
}


@pytest.mark.parametrize(("choice", "gear"), TABLE.values(), ids=TABLE)
def test_the_cheapest_way_that_is_right_is_taken(choice: Choice, gear: str) -> None:
    assert choice.gear == gear
    assert choice.why


def test_prices_are_broadcast_to_a_few_dozen_at_most() -> None:
    many = [_who(f"n{number}", cost=float(number)) for number in range(33)]
    assert _chosen("auto", *many, expected_ms=5_000.0).gear == "bids"


def test_every_route_is_a_gear_or_the_choice_among_them() -> None:
    for route in ROUTES:
        assert route in {"auto", _chosen(route, _who(ME)).gear}
