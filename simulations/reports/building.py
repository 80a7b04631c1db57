"""A report of one run, put together from its verdict and from who watched it.

Invariant: computes, decides nothing and draws nothing; the same run gives an equal report.
Neighbours: `observer` has watched, `shapes` says what stands where.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from protocol.primitives import NS_PER_S
from simulations.checks import CHECKS
from simulations.ends import ENDS
from simulations.report import is_of_the_whole, is_telling
from simulations.reports.observer import Observer
from simulations.reports.shapes import (
    Broken,
    Commands,
    Rule,
    RunReport,
    Setting,
    SpaceTime,
    Step,
)
from simulations.scenario import Scenario
from simulations.signing import by_name
from simulations.trace import Line
from simulations.world import HAPPEN, MEASURED, Verdict
from simulations.written import written

STEPS_MAX = 200  # of a diagram
LANES_MAX = 24
HELD, BROKEN, CUT_SHORT, SEEN, NOT_SEEN = "held", "broken", "cut short", "seen", "not seen"
_LETTERED = re.compile(r"((?:[A-Z]\d+(?:, )?)+): (.+)", re.DOTALL)
_UNASKED = {
    HAPPEN: "every fault begins, and those that promises wait for end",
    MEASURED: "what has a bound can be measured",
}
_SENDER = re.compile(r"\bfrom (\S+)$")


class Occasion(Struct, frozen=True):
    """What a report is about, besides what happened."""

    name: str
    commands: Commands
    is_repeatable: bool | None = None
    shrunk_from: str = ""
    drawn: str = ""


def run_report(
    occasion: Occasion, scenario: Scenario, verdict: Verdict, observer: Observer, *, ancestors: Sequence[Line] = ()
) -> RunReport:
    """One run. `ancestors` are the lines that led to what is broken."""
    ended_s = observer.end()
    return RunReport(
        name=occasion.name,
        about=scenario.about,
        seed=verdict.seed,
        passed=not verdict.violations and occasion.is_repeatable is not False,
        is_repeatable=occasion.is_repeatable,
        digest=verdict.digest,
        nodes=scenario.nodes,
        run_s=scenario.run_s,
        ended_s=round(ended_s, 6),
        steps=verdict.steps,
        messages=sum(verdict.sent.values()),
        commands=occasion.commands,
        rules=rules(scenario, verdict),
        broken=_broken(verdict, ancestors, scenario.names),
        faults=tuple(observer.spans),
        faults_left_out=observer.spans_left_out,
        sides_left_out=observer.sides_left_out,
        standings=observer.views.standings(scenario.names, ended_s),
        agreement=observer.views.agreed(observer.column_s),
        detection=observer.times.shown_detection(),
        spread=observer.times.shown_spread(),
        judged=observer.times.judged,
        traffic=observer.messages.shown(),
        work=observer.tasks.shown(),
        space_time=_space_time(verdict, ancestors, scenario.names),
        shrunk_from=occasion.shrunk_from,
        drawn=occasion.drawn,
        scenario=written(scenario),
        settings=settings(scenario),
    )


# --- verdicts


def rules(scenario: Scenario, verdict: Verdict) -> tuple[Rule, ...]:
    """Every rule, promise and sight of a scenario, and what came of it."""
    expect = scenario.expect
    first = {violation.rule: violation.at_s for violation in reversed(verdict.violations)}
    rows = [_always(name, first.pop(name, None)) for name in expect.always]
    for name, within_s in expect.eventually.items():
        letter, about = said_of(ENDS[name])
        broken_s, kept_s = first.pop(name, None), verdict.kept.get(name)
        is_cut = kept_s is None or verdict.ended_s < scenario.run_s  # a promise is kept to the end, or not at all
        outcome = BROKEN if broken_s is not None else CUT_SHORT if is_cut else HELD
        at_s = broken_s if broken_s is not None else None if is_cut else kept_s
        rows.append(Rule(name, "eventually", letter, about, outcome, _rounded(at_s), within_s))
    for name in expect.sometimes:
        count = verdict.sights.get(name, 0)
        rows.append(Rule(name, "sometimes", "", "", SEEN if count else NOT_SEEN, count=count))
    for name in expect.never:
        broken_s = first.pop(f"never {name}", None)
        rows.append(Rule(name, "never", "", "", HELD if broken_s is None else BROKEN, _rounded(broken_s)))
    for name, most in expect.figures.items():
        value, broken_s = verdict.figures.get(name), first.pop(name, None)
        about = f"{'not measured' if value is None else f'{value:.6g}'}, at most {most:g}"
        outcome = BROKEN if broken_s is not None else CUT_SHORT if value is None else HELD
        rows.append(Rule(name, "figure", "", about, outcome, _rounded(broken_s)))
    return (*rows, *(structs.replace(of_the_run(name), at_s=_rounded(at_s)) for name, at_s in first.items()))


def of_the_run(name: str) -> Rule:
    """What is broken although no scenario asks for it."""
    return Rule(name, "unasked", "", _UNASKED.get(name, ""), BROKEN)


def _always(name: str, broken_s: float | None) -> Rule:
    letter, about = said_of(CHECKS[name])
    return Rule(name, "always", letter, about, HELD if broken_s is None else BROKEN, _rounded(broken_s))


def said_of(declared: Callable[..., object]) -> tuple[str, str]:
    """The letters of an invariant and its sentence, as the rule itself says."""
    text = (declared.__doc__ or "").strip().split("\n\n")[0]
    found = _LETTERED.fullmatch(text)
    letter, about = (found[1], found[2]) if found else ("", text)
    return letter, " ".join(about.replace("`", "").split())


def _rounded(at_s: float | None) -> float | None:
    return None if at_s is None else round(at_s, 6)


# --- what led to a break


def _broken(verdict: Verdict, ancestors: Sequence[Line], names: tuple[str, ...]) -> tuple[Broken, ...]:
    return tuple(
        Broken(
            violation.rule,
            round(violation.at_s, 6),
            violation.what,
            tuple(_named(line, names) for line in ancestors if line.seq in violation.ancestry),
        )
        for violation in verdict.violations
    )


def step_of(line: Line) -> Step:
    """A line of a trace."""
    return Step(line.seq, round(line.at_ns / NS_PER_S, 9), line.node, line.kind, line.what, line.cause)


def _named(line: Line, names: tuple[str, ...]) -> Step:
    """A line with the names of nodes in the place of their ids."""
    step = step_of(line)
    return structs.replace(step, what=by_name(step.what, names))


def _space_time(verdict: Verdict, ancestors: Sequence[Line], names: tuple[str, ...]) -> SpaceTime | None:
    """The last lines before the first break that lines led to which tell something, and its ancestors among them."""
    violation = next((each for each in verdict.violations if not is_of_the_whole(each)), None)
    if violation is None:
        return None
    until_ns = int(violation.at_s * NS_PER_S) + 1
    ancestry = frozenset(violation.ancestry)
    seen = {line.seq: line for line in (*ancestors, *verdict.lines) if line.at_ns <= until_ns}
    lines = [seen[seq] for seq in sorted(seen)]
    telling = [line for line in lines if line.seq in ancestry or is_telling(line)][-STEPS_MAX:]
    lanes = _lanes(telling, ancestry)
    kept = [line for line in telling if line.node in lanes or line.kind == "fault" or line.seq in ancestry]
    return SpaceTime(
        lanes,
        tuple(_named(line, names) for line in kept),
        tuple(seq for seq in violation.ancestry if any(line.seq == seq for line in kept)),
        kept[-1].seq - kept[0].seq + 1 - len(kept) if kept else 0,
    )


def _lanes(lines: Sequence[Line], ancestry: frozenset[int]) -> tuple[str, ...]:
    """The nodes that have a part, those first that led to the break and those that did most; in their order."""
    weight: dict[str, int] = {}
    for line in lines:
        sender = sender_of(line.what) if line.kind == "message" else ""
        for node in (line.node, sender):
            if node and node not in ("world", "client"):
                weight[node] = weight.get(node, 0) + (1 if line.seq not in ancestry else STEPS_MAX)
    chosen = sorted(weight, key=lambda node: (-weight[node], _number(node)))[:LANES_MAX]
    return tuple(sorted(chosen, key=_number))


def sender_of(what: str) -> str:
    """Who sent the message that a line of the trace speaks of."""
    found = _SENDER.search(what)
    return found[1] if found else ""


def _number(node: str) -> tuple[int, str]:
    digits = node.lstrip("n")
    return (int(digits) if digits.isdecimal() else 0, node)


# --- settings in full


def settings(scenario: Scenario) -> tuple[Setting, ...]:
    """Every key of the scenario and every setting of a node, and whether it stands at its default."""
    plain = Scenario(about="", nodes=scenario.nodes, run_s=scenario.run_s)
    return (*_compared(scenario, plain, ""), *_compared(scenario.settings(), plain.settings(), "node."))


def _compared(value: Struct, usual: Struct, prefix: str) -> Iterator[Setting]:
    defaults = dict(_flat(msgspec.to_builtins(usual), prefix))
    for key, each in _flat(msgspec.to_builtins(value), prefix):
        if key != "about":
            text = msgspec.json.encode(each).decode()
            yield Setting(key, text, key in defaults and defaults[key] == each)


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
