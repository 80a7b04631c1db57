"""Saying which frames had no effect, but not as often as a flood would have us say it; and whose key two daemons have.

Invariant: every refused frame is counted in some event; past the first of a second only powers of
two are told. Pure leaf; `node` asks.
"""

from protocol import limits
from protocol.effects import Effect, Emit
from protocol.envelope import Refusal
from protocol.events import FrameRefused
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId, WallMs

TOLD_PER_S = 20  # one by one; a person reads these
TWIN_S = 60.0  # who was not heard in two lives for so long was stopped in one of them


class Refusals:
    """Refused frames of this second that no event has counted yet, by code."""

    def __init__(self) -> None:
        self._second = 0
        self._seen = 0
        self._untold: dict[str, int] = {}
        self._twins: dict[NodeId, Mono] = {}
        self._twin_at: Mono = 0
        self.outlived_by: WallMs = 0  # the newer life with our key that somebody has begun, and proved
        self.twin_left: WallMs = 0  # the newest such life that has said goodbye

    @property
    def is_outlived(self) -> bool:
        """Somebody has begun a newer life with our key: nobody listens to this one."""
        return self.outlived_by > 0

    @property
    def is_bereft(self) -> bool:
        """Whoever had begun that life has left, so that nobody with our key is listened to."""
        return 0 < self.outlived_by <= self.twin_left

    def twin_silent_s(self, now: Instant) -> float:
        """For how long nothing was heard of the newer daemon with our key."""
        return now.since_s(self._twin_at)

    def twins(self, now: Instant) -> tuple[NodeId, ...]:
        """Whose key two daemons have: both were heard, the older one not long ago."""
        return tuple(node for node, at in self._twins.items() if now.since_s(at) < TWIN_S)

    def told(self, refusal: Refusal, now: Instant) -> list[Effect]:
        """The event about this frame and those like it before, or nothing yet. An echo is no news."""
        match refusal.code:
            case "echo":
                return []
            case "twin" | "twin_left":
                self._on_twin(refusal, now)
            case "two_lives":
                self._twins.pop(refusal.src, None)
                self._twins[refusal.src] = now.mono_ns
                if len(self._twins) > limits.TWINS_MAX:
                    del self._twins[next(iter(self._twins))]
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

    def _on_twin(self, refusal: Refusal, now: Instant) -> None:
        self._twin_at = now.mono_ns
        self.outlived_by = max(self.outlived_by, refusal.life)
        if refusal.code == "twin_left":
            self.twin_left = max(self.twin_left, refusal.life)

    def flushed(self, now: Instant) -> list[Effect]:
        """What a flood left uncounted, once its second is over."""
        if not self._untold or now.mono_ns // NS_PER_S == self._second:
            return []
        untold, self._untold = self._untold, {}
        return [Emit(FrameRefused(code, "", "", count)) for code, count in untold.items()]
