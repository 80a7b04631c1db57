"""Chance: one stream of random numbers for each (seed, node, purpose).

Invariant: who draws from one stream moves no other. Neighbours: everything that rolls dice.
"""

from functools import lru_cache
from hashlib import blake2b
from math import exp, log
from random import Random
from typing import Annotated

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
    """How long something takes: log-normal, given by its median and its 99th percentile, milliseconds."""

    p50_ms: Annotated[float, Meta(gt=0, le=60_000)] = 0.5
    p99_ms: Annotated[float, Meta(gt=0, le=600_000)] = 5.0

    def draw_ns(self, rng: Random) -> int:
        """One such time, in nanoseconds."""
        delay_ms = self.p50_ms * exp(_sigma(self) * rng.gauss(0.0, 1.0))
        return max(1, int(delay_ms * NS_PER_MS) // NS_STEP) * NS_STEP


@lru_cache(maxsize=64)
def _sigma(delay: Delay) -> float:
    return max(0.0, log(delay.p99_ms / delay.p50_ms) / P99_SIGMAS)
