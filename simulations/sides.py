"""Who stands on which side of a fault that is one of links: what keeps whom apart, and how that is told.

Invariant: what is told is what is carried out; where nodes reach some and not others, as in a ring, there are no
sides. Neighbours: `faults` says what there is, `havoc` carries it out, `reports` shows it.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias, assert_never

from simulations.crowds import members, spans
from simulations.faults import Fault, Links, OneWay, Partition
from simulations.network import RECORD

Sides: TypeAlias = tuple[tuple[str, ...], ...]

SPANS_SHOWN, SIDES_SHOWN = 4, 5  # names and spans of one side; sides
_BETWEEN: Mapping[str, str] = {"one-way": " → ", "links": " – "}


def apart(fault: Partition, names: tuple[str, ...]) -> tuple[dict[str, int], frozenset[tuple[str, str]]]:
    """By place its side, and from whom to whom nothing passes besides."""
    groups: dict[str, int] = {}
    pairs: set[tuple[str, str]] = set()
    match fault.shape:
        case _ if fault.groups:
            groups = {name: number for number, group in enumerate(fault.groups) for name in members(group, names)}
        case None | "halves":
            groups = {name: int(number >= len(names) / 2) for number, name in enumerate(names)}
        case "isolate" | "swizzle":
            groups = {name: number for number, name in enumerate(members(fault.nodes, names), start=1)}
        case "ring":
            reach = len(names) // 4
            for place, name in enumerate(names):
                far = [abs(other - place) for other in range(len(names))]
                pairs |= {(name, names[n]) for n, away in enumerate(far) if min(away, len(names) - away) > reach}
        case "bridge":
            one, other = _banks(fault, names)
            pairs = {pair for a in one for b in other for pair in ((a, b), (b, a))}
        case _:
            assert_never(fault.shape)
    groups[RECORD] = groups.get(fault.record, 0)
    cut_off = [src for src, dst in pairs if dst == fault.record]
    pairs |= {pair for name in cut_off for pair in ((name, RECORD), (RECORD, name))}
    return groups, frozenset(pairs)


def sides_of(fault: Fault, names: tuple[str, ...]) -> Sides:
    """Each side as names and spans, with the record where it stands; nothing for what has no sides."""
    match fault:
        case Partition(shape="ring"):
            return ()
        case Partition(shape="bridge"):
            found = [list(bank) for bank in _banks(fault, names)]
            for bank in found if fault.record else ():
                bank += [RECORD] * (fault.record in bank)
        case Partition():
            places, _ = apart(fault, names)
            found = [[] for _ in range(max(places.values()) + 1)]
            for place in (*names, RECORD):
                found[places.get(place, 0)].append(place)
        case OneWay(src=one, dst=other) | Links(one=one, other=other):
            found = [list(members(one, names)), list(members(other, names))]
        case _:
            return ()
    return tuple(_as_spans(side) for side in found if side)


def told(kind: str, sides: Sides) -> str:
    """Who was cut off from whom by a fault of this kind; of much, the first."""
    shown = []
    for side in sides[:SIDES_SHOWN]:
        more = f" and {len(side) - SPANS_SHOWN} more" if len(side) > SPANS_SHOWN else ""
        shown.append(" ".join(side[:SPANS_SHOWN]) + more)
    rest = len(sides) - SIDES_SHOWN
    return _BETWEEN.get(kind, " / ").join([*shown, *[f"{rest} more sides"] * (rest > 0)])


def left_out(faults: int) -> str:
    """Of how many faults the sides are not told, as a sentence; nothing where it is none."""
    counted = "one fault" if faults == 1 else f"{faults:,} faults"
    return f"Of {counted} it is left out who was cut off from whom." if faults else ""


def _banks(fault: Partition, names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Of a bridge: who reaches only one side."""
    rest = [name for name in names if name != members(fault.nodes, names)[0]]
    return rest[: len(rest) // 2], rest[len(rest) // 2 :]


def _as_spans(places: Iterable[str]) -> tuple[str, ...]:
    named = list(places)
    numbers = sorted({int(name[1:]) for name in named if name != RECORD})
    return (*spans(numbers), *[RECORD] * (RECORD in named))
