"""One node's `/v1/events`, followed on a thread of its own, over breaks and restarts.

Invariant: what was kept by the node while nobody listened is heard as well; the thread ends with
the process and never keeps it. Neighbours: `demo_direct` takes the events from one queue.
"""

import json
import queue
import threading
from collections.abc import Callable

from cli.client import Client
from cli.exits import Refusal

AGAIN_S = 0.2
BEGINNING = "0"  # the oldest event that the node keeps

Event = dict[str, object]


class Listener:
    """Puts every event of one node into `heard`. `client` makes a new client for each connection."""

    def __init__(self, name: str, client: Callable[[], Client], heard: "queue.SimpleQueue[Event]") -> None:
        self._client = client
        self._heard = heard
        self._last_id = BEGINNING
        self._closed = threading.Event()
        # A daemon thread, for a read that waits for the next event cannot be called off.
        self._thread = threading.Thread(target=self._run, name=f"events of {name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nothing more is heard; the thread ends with its next line."""
        self._closed.set()

    def has_ended(self, within_s: float) -> bool:
        """Whether the thread has ended, waiting for it a while."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                for last_id, _, line in self._client().events(self._last_id):
                    if self._closed.is_set():
                        return
                    self._take(last_id, line)
            except Refusal:
                pass  # the node is gone or just starting: it is asked again
            self._closed.wait(AGAIN_S)

    def _take(self, last_id: str, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return
        if isinstance(event, dict) and "kind" in event:
            self._last_id = last_id or self._last_id
            self._heard.put(event)
