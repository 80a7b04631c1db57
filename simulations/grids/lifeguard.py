"""Lifeguard's two experiments (arXiv 1707.00788), as ratios: members that are blocked, once or again and again.

Invariant: the same worlds for every variant; a ratio is of worlds that both variants have lived through.
Neighbour: `study` says what a table is.
"""

from collections.abc import Mapping, Sequence

from simulations.grids.measures import Sample, blocked
from simulations.grids.samples import Cell, Samples, together
from simulations.grids.study import NOTHING, SWIM_ALONE, Row, Settings, Study, seconds, world
from simulations.scenario import Scenario

NODES = 128
SETTLED_S = 5.0
BLOCKED_S = 32.768
THRESHOLD = (1, 8, 32)  # members blocked once
INTERVAL = tuple(  # members, seconds blocked, seconds free between
    (members, on_s, off_s) for members in (4, 16) for on_s in (2.048, 8.192, 32.768) for off_s in (0.064, 4.096)
)
INTERVAL_S = 120.0

ONE_TIME, MANY_TIMES = "once", "again and again"
SWIM = "SWIM"
# Variant → settings, published ratio to SWIM of the median first detection.
ONCE: Mapping[str, tuple[Settings, str]] = {
    SWIM: (SWIM_ALONE, "1"),
    "all": ({}, "1.00"),
    "all, 4/5 of the wait, stretched ×2": ({"suspicion_s_min": 4.0, "suspicion_stretch": 2.0}, "0.83"),
    "all, 2/5 of the wait, stretched ×2": ({"suspicion_s_min": 2.0, "suspicion_stretch": 2.0}, "0.49"),
}
# Variant → settings, published ratio to SWIM of false deaths, of messages.
AGAIN: Mapping[str, tuple[Settings, str, str]] = {
    SWIM: (SWIM_ALONE, "1", "1"),
    "health": ({**SWIM_ALONE, "health_max": 8}, "1.00", NOTHING),
    "buddy": ({**SWIM_ALONE, "buddy": True}, "0.97", NOTHING),
    "stretch": ({**SWIM_ALONE, "suspicion_stretch": 6.0}, "0.08", NOTHING),
    "all": ({"accusers": 1}, "0.074", "1.08"),
    "all, two accusers": ({}, NOTHING, NOTHING),
}


def once(members: int, settings: Settings) -> Scenario:
    """So many are blocked at one time, long enough to be found dead."""
    return world(
        f"Lifeguard's threshold run: {members} of {NODES} blocked once",
        nodes=NODES,
        run_s=SETTLED_S + BLOCKED_S + 1,
        membership=dict(settings),
        fault=[{"kind": "block", "node": f"n1-n{members}", "at_s": SETTLED_S, "for_s": BLOCKED_S}],
    )


def again(members: int, on_s: float, off_s: float, settings: Settings) -> Scenario:
    """So many are blocked again and again, with hardly any time between."""
    times = int(INTERVAL_S / (on_s + off_s))
    return world(
        f"Lifeguard's interval run: {members} of {NODES} blocked {on_s:g} s, free {off_s:g} s",
        nodes=NODES,
        run_s=SETTLED_S + INTERVAL_S + 1,
        membership=dict(settings),
        fault=[
            {
                "kind": "block",
                "node": f"n1-n{members}",
                "at_s": SETTLED_S,
                "for_s": on_s,
                "times": times,
                "every_s": on_s + off_s,
            }
        ],
    )


def cells() -> tuple[Cell, ...]:
    """Both runs, every variant."""
    first = [
        Cell(_once_name(members, variant), once(members, settings), blocked)
        for members in THRESHOLD
        for variant, (settings, _) in ONCE.items()
    ]
    second = [
        Cell(_again_name(each, variant), again(*each, settings), blocked)
        for each in INTERVAL
        for variant, (settings, _, _) in AGAIN.items()
    ]
    return (*first, *second)


