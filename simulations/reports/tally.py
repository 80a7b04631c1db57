"""How long things took: counted, not kept.

Invariant: bounded whatever the number of things; three digits of each time are kept, so two tallies
can be added up. Neighbours: `times` and `usage` count, `shapes` is what is shown.
"""

from collections.abc import Mapping

from simulations.reports.shapes import Distribution

EXACT_US = 1_000  # below this every microsecond counts by itself
US_PER_S = 1_000_000
POINTS_MAX = 100  # of a curve; more cannot be seen


class Tally:
    """Microseconds, and how often each was measured."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})
        self.most_s = 0.0  # of those that were added one by one

    def add(self, took_s: float) -> None:
        """One more."""
        self.most_s = max(self.most_s, took_s)
        us = _rounded(round(took_s * US_PER_S))
        self.counts[us] = self.counts.get(us, 0) + 1

    def merge(self, counts: Mapping[int, int]) -> None:
        """All of another tally."""
        for us, count in counts.items():
            self.counts[us] = self.counts.get(us, 0) + count

    def above(self, least_s: float) -> dict[int, int]:
        """Of these alone that took longer."""
        return {us: count for us, count in self.counts.items() if us / US_PER_S > least_s}

    def shown(self, name: str, about: str, *, never: int = 0) -> Distribution:
        """As it stands in a report, where so many more never came to an end."""
        return distribution(name, about, self.counts, never=never)


def distribution(name: str, about: str, counts: Mapping[int, int], *, never: int = 0) -> Distribution:
    """The curve of what was counted, and the numbers that are quoted from it."""
    measured = sum(counts.values())
    total = measured + never
    if not measured:
        return Distribution(name, about, 0, never=never)
    steps: list[tuple[float, float]] = []  # so large a share took so long at most
    done, drawn = 0, 0.0
    for us in sorted(counts):
        done += counts[us]
        if done / total - drawn >= 1 / POINTS_MAX or done == measured or not steps:
            drawn = done / total
            steps.append((us / US_PER_S, round(drawn, 4)))
    return Distribution(
        name,
        about,
        measured,
        mean_s=round(sum(us * count for us, count in counts.items()) / measured / US_PER_S, 6),
        p50_s=_quantile(counts, total, 0.5),
        p90_s=_quantile(counts, total, 0.9),
        p99_s=_quantile(counts, total, 0.99),
        max_s=max(counts) / US_PER_S,
        curve=tuple(steps),
        never=never,
    )


def _quantile(counts: Mapping[int, int], total: int, share: float) -> float | None:
    """The least time that so large a share did not exceed; None where fewer came to an end."""
    done = 0
    for us in sorted(counts):
        done += counts[us]
        if done >= share * total:
            return us / US_PER_S
    return None


def _rounded(us: int) -> int:
    unit = 1
    while us // unit >= EXACT_US:
        unit *= 10
    return us // unit * unit
