"""The commands and their words; `postmortem`, `grids.command` and `traffic` add theirs.

Invariant: parses words and hands over; what cannot be done is one sentence and exit code 2.
Neighbours: `__main__` and `meshctl sim` are the doors, `options` is what several commands take, `running` says what
the exit codes are.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from protocol.errors import INTERRUPTED
from simulations import answers, opened, outputs, postmortem, traffic
from simulations.grids import command as grids
from simulations.options import Adding, Do, add_choice, add_output, add_report, choice_of, teller
from simulations.progress import Progress
from simulations.report import PROGRAM, repeat, violated
from simulations.reports import files
from simulations.reports.building import Occasion
from simulations.reports.shapes import Commands
from simulations.running import BAD_SCENARIO, PASSED, print_paths, reported, run, worst
from simulations.scenario import ScenarioError, parsed, stock
from simulations.shrink import RUNS_MAX, shrunk
from simulations.sweep import sweep
from simulations.visible import visible
from simulations.wording import trouble_of
from simulations.words import Misuse, Words, count_of, say, seed_for, seed_of, wants_json
from simulations.written import written

SEEDS_MAX = 10_000_000  # a year of computing
EXAMPLE = "split"  # of the stock
_SCENARIOS = (".toml", ".py")
_OF_TRACES = ("replay", "explain", "diff")


def main(arguments: Sequence[str], *, program: str = PROGRAM, also: str = "") -> int:
    """Run one command, `run` when there is none; its exit code. Raises SystemExit on a misuse, and for help.

    `also` is what the help says of the commands that only `program` has.
    """
    is_json = wants_json(arguments)
    try:
        asked = _asked(arguments, program, also)
    except Misuse as misuse:
        say("bad_input", str(misuse), misuse.cure, is_json=is_json)
        raise SystemExit(BAD_SCENARIO) from None
    do: Do = asked.do
    try:
        _check_files(asked)
        return do(asked)
    except ScenarioError as error:
        say("bad_scenario", str(error), _next_step(str(error), asked), is_json=is_json)
        return BAD_SCENARIO


def _asked(arguments: Sequence[str], program: str, also: str) -> argparse.Namespace:
    """Raises Misuse, and SystemExit for help."""
    first = arguments[0] if arguments else "run"
    if first.startswith("-") and first not in ("-h", "--help", "--"):
        raise Misuse(f"{first!r} stands before the command: name the command first, then its options", program)
    asked, rest = _parser(program, also).parse_known_args(arguments or ["run"])
    if rest and (not rest[0].startswith("-") or rest[0][1:].isdecimal()) and getattr(asked, "event", "") is None:
        asked.event = rest.pop(0)  # argparse takes a word that may be missing for missing once an option has come
    if rest:
        asked.words.refuse(rest[0])
    asked.program = program
    return asked


def _check_files(asked: argparse.Namespace) -> None:
    """Raises ScenarioError, before anything runs, for a file that is not to be written."""
    reports: list[Path] = getattr(asked, "report", [])
    trace: Path | None = getattr(asked, "trace", None)
    if asked.command == "replay":
        outputs.check(reports=reports, read=[asked.trace])
    elif asked.command == "run" and asked.scenario is None:
        outputs.check(traces=[trace] if trace else [], reports=reports)
        for name in stock():
            own = [_own(path, name) for path in reports]
            outputs.check(traces=[_own(trace, name)] if trace else [], reports=own)
    elif asked.command in ("run", "sweep"):
        outputs.check(traces=[trace] if trace else [], reports=reports, read=[Path(asked.scenario)])


def _next_step(problem: str, asked: argparse.Namespace) -> str:
    """A command that helps with what is wrong."""
    name = getattr(asked, "scenario", "") or ""
    is_of_event = problem.startswith("there is no line") or "nothing was broken" in problem
    if is_of_event or problem.startswith("--") or asked.command not in ("show", "run", "sweep", *_OF_TRACES):
        return f"{asked.program} {asked.command} --help"
    if problem.startswith(f"{name} is a trace"):
        return f"{asked.program} replay {shlex.quote(name)}"
    if asked.command in _OF_TRACES:
        return f"{asked.program} run {EXAMPLE} --trace FILE, which writes a trace"
    if Path(name).suffix in _SCENARIOS and os.path.exists(name):
        return f"{asked.program} show {EXAMPLE}, to see how a scenario is written"
    return f"{asked.program} list"


def _parser(program: str, also: str) -> argparse.ArgumentParser:
    parser = Words(prog=program, description="The mesh in a virtual world.", epilog=also)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, do: Do, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(do=do, words=made)
        return made

    stocked = command("list", _list, "every scenario of the stock")
    stocked.add_argument("-o", "--output", choices=("table", "json", "jsonl", "name"), default="table")
    show = command("show", _show, "a scenario as it is written, or as --set or a seed of --swarm makes it")
    show.add_argument("scenario", help="a name of the stock, or a .toml or .py file")
    add_choice(show)
    show.add_argument("--seed", type=seed_of, default=1, help="what --swarm draws from (default 1)")
    add_output(show)
    one = command("run", _run, "run one scenario, or every one of the stock")
    one.add_argument("scenario", nargs="?", help="a name of the stock, or a .toml or .py file; all when omitted")
    add_choice(one)
    one.add_argument("--seed", type=seed_of, default=1, help="what all chance comes from (default 1)")
    one.add_argument("--once", action="store_true", help="do not run it a second time to compare")
    one.add_argument("--trace", type=Path, metavar="FILE", help="write every step to FILE; of all: FILE-NAME")
    add_report(one)
    add_output(one)
    many = command("sweep", _sweep, "run one scenario with many seeds")
    many.add_argument("scenario", help="a name of the stock, or a .toml or .py file")
    many.add_argument("--seeds", metavar="A:B", default="1:100", help="every seed from A to B (default 1:100)")
    many.add_argument("--jobs", type=count_of, default=1, metavar="N", help="so many processes (default 1)")
    add_choice(many)
    add_report(many)
    add_output(many)
    postmortem.add(command)
    _add_shrink(command)
    grids.add(command)
    traffic.add(command)
    return parser


def _add_shrink(command: Adding) -> None:
    shrink = command("shrink", _shrink, "make a failing world small, as a scenario that fails when it is run")
    shrink.add_argument("failing", help="a trace, a name of the stock, or a .toml or .py file")
    add_choice(shrink)
    shrink.add_argument("--seed", type=seed_of, help="of a scenario (default 1); a trace has its own")
    shrink.add_argument("--runs", type=count_of, default=RUNS_MAX, metavar="N", help=f"at most (default {RUNS_MAX})")
    shrink.add_argument("--out", type=Path, metavar="FILE", help="the result (default NAME-SEED-small.toml)")
    add_report(shrink)
    add_output(shrink)


def _list(asked: argparse.Namespace) -> int:
    items = [{"name": name, "about": parsed(text, origin=name).about} for name, text in stock().items()]
    match asked.output:
        case "json":
            print(msgspec.json.encode(items).decode())
        case "jsonl":
            print("\n".join(msgspec.json.encode(item).decode() for item in items))
        case "name":
            print("\n".join(item["name"] for item in items))
        case _:
            print("\n".join(f"{item['name']:<20} {item['about']}" for item in items))
    return PASSED


def _show(asked: argparse.Namespace) -> int:
    choice, known = choice_of(asked, asked.scenario), stock()
    scenario = choice.scenario(asked.seed)
    if asked.output == "json":
        print(answers.as_json(scenario))
        return PASSED
    is_as_written = asked.scenario in known and not choice.options
    # Its escapes are those of TOML.
    print(visible(known[asked.scenario] if is_as_written else written(scenario)), end="")
    return PASSED


def _run(asked: argparse.Namespace) -> int:
    is_one = asked.scenario is not None
    if asked.output == "json" and not is_one:
        raise ScenarioError("-o json: that is one run; name a scenario, or write --report stock.json")
    with teller(asked) as tell:
        return worst(
            [
                run(
                    choice_of(asked, name),
                    asked.seed,
                    trace=asked.trace if is_one or not asked.trace else _own(asked.trace, name),
                    is_checked=not asked.once,
                    program=asked.program,
                    reports=asked.report if is_one else [_own(path, name) for path in asked.report],
                    tell=tell,
                )
                for name in ([asked.scenario] if is_one else stock())
            ]
        )


def _own(path: Path, name: str) -> Path:
    """The file of one scenario where a run of all of them was given one: r.html is r-split.html for split."""
    return path.with_stem(f"{path.stem}-{name}")


def _sweep(asked: argparse.Namespace) -> int:
    with teller(asked) as tell:
        return sweep(
            choice_of(asked, asked.scenario),
            _seeds(asked.seeds),
            jobs=asked.jobs,
            program=asked.program,
            reports=asked.report,
            tell=tell,
        )


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    if not first or not last:
        raise ScenarioError(f"--seeds: {text!r} is not A:B, for example 1:100")
    seeds = range(seed_for("--seeds", first), seed_for("--seeds", last) + 1)
    if seeds.stop <= seeds.start:
        raise ScenarioError(f"--seeds: there is no seed from {first} to {last}")
    if seeds.stop - seeds.start > SEEDS_MAX:
        raise ScenarioError(f"--seeds: from {first} to {last} there are more than {SEEDS_MAX:,}")
    return seeds


def _shrink(asked: argparse.Namespace) -> int:
    with teller(asked) as tell:
        return _made_small(asked, tell)


def _made_small(asked: argparse.Namespace, tell: files.Tell | None) -> int:
    path = Path(asked.failing)
    if path.suffix in _SCENARIOS or asked.failing in stock():
        name, seed = path.stem, 1 if asked.seed is None else asked.seed
        scenario = choice_of(asked, asked.failing).scenario(seed)
    else:
        if asked.set or asked.swarm or asked.seed is not None:
            raise ScenarioError(f"{path} is a trace, which has its scenario and seed in it: no --set, --swarm, --seed")
        trace = opened.begun(path)
        name, seed, scenario = Path(trace.header.name).stem, trace.header.seed, trace.scenario
    out = asked.out or Path(f"{name}-{seed}-small.toml")
    outputs.check(reports=asked.report, small=out, read=[path])
    progress = Progress(asked.runs)
    small = shrunk(scenario, seed=seed, runs_max=asked.runs, progress=progress)
    progress.clear()
    violation, left = small.violation, small.scenario
    about = f"made small of {name} with seed {seed}, in which {violation.rule} is broken"
    try:
        out.write_text(written(structs.replace(left, about=about)), encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"--out {out}: {trouble_of(error)}") from None
    was = f"{len(scenario.fault)} faults, {scenario.nodes} nodes, {scenario.run_s:g} s"
    print(f"{name}: {was} became {len(left.fault)} faults, {left.nodes} nodes, {left.run_s:g} s, in {small.runs} runs")
    if small.was_stopped:
        print("stopped: that is the smallest so far", file=sys.stderr)
    print(f"  VIOLATED {violated(violation)}")
    print(f"  run: {repeat(str(out), seed, program=asked.program)}")
    if asked.report or tell:
        said = Occasion(
            str(out), Commands(run=repeat(str(out), seed, program=asked.program)), shrunk_from=f"{name}: {was}"
        )
        reported(said, left, seed, asked.report, tell)
        print_paths(asked.report)
    return INTERRUPTED if small.was_stopped else PASSED