def _once_name(members: int, variant: str) -> str:
    return f"once-{members}-{_short(variant)}"


def _again_name(run: tuple[int, float, float], variant: str) -> str:
    return f"again-{run[0]}-{run[1]:g}-{run[2]:g}-{_short(variant)}"


def _short(variant: str) -> str:
    return variant.lower().replace(", ", "-").replace(" ", "").replace("/", "").replace("×", "")


def rows(samples: Samples) -> list[Row]:
    """A row a variant and run, of all its worlds together."""
    made: list[Row] = []
    for variant, (_, known) in ONCE.items():
        ours, swim = _both(samples, [(_once_name(each, variant), _once_name(each, SWIM)) for each in THRESHOLD])
        first = together(ours, "first_s")
        if first:
            made.append(
                (
                    ONE_TIME,
                    variant,
                    f"{len(ours)}",
                    f"{seconds(first, 0.5)} / {seconds(first, 0.99)}",
                    _ratio(_middle(first), _middle(together(swim, "first_s"))),
                    known,
                    *[NOTHING] * 5,
                )
            )
    for variant, (_, deaths, messages) in AGAIN.items():
        ours, swim = _both(samples, [(_again_name(each, variant), _again_name(each, SWIM)) for each in INTERVAL])
        if ours:
            false, against = sum(together(ours, "false_anywhere")), sum(together(swim, "false_anywhere"))
            said, baseline = sum(together(ours, "messages")), sum(together(swim, "messages"))
            made.append(
                (
                    MANY_TIMES,
                    variant,
                    f"{len(ours)}",
                    *[NOTHING] * 3,
                    f"{false:.0f}, {sum(together(ours, 'false_at_healthy')):.0f}",
                    _ratio(false, against),
                    deaths,
                    _ratio(said, baseline),
                    messages,
                )
            )
    return made


def _both(samples: Samples, names: Sequence[tuple[str, str]]) -> tuple[list[Sample], list[Sample]]:
    """Samples of worlds that a variant and SWIM have both lived through, with the same seeds."""
    pairs = [pair for ours, swim in names for pair in zip(samples.get(ours, ()), samples.get(swim, ()), strict=False)]
    return [ours for ours, _ in pairs], [swim for _, swim in pairs]


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def _ratio(ours: float, swim: float) -> str:
    return f"{ours / swim:.2f}" if swim else NOTHING


STUDY = Study(
    name="lifeguard",
    about=f"{NODES} nodes, some of them blocked: they neither send nor read while their timers run",
    cells=cells,
    keys=lambda: [*((ONE_TIME, variant) for variant in ONCE), *((MANY_TIMES, variant) for variant in AGAIN)],
    columns=(
        "blocked",
        "variant",
        "worlds",
        "first detection p50 / p99 s",
        "against SWIM",
        "published",
        "false deaths, at the healthy",
        "against SWIM",
        "published",
        "messages against SWIM",
        "published",
    ),
    rows=rows,
    notes=(
        "Ratios only, for the model of a blocked process decides the size: here its network stands still, its timers "
        "run, and what waited is read at 2,000 messages a second afterwards. Published are a plain SWIM and Lifeguard "
        "in a like simulator, alpha 5, and 4 and 2 of 5 where the wait is shorter; the paper's own tables say 50 to "
        "100 times fewer false deaths. A false death is one believed by one observer about a member that was never "
        "blocked. SWIM is `health_max = 0`, `suspicion_stretch = 1`, `buddy = false`, `accusers = 1`; where it has no "
        "false deaths either there is no ratio: no setting takes away that a node to which most are silent, or whose "
        "word stands alone while the server has not answered it since, declares nobody dead. Published are sums over "
        "1 to 32 blocked once, and over 4, 16 and 32 blocked 2 to 33 s with 4 ms to 4 s between; here over as many "
        "worlds as are told, and without the 32 again and again, which take minutes each."
    ),
)
