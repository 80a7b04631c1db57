"""Two hundred faults on twelve nodes in which what is broken in the core shows, made small; printed as JSON.

Whose core is decided by PYTHONPATH: `proofs` lets it look at a copy with a mutant in it. Exit 1: nothing showed.
"""

import sys
import time

import msgspec
from msgspec import structs

from simulations.chance import Chance
from simulations.scenario import Scenario, parsed
from simulations.shrink import shrunk
from simulations.swarm import drawable, several
from simulations.world import World

SEEDS = range(1, 4)
ACTIONS, NODES, BEGIN_S, UNTIL_S = 200, 12, 6.0, 55.0
# What two hundred faults, one over the other, may do to a mesh that is right is excused: tasks that take their time,
# and lives that begin before the last one did, for a clock was set back and the disk lost that knew.
NOT_DRAWN = ("clock",)
BASE = """
about = "twelve nodes, two hundred faults"
nodes = 12
run_s = 100
preset = "local"
link = { loss = 0.01, duplicate = 0.02 }
work = { tasks = 40, from_s = 3, every_s = 0.5 }
[expect]
always = ["no-exception", "own-word", "rising-numbers", "cut-off-judges-nobody", "proven-death", "known-agents",
 "honest", "rehearsed", "lawful-records", "ends-absorb", "one-result", "one-start", "one-at-a-time", "dead-are-found"]
eventually = { one-view = 30, agents-known = 30 }
"""


def plan(seed: int) -> Scenario:
    """Of every kind as many, anywhere, one over the other."""
    base = parsed(BASE, origin="base")
    kinds = [kind for kind in drawable() if str(kind.__struct_config__.tag) not in NOT_DRAWN]
    rng = Chance(seed).stream("long", "plan")
    counts = [ACTIONS // len(kinds) + (number < ACTIONS % len(kinds)) for number in range(len(kinds))]
    faults = [
        fault
        for kind, count in zip(kinds, counts, strict=True)
        for fault in several(kind, base.names, rng, count=count, begin_s=BEGIN_S, until_s=UNTIL_S)
    ]
    return structs.replace(base, fault=tuple(sorted(faults, key=lambda fault: fault.at_s)))


def main() -> int:
    """The first seed in which something is broken."""
    for seed in SEEDS:
        scenario = plan(seed)
        if World(scenario, seed=seed).run().violations:
            began_s = time.process_time()
            small = shrunk(scenario, seed=seed)
            found = {
                "rule": small.violation.rule,
                "actions": len(small.scenario.fault),
                "nodes": small.scenario.nodes,
                "runs": small.runs,
                "seconds": round(time.process_time() - began_s, 1),
            }
            print(msgspec.json.encode(found).decode())
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
