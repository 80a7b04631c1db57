"""Values of the bucket, opened: the record under a task's key, or who wrote what cannot be read yet.

Invariant: what is no record of this mesh is counted and has no other effect here; what follows
from it is said by `ledger` and `holder`. Neighbour: `node` hands over what the store brought.
"""

from protocol import records
from protocol.effects import Effect
from protocol.envelope import Opener, Refusal
from protocol.primitives import Instant
from protocol.records import Standing
from protocol.refusals import Refusals


class Reader:
    """Opens records; what is to be told of those that are none waits until it is taken."""

    def __init__(self, *, opener: Opener, refusals: Refusals) -> None:
        self._opener = opener
        self._refusals = refusals
        self._untold: list[Effect] = []

    def read(self, key: str, frame: bytes, now: Instant, *, revision: int = 0) -> Standing:
        """What stands under a key, from its frame; empty when there is nothing."""
        opened = self._opener.open_record(key, frame, now) if frame else None
        if isinstance(opened, Refusal):
            self._untold += self._refusals.told(opened, now)
            return Standing(None, revision, frame, stranger=opened.src if opened.code == "not_admitted" else "")
        return Standing(records.under(key, opened.body) if opened is not None else None, revision, frame)

    def take_untold(self) -> list[Effect]:
        """The events about values that could not be read, since this was last asked."""
        untold, self._untold = self._untold, []
        return untold
