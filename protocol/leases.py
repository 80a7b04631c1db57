"""How long an exclusive award is its owner's for sure, and how that grows while the store is slow.

Many such awards on one store would each be renewed too late, lapse, and be begun again, at the price of more
writes. With leases of six times the slowest write they take at most half of what the store can do. A longer
lease holds once the write that says so stands, a shorter one from when it leaves: nobody who reads the record
thinks it shorter than its owner does. Pure leaf of `grants`.
"""

from msgspec import Struct

from protocol import limits
from protocol.primitives import NS_PER_S, Instant, Mono

RENEWALS = 3  # in a lease: one may be lost, and one be late
SPARE = 2  # times what so many renewals take
STRETCH_MAX = 4  # times the lease that the award began with
KEPT_S = 30.0  # that a slow write is remembered: the next may be slow as well
SHRINK = 0.75  # at least of what it was, so that an award which is renewed in time never lapses by it


def longest_s(least_s: float) -> float:
    """How long the lease of an award may become that began with this one, seconds."""
    return min(STRETCH_MAX * least_s, limits.LEASE_MS_MAX / 1_000)


class Stretch(Struct):
    """The slowest write of an exclusive award lately. Mutable."""

    slowest_s: float = 0.0
    slowest_at: Mono = 0

    def took(self, span_s: float, now: Instant) -> None:
        """A write of an award took so long, from leaving to its answer."""
        if span_s >= self.slowest_s or now.since_s(self.slowest_at) >= KEPT_S:
            self.slowest_s, self.slowest_at = span_s, now.mono_ns

    def lease_s(self, least_s: float, now: Instant) -> float:
        """What an award that began with a lease of `least_s` should have now, seconds."""
        slowest_s = self.slowest_s if now.since_s(self.slowest_at) < KEPT_S else 0.0
        return min(max(least_s, SPARE * RENEWALS * slowest_s), longest_s(least_s))


class Lease(Struct):
    """One award's: it is ours for so long from the last write by which it stood as ours. Mutable."""

    least_s: float  # the lease that the award began with; its agent goes by that
    lasts_s: float
    sure: Mono  # when that write left
    tried: Mono | None = None  # when the write that is under way left
    renew_at: Mono = 0

    @property
    def ends(self) -> Mono:
        """When nothing says any more that the award is ours."""
        return self.sure + int(self.lasts_s * NS_PER_S)

    @property
    def hopeless_at(self) -> Mono:
        """When a write has taken longer than any lease of it could be."""
        return self.sure + int(longest_s(self.least_s) * NS_PER_S)

    @property
    def is_renewing(self) -> bool:
        """True while the award is being written anew."""
        return self.tried is not None

    def is_brief(self, wanted_s: float) -> bool:
        """True when it would be over before it is renewed, as the store is now."""
        return SPARE * self.lasts_s < wanted_s

    def renewing(self, wanted_s: float, now: Instant) -> float:
        """The award is written anew now: with this lease, seconds."""
        if wanted_s < self.lasts_s:
            is_fresh = now.since_s(self.sure) < self.lasts_s / 2
            wanted_s = self.lasts_s = max(wanted_s, SHRINK * self.lasts_s) if is_fresh else self.lasts_s
        self.tried, self.renew_at = now.mono_ns, now.after(self.lasts_s / RENEWALS)
        return wanted_s

    def renewed(self, lasts_s: float) -> None:
        """That write stands; it counts from when it left."""
        if self.tried is not None:
            self.lasts_s, self.sure, self.tried = lasts_s, self.tried, None
            self.renew_at = self.sure + int(lasts_s / RENEWALS * NS_PER_S)

    def not_renewed(self) -> None:
        """That write does not stand."""
        self.tried = None
