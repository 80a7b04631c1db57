"""What a settled mesh says when nothing happens: the formula of `protocol/README.md`, and counts to hold it against.

Invariant: the formula is of settings and of the number of nodes alone; what is counted comes from a world in which
everything is as it is shipped. Neighbours: `protocol.presets` and `protocol.gossip` have the settings.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

from protocol.gossip import GossipSettings
from protocol.presets import PRESETS, MembershipSettings
from protocol.replica import BUCKETS
from simulations.options import Adding
from simulations.running import PASSED, VIOLATED
from simulations.scenario import NODES_MAX, RUN_S_MAX, Expectation, Scenario
from simulations.seen import Said, Seen
from simulations.setting import Setting, Wanted
from simulations.world import World

SETTLED_S = 15.0  # by then all know all, and what each said at its start is repeated
COUNTED_S_MIN = 30.0  # several of all periods but that of the beacons, which grows with the mesh
NODES = (10, 100)
TOLERANCE = 0.1  # of a rate: a beacon falls into the time that is counted, or just behind it

FRAME_BYTES = {"Ping": 249, "Ack": 258, "Alive": 431}  # with their header and signature
DIGEST_BYTES = 327  # with nothing in it; a bucket with something in it takes eight more
HASH_BYTES = 8


class Rate(Struct, frozen=True):
    """Messages of one kind that one node sends and is sent, a second, and the bytes of one."""

    sent: float
    heard: float
    bytes: float


def expected(nodes: int, membership: MembershipSettings, gossip: GossipSettings) -> dict[str, Rate]:
    """The formula: probes and digests go to one node, a beacon to all."""
    probes = 1 / membership.probe_interval_s if nodes > 1 else 0.0
    beacons = 1 / beacon_s(nodes, gossip)
    digests = 1 / gossip.digest_interval_s if nodes > 1 else 0.0
    filled = BUCKETS * (1 - (1 - 1 / BUCKETS) ** nodes)
    return {
        "Ping": Rate(probes, probes, FRAME_BYTES["Ping"]),
        "Ack": Rate(probes, probes, FRAME_BYTES["Ack"]),
        "Alive": Rate(beacons, beacons * (nodes - 1), FRAME_BYTES["Alive"]),
        "Digest": Rate(digests, digests, DIGEST_BYTES + HASH_BYTES * filled),
    }


def beacon_s(nodes: int, gossip: GossipSettings) -> float:
    """How far apart the beacons of one node are."""
    return max(gossip.beacon_s_min, gossip.beacon_s_per_node * nodes)


def lasts_s(nodes: int, gossip: GossipSettings) -> float:
    """How long a world of so many must last: what is counted is a whole period of its longest, from wherever it is."""
    return SETTLED_S + max(COUNTED_S_MIN, beacon_s(nodes, gossip))


class Counting:
    """Who sent how many of what, from when the mesh has settled."""

    wants: ClassVar[Wanted] = (Said,)

    def __init__(self, setting: Setting, *, since_s: float) -> None:
        self._timeline = setting.timeline
        self._since_s = since_s
        self.sent: dict[str, list[int]] = {}  # messages and bytes by kind

    def on(self, seen: Seen) -> None:
        """Each message."""
        if isinstance(seen, Said) and self._timeline.now_s >= self._since_s:
            count = self.sent.setdefault(seen.kind, [0, 0])
            count[0] += 1
            count[1] += seen.size


def counted(nodes: int, *, preset: str = "lan", run_s: float, seed: int = 1) -> dict[str, Rate]:
    """What the nodes of a world really send, on average; a fact that one sends is heard by all others."""
    watched: list[Counting] = []

    def watch(setting: Setting) -> Counting:
        watched.append(Counting(setting, since_s=SETTLED_S))
        return watched[0]

    nothing = Expectation(always=())
    quiet = Scenario("nothing happens", nodes, run_s, preset=preset, start="known", expect=nothing)
    World(quiet, seed=seed, watch=[watch]).run()
    node_s = nodes * (run_s - SETTLED_S)
    return {
        kind: Rate(count / node_s, count / node_s * (nodes - 1 if kind == "Alive" else 1), weight / count)
        for kind, (count, weight) in sorted(watched[0].sent.items())
    }


def whole(rates: Mapping[str, Rate]) -> tuple[float, float, float, float]:
    """Messages sent and heard, and bytes sent and heard, a second."""
    told = rates.values()
    return (
        sum(each.sent for each in told),
        sum(each.heard for each in told),
        sum(each.sent * each.bytes for each in told),
        sum(each.heard * each.bytes for each in told),
    )


def is_near(formula: Sequence[float], found: Sequence[float]) -> bool:
    """Does each differ by no more than may be?"""
    return all(abs(one - other) <= TOLERANCE * one for one, other in zip(formula, found, strict=True))


def add(command: Adding) -> None:
    """The command of this file."""
    made = command("traffic", _traffic, "what each node of a quiet mesh says and hears: the formula beside counts")
    made.add_argument("nodes", nargs="*", type=_nodes, default=NODES, help="how many nodes (default 10 and 100)")
    made.add_argument("--preset", choices=sorted(PRESETS), default="lan")
    made.add_argument("--seconds", type=_seconds, help="how long each world lasts (default: a period of its beacons)")


def _nodes(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(NODES_MAX)) else 0
    if not 1 <= number <= NODES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes, from 1 to {NODES_MAX:,}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SETTLED_S < seconds <= RUN_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no time above {SETTLED_S:g}, and at most {RUN_S_MAX:,}")
    return seconds


def _traffic(asked: argparse.Namespace) -> int:
    membership, gossip = PRESETS[asked.preset], GossipSettings()
    print("| nodes | | messages/s out | in | bytes/s out | in |\n|---|---|---|---|---|---|")
    is_right = True
    for nodes in asked.nodes:
        formula = whole(expected(nodes, membership, gossip))
        lasting_s = lasts_s(nodes, gossip) if asked.seconds is None else asked.seconds
        found = whole(counted(nodes, preset=asked.preset, run_s=lasting_s))
        is_right &= is_near(formula, found)
        for name, told in (("formula", formula), ("counted", found)):
            out, heard, out_bytes, heard_bytes = told
            print(
                f"| {nodes:,} | {name} | {out:.2f} | {heard:.2f} | {out_bytes:,.0f} | {heard_bytes:,.0f} |", flush=True
            )
    return PASSED if is_right else VIOLATED
