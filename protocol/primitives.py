"""Time and chance as arguments: the two things a pure core must be given.

Neighbours: everything. Invariant: nothing here reads a clock or makes a generator.
"""

from typing import Protocol, TypeAlias

from msgspec import Struct

NodeId: TypeAlias = str  # 32 characters of base32, the hash of an Ed25519 public key
Mono: TypeAlias = int  # monotonic nanoseconds; deadlines are compared with nothing else
WallMs: TypeAlias = int  # wall-clock milliseconds since 1970; only lives, expiry and audit look at it

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Instant(Struct, frozen=True):
    """One reading of both clocks, taken by the shell and passed in."""

    mono_ns: Mono
    wall_ms: WallMs

    def after(self, delay_s: float) -> Mono:
        """The monotonic deadline `delay_s` seconds from this instant, in nanoseconds."""
        return self.mono_ns + int(delay_s * NS_PER_S)

    def since_s(self, earlier: Mono) -> float:
        """Seconds that passed since the monotonic reading `earlier`."""
        return (self.mono_ns - earlier) / NS_PER_S


class Rng(Protocol):
    """Chance, seeded by whoever builds the node; `random.Random(7)` fits."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """An integer of `k` random bits."""
        ...


def chosen(rng: Rng, count: int) -> int:
    """An index in [0, count). A third of the price of `randrange`."""
    return int(rng.random() * count)
