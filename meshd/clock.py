"""The only place where the daemon reads a clock; everything else is told the time."""

import time

from protocol.primitives import Instant


def monotonic_ns() -> int:
    """Nanoseconds that never go back; no meaning outside this process's host."""
    return time.monotonic_ns()


def awake_ns() -> int:
    """Nanoseconds that never go back, also those of a host that slept, where the system counts them."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def wall_ms() -> int:
    """Milliseconds since 1970 as the host believes them."""
    return time.time_ns() // 1_000_000


def now() -> Instant:
    """Both clocks, read together."""
    return Instant(mono_ns=monotonic_ns(), wall_ms=wall_ms())
