"""The goals of membership that a simulator can tell, each as a figure beside its goal and the best peer's.

Invariant: a goal is met when every one of its figures is; what was not measured is neither met nor
missed. Neighbour: `study` says what a table is; `kinship` has the cells of G5 and G6.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from msgspec import Struct, structs

from simulations.grids import kinship
from simulations.grids.measures import Sample, attacked, detection, flapping, healing, joining, load, swarming
from simulations.grids.samples import Cell, Measure, Samples, quantile, together
from simulations.grids.study import NOTHING, Row, Study, shown_s, world
from simulations.scenario import named

HANGS, APART_S, FIRST_S = 5, 14.0, 6.0
UNSEEN_S = kinship.UNSEEN_S
ONE_VIEW = {"always": ["no-exception"], "eventually": {"one-view": 30.0}}
DAY_S = 86_400.0
HASTY_S = 1.5
FORGOTTEN_S = 600.0


class Limit(Struct, frozen=True):
    """One number of a figure: which of the values under a name, and what bounds it."""

    name: str  # as measured
    share: float | None  # nearest rank; 1.0: the greatest; None: their mean
    bound: float
    shown: str = ""  # its name to a reader, when it is no time
    is_least: bool = False  # so much it must be


class Figure(Struct, frozen=True):
    """One row: the goal it belongs to, what is measured, in which worlds, what it may be, what the best peer has."""

    goal: str
    what: str
    cells: tuple[Cell, ...]
    limits: tuple[Limit, ...]
    peer: str = NOTHING
    is_goal: bool = True  # or it only explains the row above


HANG = (Limit("detect_s", 0.5, 6.3), Limit("detect_s", 0.99, 8.5))


def none(name: str, shown: str) -> Limit:
    """Of these there may be none."""
    return Limit(name, 1.0, 0.0, shown)


def one_view(most_s: float) -> Limit:
    """Everybody sees the same so soon after the last fault."""
    return Limit("one_view_s", 1.0, most_s)


def _cell(
    name: str, measure: Measure, *, nodes: int, run_s: float, fault: Sequence[dict[str, Any]], **rest: Any
) -> Cell:
    return Cell(name, world(f"goal {name}", nodes=nodes, run_s=run_s, fault=list(fault), **rest), measure)


def _deaths(name: str, nodes: int, *, noticed_s: float, preset: str = "lan") -> Cell:
    """Some die one after the other, as silently as the broker is told late."""
    count = min(HANGS, nodes // 4)
    fault = {"kind": "crash", "node": f"n{nodes - count + 1}-n{nodes}", "at_s": FIRST_S, "step_s": APART_S}
    return _cell(
        name,
        detection,
        nodes=nodes,
        preset=preset,
        run_s=FIRST_S + APART_S * count,
        fault=[{**fault, "noticed_s": noticed_s}],
    )


def _healed(name: str, nodes: int, fault: dict[str, Any], *, until_s: float, rest_s: float = 31.0, **rest: Any) -> Cell:
    """One thing befalls the mesh and ends at `until_s`."""
    run_s = until_s + rest_s
    return _cell(name, healing, nodes=nodes, run_s=run_s, fault=[fault], expect=ONE_VIEW, **rest)


def _halves(nodes: int) -> list[list[str]]:
    return [[f"n1-n{nodes // 2}"], [f"n{nodes // 2 + 1}-n{nodes}"]]


def _detection() -> list[Figure]:
    kills = (Limit("last_s", 0.5, 2.8), Limit("last_s", 0.99, 5.0))
    hangs = [_deaths(f"G2-hang-{nodes}", nodes, noticed_s=UNSEEN_S) for nodes in (10, 40, 200)]
    joins = _cell(
        "G4-join-40",
        joining,
        nodes=40,
        run_s=40.0,
        fault=[{"kind": "join", "node": "n36-n40", "at_s": 8.0, "step_s": 6.0}],
    )
    spread = (Limit("spread_s", 0.5, 0.02), Limit("spread_s", 1.0, 0.1))
    peers = ("lan 8.1 / 12 at 40; 10.9 / 14.1 at 200", "8.0, most 9.6", "1.68", "15 ms lan (kinship), 294 ms (serf)")
    return [
        Figure("G1", "killed, last observer, 40 nodes", (_deaths("G1-kill-lan", 40, noticed_s=0.0),), kills, peers[1]),
        Figure(
            "G1",
            "the same, preset local",
            (_deaths("G1-kill-local", 40, noticed_s=0.0, preset="local"),),
            (Limit("last_s", 0.5, 0.9),),
            peers[2],
        ),
        *(Figure("G2", f"silent hang, {cell.scenario.nodes} nodes", (cell,), HANG, peers[0]) for cell in hangs),
        Figure("G3", "first to last observer of a death, 40 nodes", (hangs[1],), spread, peers[3]),
        Figure("G3", "first to last observer of a join, 40 nodes", (joins,), spread, peers[3]),
        Figure(
            "G4",
            "start to everybody's view and whole own view, 40 nodes",
            (joins,),
            (Limit("joined_s", 1.0, 0.15),),
            "0.25 (kinship), 0.45 (serf)",
        ),
    ]


def _starved() -> list[Figure]:
    figures = []
    for nodes, starved, loss, most in ((50, 1, 0.01, 30), (50, 3, 0.03, 84), (50, 5, 0.05, 136), (200, 20, 0.05, 512)):
        limits = (none("deaths", "false deaths"), Limit("suspicions", None, most, "false suspicions a run"))
        cells = (kinship.cell(nodes, starved, loss, "on"),)
        known = kinship.PUBLISHED[(nodes, starved, loss)]
        peer = f"{known.deaths[0]} deaths, {known.suspicions[0]} suspicions a run"
        figures.append(Figure("G5", f"{starved} of {nodes} starved, {100 * loss:.0f} % lost", cells, limits, peer))
    deaths = Limit("deaths", None, 1.0, "false deaths a run", is_least=True)
    off = kinship.cell(50, 5, 0.05, "off")
    impatient = structs.replace(kinship.scenario(50, 5, 0.05, "on"), membership={"suspicion_s_min": HASTY_S})
    hasty = Cell("G6-hasty", impatient, detection)
    peer = "4.48 deaths a run, 25 times those with it"
    figures.append(Figure("G6", "5 of 50 starved, 5 % lost, without Lifeguard", (off,), (deaths,), peer))
    shorter = f"with it, and a least wait of {HASTY_S:g} s, not 5"
    figures.append(Figure("G6", shorter, (hasty,), (deaths,), is_goal=False))
    return figures


def _paused() -> list[Figure]:
    figures = []
    for for_s in (5.0, 15.0, 30.0):
        fault = {"kind": "pause", "node": "n40", "at_s": 8.0, "for_s": for_s}
        dead = none("dead", "dead") if for_s == 5.0 else none("others_dead", "others dead")
        cell = _healed(f"G7-stop-{for_s:g}", 40, fault, until_s=8.0 + for_s)
        figures.append(Figure("G7", f"stopped {for_s:g} s, 40 nodes", (cell,), (dead, one_view(1.0)), "the same"))
    block = {"kind": "block", "node": "n1-n4", "at_s": 8.0, "for_s": 8.192, "times": 7, "every_s": 8.256}
    cell = _healed("G8-blocked", 40, block, until_s=66.0)
    peer = "0 (kinship); 34 (memberlist)"
    figures.append(
        Figure("G8", "4 of 40 blocked again and again", (cell,), (none("others_dead", "others dead"),), peer)
    )
    return figures


def _healing() -> list[Figure]:
    figures = []
    for for_s in (1.0, 10.0, 60.0):
        cell = _healed(f"G9-outage-{for_s:g}", 20, {"kind": "outage", "at_s": 8.0, "for_s": for_s}, until_s=8.0 + for_s)
        figures.append(
            Figure("G9", f"server gone {for_s:g} s, 20 nodes", (cell,), (none("dead", "dead"), one_view(2.0)), "none")
        )
    peer = "30 to 60 s (kinship); never (memberlist)"
    for name, nodes, at_s, for_s, wire in (
        ("10 s", 20, 8.0, 10.0, "mac"),
        ("10 min", 10, 8.0, 600.0, "mac"),
        ("24 h", 4, 8.0, DAY_S + 600.0, "none"),  # past the tombstones: what is long is the wait, and it is minutes
        ("at start-up, 1 min", 20, 0.0, 60.0, "mac"),
    ):
        fault = {"kind": "partition", "groups": _halves(nodes), "at_s": at_s, "for_s": for_s}
        start = "known" if at_s else "join"  # halves that never met
        cell = _healed(f"G10-{name.replace(' ', '')}", nodes, fault, until_s=at_s + for_s, start=start, wire=wire)
        figures.append(Figure("G10", f"halves of {nodes} apart {name}", (cell,), (one_view(10.0),), peer))
    fault = {"kind": "partition", "groups": _halves(10), "at_s": 8.0, "for_s": FORGOTTEN_S}
    brief = {"tombstone_s": FORGOTTEN_S / 2}
    cell = _healed("G10-forgotten", 10, fault, until_s=8.0 + FORGOTTEN_S, membership=brief)
    what = f"halves of 10 apart {FORGOTTEN_S / 60:.0f} min, tombstones of half of that"
    figures.append(Figure("G10", what, (cell,), (one_view(10.0),), peer))
    return figures


def _flaps() -> list[Figure]:
    limits = (
        none("healthy_dead", "healthy dead"),
        Limit("removed_a_minute", 1.0, 1.0, "removals a minute"),
        Limit("back_a_minute", 1.0, 1.0, "returns a minute"),
        Limit("shown_removed_a_minute", 1.0, 1.0, "removals shown a minute"),
        Limit("shown_back_a_minute", 1.0, 1.0, "returns shown a minute"),
    )
    cut = {"kind": "partition", "shape": "isolate", "nodes": ["n50"], "at_s": 5.0, "for_s": 20.0}
    lossy = {"kind": "links", "one": ["n50"], "link": {"loss": 0.8}, "at_s": 5.0, "for_s": 235.0}
    peer = "memberlist for ever; Rapid exact"
    return [
        Figure(
            "G11",
            "1 of 100 cut off 20 s of every 40 s, 4 min",
            (_cell("G11-flip", flapping, nodes=100, run_s=245.0, fault=[{**cut, "times": 6, "every_s": 40.0}]),),
            limits,
            peer,
        ),
        Figure(
            "G11",
            "1 of 100 loses 80 %, 4 min",
            (_cell("G11-lossy", flapping, nodes=100, run_s=245.0, fault=[lossy]),),
            limits,
            peer,
        ),
    ]


def _whole() -> list[Figure]:
    rolling = {"kind": "crash", "node": "all", "at_s": 8.0, "step_s": 1.5, "for_s": 1.0}
    leaving = {"kind": "leave", "node": "n4-n40", "at_s": 8.0, "step_s": 0.2}
    idle = _cell("G13-idle-40", load, nodes=40, run_s=60.0, fault=[])
    liar = Cell("G12-compromised", named("compromised"), attacked)
    swarm = Cell("G16-swarm-50", structs.replace(named("swarm"), nodes=50, run_s=120.0), swarming)
    return [
        Figure(
            "G12",
            f"one of {liar.scenario.nodes} lies with its key in every way",
            (liar,),
            (
                none("killed", "deaths of the well"),
                none("raised", "returns of the gone"),
                none("renamed", "name conflicts"),
                none("added", "inventions"),
                none("broken", "rules broken"),
            ),
            "each can be had by any key (all)",
        ),
        Figure(
            "G13",
            "idle, 40 nodes",
            (idle,),
            (Limit("both", 1.0, 10.0, "messages in and out a node and second"),),
            "2.3 (kinship)",
        ),
        Figure(
            "G14",
            "40 nodes restarted within 60 s",
            (_healed("G14-rolling", 40, rolling, until_s=68.0),),
            (one_view(2.0), none("conflicts", "name conflicts")),
            "stuck (memberlist)",
        ),
        Figure(
            "G15",
            "40 to 3 nodes, a leave each 0.2 s",
            (_healed("G15-scale-down", 40, leaving, until_s=16.0),),
            (none("dead", "dead"),),
            "44 of 200 runs (kinship, once)",
        ),
        Figure(
            "G16",
            "swarm of 50 nodes, each seed twice",
            (swarm,),
            (none("broken", "rules broken"), none("differs", "digests differ")),
            "1,000 seeds (kinship)",
        ),
    ]


def figures() -> list[Figure]:
    """All, in the order of their goals."""
    return [*_detection(), *_starved(), *_paused(), *_healing(), *_flaps(), *_whole()]


def cells() -> tuple[Cell, ...]:
    """All worlds, each once."""
    found = {cell.name: cell for figure in figures() for cell in figure.cells}
    return tuple(found.values())


def goals_of(names: Sequence[str]) -> set[str]:
    """Cells of these goals, by name."""
    return {cell.name for figure in figures() if figure.goal in names for cell in figure.cells}


def rows(samples: Samples) -> list[Row]:
    """A row a figure of which anything was measured."""
    made: list[Row] = []
    for figure in figures():
        ours = [sample for cell in figure.cells for sample in samples.get(cell.name, ())]
        if ours:
            verdicts = [judged(each, ours) for each in figure.limits]
            made.append(
                (
                    figure.goal,
                    figure.what,
                    f"{len(ours)}",
                    "; ".join(said for said, _ in verdicts),
                    "; ".join(_wanted(each) for each in figure.limits) if figure.is_goal else NOTHING,
                    figure.peer,
                    _verdict([is_met for _, is_met in verdicts]) if figure.is_goal else NOTHING,
                )
            )
    return made


def _verdict(met: Sequence[bool]) -> str:
    return "met" if all(met) else "**not met**"


def judged(limit: Limit, ours: Sequence[Sample]) -> tuple[str, bool]:
    """One number, and whether it is within its bound; a death that somebody never heard of is not."""
    values = together(ours, limit.name)
    if not values:
        return "never", False
    value = fmean(values) if limit.share is None else quantile(values, limit.share)
    is_missed = limit.name == "detect_s" and sum(together(ours, "missed")) > 0
    said = _amount(limit, value) + (", some never" if is_missed else "")
    is_within = value >= limit.bound if limit.is_least else value <= limit.bound
    return f"{_named(limit)} {said}", is_within and not is_missed


def _wanted(limit: Limit) -> str:
    if not limit.bound:
        return f"no {limit.shown}"
    return f"{_named(limit)} {'≥' if limit.is_least else '≤'} {_amount(limit, limit.bound)}"


def _named(limit: Limit) -> str:
    if limit.shown:
        return limit.shown
    rank = "mean" if limit.share is None else "most" if limit.share == 1.0 else f"p{100 * limit.share:.0f}"
    return f"one view, {rank}" if limit.name == "one_view_s" else rank


def _amount(limit: Limit, value: float) -> str:
    if limit.shown:
        return f"{value:.0f}" if value == int(value) else f"{value:.2f}"
    shown = shown_s(value)
    return shown if shown.endswith("s") or shown == "never" else f"{shown} s"


STUDY = Study(
    name="figures",
    about="what the simulator can tell of the goals of membership",
    cells=cells,
    keys=lambda: [(figure.goal, figure.what) for figure in figures()],
    columns=("goal", "what", "worlds", "measured", "aim", "best peer", "verdict"),
    rows=rows,
    notes=(
        "Links have a median of 0.5 ms and a 99th percentile of 5 ms and lose nothing, unless a row says otherwise. "
        "Times of detection are those of every observer that was well, nearest rank; one view is looked for four "
        "times a second. The day of G10 is of few nodes, and no frame is encoded in it. "
        "G5's worlds are those of kinship's grid; its aim for suspicions was set for one probe a second, and here "
        "there are two. G6 asks for 20 times G5's false deaths without Lifeguard, and there are hardly any: the "
        "starved read an accusation within 2.5 s and refute it by one broadcast, and the least wait is 5 s whatever n "
        "is. That wait is what spares them, not Lifeguard, as the row with a shorter one shows: three verifiers "
        "confirm what they see, and then nothing is stretched. Nor does a blocked node kill others, for where most are "
        "silent it may be the one. What Lifeguard is worth here are the suspicions, five to ten times as many without "
        "it (kinship's grid). "
        "G11 asks for one removal in all: a view follows each cut that outlasts a verdict, and what is damped are what "
        "is shown and who gets work. "
        "G1 to G4, G7 to G9 and G13 to G15 are measured with real daemons as well: `make bench-mesh`."
    ),
)
