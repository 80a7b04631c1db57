"""What was observed of runs: how long they take and how they end, and who let a lease lapse.

Invariant: only what this node saw itself; nobody's word for it. Bounded, the least recently seen dropped
first. Pure leaf: the holder feeds one for its own agents, the ledger one for the capabilities it watches.
"""

from math import exp2, sqrt
from typing import TypeAlias

from msgspec import Struct

from protocol.primitives import Instant, Mono, NodeId

TRACKS_MAX = 1_024
GAIN = 0.2  # of a new run in the mean: the last ten or so count
DEVIATION_GAIN = 0.25  # as a retransmission timer's (RFC 6298)
KEPT = 0.98  # of the count of ends with each new one: some fifty runs are remembered
HALF_LIFE_S = 600.0  # of a lapse
FORGOTTEN_S = 600.0  # without a run: who was slow, and got nothing since, may have been mended

BLAMELESS = frozenset({"agent_unavailable", "bad_input"})  # how a run fails by no doing of its agent

Key: TypeAlias = tuple[str, str]  # agent or node, or "" for whoever, and capability


class Track(Struct, frozen=True):
    """One kind of run, as seen lately. Times in milliseconds; ends are counted, the older the less."""

    latency_ms: float = 0.0
    deviation_ms: float = 0.0
    successes: float = 0.0
    failures: float = 0.0


class Performance:
    """Tracks by key."""

    def __init__(self) -> None:
        self._tracks: dict[Key, tuple[Track, Mono]] = {}

    def succeeded(self, key: Key, *, took_ms: float, now: Instant) -> None:
        """A run ended with a result."""
        old = self.of(key, now)
        took_ms = max(0.0, took_ms)
        if not old.successes:
            latency_ms, deviation_ms = took_ms, took_ms / 2
        else:
            latency_ms = old.latency_ms + GAIN * (took_ms - old.latency_ms)
            deviation_ms = old.deviation_ms + DEVIATION_GAIN * (abs(took_ms - old.latency_ms) - old.deviation_ms)
        track = Track(latency_ms, deviation_ms, KEPT * old.successes + 1.0, KEPT * old.failures)
        self._keep(key, track, now)

    def failed(self, key: Key, now: Instant) -> None:
        """A run ended without one, and that was the agent's doing."""
        old = self.of(key, now)
        track = Track(old.latency_ms, old.deviation_ms, KEPT * old.successes, KEPT * old.failures + 1.0)
        self._keep(key, track, now)

    def success(self, key: Key, now: Instant) -> float:
        """The sure share of runs that end well; 1.0 when nothing was seen."""
        track = self.of(key, now)
        return sure_success(track.successes, track.failures)

    def of(self, key: Key, now: Instant) -> Track:
        """What was seen; all zero when nothing was, or not lately."""
        track, at = self._tracks.get(key, (Track(), now.mono_ns))
        return track if now.since_s(at) < FORGOTTEN_S else Track()

    def _keep(self, key: Key, track: Track, now: Instant) -> None:
        self._tracks.pop(key, None)
        self._tracks[key] = track, now.mono_ns
        if len(self._tracks) > TRACKS_MAX:
            self._tracks.pop(next(iter(self._tracks)))


class Lapses:
    """Tasks that a node had accepted and then fell silent about, or had bid for and gave back; fading with time."""

    def __init__(self) -> None:
        self._seen: dict[NodeId, tuple[float, Mono]] = {}

    def count(self, node: NodeId, now: Instant) -> float:
        """How many, each halved every ten minutes."""
        lapses, at = self._seen.get(node, (0.0, now.mono_ns))
        return lapses * exp2(-now.since_s(at) / HALF_LIFE_S)

    def add(self, node: NodeId, now: Instant) -> None:
        """One more."""
        lapses = self.count(node, now) + 1.0
        self._seen.pop(node, None)
        self._seen[node] = (lapses, now.mono_ns)
        if len(self._seen) > TRACKS_MAX:
            self._seen.pop(next(iter(self._seen)))


def sure_success(successes: float, failures: float) -> float:
    """The share of runs that end well, less one standard deviation: of a Beta(successes + 1, failures).

    Who has not failed yet is not doubted: 1.0. So a newcomer gets work, and one failure costs it much at
    first and little after many successes.
    """
    if failures <= 0.0:
        return 1.0
    a, b = successes + 1.0, failures
    mean = a / (a + b)
    return max(0.0, mean - sqrt(mean * (1.0 - mean) / (a + b + 1.0)))
