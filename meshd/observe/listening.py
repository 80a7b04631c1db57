"""Events of other nodes, asked for only while somebody here follows: all others' work is theirs otherwise.

Invariant: once `follow` lets somebody in, the server knows of the subscription, or the link is down.
Where others were not heard, the stream skips a number. Neighbours: the API's readers come and go by
`meshd.service`; the transport brings what `stream` keeps.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshd.observe.stream import Stream
from meshd.ports import Transport
from meshd.supervise import Supervisor

LINGER_S = 30.0  # who lost its connection is back by then, and has missed nothing


class Listening:
    """Whether this node asks for the events of the others."""

    def __init__(self, *, transport: Transport, subject: str, stream: Stream, supervisor: Supervisor) -> None:
        self._transport = transport
        self._subject = subject
        self._stream = stream
        self._supervisor = supervisor
        self._followers = 0
        self._changed = asyncio.Event()  # somebody came or left
        self._is_on: asyncio.Event | None = None  # set once the server knows; None while nobody asks

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[None]:
        """Within, the events of others come."""
        self._count(+1)
        try:
            if self._is_on is None:
                self._is_on = asyncio.Event()
                self._supervisor.spawn("events of others", self._listen(self._is_on))
            await self._is_on.wait()
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._followers += change
        self._changed.set()

    async def _listen(self, is_on: asyncio.Event) -> None:
        """Until nobody has followed for a while."""
        await self._transport.subscribe(self._subject)
        self._stream.skip()
        is_on.set()
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self._followers else LINGER_S):
                    await self._changed.wait()
            except TimeoutError:
                if not self._followers:
                    break
        self._is_on = None
        await self._transport.unsubscribe(self._subject)
