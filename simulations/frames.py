"""Frames as the hosts of one process share them: what is sent to many is read once.

Invariant: a frame says the same to whoever reads it; who believes it is everybody's own affair.
Neighbours: `signing` says how frames are signed, `protocol.envelope` makes and reads them.
"""

from typing import Self

from protocol.envelope import Envelope, Frames, Header, Peeked, Refusal, Signer, Verify
from protocol.wire.kinds import KINDS, AnyBody
from simulations.signing import Wire, verify_of

KEPT = 32_768  # facts, each read by everybody, and again when it is passed on; records, by all who list them


class SharedFrames(Frames):
    """Remembers the facts and the records that were read last."""

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
        if isinstance(peeked, Peeked) and peeked.family in ("fact", "record"):
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


class _Bare(bytes):
    """A frame that is a name for what it says."""

    peeked: Peeked
    body: AnyBody
    opened: Envelope | None

    def __deepcopy__(self, memo: object) -> Self:
        """It never changes."""
        return self


class BareFrames(Frames):
    """Nothing is encoded, signed or proven: frames say what they say, and any other bytes say nothing."""

    def __deepcopy__(self, memo: object) -> Self:
        """It knows nothing of any node."""
        return self

    def make(self, header: Header, body: AnyBody, signer: Signer) -> bytes:
        """A name that no other frame has; how large the frame would be is asked by nobody."""
        frame = _Bare(f"{header.kind} {signer.id} {header.life} {header.seq}".encode())
        frame.peeked = Peeked(signer.id, header, 0, KINDS[header.kind].family)
        frame.body, frame.opened = body, None
        return frame

    def peek(self, frame: bytes) -> Peeked | Refusal:
        """Its header."""
        return frame.peeked if isinstance(frame, _Bare) else Refusal("bad_magic", "", "")

    def open(self, peeked: Peeked, frame: bytes, *, is_proven: bool = False) -> Envelope | Refusal:
        """What it says; of a fact always the same value."""
        if not isinstance(frame, _Bare):
            return Refusal("bad_body", peeked.src, "")
        if frame.opened is not None:
            return frame.opened
        opened = Envelope(peeked.src, peeked.header, frame.body, frame)
        if peeked.family == "fact":
            frame.opened = opened
        return opened


def frames_of(wire: Wire) -> Frames:
    """How frames are made and read on this wire."""
    return BareFrames() if wire == "none" else SharedFrames(verify_of(wire))
