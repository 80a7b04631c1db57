"""What `show`, `explain` and `diff` answer a program: JSON on one line.

Invariant: says what people are told, as values; lines of a trace are those of reports. Neighbours: `command` prints.
"""

from collections.abc import Sequence

import msgspec

from simulations.comparison import Parting
from simulations.deaths import Death
from simulations.recorded import End, Record, Recorded
from simulations.reports.building import step_of
from simulations.reports.shapes import Broken, Step
from simulations.suspicions import Suspicion
from simulations.trace import Line
from simulations.world import Violation


def as_json(answer: object) -> str:
    """One line."""
    return msgspec.json.encode(answer).decode()


def chain_of(lines: Sequence[Line]) -> dict[str, object]:
    """A line and what led to it, the oldest first."""
    return {"lines": [step_of(line) for line in lines]}


def broken_of(broken: Sequence[tuple[Violation, Sequence[Line]]]) -> dict[str, object]:
    """What broke a run, and what led to each."""
    return {
        "broken": [
            Broken(each.rule, each.at_s, each.what, tuple(step_of(line) for line in led)) for each, led in broken
        ]
    }


def deaths_of(node: str, found: Sequence[Death], doubts: Sequence[Suspicion]) -> dict[str, object]:
    """Every death of a node: who said so first, who had accused it and having heard what; and who suspected it."""
    deaths = [
        {
            "line": _step(death.line),
            "accusers": death.accusers,
            "evidence": death.evidence,
            "believers": death.believers,
            "done": [_step(record) for record in death.done],
            "accusations": [
                {"line": _step(each.line), "evidence": each.evidence, "heard": each.heard}
                for each in death.accusations.values()
            ],
        }
        for death in found
    ]
    suspected = [
        {
            "line": _step(each.line),
            "accusers": sorted(each.accusers),
            "believers": sorted(each.believers),
            "ended": each.last and _step(each.last),
        }
        for each in doubts
    ]
    return {"node": node, "deaths": deaths, "suspected": suspected}


def parted(found: Parting | None, one: Recorded, other: Recorded | None = None) -> dict[str, object]:
    """Where two traces part; `other` is None when it was a run of the same world."""
    second = other or one
    return {
        "same": found is None,
        "seeds": [one.header.seed, second.header.seed],
        "is_of_one_scenario": one.scenario == second.scenario,
        "one": found and _place(found.one),
        "other": found and _place(found.other),
    }


def _place(record: Record | End | None) -> Step | End | None:
    return _step(record) if isinstance(record, Record) else record


def _step(record: Record) -> Step:
    return step_of(record.line())
