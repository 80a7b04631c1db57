"""The bounded queue in front of the engine.

Invariant: outcomes, reports of agents and changes of this node always find room, for work hangs on
them; messages are refused when it is full, our own requests a little earlier, so that they cannot
crowd out the messages, and what agents publish much earlier. Neighbours: every port puts, the engine alone takes.
"""

from collections import deque

from protocol import limits
from protocol.inputs import (
    Advertise,
    AgentFailed,
    AgentFinished,
    AgentStopped,
    Await,
    Cancel,
    Drain,
    Found,
    Input,
    Inquiry,
    Leave,
    LinkChanged,
    Listed,
    Lost,
    MakeCall,
    Operate,
    Publish,
    Received,
    Submit,
    Unsent,
    Written,
)
from protocol.subjects import is_of_topics

# bounded elsewhere: by the writes, reads and agents under way
_ALWAYS = (
    *(Written, Lost, Unsent, Found, Listed),
    *(AgentFinished, AgentFailed, AgentStopped, Advertise),
    *(LinkChanged, Drain, Leave),
)
_REQUESTS = (Submit, Cancel, Await, MakeCall, Inquiry, Operate)
_EVENTS = 4  # best effort may fill this part of it


class Inbox:
    """Inputs in the order they came."""

    def __init__(self, capacity: int = limits.INBOX_MAX) -> None:
        self._capacity = capacity
        self._inputs: deque[Input] = deque()
        self.refused = 0  # inputs that found no room

    def put(self, input: Input) -> bool:
        """Queue it; False when there is no room."""
        if len(self._inputs) >= self._room_for(input):
            self.refused += 1
            return False
        self._inputs.append(input)
        return True

    def _room_for(self, input: Input) -> float:
        if isinstance(input, _ALWAYS):
            return float("inf")
        if isinstance(input, Publish) or (isinstance(input, Received) and is_of_topics(input.subject)):
            return self._capacity // _EVENTS
        return self._capacity * 3 // 4 if isinstance(input, _REQUESTS) else self._capacity

    def take(self) -> Input:
        """The oldest input. Raises IndexError when none waits."""
        return self._inputs.popleft()

    def __len__(self) -> int:
        return len(self._inputs)
