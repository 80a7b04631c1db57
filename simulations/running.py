"""One scenario run with one seed, or every one of the stock: what `run` prints, and its exit code.

Invariant: exit codes are 0 passed, 1 violated, 2 bad scenario, 50 not deterministic, 51 something
that should happen sometimes never did; the worst of several runs counts. Neighbours: `command`
asks, `world` runs, `report` words.
"""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from simulations import report
from simulations.lineage import again
from simulations.progress import Course
from simulations.recorded import End, Recorder, header_of
from simulations.reports import files
from simulations.reports.building import Occasion, run_report
from simulations.reports.observer import Observer
from simulations.reports.shapes import Commands
from simulations.scenario import Scenario, ScenarioError, named
from simulations.signing import by_name
from simulations.swarm import drawn
from simulations.trace import Line
from simulations.wording import trouble_of
from simulations.world import Verdict, World
from simulations.written import changed, keys_of, on_one_line

PASSED, VIOLATED, BAD_SCENARIO, NOT_DETERMINISTIC, NEVER_SEEN = 0, 1, 2, 50, 51
_BY_WEIGHT = (PASSED, NEVER_SEEN, VIOLATED, NOT_DETERMINISTIC)  # the last of these that occurs is the answer


class Choice(Struct, frozen=True):
    """Which world: a scenario by name, what is changed in it, and whether the seed draws the rest."""

    name: str
    changes: tuple[str, ...] = ()
    swarm: bool = False

    def scenario(self, seed: int) -> Scenario:
        """What is run with this seed. Raises ScenarioError."""
        chosen = self.base()
        return drawn(chosen, seed=seed, settled=keys_of(self.changes)) if self.swarm else chosen

    def base(self) -> Scenario:
        """What every seed has in common. Raises ScenarioError."""
        return changed(named(self.name), self.changes)

    @property
    def options(self) -> tuple[str, ...]:
        """As on the command line."""
        changes = [word for change in self.changes for word in ("--set", change)]
        return (*changes, "--swarm") if self.swarm else tuple(changes)


def worst(codes: Iterable[int]) -> int:
    """Of several runs, the exit code that counts."""
    return max(codes, key=_BY_WEIGHT.index, default=PASSED)


def run(
    choice: Choice,
    seed: int,
    *,
    trace: Path | None,
    is_checked: bool,
    program: str,
    reports: Sequence[Path] = (),
    tell: files.Tell | None = None,
) -> int:
    """One run, printed, told, and written to `reports`; checked: a second one must give the same digest."""
    scenario = choice.scenario(seed)
    drawn = on_one_line(scenario) if choice.swarm else ""
    if drawn:
        print(f"{choice.name}: drawn: {drawn}")
    observer = Observer(scenario) if reports or tell else None
    verdict = _traced(choice, scenario, seed, trace, observer)
    codes = [PASSED]
    ancestors: Sequence[Line] = ()
    if is_checked or verdict.violations:
        course = Course(scenario.run_s, "virtual seconds, the second time")
        made = choice.scenario(seed)  # anew, for one in Python may be another the second time
        second, ancestors = again(made, seed=seed, wanted=wanted_of(verdict), watch=course.watch)
        course.clear()
        if second.digest != verdict.digest:
            print(f"{choice.name}: NOT DETERMINISTIC: seed {seed} gave {verdict.digest}, then {second.digest}")
            codes.append(NOT_DETERMINISTIC)
    if observer is not None:
        is_repeatable = NOT_DETERMINISTIC not in codes if is_checked or verdict.violations else None
        said = Occasion(choice.name, commands_of(choice, verdict, program=program), is_repeatable, drawn=drawn)
        files.save(run_report(said, scenario, verdict, observer, ancestors=ancestors), reports, tell)
    if verdict.violations:
        story = report.failed(choice.name, verdict, ancestors=ancestors, options=choice.options, program=program)
        print(by_name(story, scenario.names))
        print_paths(reports)
        return worst([*codes, VIOLATED])
    if NOT_DETERMINISTIC not in codes:
        print(report.passed(choice.name, scenario, verdict))
    print_paths(reports)
    never = report.unseen(choice.name, scenario, [verdict])
    for line in never:
        print(line)
    return worst([*codes, *[NEVER_SEEN] * bool(never)])


def wanted_of(verdict: Verdict) -> frozenset[int]:
    """The lines that led to what is wrong."""
    return frozenset(seq for violation in verdict.violations for seq in violation.ancestry)


def print_paths(reports: Sequence[Path]) -> None:
    """Where the reports are."""
    for path in reports:
        print(f"  report: {path}")


def commands_of(choice: Choice, verdict: Verdict, *, program: str) -> Commands:
    """How to see a run again; what made it fail, when it did, can be made small."""
    again = report.repeat(choice.name, verdict.seed, options=choice.options, program=program)
    trace = shlex.quote(f"{Path(choice.name).stem}-{verdict.seed}.trace")
    small = report.repeat(choice.name, verdict.seed, options=choice.options, program=program, verb="shrink")
    return Commands(
        run=again,
        replay=f"{again} --trace {trace}; {program} replay {trace}",
        shrink=small if verdict.violations else "",
    )


def reported(
    occasion: Occasion, scenario: Scenario, seed: int, reports: Sequence[Path], tell: files.Tell | None = None
) -> None:
    """A world that is known already, once more, for a report."""
    observer = Observer(scenario)
    verdict = World(scenario, seed=seed, watch=(observer.begin,)).run()
    _, ancestors = again(scenario, seed=seed, wanted=wanted_of(verdict))
    files.save(run_report(occasion, scenario, verdict, observer, ancestors=ancestors), reports, tell)


def _traced(
    choice: Choice, scenario: Scenario, seed: int, trace: Path | None, observer: Observer | None = None
) -> Verdict:
    course = Course(scenario.run_s)
    watch = [*course.watch, *([] if observer is None else [observer.begin])]
    if trace is None:
        verdict = World(scenario, seed=seed, watch=watch).run()
        course.clear()
        return verdict
    try:
        with trace.open("wb") as file:
            recorder = Recorder(file, header_of(choice.name, scenario, seed=seed, options=choice.options))
            verdict = World(scenario, seed=seed, write=recorder.note, watch=watch).run()
            course.clear()
            recorder.end(End(verdict.digest, verdict.violations))
            return verdict
    except OSError as error:
        raise ScenarioError(f"--trace {trace}: {trouble_of(error)}") from None
