"""Two traces, or a trace and the same world run again: where they first part.

Invariant: everything is compared, the content of messages by check sum. Neighbours: `recorded`
opens, `lineage` says what led to a difference; `postmortem` prints.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from msgspec import Struct, structs

from simulations.lineage import chain, told
from simulations.recorded import End, Record, Recorded, record_of
from simulations.setting import Check, Setting
from simulations.timeline import ns
from simulations.trace import ANCESTORS, Line
from simulations.visible import visible
from simulations.world import Verdict, World


class Parting(Struct, frozen=True):
    """The first place at which two differ. None where one has ended."""

    one: Record | End | None
    other: Record | End | None


class _Parted(Exception):
    def __init__(self, parting: Parting) -> None:
        super().__init__()
        self.parting = parting


def replayed(
    trace: Recorded,
    *,
    until_s: float | None = None,
    heed: Callable[[Line], object] | None = None,
    watch: Sequence[Callable[[Setting], Check]] = (),
) -> Verdict | Parting:
    """The world of a trace once more, held against it line by line; `heed` gets every line up to a difference.

    Of a part nothing is said to be broken, for what is promised of the end is not due by then. `watch` is told what
    the rules are told. Raises ScenarioError where a line of the trace is none.
    """
    scenario = trace.scenario
    if until_s is not None:
        scenario = structs.replace(scenario, run_s=min(until_s, scenario.run_s))
    kept = trace.records()

    def compare(line: Line) -> None:
        expected, found = next(kept, None), record_of(line)
        if expected != found:
            raise _Parted(Parting(expected, found))
        if heed is not None:
            heed(line)

    try:
        verdict = World(scenario, seed=trace.header.seed, write=compare, watch=watch).run()
    except _Parted as parted:
        return parted.parting
    rest, end = next(kept, None), End(verdict.digest, verdict.violations)
    if rest == end:
        return verdict
    is_part = until_s is not None and until_s < trace.scenario.run_s
    if is_part and (rest is None or isinstance(rest, End) or rest.t > ns(scenario.run_s)):
        return structs.replace(verdict, violations=())
    return Parting(rest, end)


def parting(one: Recorded, other: Recorded) -> Parting | None:
    """Where two traces first differ; None when they are the same from beginning to end."""
    pairs: Iterator[tuple[Record | End | None, Record | End | None]] = zip_longest(one.records(), other.records())
    return next((Parting(*pair) for pair in pairs if pair[0] != pair[1]), None)


def shown(found: Parting, one: Recorded, other: Recorded | None, *, names: tuple[str, str]) -> list[str]:
    """A parting for people: both lines, and what led to each; `other` is None when it was a run."""
    lines = [f"{name}: {_said(each)}" for name, each in zip(names, (found.one, found.other), strict=True)]
    if isinstance(found.one, Record) and isinstance(found.other, Record):
        lines.append(f"they differ in {', '.join(_named(*each) for each in differing(found).items())}")
    first, second = led(found, one, other)
    if first:
        lines += ["what led to the first:", *told(first)]
    if second and second != first:
        lines += ["what led to the second:", *told(second)]
    return lines


def led(found: Parting, one: Recorded, other: Recorded | None) -> tuple[list[Line], list[Line]]:
    """What led to each line; nothing to one that has no cause. `other` is None when it was a run."""
    # All lines before the parting are in both, so that a chain of a run can be read from the trace it left.
    sides = ((one, found.one), (other or one, found.other))
    first, second = (
        chain(trace, each.cause, count=ANCESTORS - 1) if isinstance(each, Record) and each.cause else []
        for trace, each in sides
    )
    return first, second


def differing(found: Parting) -> dict[str, tuple[object, object]]:
    """What differs between two lines, by its name, of bytes their size and sum: lines that differ may read the same."""
    one, other = found.one, found.other
    if not (isinstance(one, Record) and isinstance(other, Record)):
        return {}
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in ("t", "node", "kind", "cause", "what")}
    pairs["bytes"] = (one.size, one.crc), (other.size, other.crc)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _named(name: str, pair: tuple[Any, Any]) -> str:
    """With its values, where a line does not show them: a time is shown in microseconds, and bytes are not shown."""
    one, other = pair
    match name:
        case "t":
            return f"t ({one} and {other} ns)"
        case "bytes":
            return f"the bytes ({one[0]} with sum {one[1]:08x}, and {other[0]} with {other[1]:08x})"
        case _:
            return name


def _said(record: Record | End | None) -> str:
    match record:
        case None:
            return "nothing: it has ended"
        case End():
            broken = ", ".join(each.rule for each in record.broken)
            return visible(f"the end, digest {record.digest}, {f'broken: {broken}' if broken else 'nothing broken'}")
        case Record():
            return f"{record.line()}  (because of {record.cause})"
