"""Two traces, or a trace and the same world run again: where they first part.

Invariant: everything is compared, the content of messages by check sum. Neighbours: `recorded`
opens, `lineage` says what led to a difference; `command` prints.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

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

    `watch` is told what the rules are told. Raises ScenarioError where a line of the trace is none.
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
    rest = next(kept, None)
    if until_s is not None and (rest is None or isinstance(rest, End) or rest.t > ns(until_s)):
        return verdict
    end = End(verdict.digest, verdict.violations)
    return verdict if rest == end else Parting(rest, end)


def parting(one: Recorded, other: Recorded) -> Parting | None:
    """Where two traces first differ; None when they are the same from beginning to end."""
    pairs: Iterator[tuple[Record | End | None, Record | End | None]] = zip_longest(one.records(), other.records())
    return next((Parting(*pair) for pair in pairs if pair[0] != pair[1]), None)


def shown(found: Parting, one: Recorded, other: Recorded | None, *, names: tuple[str, str]) -> list[str]:
    """A parting for people: both lines, and what led to each; `other` is None when it was a run."""
    lines = [f"{name}: {_said(each)}" for name, each in zip(names, (found.one, found.other), strict=True)]
    causes = [each.cause if isinstance(each, Record) else 0 for each in (found.one, found.other)]
    if isinstance(found.one, Record) and isinstance(found.other, Record):
        lines.append(f"they differ in {', '.join(_differing(found.one, found.other))}")
    if causes[0]:
        lines += ["what led to the first:", *told(chain(one, causes[0], count=ANCESTORS - 1))]
    if causes[1] and causes[1] != causes[0]:
        # All lines before the parting are in both, so that a chain of a run can be read from the trace it left.
        lines += ["what led to the second:", *told(chain(other or one, causes[1], count=ANCESTORS - 1))]
    return lines


def _differing(one: Record, other: Record) -> list[str]:
    """What differs, where both lines may read the same: a time is shown in microseconds, and bytes are not shown."""
    named = ["node", "kind", "cause", "what"]
    found = [f"t ({one.t} and {other.t} ns)"] if one.t != other.t else []
    found += [name for name in named if getattr(one, name) != getattr(other, name)]
    if (one.size, one.crc) != (other.size, other.crc):
        found.append(f"the bytes ({one.size} with sum {one.crc:08x}, and {other.size} with {other.crc:08x})")
    return found


def _said(record: Record | End | None) -> str:
    match record:
        case None:
            return "nothing: it has ended"
        case End():
            broken = ", ".join(each.rule for each in record.broken)
            return visible(f"the end, digest {record.digest}, {f'broken: {broken}' if broken else 'nothing broken'}")
        case Record():
            return f"{record.line()}  (because of {record.cause})"
