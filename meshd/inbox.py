"""The bounded queue in front of the engine.

Invariant: outcomes, absences and link changes always find room, for work hangs on them; messages
and requests are refused when it is full. Neighbours: every port puts, the engine alone takes.
"""

from collections import deque

from protocol import limits
from protocol.inputs import AgentFailed, AgentFinished, Found, Input, LinkChanged, Listed, Lost, Unsent, Written

# bounded elsewhere: by the writes, reads and agents under way
_ALWAYS = (Written, Lost, Unsent, Found, Listed, LinkChanged, AgentFinished, AgentFailed)


class Inbox:
    """Inputs in the order they came."""

    def __init__(self, capacity: int = limits.INBOX_MAX) -> None:
        self._capacity = capacity
        self._inputs: deque[Input] = deque()
        self.refused = 0  # inputs that found no room

    def put(self, input: Input) -> bool:
        """Queue it; False when there is no room."""
        if len(self._inputs) >= self._capacity and not isinstance(input, _ALWAYS):
            self.refused += 1
            return False
        self._inputs.append(input)
        return True

    def take(self, count: int) -> list[Input]:
        """Up to `count` inputs, oldest first."""
        return [self._inputs.popleft() for _ in range(min(count, len(self._inputs)))]

    def __len__(self) -> int:
        return len(self._inputs)
