"""Saying which frames had no effect, but not as often as a flood would have us say it.

Invariant: every refused frame is counted in some event; past the first of a second only powers of
two are told. Pure leaf; `node` asks.
"""

from protocol.effects import Effect, Emit
from protocol.envelope import Refusal
from protocol.events import FrameRefused
from protocol.primitives import NS_PER_S, Instant

TOLD_PER_S = 20  # one by one; a person reads these


class Refusals:
    """Refused frames of this second that no event has counted yet, by code."""

    def __init__(self) -> None:
        self._second = 0
        self._seen = 0
        self._untold: dict[str, int] = {}
        self.is_outlived = False  # somebody has begun a newer life with our key, and proved it

    def told(self, refusal: Refusal, now: Instant) -> list[Effect]:
        """The event about this frame and those like it before, or nothing yet. An echo is no news."""
        if refusal.code == "echo":
            return []
        self.is_outlived |= refusal.code == "twin"
        second = now.mono_ns // NS_PER_S
        if second != self._second:
            self._second, self._seen = second, 0
        self._seen += 1
        count = self._untold.get(refusal.code, 0) + 1
        self._untold[refusal.code] = count
        if self._seen > TOLD_PER_S and self._seen & (self._seen - 1):
            return []
        del self._untold[refusal.code]
        return [Emit(FrameRefused(refusal.code, refusal.src, refusal.subject, count))]

    def flushed(self, now: Instant) -> list[Effect]:
        """What a flood left uncounted, once its second is over."""
        if not self._untold or now.mono_ns // NS_PER_S == self._second:
            return []
        untold, self._untold = self._untold, {}
        return [Emit(FrameRefused(code, "", "", count)) for code, count in untold.items()]
