"""The commands and their words; `grids.command` and `traffic` add theirs.

Invariant: parses words and hands over; what cannot be done is one sentence and exit code 2.
Neighbours: `__main__` and `meshctl sim` are the doors, `running` says what the exit codes are.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO, TypeAlias

import msgspec
from msgspec import structs

from protocol.errors import INTERRUPTED
from simulations import answers, opened, outputs, traffic
from simulations.comparison import Parting, parting, replayed, shown
from simulations.deaths import DEATHS_SHOWN, deaths, died_in
from simulations.deaths import told as why
from simulations.grids import command as grids
from simulations.lineage import chain, collected, told
from simulations.progress import Course, Progress
from simulations.recorded import End, Recorded
from simulations.report import PROGRAM, repeat
from simulations.reports import files
from simulations.reports.building import Occasion, run_report
from simulations.reports.observer import Observer
from simulations.reports.shapes import Commands
from simulations.running import (
    BAD_SCENARIO,
    NOT_DETERMINISTIC,
    PASSED,
    VIOLATED,
    Choice,
    print_paths,
    reported,
    run,
    wanted_of,
    worst,
)
from simulations.scenario import ScenarioError, parsed, stock
from simulations.shrink import RUNS_MAX, shrunk
from simulations.suspicions import SHOWN, suspicions
from simulations.suspicions import told as doubt
from simulations.sweep import sweep
from simulations.trace import Line
from simulations.visible import visible
from simulations.wording import trouble_of
from simulations.words import Misuse, Words, count_of, say, seed_for, seed_of, wants_json
from simulations.world import Violation
from simulations.written import written

Do: TypeAlias = Callable[[argparse.Namespace], int]

SECONDS_MAX = 86_400
SEEDS_MAX = 10_000_000  # a year of computing
EXAMPLE = "split"  # of the stock
_SCENARIOS = (".toml", ".py")
_OF_TRACES = ("replay", "explain", "diff")
COUNT = 25  # lines of a chain, unless told otherwise


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
    if Path(name).suffix in _SCENARIOS and Path(name).exists():
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
    _choose(show)
    show.add_argument("--seed", type=seed_of, default=1, help="what --swarm draws from (default 1)")
    _output(show)
    one = command("run", _run, "run one scenario, or every one of the stock")
    one.add_argument("scenario", nargs="?", help="a name of the stock, or a .toml or .py file; all when omitted")
    _choose(one)
    one.add_argument("--seed", type=seed_of, default=1, help="what all chance comes from (default 1)")
    one.add_argument("--once", action="store_true", help="do not run it a second time to compare")
    one.add_argument("--trace", type=Path, metavar="FILE", help="write every step to FILE; of all: FILE-NAME")
    _report(one)
    _output(one)
    many = command("sweep", _sweep, "run one scenario with many seeds")
    many.add_argument("scenario", help="a name of the stock, or a .toml or .py file")
    many.add_argument("--seeds", metavar="A:B", default="1:100", help="every seed from A to B (default 1:100)")
    many.add_argument("--jobs", type=count_of, default=1, metavar="N", help="so many processes (default 1)")
    _choose(many)
    _report(many)
    _output(many)
    _add_traces(command)
    _add_shrink(command)
    grids.add(command)
    traffic.add(command)
    return parser


def _add_traces(command: Callable[[str, Do, str], argparse.ArgumentParser]) -> None:
    replay = command("replay", _replay, "run the world of a trace again, and hold it against the trace line by line")
    replay.add_argument("trace", type=Path)
    replay.add_argument("--until", type=_seconds, metavar="S", help="no further than this, and without a report")
    replay.add_argument("--node", metavar="N", help="print what happens at this node")
    _report(replay)
    _output(replay)
    explain = command("explain", _explain, "what led to a line of a trace, backwards, or why a node was declared dead")
    explain.add_argument("trace", type=Path)
    explain.add_argument("event", nargs="?", help="the number of a line, or a node; what broke the run when omitted")
    explain.add_argument(
        "--count", type=count_of, default=COUNT, metavar="N", help=f"at most so many causes (default {COUNT})"
    )
    _output(explain)
    diff = command("diff", _diff, "where two traces first part, and what led there")
    diff.add_argument("one", type=Path)
    diff.add_argument("other", type=Path)
    _output(diff)


def _add_shrink(command: Callable[[str, Do, str], argparse.ArgumentParser]) -> None:
    shrink = command("shrink", _shrink, "make a failing world small, as a scenario that fails when it is run")
    shrink.add_argument("failing", help="a trace, a name of the stock, or a .toml or .py file")
    _choose(shrink)
    shrink.add_argument("--seed", type=seed_of, help="of a scenario (default 1); a trace has its own")
    shrink.add_argument("--runs", type=count_of, default=RUNS_MAX, metavar="N", help=f"at most (default {RUNS_MAX})")
    shrink.add_argument("--out", type=Path, metavar="FILE", help="the result (default NAME-SEED-small.toml)")
    _report(shrink)
    _output(shrink)


def _choose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key, as link.loss=0.05"
    )
    parser.add_argument("--swarm", action="store_true", help="let the seed draw what --set does not settle")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="write a report: .html to look at, .md for a ticket, .json for programs; may be given several times",
    )


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "json"),
        default="table",
        help="json: for programs; of a run what a .json report says, and what is told to people goes to stderr",
    )


@contextmanager
def _teller(asked: argparse.Namespace) -> Iterator[files.Tell | None]:
    """Prints a report where a program reads stdout; all else that is printed meanwhile is for people."""
    if asked.output != "json":
        yield None
        return
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield lambda report: print(files.as_json(report), end="", file=stdout)


def _choice(asked: argparse.Namespace, name: str) -> Choice:
    return Choice(name, tuple(asked.set), asked.swarm)


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0
    if not 0 < seconds <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no time, for example 34.2s")
    return seconds


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
    choice, known = _choice(asked, asked.scenario), stock()
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
    with _teller(asked) as tell:
        return worst(
            [
                run(
                    _choice(asked, name),
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
    with _teller(asked) as tell:
        return sweep(
            _choice(asked, asked.scenario),
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


def _replay(asked: argparse.Namespace) -> int:
    stdout = sys.stdout
    with _teller(asked) as tell:
        return _replayed(asked, tell, stdout)


def _replayed(asked: argparse.Namespace, tell: files.Tell | None, stdout: TextIO) -> int:
    if asked.until is not None and (asked.report or tell):
        raise ScenarioError("--until: of a part there is no report, for what is promised of the end is not due by then")
    trace = opened.whole(asked.trace) if asked.until is None else opened.begun(asked.trace)
    if asked.node is not None and asked.node not in trace.scenario.names:
        raise ScenarioError(f"--node: there is no node {asked.node!r}; there are n1 to n{trace.scenario.nodes}")

    def heed(line: Line) -> None:
        if line.node == asked.node:
            print(line)

    observer = Observer(trace.scenario) if asked.report or tell else None
    course = Course(asked.until or trace.scenario.run_s)
    watch = [*([] if observer is None else [observer.begin]), *([] if asked.node else course.watch)]
    found = replayed(trace, until_s=asked.until, heed=heed, watch=watch)
    course.clear()
    if isinstance(found, Parting):
        print(f"{asked.trace}: NOT DETERMINISTIC: the run is not what the trace says")
        print("\n".join(f"  {line}" for line in shown(found, trace, None, names=("trace", "run"))))
        if tell:
            print(answers.as_json(answers.parted(found, trace)), file=stdout)
        return NOT_DETERMINISTIC
    print(f"{asked.trace}: the same to {found.ended_s:g} s, seed {found.seed}, digest {found.digest}")
    if observer is not None:
        commands = Commands(replay=f"{asked.program} replay {shlex.quote(str(asked.trace))}")
        said = Occasion(trace.header.name, commands, is_repeatable=True)
        led = collected(trace, wanted_of(found))
        files.save(run_report(said, trace.scenario, found, observer, ancestors=led), asked.report, tell)
        print_paths(asked.report)
    for violation in found.violations:
        print(f"  VIOLATED {_said(violation)}")
    return VIOLATED if found.violations else PASSED


def _explain(asked: argparse.Namespace) -> int:
    trace = opened.begun(asked.trace) if (asked.event or "").isdecimal() else opened.believed(asked.trace)
    is_json = asked.output == "json"
    if asked.event in trace.scenario.names:
        if is_json:
            found = answers.deaths_of(asked.event, deaths(trace, asked.event), suspicions(trace, asked.event))
            print(answers.as_json(found))
        else:
            print("\n".join(_died(trace, asked)))
        return PASSED
    if asked.event is not None:
        if not asked.event.removeprefix("-").isdecimal():
            raise ScenarioError(f"there is no line {asked.event!r} in this trace, and no node of that name")
        led = chain(trace, int(asked.event), count=asked.count)
        if is_json:
            print(answers.as_json(answers.chain_of(led, *died_in(trace, led))))
        else:
            print("\n".join([*told(led), *_why(trace, led)]))
        return PASSED
    end = next((record for record in trace.records() if isinstance(record, End)), None)
    if end is None or not end.broken:
        raise ScenarioError(f"{asked.trace}: nothing was broken; name a line by its number")
    if is_json:
        print(answers.as_json(answers.broken_of(trace, end)))
        return PASSED
    for violation in end.broken:
        print(f"VIOLATED {_said(violation)}")
        led = collected(trace, violation.ancestry)
        print("\n".join([*told(led), *_why(trace, led)]))
    return PASSED


def _died(trace: Recorded, asked: argparse.Namespace) -> list[str]:
    """Why a node was declared dead, each time, the last ones."""
    found = deaths(trace, asked.event)
    if not found:
        doubts = suspicions(trace, asked.event)
        often = f", but suspected {len(doubts)} times; the last {SHOWN}:" if len(doubts) > SHOWN else ""
        return [
            f"{asked.event} was never declared dead{often}",
            *(visible(doubt(each, asked.event)) for each in doubts[-SHOWN:]),
        ]
    again = f"{asked.program} explain {shlex.quote(str(asked.trace))}"
    lines = [line for death in found[-DEATHS_SHOWN:] for line in (*why(death, asked.event), "")]
    if len(found) > DEATHS_SHOWN:
        lines = [f"{asked.event} was declared dead {len(found)} times; the last {DEATHS_SHOWN}:", "", *lines]
    return [visible(line) for line in lines] + [f"what led to one of these lines: {again} {found[-1].line.seq}"]


def _why(trace: Recorded, led: Sequence[Line]) -> list[str]:
    """Who accused the node whose death a chain ends in, and why; nothing when it ends in something else."""
    node, found = died_in(trace, led)
    return ["", *(visible(line) for death in found for line in why(death, node))] if found else []


def _said(violation: Violation) -> str:
    return visible(f"{violation.rule} at {violation.at_s:.6f} s: {violation.what}").replace("\n", r"\u000a")


def _diff(asked: argparse.Namespace) -> int:
    one, other = opened.believed(asked.one), opened.believed(asked.other)
    if asked.output == "json":
        parts = parting(one, other)
        print(answers.as_json(answers.parted(parts, one, other)))
        return PASSED if parts is None else VIOLATED
    if one.header.seed != other.header.seed:
        print(f"they are of different seeds: {one.header.seed} and {other.header.seed}")
    if one.scenario != other.scenario:
        print("they are of different scenarios")
    found = parting(one, other)
    if found is None:
        print("the same from beginning to end")
        return PASSED
    print("\n".join(shown(found, one, other, names=(str(asked.one), str(asked.other)))))
    return VIOLATED


def _shrink(asked: argparse.Namespace) -> int:
    with _teller(asked) as tell:
        return _made_small(asked, tell)


def _made_small(asked: argparse.Namespace, tell: files.Tell | None) -> int:
    path = Path(asked.failing)
    if path.suffix in _SCENARIOS or asked.failing in stock():
        name, seed = path.stem, 1 if asked.seed is None else asked.seed
        scenario = _choice(asked, asked.failing).scenario(seed)
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
    print(f"  VIOLATED {_said(violation)}")
    print(f"  run: {repeat(str(out), seed, program=asked.program)}")
    if asked.report or tell:
        said = Occasion(
            str(out), Commands(run=repeat(str(out), seed, program=asked.program)), shrunk_from=f"{name}: {was}"
        )
        reported(said, left, seed, asked.report, tell)
        print_paths(asked.report)
    return INTERRUPTED if small.was_stopped else PASSED
