"""The live stream: what happens in the mesh as this node hears it, as server-sent events that can be resumed.

Invariant: a reader never makes the daemon wait; one that does not keep up is told `lagged` and
dropped, one that missed something is told `missed` and why. Neighbours: the backend keeps the events.
Format: WHATWG HTML, section 9.2, server-sent events.
"""

import asyncio

import msgspec
from aiohttp import web

from meshd.api.backend import Backend, Following
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
        told_by, seq = _place(last_event_id)
        is_former = told_by not in (None, life)
        if self._open >= STREAMS_MAX:
            raise MeshError("overloaded", what="the event stream", limit=f"{STREAMS_MAX} readers")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.force_close()
        transport = request.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.set_write_buffer_limits(high=4 * BACKLOG_BYTES_MAX)  # never wait in a write: look first
        self._open += 1
        try:
            async with self._backend.follow(0 if is_former else after if seq is None else seq) as following:
                await response.prepare(request)
                await response.write(b"retry: 1000\n: events of one node\n\n")
                if is_former:
                    await response.write(_missed("the node was started anew; it goes on with the oldest it keeps"))
                elif following.after_seq < (seq or after or 0):
                    await response.write(_missed(f"the node is only at {following.after_seq}; it goes on from there"))
                async with asyncio.TaskGroup() as group:
                    heart = group.create_task(_beat(response), name="api-heartbeat")
                    await _pump(request, response, following, life)
                    heart.cancel()
        finally:
            self._open -= 1
        return response


async def _pump(request: web.Request, response: web.StreamResponse, following: Following, life: int) -> None:
    """Until the reader goes or lags, or the node stops."""
    expected = following.after_seq + 1
    try:
        async for stamped in following.events:
            if _backlog(request) > BACKLOG_BYTES_MAX:
                await response.write(b"event: lagged\ndata: {}\n\n")
                return
            if stamped.seq > expected:
                why = "not kept any more, or told by other nodes while nobody followed here"
                await response.write(_missed(why, expected, stamped.seq - 1))
            expected = stamped.seq + 1
            await response.write(b"id: %d.%d\ndata: %b\n\n" % (life, stamped.seq, encoded(stamped)))
    except ConnectionError:
        return


def _missed(why: str, *between: int) -> bytes:
    """Something was left out, as the stream says it: `why`, and the first and last number where they are known."""
    said = msgspec.json.encode(dict(zip(("from", "to"), between, strict=False)) | {"why": why})
    return b"event: missed\ndata: %b\n\n" % said


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


def _place(last_event_id: str) -> tuple[int | None, int | None]:
    """The life and the number of `LIFE.SEQ` as sent, or of a bare `SEQ`."""
    if not last_event_id:
        return None, None
    life, _, seq = last_event_id.rpartition(".")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in (life or "0", seq)):
        raise MeshError("bad_input", what="Last-Event-ID is none of this stream")
    return int(life) if life else None, int(seq)
