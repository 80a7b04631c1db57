"""Frames as the hosts of one process share them: what is sent to many is read once.

Invariant: a frame says the same to whoever reads it; who believes it is everybody's own affair.
Neighbours: `signing` says how frames are signed, `protocol.envelope` makes and reads them.
"""

from typing import Self

from protocol.envelope import Envelope, Frames, Peeked, Refusal, Verify

KEPT = 32_768  # facts, each read by everybody, and again when it is passed on


class SharedFrames(Frames):
    """Remembers the facts that were read last."""

    def __init__(self, verify: Verify) -> None:
        super().__init__(verify)
        self._peeked: dict[bytes, Peeked] = {}
        self._opened: dict[bytes, Envelope] = {}

    def __deepcopy__(self, memo: object) -> Self:
        """It knows nothing of any node."""
        return self

    def peek(self, frame: bytes) -> Peeked | Refusal:
        """As it was read before, if it was."""
        known = self._peeked.get(frame)
        if known is not None:
            return known
        peeked = super().peek(frame)
        if isinstance(peeked, Peeked) and peeked.family == "fact":
            self._peeked[frame] = peeked
            if len(self._peeked) > KEPT:
                oldest = next(iter(self._peeked))
                del self._peeked[oldest]
                self._opened.pop(oldest, None)
        return peeked

    def open(self, peeked: Peeked, frame: bytes, *, is_proven: bool = False) -> Envelope | Refusal:
        """As it was proven before, if it was."""
        known = self._opened.get(frame)
        if known is not None:
            return known
        opened = super().open(peeked, frame, is_proven=is_proven)
        if isinstance(opened, Envelope) and frame in self._peeked and not is_proven:
            self._opened[frame] = opened
        return opened
