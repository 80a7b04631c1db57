"""How SWIM scales (DSN'02): load and time to the first probe do not grow with n, a rumour takes log n rounds.

Invariant: `PUBLISHED` is what a plain SWIM in a like simulator gives, in periods and seconds.
Neighbour: `study` says what a table is.
"""

from collections.abc import Mapping

from protocol.presets import PRESETS
from simulations.grids.kinship import UNSEEN_S
from simulations.grids.measures import detection, load
from simulations.grids.samples import Cell, Samples, together
from simulations.grids.study import Row, Study, mean, seconds, world
from simulations.scenario import Scenario

NODES = (16, 64, 256, 1_024)
QUIET_S = 30.0
CRASHES = 3
APART_S = 12.0
# Nodes → messages a member and period, periods to the first probe of a dead member, seconds from first to last.
PUBLISHED: Mapping[int, tuple[str, str, str]] = {
    16: ("2.00", "0.95", "0.52"),
    64: ("2.00", "0.87", "0.83"),
    256: ("2.00", "1.06", "1.08"),
    1_024: ("2.00", "0.79", "1.36"),
}


def quiet(nodes: int) -> Scenario:
    """Nothing happens."""
    return world(f"SWIM's scaling: {nodes} nodes, and nothing happens", nodes=nodes, run_s=QUIET_S)


def crashes(nodes: int) -> Scenario:
    """A few die one after the other, and the broker says nothing of it."""
    first = nodes - CRASHES + 1
    return world(
        f"SWIM's scaling: {CRASHES} of {nodes} die, one after the other",
        nodes=nodes,
        run_s=5 + APART_S * CRASHES,
        fault=[{"kind": "crash", "node": f"n{first}-n{nodes}", "at_s": 5.0, "step_s": APART_S, "noticed_s": UNSEEN_S}],
    )


def cells() -> tuple[Cell, ...]:
    """Quiet and with deaths, at each size."""
    return tuple(
        each
        for nodes in NODES
        for each in (Cell(f"{nodes}-quiet", quiet(nodes), load), Cell(f"{nodes}-crash", crashes(nodes), detection))
    )


def rows(samples: Samples) -> list[Row]:
    """A row a size."""
    lan = PRESETS["lan"]
    made: list[Row] = []
    for nodes in NODES:
        idle, dying = samples.get(f"{nodes}-quiet", ()), samples.get(f"{nodes}-crash", ())
        if not idle and not dying:
            continue
        waited = [value - lan.probe_timeout_s for value in together(dying, "suspected_s")]
        known = PUBLISHED[nodes]
        made.append(
            (
                f"{nodes}",
                f"{len(idle)} / {len(dying)}",
                mean([value * lan.probe_interval_s for value in together(idle, "probes")]),
                known[0],
                mean(together(idle, "sent")),
                mean(together(idle, "heard")),
                mean([value / lan.probe_interval_s for value in waited]),
                known[1],
                seconds(together(dying, "spread_s"), 0.5),
                known[2],
            )
        )
    return made


STUDY = Study(
    name="swim",
    about="a quiet mesh, and one in which three die unseen by the broker, at four sizes",
    cells=cells,
    keys=lambda: [(f"{nodes}",) for nodes in NODES],
    columns=(
        "nodes",
        "seeds",
        "probes and acks a member and period",
        "plain SWIM",
        "all messages sent a member and second",
        "heard a member and second",
        "periods to the first probe of the dead",
        "plain SWIM",
        "first to last who knows, p50 s",
        "plain SWIM",
    ),
    rows=rows,
    notes=(
        "Plain SWIM is another simulator's, with gossip every 200 ms. Its rumours take "
        "log n rounds; here one broadcast reaches all, and costs a delivery each. A period is 0.5 s here, 1 s there. "
        "Sent and heard is all that a settled mesh says, beacons, digests and loads too."
    ),
)
