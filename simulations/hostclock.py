"""The two clocks of one host: a monotonic one with an origin of its own, and a wall clock that somebody may set.

Invariant: both go on with the world's time; only the wall clock can be wrong. Neighbours: `host` reads them,
`havoc` sets them, `acquainted` lets a host live before the world's time begins.
"""

from protocol.primitives import NS_PER_MS, NS_PER_S, Instant
from simulations.timeline import Timeline

EPOCH_MS = 1_700_000_000_000  # the wall clock when the world begins


class HostClock:
    """What the clocks of one host say. `early_ns`: it is so long before the world's time there."""

    def __init__(self, timeline: Timeline, *, origin_ns: int) -> None:
        self._timeline = timeline
        self._set: tuple[float, float, int] | None = None  # seconds ahead of the world's, drift, and since when
        self.origin_ns = origin_ns  # the monotonic clock when the world begins
        self.early_ns = 0
        self.set_ns = 0  # when the wall clock was last set

    def now(self) -> Instant:
        """Both of them."""
        now_ns = self._timeline.now_ns - self.early_ns
        ahead_ms = 0 if self._set is None else round(self.ahead_s * 1_000)
        return Instant(now_ns + self.origin_ns, EPOCH_MS + now_ns // NS_PER_MS + ahead_ms)

    @property
    def ahead_s(self) -> float:
        """How far the wall clock is ahead of the world's."""
        if self._set is None:
            return 0.0
        ahead_s, drift, since_ns = self._set
        return ahead_s + drift * (self._timeline.now_ns - since_ns) / NS_PER_S

    def set(self, *, ahead_s: float = 0.0, drift: float = 0.0, since_ns: int | None = None) -> None:
        """Somebody sets the wall clock; right again, unless told otherwise. The monotonic one goes on.

        With `since_ns` it stands where it would if it had been set then.
        """
        self.set_ns = self._timeline.now_ns
        self._set = (ahead_s, drift, self.set_ns if since_ns is None else since_ns) if ahead_s or drift else None
