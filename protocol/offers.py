"""Awards on their way to their owners, by the number under which the broker may report nobody there.

Invariant: bounded; an award so old that it was dropped here was received. Pure leaf of `ledger`.
"""

from protocol.effects import Send
from protocol.watched import Watched
from protocol.wire.task import Award

OFFERS_KEPT = 1_024  # a thousand awards later, the broker has said what it had to say


class Offers:
    """The last awards that were sent."""

    def __init__(self) -> None:
        self._sent: dict[int, tuple[str, int]] = {}
        self._number = 0

    def send(self, watched: Watched) -> Send:
        """The award of a task as its record stands."""
        record = watched.record
        self._number += 1
        self._sent[self._number] = (record.id, record.epoch)
        if len(self._sent) > OFFERS_KEPT:
            self._sent.pop(next(iter(self._sent)))
        body = Award(record.id, record.epoch, watched.revision, watched.frame)
        to, life, probe = record.owner, record.owner_life, self._number
        return Send(to=to, life=life, body=body, probe=probe, iid=record.iid, gid=record.gid)

    def absent(self, number: int) -> tuple[str, int]:
        """The task and epoch of an award that nobody received; ("", 0) for one that is forgotten."""
        return self._sent.pop(number, ("", 0))
