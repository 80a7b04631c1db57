"""The commands: list, show, run.

Invariant: exit codes are 0 passed, 1 violated, 2 bad scenario, 50 not deterministic, 51 something
that should happen sometimes never did; the worst of several runs counts. Neighbours: `__main__`
and `meshctl sim` are the doors.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from simulations import report
from simulations.recorded import End, Recorder, header_of
from simulations.scenario import Scenario, ScenarioError, named, parsed, stock
from simulations.world import Verdict, World

PASSED, VIOLATED, BAD_SCENARIO, NOT_DETERMINISTIC, NEVER_SEEN = 0, 1, 2, 50, 51
_BY_WEIGHT = (PASSED, NEVER_SEEN, VIOLATED, NOT_DETERMINISTIC)  # the last of these that occurs is the answer


def main(arguments: Sequence[str], *, program: str = "python -m simulations") -> int:
    """Run one command, `run` when there is none; its exit code. Raises SystemExit on a misuse, and for help."""
    asked = _parser(program).parse_args(arguments or ["run"])
    try:
        match asked.command:
            case "list":
                return _list()
            case "show":
                return _show(asked.scenario)
            case _:
                return _run(asked.scenario, _seeds(asked), asked.trace, is_checked=not asked.once)
    except ScenarioError as error:
        print(f"error[bad_scenario]: {error}", file=sys.stderr)
        return BAD_SCENARIO


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="The mesh in a virtual world.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every scenario of the stock")
    show = commands.add_parser("show", help="a scenario as it is written")
    show.add_argument("scenario")
    run = commands.add_parser("run", help="run one scenario, or every one of the stock")
    run.add_argument("scenario", nargs="?", default="", help="a name of the stock, or a .toml file; all when omitted")
    seeds = run.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=1, help="what all chance comes from (default 1)")
    seeds.add_argument("--seeds", metavar="A:B", help="every seed from A to B")
    run.add_argument("--once", action="store_true", help="do not run each seed a second time to compare")
    run.add_argument("--trace", type=Path, metavar="FILE", help="write every step of the last run to FILE")
    return parser


def _seeds(asked: argparse.Namespace) -> range:
    if asked.seeds is None:
        return range(asked.seed, asked.seed + 1)
    first, _, last = asked.seeds.partition(":")
    try:
        seeds = range(int(first), int(last) + 1)
    except ValueError:
        raise ScenarioError(f"--seeds: {asked.seeds!r} is not A:B, for example 1:100") from None
    if not seeds:
        raise ScenarioError(f"--seeds: there is no seed from {first} to {last}")
    return seeds


def _list() -> int:
    for name, text in stock().items():
        print(f"{name:<20} {parsed(text, origin=name).about}")
    return PASSED


def _show(name: str) -> int:
    known = stock()
    if name not in known:
        raise ScenarioError(f"there is no scenario {name!r}; there are: {', '.join(known)}")
    print(known[name], end="")
    return PASSED


def _run(name: str, seeds: range, trace: Path | None, *, is_checked: bool) -> int:
    codes = [_run_one(each, seeds, trace, is_checked=is_checked) for each in ([name] if name else stock())]
    return max(codes, key=_BY_WEIGHT.index)


def _run_one(name: str, seeds: range, trace: Path | None, *, is_checked: bool) -> int:
    scenario = named(name)
    codes = [PASSED]
    verdicts: list[Verdict] = []
    for seed in seeds:
        verdict = _traced(name, scenario, seed, trace)
        verdicts.append(verdict)
        if verdict.violations:
            print(report.failed(name, verdict))
            codes.append(VIOLATED)
        elif len(seeds) == 1:
            print(report.passed(name, scenario, verdict))
        if is_checked:
            again = World(scenario, seed=seed).run()
            if again.digest != verdict.digest:
                print(f"{name}: NOT DETERMINISTIC: seed {seed} gave {verdict.digest}, then {again.digest}")
                codes.append(NOT_DETERMINISTIC)
    if len(seeds) > 1:
        print(f"{name}: {sum(not each.violations for each in verdicts)} of {len(seeds)} seeds passed")
    if VIOLATED not in codes:
        never = report.unseen(name, scenario, verdicts)
        for line in never:
            print(line)
        codes += [NEVER_SEEN] * bool(never)
    return max(codes, key=_BY_WEIGHT.index)


def _traced(name: str, scenario: Scenario, seed: int, trace: Path | None) -> Verdict:
    if trace is None:
        return World(scenario, seed=seed).run()
    try:
        with trace.open("wb") as file:
            recorder = Recorder(file, header_of(name, scenario, seed=seed))
            verdict = World(scenario, seed=seed, write=recorder.note).run()
            recorder.end(End(verdict.digest, tuple(each.rule for each in verdict.violations)))
            return verdict
    except OSError as error:
        raise ScenarioError(f"--trace: {error}") from None
