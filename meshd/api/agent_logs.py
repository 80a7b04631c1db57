"""An agent's log as it grows: server-sent events, one a line, that can be resumed by number.

Invariant: a reader holds up nobody: it is served from the lines that are kept, and told what it missed of those that
are not; one that takes nothing for `STALL_S` is dropped. Neighbours: the backend has the lines; `events` is the other
stream. It looks for new lines instead of waiting for them: an agent that writes much costs no more.
"""

import asyncio

import msgspec
from aiohttp import web

from meshd.api.agent_schemas import LinesQuery
from meshd.api.backend import Backend
from protocol.errors import MeshError

READERS_MAX = 32  # at once; each costs five looks a second
LOOK_S = 0.2
BEAT_S = 10.0  # below the idle time-out of every proxy
STALL_S = 30.0


class Followers:
    """Who follows the logs of this node's agents."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._open = 0

    async def serve(self, request: web.Request, query: LinesQuery) -> web.StreamResponse:
        """Stream to one reader until it goes or stalls, or the agent is gone. Raises MeshError."""
        name = request.match_info["name"]
        after = _after(request, query)
        log = self._backend.agent_log(name)  # so that an unknown name is answered as such
        if self._open >= READERS_MAX:
            raise MeshError("overloaded", what="the stream of logs", limit=f"{READERS_MAX} readers")
        if after is None:
            last = log.lines[-1].seq if log.lines else 0
            after = max(0, last - query.lines)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.force_close()
        self._open += 1
        try:
            await response.prepare(request)
            await self._pump(response, name, after)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._open -= 1
        return response

    async def _pump(self, response: web.StreamResponse, name: str, after: int) -> None:
        quiet_s = BEAT_S  # the first word says that it stands
        while True:
            try:
                lines = self._backend.agent_log(name).lines
            except MeshError:
                return  # it was removed
            if lines and lines[-1].seq < after:
                after = 0  # another agent of this name
            fresh = [line for line in lines if line.seq > after]
            said = bytearray()
            if fresh and after and fresh[0].seq > after + 1:
                said += b"event: missed\ndata: %b\n\n" % msgspec.json.encode(
                    {"from": after + 1, "to": fresh[0].seq - 1}
                )
            for line in fresh:
                said += b"id: %d\ndata: %b\n\n" % (line.seq, msgspec.json.encode(line))
            if not said and quiet_s >= BEAT_S:
                said += b": alive\n\n"
            quiet_s = 0.0 if said else quiet_s + LOOK_S
            if said:
                after = fresh[-1].seq if fresh else after
                async with asyncio.timeout(STALL_S):
                    await response.write(bytes(said))
            await asyncio.sleep(LOOK_S)


def _after(request: web.Request, query: LinesQuery) -> int | None:
    """The number after which to go on, or None to begin with the last lines. Raises MeshError bad_input."""
    last = request.headers.get("Last-Event-ID", "")
    if not last:
        return query.after or None
    if not (last.isascii() and last.isdecimal() and len(last) <= 18):
        raise MeshError("bad_input", what="Last-Event-ID is none of this stream")
    return int(last)
