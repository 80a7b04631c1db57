"""A report of many runs, gathered as they end, each in whatever process it ran.

Invariant: what is kept of a run that passed is one row and a few counts; rows are bounded, and those
of failures come first. Neighbours: `sweep` runs and adds, `observer` has watched each.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from simulations.checks import CHECKS
from simulations.ends import ENDS
from simulations.reports.building import BROKEN, CUT_SHORT, HELD, NOT_SEEN, SEEN, of_the_run, said_of, settings
from simulations.reports.observer import Observer
from simulations.reports.shapes import Distribution, Figure, Judged, Rule, Seed, Seen, SweepReport
from simulations.reports.tally import Tally
from simulations.reports.times import DETECTION, SPREAD
from simulations.scenario import Scenario
from simulations.sights import SIGHTS
from simulations.world import Verdict
from simulations.written import written

ROWS_MAX = 1_000  # of failures, and of runs that passed
BINS = 16


class Measured(Struct, frozen=True):
    """What an observer found in one run, small enough to be handed from process to process."""

    nodes: int
    detection: dict[str, dict[int, int]]
    spread: dict[str, dict[int, int]]
    never: dict[str, int]  # of all of these: how many never found out
    judged: Judged
    messages_node_s: float
    bytes_node_s: float | None
    whole_s: float | None
    kept: dict[str, float]
    figures: dict[str, float]  # those with a bound that could be measured
    broken: frozenset[str]  # rules


def measured(scenario: Scenario, verdict: Verdict, observer: Observer) -> Measured:
    """One run that has ended."""
    observer.end()
    traffic = observer.messages.shown()
    whole_s = observer.views.agreed(observer.column_s).whole_at_s
    return Measured(
        nodes=scenario.nodes,
        detection={name: tally.counts for name, tally in observer.times.detection.items()},
        spread={name: tally.counts for name, tally in observer.times.spread.items()},
        never={name: vain.never for name, vain in observer.times.vain.items()},
        judged=observer.times.judged,
        messages_node_s=traffic.messages_node_s_mean,
        bytes_node_s=traffic.bytes_node_s_mean,
        whole_s=None if whole_s is None else round(max(0.0, whole_s - observer.struck_s), 3),
        kept=dict(verdict.kept) if verdict.ended_s >= scenario.run_s else {},  # to the end, or not at all
        figures=dict(verdict.figures),
        broken=frozenset(violation.rule for violation in verdict.violations),
    )


class Gathering:
    """Everything so far."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._failed: list[Seed] = []
        self._passed: list[Seed] = []
        self._runs = self._passes = 0
        self._broken: Counter[str] = Counter()  # in how many runs, as the next
        self._judged_in: Counter[str] = Counter()  # promises that were kept, and figures that were measured
        self._sights: dict[str, tuple[int, int]] = {}  # in how many runs, how often
        self._detection = {name: Tally() for name in DETECTION}
        self._spread = {name: Tally() for name in SPREAD}
        self._never: Counter[str] = Counter()
        self._judged = [0, 0, 0, 0]
        self._figures: dict[tuple[str, str], list[float]] = {}

    def add(self, row: Seed, found: Measured, *, sights: Mapping[str, int]) -> None:
        """One run more."""
        self._runs += 1
        self._passes += row.passed
        rows = self._passed if row.passed else self._failed
        if len(rows) < ROWS_MAX:
            rows.append(row)
        self._broken.update(sorted(found.broken))
        self._judged_in.update([*found.kept, *found.figures])
        for sight, count in sights.items():
            runs, times = self._sights.get(sight, (0, 0))
            self._sights[sight] = runs + 1, times + count
        for tallies, counts in ((self._detection, found.detection), (self._spread, found.spread)):
            for name, each in counts.items():
                tallies[name].merge(each)
        self._never.update(found.never)
        self._judged = [one + other for one, other in zip(self._judged, structs.astuple(found.judged), strict=True)]
        self._measure("messages per node and second", "msg/s", found.messages_node_s)
        self._measure("bytes per node and second", "B/s", found.bytes_node_s)
        self._measure("from the last fault to one view", "s", found.whole_s)
        for promise, took_s in found.kept.items():
            if promise != "one-view":  # which is measured more finely
                self._measure(f"from the last fault to {promise}", "s", took_s)

    def _measure(self, name: str, unit: str, value: float | None) -> None:
        if value is not None:
            self._figures.setdefault((name, unit), []).append(value)

    def report(self, *, name: str, seeds: str, digest: str, command: str, is_drawn: bool) -> SweepReport:
        """All of it."""
        scenario = self._scenario
        rows = (*self._failed, *self._passed)
        return SweepReport(
            name=name,
            about=scenario.about,
            seeds=seeds,
            runs=self._runs,
            passed=self._passes,
            digest=digest,
            command=command,
            rules=self._rules(),
            rows=rows,
            rows_left_out=self._runs - len(rows),
            detection=self._shown(DETECTION, self._detection),
            spread=self._shown(SPREAD, self._spread),
            judged=Judged(*self._judged),
            figures=tuple(figure(*key, values) for key, values in self._figures.items()),
            is_drawn=is_drawn,
            scenario=written(scenario),
            settings=settings(scenario),
            sights=tuple(Seen(name, *self._sights.get(name, (0, 0))) for name in SIGHTS),
        )

    def _shown(self, said: Mapping[str, str], tallies: Mapping[str, Tally]) -> tuple[Distribution, ...]:
        return tuple(tallies[name].shown(name, about, never=self._never[name]) for name, about in said.items())

    def _rules(self) -> tuple[Rule, ...]:
        expect, broken = self._scenario.expect, dict(self._broken)
        rows = [self._rule(name, "always", broken.pop(name, 0)) for name in expect.always]
        rows += [self._rule(name, "eventually", broken.pop(name, 0)) for name in expect.eventually]
        for name in expect.sometimes:
            runs, times = self._sights.get(name, (0, 0))
            rows.append(Rule(name, "sometimes", "", "", SEEN if runs else NOT_SEEN, count=times, seeds=runs))
        for name in expect.never:
            rows.append(self._rule(name, "never", broken.pop(f"never {name}", 0)))
        for name, most in expect.figures.items():
            about = f"{'' if self._judged_in[name] else 'not measured, '}at most {most:g}"
            rows.append(structs.replace(self._rule(name, "figure", broken.pop(name, 0)), about=about))
        return (*rows, *(structs.replace(of_the_run(name), seeds=count) for name, count in broken.items()))

    def _rule(self, name: str, sort: str, count: int) -> Rule:
        declared: Callable[..., object] | None = CHECKS.get(name) or ENDS.get(name)
        letter, about = ("", "") if declared is None or sort == "never" else said_of(declared)
        within_s = self._scenario.expect.eventually.get(name) if sort == "eventually" else None
        is_told = sort not in ("eventually", "figure") or self._judged_in[name]  # in a run that went to its end
        verdict = BROKEN if count else HELD if is_told else CUT_SHORT
        return Rule(name, sort, letter, about, verdict, within_s=within_s, seeds=count)


def figure(name: str, unit: str, values: Sequence[float]) -> Figure:
    """One figure over all runs; raises ValueError when there is none."""
    ranked = sorted(values)
    least, most = ranked[0], ranked[-1]
    width = (most - least) / BINS or 1.0
    counts = [0] * BINS
    for value in ranked:
        counts[min(BINS - 1, int((value - least) / width))] += 1
    bins = tuple(
        (round(least + number * width, 6), round(least + (number + 1) * width, 6), count)
        for number, count in enumerate(counts)
    )

    def quantile(share: float) -> float:
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]

    return Figure(name, unit, len(ranked), least, quantile(0.5), quantile(0.9), most, bins)
