"""The commands that look into a run when it is over, by its trace: `replay`, `explain` and `diff`.

Invariant: nothing is believed that the trace does not vouch for, and `replay` believes nothing at all. Neighbours:
`command` adds these to its own; `opened` reads traces, `comparison`, `lineage`, `deaths` and `suspicions` tell.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from simulations import answers, opened
from simulations.comparison import Parting, parting, replayed, shown
from simulations.deaths import DEATHS_SHOWN, deaths, died_in
from simulations.deaths import told as why
from simulations.lineage import chain, collected, told
from simulations.options import Adding, add_output, add_report, teller
from simulations.progress import Course
from simulations.recorded import End, Recorded
from simulations.report import violated
from simulations.reports import files
from simulations.reports.building import Occasion, run_report
from simulations.reports.observer import Observer
from simulations.reports.shapes import Commands
from simulations.running import NOT_DETERMINISTIC, PASSED, VIOLATED, print_paths, wanted_of
from simulations.scenario import RUN_S_MAX, ScenarioError
from simulations.signing import by_name
from simulations.suspicions import SHOWN, suspicions
from simulations.suspicions import told as doubt
from simulations.trace import Line
from simulations.visible import visible
from simulations.words import count_of

COUNT = 25  # lines of a chain, unless told otherwise


def add(command: Adding) -> None:
    """The commands of this file."""
    replay = command("replay", _replay, "run the world of a trace again, and hold it against the trace line by line")
    replay.add_argument("trace", type=Path)
    replay.add_argument("--until", type=_seconds, metavar="S", help="no further than this, and without a report")
    replay.add_argument("--node", metavar="N", help="print what happens at this node")
    add_report(replay)
    add_output(replay)
    explain = command("explain", _explain, "what led to a line of a trace, backwards, or why a node was declared dead")
    explain.add_argument("trace", type=Path)
    explain.add_argument("event", nargs="?", help="the number of a line, or a node; what broke the run when omitted")
    explain.add_argument(
        "--count", type=count_of, default=COUNT, metavar="N", help=f"at most so many causes (default {COUNT})"
    )
    add_output(explain)
    diff = command("diff", _diff, "where two traces first part, and what led there")
    diff.add_argument("one", type=Path)
    diff.add_argument("other", type=Path)
    add_output(diff)


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0
    if not 0 < seconds <= RUN_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no time up to {RUN_S_MAX:,} s, for example 34.2s")
    return seconds


def _replay(asked: argparse.Namespace) -> int:
    stdout = sys.stdout
    with teller(asked) as tell:
        return _replayed(asked, tell, stdout)


def _replayed(asked: argparse.Namespace, tell: files.Tell | None, stdout: TextIO) -> int:
    if asked.until is not None and (asked.report or tell):
        raise ScenarioError("--until: of a part there is no report, for what is promised of the end is not due by then")
    trace = opened.whole(asked.trace) if asked.until is None else opened.begun(asked.trace)
    if asked.node is not None and asked.node not in trace.scenario.names:
        raise ScenarioError(f"--node: there is no node {asked.node!r}; there are n1 to n{trace.scenario.nodes}")

    def heed(line: Line) -> None:
        if line.node == asked.node:
            print(by_name(str(line), trace.scenario.names))

    observer = Observer(trace.scenario) if asked.report or tell else None
    course = Course(asked.until or trace.scenario.run_s)
    watch = [*([] if observer is None else [observer.begin]), *([] if asked.node else course.watch)]
    found = replayed(trace, until_s=asked.until, heed=heed, watch=watch)
    course.clear()
    if isinstance(found, Parting):
        print(f"{asked.trace}: NOT DETERMINISTIC: the run is not what the trace says")
        text = "\n".join(f"  {line}" for line in shown(found, trace, None, names=("trace", "run")))
        print(by_name(text, trace.scenario.names))
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
        print(f"  VIOLATED {violated(violation)}")
    return VIOLATED if found.violations else PASSED


def _explain(asked: argparse.Namespace) -> int:
    trace = opened.begun(asked.trace) if (asked.event or "").isdecimal() else opened.believed(asked.trace)
    is_json = asked.output == "json"
    if asked.event in trace.scenario.names:
        if is_json:
            found = answers.deaths_of(asked.event, deaths(trace, asked.event), suspicions(trace, asked.event))
            print(answers.as_json(found))
        else:
            print(by_name("\n".join(_died(trace, asked)), trace.scenario.names))
        return PASSED
    if asked.event is not None:
        if not asked.event.removeprefix("-").isdecimal():
            raise ScenarioError(f"there is no line {asked.event!r} in this trace, and no node of that name")
        led = chain(trace, int(asked.event), count=asked.count)
        if is_json:
            print(answers.as_json(answers.chain_of(led, *died_in(trace, led))))
        else:
            print(_chain(trace, led))
        return PASSED
    end = next((record for record in trace.records() if isinstance(record, End)), None)
    if end is None or not end.broken:
        raise ScenarioError(f"{asked.trace}: nothing was broken; name a line by its number")
    if is_json:
        print(answers.as_json(answers.broken_of(trace, end)))
        return PASSED
    for violation in end.broken:
        print(f"VIOLATED {violated(violation)}")
        led = collected(trace, violation.ancestry)
        print(_chain(trace, led))
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


def _chain(trace: Recorded, led: Sequence[Line]) -> str:
    """What led to a line; and who accused the node whose death it ends in, and why, where it does."""
    node, found = died_in(trace, led)
    accused = ["", *(visible(line) for death in found for line in why(death, node))] if found else []
    return by_name("\n".join([*told(led), *accused]), trace.scenario.names)


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
    text = "\n".join(shown(found, one, other, names=(str(asked.one), str(asked.other))))
    print(by_name(text, max(one.scenario.names, other.scenario.names, key=len)))
    return VIOLATED
