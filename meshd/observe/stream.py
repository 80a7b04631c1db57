"""The live stream: what happened on this node and, told by them, on the others.

Invariant: `seq` rises with every event, and skips one where events of others may be missing; a
reader that falls behind what is kept sees a gap as well. Neighbours: `perform` tells own events,
the transport those of others while `listening` asks for them; the API's readers follow.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator

import msgspec
from msgspec import Struct

from meshd import clock
from protocol import limits
from protocol.events import Event
from protocol.primitives import NodeId, WallMs

EVENT_BYTES_MAX = 8_192  # a domain event is a few hundred bytes of JSON

_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


class Happened(Struct, frozen=True):
    """One event with its place in this node's stream; `node` is where it happened."""

    seq: int
    time_ms: WallMs
    node: NodeId
    event: Event


class Stream:
    """The last `EVENTS_KEPT` events, and everyone who follows."""

    def __init__(self, *, me: NodeId) -> None:
        self._me = me
        self._seq = 0
        self._kept: deque[Happened] = deque(maxlen=limits.EVENTS_KEPT)
        self._news: asyncio.Event = asyncio.Event()
        self._is_closed = False
        self.malformed = 0  # events of others that were none

    @property
    def seq(self) -> int:
        """Where the stream is."""
        return self._seq

    def skip(self) -> None:
        """From here on others are heard; what they told before may be missing."""
        self._seq += 1

    def tell(self, event: Event) -> None:
        """Something happened here."""
        self._append(self._me, event)

    def tell_of(self, node: NodeId, encoded: bytes) -> None:
        """Something happened on another node; nonsense is counted and left out."""
        if node == self._me:
            return
        try:
            if len(encoded) > EVENT_BYTES_MAX:
                raise ValueError(encoded[:16])
            event = _decoder.decode(encoded)
        except (ValueError, RecursionError):
            self.malformed += 1
            return
        self._append(node, event)

    def _append(self, node: NodeId, event: Event) -> None:
        self._seq += 1
        self._kept.append(Happened(self._seq, clock.wall_ms(), node, event))
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def follow(self, after_seq: int) -> AsyncGenerator[Happened, None]:
        """Events after `after_seq`, then as they come. Ends with the node."""
        seen = after_seq
        while not self._is_closed:
            news = self._news
            for happened in self._newest(seen):
                seen = happened.seq
                yield happened
            if news is self._news:
                await news.wait()

    def _newest(self, seen: int) -> list[Happened]:
        newest = list(itertools.takewhile(lambda each: each.seq > seen, reversed(self._kept)))
        return newest[::-1]

    def close(self) -> None:
        """End every reader."""
        self._is_closed = True
        self._news.set()


def encoded(event: Event) -> bytes:
    """The event as JSON, as it is published for others."""
    return _encoder.encode(event)
