"""The one writer: drains the inbox, hands each input to the node, and what comes of it to the performer.

Invariant: the only caller of `Node.handle`, with no await between an input and its effects; every
queued input is handled before any due timer. Neighbours: `inbox` in front, `perform` behind.
"""

import asyncio
from collections.abc import Callable

from meshd import clock
from meshd.inbox import Inbox
from meshd.perform import Performer
from protocol import limits
from protocol.errors import MeshError
from protocol.inputs import Input, Lagged, Tick
from protocol.node import Node
from protocol.primitives import NS_PER_MS, NS_PER_S, Mono

LAG_MS = 250  # a timer this late means that this process, or its host, was stopped or starved
REQUEST_S_MAX = 35.0  # the node answers every request within 30 s; longer means that it is stuck


class Engine:
    """Runs one node."""

    def __init__(self, *, node: Node, performer: Performer) -> None:
        self.node = node
        self._performer = performer
        self._inbox = Inbox()
        self._awake: asyncio.Event = asyncio.Event()
        self._turned: asyncio.Event = asyncio.Event()
        self._request = 0
        self._is_closing = False
        self.lag_ms_max = 0  # since it was last read
        performer.bind(self.put)

    def put(self, input: Input) -> None:
        """Queue an input; the sink of every port. What finds no room is dropped and counted."""
        if self._inbox.put(input):
            self._awake.set()

    @property
    def waiting(self) -> int:
        """How many inputs wait."""
        return len(self._inbox)

    async def ask(self, make: Callable[[int], Input], *, timeout_s: float = REQUEST_S_MAX) -> object:
        """Put a request and wait for its reply.

        Raises MeshError with the reply's code, "overloaded" when the inbox is full, "timed_out".
        """
        self._request += 1
        number = self._request
        answer = self._performer.expect(number)
        try:
            if not self._inbox.put(make(number)):
                raise MeshError("overloaded", what="the inbox of this node", limit=limits.INBOX_MAX)
            self._awake.set()
            async with asyncio.timeout(timeout_s):
                reply = await answer
        except TimeoutError:
            raise MeshError("timed_out", what="this node", seconds=f"{timeout_s:g}") from None
        finally:
            self._performer.forget(number)
        if reply.code:
            raise MeshError(reply.code, **reply.fields)
        return reply.value

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return once `is_so` holds; looked at after every turn."""
        while not is_so():
            await self._turned.wait()

    async def run(self) -> None:
        """Until `close`: wait for input or a deadline, handle, perform."""
        self._performer.submit(self.node.start(clock.now()))
        while not self._is_closing:
            deadline = self.node.next_deadline()
            await self._sleep_until(deadline)
            self._turn(deadline)
            if self._inbox:
                await asyncio.sleep(0)  # let the ports read and write between two batches

    def _turn(self, deadline: Mono | None) -> None:
        now = clock.now()  # no await from here ...
        effects = []
        late_ms = 0 if deadline is None else (now.mono_ns - deadline) // NS_PER_MS
        self.lag_ms_max = max(self.lag_ms_max, late_ms)
        if late_ms >= LAG_MS:
            effects += self.node.handle(Lagged(late_ms), now)
        for input in self._inbox.take(limits.INBOX_BATCH_MAX):
            effects += self.node.handle(input, now)
        if not self._inbox or late_ms >= LAG_MS:
            effects += self.node.handle(Tick(), now)
        self._performer.submit(effects)  # ... to here
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    async def _sleep_until(self, deadline: Mono | None) -> None:
        if self._inbox:
            return
        self._awake.clear()
        left_s = None if deadline is None else (deadline - clock.monotonic_ns()) / NS_PER_S
        if left_s is not None and left_s <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(left_s):
                await self._awake.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """End `run` after the turn it is in."""
        self._is_closing = True
        self._awake.set()
