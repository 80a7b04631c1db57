"""The writes of one life on their way to the record: one at a time a key, as the daemon's performer sends them.

Invariant: of each key only the first is under way; the next follows when its outcome is in. What belongs to a
life that has ended is forgotten. Neighbours: `performer` queues, `store` carries out.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from protocol.effects import Write
from protocol.inputs import Found, Listed, Lost, Written
from simulations.store import Answer

Begin: TypeAlias = Callable[[Write, Answer], None]


class Lanes:
    """One queue a key. `begin` sends one write; `tell` gets what became of it."""

    def __init__(self, *, begin: Begin, tell: Answer) -> None:
        self._begin = begin
        self._tell = tell
        self._lanes: dict[str, deque[Write]] = {}

    def put(self, write: Write) -> None:
        """Send it, now or after those before it."""
        lane = self._lanes.setdefault(write.key, deque())
        lane.append(write)
        if len(lane) == 1:
            self._send_first(lane)

    def _send_first(self, lane: deque[Write]) -> None:
        def answered(outcome: Written | Lost | Found | Listed) -> None:
            done = lane.popleft()
            if lane:
                self._send_first(lane)
            else:
                del self._lanes[done.key]
            self._tell(outcome)

        self._begin(lane[0], answered)
