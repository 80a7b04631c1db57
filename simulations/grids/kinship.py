"""The grid that kinship 0.4 publishes: starved readers and lossy links, one crash, Lifeguard on and off.

Invariant: `PUBLISHED` is what was published, 200 seeds a cell; where nothing was, nothing stands.
Neighbour: `study` says what a table is.
"""

from collections.abc import Sequence

from msgspec import Struct

from simulations.grids.measures import Sample, detection
from simulations.grids.samples import Cell, Samples, together
from simulations.grids.study import NOTHING, SWIM_ALONE, Row, Study, mean, seconds, world
from simulations.scenario import Scenario

SETTLED_S = 5.0  # all know all; from then on it is as published
CRASH_S = 60.0
RUN_S = 120.0
UNSEEN_S = 86_400.0  # nobody tells: there is no broker in the published set-up that would
STARVED = {50: (0, 1, 3, 5), 200: (0, 4, 10, 20)}
LOSSES = (0.01, 0.03, 0.05)
VARIANTS = ("on", "off")


class Published(Struct, frozen=True):
    """Of one cell, Lifeguard on and off: false deaths and suspicions a run, detection."""

    deaths: tuple[str, str]
    suspicions: tuple[str, str]
    p50_s: tuple[str, str]
    p99_s: tuple[str, str]


PUBLISHED: dict[tuple[int, int, float], Published] = {
    (50, 0, 0.01): Published(("0", "0"), ("0", "0"), ("8.46", "8.61"), ("12.4", "12.9")),
    (50, 1, 0.01): Published((".010", ".925"), ("30", "145"), ("8.57", "8.43"), ("12.6", "11.6")),
    (50, 1, 0.05): Published((".020", "1.61"), ("30", "145"), ("8.56", "8.61"), ("12.2", "13.5")),
    (50, 3, 0.03): Published((".045", "3.06"), ("84", "373"), ("8.65", "8.53"), ("12.8", "12.4")),
    (50, 5, 0.01): Published((".060", "3.26"), ("136", "545"), ("8.66", "8.61"), ("13.0", "12.4")),
    (50, 5, 0.05): Published((".180", "4.48"), ("135", "544"), ("8.84", "8.55"), ("14.0", "11.6")),
    (200, 0, 0.01): Published(("0", "0"), ("0", "0"), ("10.90", "10.90"), ("14.1", "14.1")),
    (200, 10, 0.05): Published(("0", ".945"), ("266", "1221"), ("11.28", "11.14"), ("16.3", "15.1")),
    (200, 20, 0.05): Published((".020", "1.10"), ("512", "2075"), ("11.34", "10.89"), ("16.6", "14.1")),
}
_NONE = Published(*[(NOTHING, NOTHING)] * 4)


def name_of(nodes: int, starved: int, loss: float, variant: str) -> str:
    """Of a cell, as `50-3-3%-on`."""
    return f"{nodes}-{starved}-{100 * loss:.0f}%-{variant}"


def scenario(nodes: int, starved: int, loss: float, variant: str) -> Scenario:
    """One cell's world: the last node crashes, the first ones are starved."""
    faults: list[dict[str, object]] = [
        {"kind": "crash", "node": f"n{nodes}", "at_s": SETTLED_S + CRASH_S, "noticed_s": UNSEEN_S}
    ]
    if starved:
        faults.append({"kind": "starve", "node": f"n1-n{starved}", "at_s": SETTLED_S})
    return world(
        f"kinship's grid: {starved} of {nodes} starved, {100 * loss:.0f} % lost, Lifeguard {variant}",
        nodes=nodes,
        run_s=SETTLED_S + RUN_S,
        membership={} if variant == "on" else dict(SWIM_ALONE),
        link={"loss": loss, "delay": {"p50_ms": 0.5, "p99_ms": 0.598, "shape": "uniform"}},
        fault=faults,
    )


def grid() -> list[tuple[int, int, float]]:
    """All 24."""
    return [(nodes, starved, loss) for nodes, some in STARVED.items() for starved in some for loss in LOSSES]


def cell(nodes: int, starved: int, loss: float, variant: str) -> Cell:
    """To be measured."""
    return Cell(name_of(nodes, starved, loss, variant), scenario(nodes, starved, loss, variant), detection)


def cells() -> tuple[Cell, ...]:
    """Each of the 24 with Lifeguard and without."""
    return tuple(cell(*each, variant) for each in grid() for variant in VARIANTS)


def keys() -> list[Row]:
    """What the rows begin with, in order."""
    return [_key(*each) for each in grid()]


def _key(nodes: int, starved: int, loss: float) -> Row:
    return f"{nodes}", f"{starved}", f"{100 * loss:.0f} %"


def rows(samples: Samples) -> list[Row]:
    """A row for each of the 24 of which anything was measured."""
    made: list[Row] = []
    for nodes, starved, loss in grid():
        ours = [samples.get(name_of(nodes, starved, loss, variant), ()) for variant in VARIANTS]
        if not any(ours):
            continue
        known = PUBLISHED.get((nodes, starved, loss), _NONE)
        made.append(
            (
                *_key(nodes, starved, loss),
                " / ".join(str(len(each)) for each in ours),
                _pair(ours, "deaths"),
                " / ".join(known.deaths),
                _pair(ours, "suspicions"),
                " / ".join(known.suspicions),
                _seconds(ours, 0.5),
                " / ".join(known.p50_s),
                _seconds(ours, 0.99),
                " / ".join(known.p99_s),
            )
        )
    return made


def _pair(ours: Sequence[Sequence[Sample]], name: str) -> str:
    return " / ".join(mean(together(each, name)) for each in ours)


def _seconds(ours: Sequence[Sequence[Sample]], share: float) -> str:
    return " / ".join(seconds(together(each, "detect_s"), share) for each in ours)


STUDY = Study(
    name="kinship",
    about="starved readers, lossy links and one crash in 120 s; each pair is with Lifeguard / without",
    cells=cells,
    keys=keys,
    columns=(
        "nodes",
        "starved",
        "loss",
        "seeds",
        "false deaths a run",
        "published",
        "false suspicions a run",
        "published",
        "detected p50 s",
        "published",
        "p99 s",
        "published",
    ),
    rows=rows,
    notes=(
        "A false death or suspicion is counted once for each incarnation of a member that runs, however many believe "
        "it; detection is that of every healthy observer, nearest rank. The starved read each packet 0.5 to 2.5 s late "
        "with timers on time. What differs: messages pass a broker, so a rumour is one broadcast, repeated once, and "
        "not gossip for log n rounds; a node is probed every 0.5 s, not every second, which alone doubles the "
        "suspicions of a node that is starved; the least wait of a suspect is 5 s whatever n is, where kinship's "
        "grows with log n; two must accuse; the broker never tells of the crash. Without Lifeguard means "
        "`health_max = 0`, `suspicion_stretch = 1`, `buddy = false`, `accusers = 1`. Published are 200 seeds a cell."
    ),
)
