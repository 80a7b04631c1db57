"""One scenario run with one seed, or every one of the stock: what `run` prints, and its exit code.

Invariant: exit codes are 0 passed, 1 violated, 2 bad scenario, 50 not deterministic, 51 something
that should happen sometimes never did; the worst of several runs counts. Neighbours: `command`
asks, `world` runs, `report` words.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from simulations import report
from simulations.lineage import again
from simulations.recorded import End, Recorder, header_of
from simulations.scenario import Scenario, ScenarioError, named
from simulations.swarm import drawn
from simulations.trace import Line
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
        chosen = changed(named(self.name), self.changes)
        return drawn(chosen, seed=seed, settled=keys_of(self.changes)) if self.swarm else chosen

    @property
    def options(self) -> tuple[str, ...]:
        """As on the command line."""
        changes = [word for change in self.changes for word in ("--set", change)]
        return (*changes, "--swarm") if self.swarm else tuple(changes)


def worst(codes: Iterable[int]) -> int:
    """Of several runs, the exit code that counts."""
    return max(codes, key=_BY_WEIGHT.index, default=PASSED)


def run(choice: Choice, seed: int, *, trace: Path | None, is_checked: bool, program: str) -> int:
    """One run, printed; checked: a second one must give the same digest."""
    scenario = choice.scenario(seed)
    if choice.swarm:
        print(f"{choice.name}: drawn: {on_one_line(scenario)}")
    verdict = _traced(choice, scenario, seed, trace)
    codes = [PASSED]
    ancestors: Sequence[Line] = ()
    if is_checked or verdict.violations:
        second, ancestors = again(scenario, seed=seed, wanted=wanted_of(verdict))
        if second.digest != verdict.digest:
            print(f"{choice.name}: NOT DETERMINISTIC: seed {seed} gave {verdict.digest}, then {second.digest}")
            codes.append(NOT_DETERMINISTIC)
    if verdict.violations:
        print(report.failed(choice.name, verdict, ancestors=ancestors, options=choice.options, program=program))
        return worst([*codes, VIOLATED])
    print(report.passed(choice.name, scenario, verdict))
    never = report.unseen(choice.name, scenario, [verdict])
    for line in never:
        print(line)
    return worst([*codes, *[NEVER_SEEN] * bool(never)])


def wanted_of(verdict: Verdict) -> frozenset[int]:
    """The lines that led to what is wrong."""
    return frozenset(seq for violation in verdict.violations for seq in violation.ancestry)


def _traced(choice: Choice, scenario: Scenario, seed: int, trace: Path | None) -> Verdict:
    if trace is None:
        return World(scenario, seed=seed).run()
    try:
        with trace.open("wb") as file:
            recorder = Recorder(file, header_of(choice.name, scenario, seed=seed, options=choice.options))
            verdict = World(scenario, seed=seed, write=recorder.note).run()
            recorder.end(End(verdict.digest, verdict.violations))
            return verdict
    except OSError as error:
        raise ScenarioError(f"--trace: {error}") from None
