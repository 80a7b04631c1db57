"""Chance: one stream of random numbers for each (seed, node, purpose).

Invariant: who draws from one stream moves no other. Neighbours: everything that rolls dice.
"""

from functools import lru_cache
from hashlib import blake2b
from math import exp, log
from random import Random
from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol.primitives import NS_PER_MS

P99_SIGMAS = 2.326  # a normal variable stays below this many sigmas in 99 of 100 cases
NS_STEP = 1_000  # delays are whole microseconds, so that the last bit of a logarithm decides nothing


class Chance:
    """All streams of one seed, made when they are first asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[tuple[str, str], Random] = {}

    def stream(self, node: str, purpose: str) -> Random:
        """The stream of one node for one purpose."""
        known = self._streams.get((node, purpose))
        if known is None:
            digest = blake2b(f"{self.seed}\0{node}\0{purpose}".encode(), digest_size=16).digest()
            known = self._streams[(node, purpose)] = Random(int.from_bytes(digest, "big"))
        return known


class Delay(Struct, frozen=True, forbid_unknown_fields=True):
    """How long something takes, by its median and its 99th percentile, milliseconds, in one of four shapes.

    `exp` is a least time and an exponential tail after it; `constant` is its median.
    """

    p50_ms: Annotated[float, Meta(gt=0, le=60_000)] = 0.5
    p99_ms: Annotated[float, Meta(gt=0, le=600_000)] = 5.0
    shape: Literal["lognormal", "exp", "uniform", "constant"] = "lognormal"

    def __post_init__(self) -> None:
        """Raises ValueError when no such shape has these two."""
        if self.p99_ms < self.p50_ms and self.shape != "constant":
            raise ValueError(f"p99_ms: {self.p99_ms:g} is below p50_ms, which is {self.p50_ms:g}; set both")
        least_ms, _ = _bounds(self)
        if least_ms < 0:
            raise ValueError(f"{self.shape}: p99_ms is too far above p50_ms, some times would be negative")

    def draw_ns(self, rng: Random) -> int:
        """One such time, in nanoseconds. One number is drawn, whatever the shape, or one normal one."""
        least_ms, spread_ms = _bounds(self)
        if self.shape == "lognormal":
            delay_ms = self.p50_ms * exp(spread_ms * rng.gauss(0.0, 1.0))
        elif self.shape == "exp":
            delay_ms = least_ms - spread_ms * log(1.0 - rng.random())
        else:
            delay_ms = least_ms + spread_ms * rng.random()
        return max(1, int(delay_ms * NS_PER_MS) // NS_STEP) * NS_STEP


@lru_cache(maxsize=64)
def _bounds(delay: Delay) -> tuple[float, float]:
    """The least time and the spread above it; for the log-normal the sigma of the logarithm."""
    tail_ms = max(0.0, delay.p99_ms - delay.p50_ms)
    match delay.shape:
        case "lognormal":
            return 0.0, max(0.0, log(delay.p99_ms / delay.p50_ms) / P99_SIGMAS)
        case "exp":
            mean_ms = tail_ms / log(50)  # between the half and the hundredth that are left
            return delay.p50_ms - mean_ms * log(2), mean_ms
        case "uniform":
            return delay.p50_ms - tail_ms / 0.98, tail_ms / 0.49
        case "constant":
            return delay.p50_ms, 0.0
