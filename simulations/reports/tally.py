"""How long things took: counted, not kept.

Invariant: bounded whatever the number of things; three digits of each time are kept, so two tallies
can be added up. Neighbours: `times` and `usage` count, `shapes` is what is shown.
"""

from collections.abc import Iterable, Mapping

from simulations.reports.shapes import Distribution

EXACT_US = 1_000  # below this every microsecond counts by itself
US_PER_S = 1_000_000
POINTS_MAX = 100  # of a curve; more cannot be seen


class Tally:
    """Microseconds, and how often each was measured."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    def add(self, took_s: float) -> None:
        """One more."""
        us = _rounded(round(took_s * US_PER_S))
        self.counts[us] = self.counts.get(us, 0) + 1

    def merge(self, counts: Mapping[int, int]) -> None:
        """All of another tally."""
        for us, count in counts.items():
            self.counts[us] = self.counts.get(us, 0) + count

    def shown(self, name: str, about: str) -> Distribution:
        """As it stands in a report."""
        return distribution(name, about, self.counts)


def tally_of(seconds: Iterable[float]) -> Tally:
    """All of these."""
    tally = Tally()
    for took_s in seconds:
        tally.add(took_s)
    return tally


def distribution(name: str, about: str, counts: Mapping[int, int]) -> Distribution:
    """The curve of what was counted, and the numbers that are quoted from it."""
    total = sum(counts.values())
    if not total:
        return Distribution(name, about, 0)
    steps: list[tuple[float, float]] = []  # so large a share took so long at most
    done, drawn = 0, 0.0
    for us in sorted(counts):
        done += counts[us]
        if done / total - drawn >= 1 / POINTS_MAX or done == total or not steps:
            drawn = done / total
            steps.append((us / US_PER_S, round(drawn, 4)))
    return Distribution(
        name,
        about,
        total,
        mean_s=round(sum(us * count for us, count in counts.items()) / total / US_PER_S, 6),
        p50_s=_quantile(counts, total, 0.5),
        p90_s=_quantile(counts, total, 0.9),
        p99_s=_quantile(counts, total, 0.99),
        max_s=max(counts) / US_PER_S,
        curve=tuple(steps),
    )


def _quantile(counts: Mapping[int, int], total: int, share: float) -> float:
    """The least time that so large a share did not exceed."""
    done = 0
    for us in sorted(counts):
        done += counts[us]
        if done >= share * total:
            return us / US_PER_S
    return max(counts) / US_PER_S


def _rounded(us: int) -> int:
    unit = 1
    while us // unit >= EXACT_US:
        unit *= 10
    return us // unit * unit
