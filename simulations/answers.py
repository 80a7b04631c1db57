"""What `show`, `explain` and `diff` answer a program: JSON on one line.

Invariant: says what people are told, as values; lines of a trace are those of reports. Neighbours: `command` and
`postmortem` print.
"""

from collections.abc import Sequence

import msgspec
from msgspec import structs

from protocol.primitives import NS_PER_S
from simulations.comparison import Parting, differing, led
from simulations.deaths import Death, died_in
from simulations.lineage import collected
from simulations.recorded import End, Record, Recorded
from simulations.reports.building import step_of
from simulations.reports.shapes import Broken, Step
from simulations.suspicions import Suspicion
from simulations.trace import Line


def as_json(answer: object) -> str:
    """One line."""
    return msgspec.json.encode(answer).decode()


def chain_of(lines: Sequence[Line], node: str, found: Sequence[Death]) -> dict[str, object]:
    """A line and what led to it, the oldest first; where it is the death of a node, who had accused that."""
    return {"lines": [step_of(line) for line in lines], **_deaths(node, found)}


def broken_of(trace: Recorded, end: End) -> dict[str, object]:
    """What broke a run, and what led to each; where that is the death of a node, who had accused it."""
    broken = []
    for each in end.broken:
        lines = collected(trace, each.ancestry)
        what = Broken(each.rule, each.at_s, each.what, tuple(step_of(line) for line in lines))
        broken.append({**structs.asdict(what), **_deaths(*died_in(trace, lines))})
    return {"broken": broken}


def deaths_of(node: str, found: Sequence[Death], doubts: Sequence[Suspicion]) -> dict[str, object]:
    """Every death of a node: who said so first, who had accused it and having heard what; and who suspected it."""
    suspected = [
        {
            "line": _step(each.line),
            "accusers": sorted(each.accusers),
            "believers": sorted(each.believers),
            "open": sorted(each.open),
            "ended": each.last and _step(each.last),
        }
        for each in doubts
    ]
    return {**_deaths(node, found), "suspected": suspected}


def parted(found: Parting | None, one: Recorded, other: Recorded | None = None) -> dict[str, object]:
    """Where two traces part, in what, and what led to each line; `other` is None when it was a run of the same world.

    `t` is in nanoseconds.
    """
    second = other or one
    return {
        "same": found is None,
        "seeds": [one.header.seed, second.header.seed],
        "is_of_one_scenario": one.scenario == second.scenario,
        "one": found and _place(found.one),
        "other": found and _place(found.other),
        "differs": differing(found) if found else {},
        "led": [[step_of(line) for line in lines] for lines in (led(found, one, other) if found else ((), ()))],
    }


def _deaths(node: str, found: Sequence[Death]) -> dict[str, object]:
    deaths = [
        {
            "line": _step(death.line),
            "accusers": death.accusers,
            "evidence": death.evidence,
            "after_s": death.after_s,
            "count": death.count,
            "believers": death.believers,
            "last_s": death.last_ns / NS_PER_S,
            "done": [_step(record) for record in death.done],
            "accusations": [
                {"line": _step(each.line), "evidence": each.evidence, "heard": each.heard}
                for each in death.accusations.values()
            ],
        }
        for death in found
    ]
    return {"node": node, "deaths": deaths}


def _place(record: Record | End | None) -> Step | End | None:
    return _step(record) if isinstance(record, Record) else record


def _step(record: Record) -> Step:
    return step_of(record.line())
