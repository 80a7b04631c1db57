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
from simulations.swarm import apart, drawable, several
from simulations.world import World

SEEDS = range(1, 9)
ACTIONS, BEGIN_S, UNTIL_S = 200, 6.0, 31.0
MANY = 60  # of each kind, of which those that hit a node in the midst of another fault are left out
SHORT_S, LONG_S, LONG_SHARE = 0.7, 6.0, 0.06
BASE = """
about = "twelve nodes, two hundred faults"
nodes = 12
run_s = 66
join_s = 3
link = { loss = 0.01, duplicate = 0.01, delay = { p50_ms = 2, p99_ms = 30 } }
agents = { runs_s = [0.3, 2], slots = 3 }
work = { tasks = 40, from_s = 6, every_s = 0.7 }
[expect]
eventually = { one-view = 20, all-joined = 20, agents-known = 25, tasks-end = 30 }
"""


def plan(seed: int) -> Scenario:
    """Of every kind some; no two of one node overlap, so a mesh that is right keeps its promises."""
    base = parsed(BASE, origin="base")
    rng = Chance(seed).stream("long", "plan")
    faults = [
        structs.replace(fault, for_s=min(fault.for_s, LONG_S if rng.random() < LONG_SHARE else SHORT_S))
        for kind in drawable()
        for fault in several(kind, base.names, rng, count=MANY, begin_s=BEGIN_S, until_s=UNTIL_S)
    ]
    rng.shuffle(faults)
    fitting = list(apart(faults))
    chosen = rng.sample(fitting, min(ACTIONS, len(fitting)))
    return structs.replace(base, fault=tuple(sorted(chosen, key=lambda fault: fault.at_s)))


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
