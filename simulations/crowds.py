"""Nodes by their names: one, a span of them, or all.

Invariant: what stands in a scenario names nodes that exist, and the order is that of their
numbers. Neighbours: `faults` and `network` name nodes; `scenario` checks them.
"""

import re
from collections.abc import Iterable, Mapping

ALL = "all"
REGION = "r1"  # where nodes stand that no region of the scenario names

_SPAN = re.compile(r"n([1-9][0-9]{0,4})(?:-n([1-9][0-9]{0,4}))?")


def span(text: str) -> tuple[str, ...]:
    """`n3` is itself, `n3-n6` four nodes; nothing when it is neither."""
    found = _SPAN.fullmatch(text)
    if found is None:
        return ()
    first, last = int(found[1]), int(found[2] or found[1])
    return tuple(f"n{number}" for number in range(first, last + 1))


def spans(numbers: Iterable[int]) -> tuple[str, ...]:
    """The nodes of these numbers, which rise, as few texts: 1, 2, 3 and 5 are `n1-n3`, `n5`."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        first = runs.pop()[0] if runs and runs[-1][1] == number - 1 else number
        runs.append((first, number))
    return tuple(f"n{first}" if first == last else f"n{first}-n{last}" for first, last in runs)


def members(texts: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """Everybody that these name among the nodes `names`, in the order in which they are named."""
    return tuple(name for text in texts for name in (names if text == ALL else span(text)))


class Places:
    """Which node stands in which region."""

    def __init__(self, regions: Mapping[str, Iterable[str]], names: Iterable[str] = ()) -> None:
        self._region_of = {name: region for region, texts in regions.items() for name in members(texts, ())}
        self._within: dict[str, list[str]] = {}
        for name in names:
            self._within.setdefault(self.region_of(name), []).append(name)

    def region_of(self, name: str) -> str:
        """The region of one node."""
        return self._region_of.get(name, REGION)

    def within(self, region: str) -> Iterable[str]:
        """All nodes of one region."""
        return self._within.get(region, ())
