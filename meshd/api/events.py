"""The live stream: what happens on this node, as server-sent events that can be resumed.

Invariant: a reader never makes the daemon wait; one that does not keep up is told `lagged` and
dropped, one that missed something is told `missed`. Neighbours: the backend keeps the events.
Format: WHATWG HTML, section 9.2, server-sent events.
"""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from aiohttp import web

from meshd.api.backend import Backend
from meshd.api.schemas import Stamped
from protocol.errors import MeshError

STREAMS_MAX = 32  # readers at once; each costs a coding of every event
BACKLOG_BYTES_MAX = 65_536  # written but not taken by the client; some hundred events
HEARTBEAT_S = 10.0  # below the idle time-out of every proxy


class Streams:
    """The open streams of one API."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._open = 0

    @property
    def count(self) -> int:
        """How many readers there are."""
        return self._open

    async def serve(self, request: web.Request, *, after: int | None, last_event_id: str) -> web.StreamResponse:
        """Stream to one reader until it goes, lags or the node stops. Raises MeshError overloaded, bad_input."""
        life = self._backend.status().life
        resumed = _resumed(last_event_id, life)
        if self._open >= STREAMS_MAX:
            raise MeshError("overloaded", what="the event stream", limit=f"{STREAMS_MAX} readers")
        since = after if resumed is None else resumed
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.force_close()
        transport = request.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.set_write_buffer_limits(high=4 * BACKLOG_BYTES_MAX)  # never wait in a write: look first
        self._open += 1
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n: events of one node\n\n")
            async with asyncio.TaskGroup() as group:
                heart = group.create_task(_beat(response), name="api-heartbeat")
                await self._pump(request, response, since=since, life=life)
                heart.cancel()
        finally:
            self._open -= 1
        return response

    async def _pump(self, request: web.Request, response: web.StreamResponse, *, since: int | None, life: int) -> None:
        # Nothing is awaited for long between the header and the first event, so "from now on" misses none.
        events = self._backend.events(since)
        expected = None if since is None else since + 1
        try:
            async for stamped in events:
                if _backlog(request) > BACKLOG_BYTES_MAX:
                    await response.write(b"event: lagged\ndata: {}\n\n")
                    return
                if expected is not None and stamped.seq > expected:
                    gap = msgspec.json.encode({"from": expected, "to": stamped.seq - 1})
                    await response.write(b"event: missed\ndata: " + gap + b"\n\n")
                expected = stamped.seq + 1
                await response.write(b"id: %d.%d\ndata: %b\n\n" % (life, stamped.seq, encoded(stamped)))
        except ConnectionError:
            return
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()


def encoded(stamped: Stamped) -> bytes:
    """One event as a flat JSON object: `{seq, time_ms, node, kind, …}`."""
    head = msgspec.json.encode({"seq": stamped.seq, "time_ms": stamped.time_ms, "node": stamped.node})
    return head[:-1] + b"," + msgspec.json.encode(stamped.event)[1:]


async def _beat(response: web.StreamResponse) -> None:
    try:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await response.write(b": alive\n\n")
    except ConnectionError:
        return


def _backlog(request: web.Request) -> int:
    transport = request.transport
    return transport.get_write_buffer_size() if isinstance(transport, asyncio.WriteTransport) else 0


def _resumed(last_event_id: str, life: int) -> int | None:
    """Where to go on: `LIFE.SEQ` as sent, or a bare `SEQ`. What another life said is over: begin with the oldest."""
    if not last_event_id:
        return None
    former, _, seq = last_event_id.rpartition(".")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in (former or "0", seq)):
        raise MeshError("bad_input", what="Last-Event-ID is none of this stream")
    return int(seq) if not former or int(former) == life else 0
