"""What a run looks like to a person: one line when it passed, the whole story when it did not.

Invariant: a failure names seed, rule and virtual time, shows what led to it, and the command that
repeats it. Neighbours: `world` gives verdicts, `command` prints.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from protocol.primitives import NS_PER_S
from simulations.figures import FIGURES
from simulations.lineage import told
from simulations.scenario import Scenario
from simulations.trace import Line
from simulations.visible import visible
from simulations.world import MEASURED, Verdict, Violation

PROGRAM = "python -m simulations"
LINES_SHOWN = 25
_NAMED = re.compile(r"\b(?:n[0-9]+|\w{26})\b")  # nodes and tasks
# There are most of these; what a Confirm says stands in the line of the accusation.
DULL = frozenset({"Ping", "Ack", "Alive", "Load", "Ask", "Answer", "Digest", "Confirm", "lost"})
TELLING_INPUTS = frozenset({"LinkChanged", "Lagged", "AgentFinished", "AgentFailed", "Advertise", "Leave", "Drain"})


def passed(name: str, scenario: Scenario, verdict: Verdict) -> str:
    """One line, and one each for promises, figures and sights."""
    kept = ", ".join(f"{rule} {at_s:.2f} s" for rule, at_s in verdict.kept.items())
    expect = scenario.expect
    sights = ", ".join(f"{sight} ×{verdict.sights.get(sight, 0)}" for sight in expect.sometimes)
    sent = sum(verdict.sent.values())
    lines = [
        f"{name}: passed. seed {verdict.seed}, {scenario.nodes} nodes, {verdict.ended_s:g} s, {verdict.steps} steps, "
        f"{sent} messages, digest {verdict.digest}"
    ]
    if kept:
        lines.append(f"  kept after the last fault: {kept}")
    if verdict.figures:
        said = (f"{figure} {value:.6g} of {expect.figures[figure]:g}" for figure, value in verdict.figures.items())
        lines.append(f"  measured: {', '.join(said)}")
    if sights:
        lines.append(f"  seen: {sights}")
    return "\n".join(lines)


def failed(
    name: str,
    verdict: Verdict,
    *,
    ancestors: Sequence[Line] = (),
    options: Sequence[str] = (),
    program: str = PROGRAM,
) -> str:
    """The rule, when, what led to it, the last things that happened, and how to see it again and make it small."""
    lines: list[str] = []
    for violation in verdict.violations:
        lines.append(f"{name}: VIOLATED {violation.rule} at {violation.at_s:.6f} s, seed {verdict.seed}")
        lines.append(f"  {violation.what}")
        led = [line for line in ancestors if line.seq in violation.ancestry]
        if led:
            lines += ["  what led to it, the last first:", *(f"  {line}" for line in told(led))]
        story = [f"  {line}" for line in _story(verdict.lines, violation)]
        lines += ["  what happened before it:", *story] if story else []
    lines.append(f"  repeat: {repeat(name, verdict.seed, options=options, program=program)}")
    lines += further(name, verdict.seed, options=options, program=program)
    return visible("\n".join(lines))


def violated(violation: Violation) -> str:
    """A broken rule, on one line."""
    return visible(f"{violation.rule} at {violation.at_s:.6f} s: {violation.what}").replace("\n", r"\u000a")


def further(name: str, seed: int, *, options: Sequence[str] = (), program: str = PROGRAM) -> list[str]:
    """The commands that look into a failure and make it small."""
    trace = shlex.quote(f"{Path(name).stem}-{seed}.trace")
    again = repeat(name, seed, options=options, program=program)
    return [
        f"  replay: {again} --trace {trace}; {program} replay {trace}",
        f"  shrink: {repeat(name, seed, options=options, program=program, verb='shrink')}",
    ]


def repeat(name: str, seed: int, *, options: Sequence[str] = (), program: str = PROGRAM, verb: str = "run") -> str:
    """The command that runs this very world again."""
    return shlex.join([*program.split(), verb, name, "--seed", str(seed), *options])


def unseen(name: str, scenario: Scenario, verdicts: list[Verdict]) -> list[str]:
    """What should have happened sometimes, and did in no run."""
    missing = [
        sight for sight in scenario.expect.sometimes if not any(verdict.sights.get(sight, 0) for verdict in verdicts)
    ]
    return [f"{name}: {sight} was never seen, in {len(verdicts)} runs" for sight in missing]


def _story(lines: tuple[Line, ...], violation: Violation) -> list[str]:
    """The last lines before a violation that tell something: of faults, and of the nodes and tasks it names."""
    if is_of_the_whole(violation):
        return []
    until_ns = int(violation.at_s * NS_PER_S) + 1
    named = frozenset(_NAMED.findall(violation.what))
    telling = [line for line in lines if line.at_ns <= until_ns and is_telling(line)]
    if named:
        telling = [line for line in telling if line.kind == "fault" or {line.node, *_NAMED.findall(line.what)} & named]
    return [str(line) for line in telling[-LINES_SHOWN:]]


def is_of_the_whole(violation: Violation) -> bool:
    """Is this one of a whole run, such as a figure that was not measured, so that no line of it led there?"""
    return not violation.ancestry and (violation.rule == MEASURED or violation.rule in FIGURES)


def is_telling(line: Line) -> bool:
    """Does this line say more than that time passes?"""
    first = line.what.split(" ", 1)[0]
    if line.kind == "input":
        return first in TELLING_INPUTS
    if line.kind == "stored":
        return not first.startswith("node.")
    return line.kind not in ("lost", "absent") and first not in DULL
