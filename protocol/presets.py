"""How patient membership is: each setting with its bounds, and presets for how far apart the hosts are.

Invariant: values alone; the defaults are the preset `lan`. Neighbours: `membership` goes by them, the daemon's
configuration and scenarios name them.
"""

from typing import Annotated

from msgspec import Meta, Struct


class MembershipSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a node finds out who is there. The defaults are the preset `lan`."""

    probe_interval_s: Annotated[float, Meta(ge=0.05, le=60, description="one node is probed this often")] = 0.5
    probe_timeout_s: Annotated[float, Meta(ge=0.05, le=60, description="an answer later than this is none")] = 0.5
    suspicion_s_min: Annotated[float, Meta(ge=0.5, le=600, description="suspect to dead, well confirmed")] = 5.0
    suspicion_stretch: Annotated[float, Meta(ge=1, le=20, description="how much longer, unconfirmed")] = 6.0
    absent_s: Annotated[float, Meta(ge=0.2, le=600, description="suspect to dead when the broker says absent")] = 2.0
    patience_s: Annotated[
        float, Meta(ge=0, le=60, description="who does not accuse it waits so much longer, and asks it")
    ] = 0.5
    verifiers: Annotated[int, Meta(ge=1, le=8, description="nodes that look after one suspicion")] = 3
    health_max: Annotated[int, Meta(ge=0, le=32, description="how slow a node may think it is")] = 8
    grace_s: Annotated[float, Meta(ge=0, le=600, description="nobody is accused so soon after the link is back")] = 2.0
    refute_interval_s: Annotated[float, Meta(ge=0.1, le=60, description="an accused node speaks up this often")] = 0.5
    lag_ms: Annotated[int, Meta(ge=10, le=60_000, description="a loop as late as this is an ill one")] = 250
    settle_alone_s: Annotated[float, Meta(ge=0.5, le=600, description="hearing nobody for this long is a view")] = 5.0
    tombstone_s: Annotated[float, Meta(ge=60, le=31_536_000, description="how long the gone are remembered")] = 86_400.0
    damp_s: Annotated[float, Meta(ge=0, le=600, description="quiet asked of who died 3 times in 10 min; 0: none")] = (
        30.0
    )
    accusers: Annotated[int, Meta(ge=1, le=2, description="so many must accuse; 1: one bad key kills")] = 2
    buddy: Annotated[bool, Meta(description="a probe tells a suspect that it is one")] = True


PRESETS: dict[str, MembershipSettings] = {
    "local": MembershipSettings(
        probe_interval_s=0.2, probe_timeout_s=0.2, suspicion_s_min=1.5, absent_s=0.5, patience_s=0.2
    ),  # not the grace: how long a server takes to have all its clients back does not depend on how near they are
    "lan": MembershipSettings(),
    "wan": MembershipSettings(
        probe_interval_s=1.0, probe_timeout_s=2.0, suspicion_s_min=10.0, absent_s=4.0, patience_s=1.0, grace_s=5.0
    ),
}
