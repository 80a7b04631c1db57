"""Waiting for something that only asking again can tell: a deadline, and pauses on the way to it."""

import threading

from meshd import clock
from protocol.primitives import NS_PER_S

PAUSE_S = 0.1  # between two looks at a daemon that does not answer yet


class Deadline:
    """The end of a wait; without seconds there is none."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end_ns = None if seconds is None else clock.monotonic_ns() + int(seconds * NS_PER_S)

    def left_s(self, at_most: float) -> float:
        """Seconds that are left, but no more than `at_most`; 0 when it has passed."""
        if self._end_ns is None:
            return at_most
        return max(0.0, min(at_most, (self._end_ns - clock.monotonic_ns()) / NS_PER_S))

    def pause(self) -> bool:
        """Let a moment pass; False when the time is over. Ctrl-C ends it."""
        left_s = self.left_s(PAUSE_S)
        if left_s > 0:
            threading.Event().wait(left_s)
        return left_s > 0
