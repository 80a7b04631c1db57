"""Own events on their way to the other nodes: published a few at a time.

Invariant: every event leaves once and in order, within `GATHER_S`; what the link does not take is
dropped. Neighbours: the performer tells; the transport publishes.
"""

import asyncio
from collections.abc import Callable

from meshd.observe.stream import encoded
from protocol import limits
from protocol.events import Event

GATHER_S = 0.05  # a packet for every event wakes the server and every other node for it


class Outlet:
    """Events that wait for the next packet. `publish` takes an event's kind and its JSON."""

    def __init__(self, publish: Callable[[str, bytes], object]) -> None:
        self._publish = publish
        self._waiting: list[Event] = []

    def tell(self, event: Event) -> None:
        """Something happened here; called in the event loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(GATHER_S, self.flush)
        self._waiting.append(event)
        if len(self._waiting) >= limits.EVENTS_KEPT:
            self.flush()

    def flush(self) -> None:
        """Publish what waits."""
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._publish(str(event.__struct_config__.tag), encoded(event))
