"""One TCP or unix connection to the API, with the bounds that the HTTP library does not set.

Invariant: a connection is inside a request or it has a deadline; one that is over the cap gets one
answer and is closed. Neighbours: `server` makes these, `guards` says when a request begins and ends.
"""

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable
from typing import cast

import msgspec
from aiohttp import web

from meshd.api import problems
from protocol.errors import MeshError

CONNECTIONS_MAX = 256  # per door, so that a flood on TCP leaves the unix socket free
CONNECTIONS_PER_PEER_MAX = 32  # from one address that is not loopback
REFUSED_MAX = 64  # connections that are being told so; more are cut off without a word
REFUSED_S_MAX = 1.0  # to take that answer in
HEADER_S_MAX = 5.0  # from the first byte of a request to the end of its header
IDLE_S_MAX = 30.0  # between two requests, and for the client to take an answer in

log = logging.getLogger("meshd.api")


class Door:
    """One address that the API listens on, and who may come in there.

    A door without a token is a unix socket: its file's mode is the check. `hosts` are the names,
    with port, that a request may be addressed to; `decider` says who refuses, by the name it has then.
    """

    def __init__(
        self, *, token: str = "", hosts: frozenset[str] = frozenset(), decider: Callable[[], problems.Decider]
    ) -> None:
        self.token = token
        self.hosts = hosts
        self.decider = decider
        self._open: set[Connection] = set()
        self._by_peer: Counter[str] = Counter()
        self._refused = 0

    @property
    def is_private(self) -> bool:
        """True for the unix socket: only the node's owner can open it."""
        return not self.token

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def admit(self, connection: "Connection", peer: str) -> MeshError | None:
        """Count a connection in, or say why not."""
        if len(self._open) >= CONNECTIONS_MAX:
            return MeshError("overloaded", what="the API", limit=f"{CONNECTIONS_MAX} connections")
        if not is_loopback(peer) and self._by_peer[peer] >= CONNECTIONS_PER_PEER_MAX:
            return MeshError("overloaded", what="your share", limit=f"{CONNECTIONS_PER_PEER_MAX} connections")
        self._open.add(connection)
        self._by_peer[peer] += 1
        return None

    def refuse(self) -> bool:
        """Count in one that is told why it is refused; False when too many are."""
        if self._refused >= REFUSED_MAX:
            return False
        self._refused += 1
        return True

    def forget_refused(self) -> None:
        """It has been told, or did not listen."""
        self._refused -= 1

    def forget(self, connection: "Connection", peer: str) -> None:
        """Count it out. Idempotent."""
        if connection in self._open:
            self._open.discard(connection)
            self._by_peer[peer] -= 1
            if self._by_peer[peer] <= 0:
                del self._by_peer[peer]


class Connection(web.RequestHandler):
    """The HTTP library's connection, behind a door and under deadlines."""

    __slots__ = ("_deadline", "_in_request", "_is_reading_header", "_is_refused", "_peer", "_wire", "door")

    def __init__(self, manager: web.Server, door: Door) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_S_MAX,
            lingering_time=1.0,
            max_headers=64,
            auto_decompress=False,  # a compressed body could be a bomb; it is refused by its header
            access_log=cast(logging.Logger, None),  # the library's own way to say: none
            logger=log,
        )
        self.door = door
        self._peer = ""
        self._wire: asyncio.WriteTransport | None = None  # kept here: the library drops its own when it closes
        self._deadline: asyncio.TimerHandle | None = None
        self._in_request = False
        self._is_reading_header = False
        self._is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit it and give it the time to send a header, or refuse it."""
        peername = transport.get_extra_info("peername")
        self._peer = str(peername[0]) if isinstance(peername, tuple) else ""
        self._wire = cast(asyncio.WriteTransport, transport)
        refusal = self.door.admit(self, self._peer)
        if refusal is not None:
            self._refuse(self._wire, refusal)
            return
        super().connection_made(transport)
        self._arm(HEADER_S_MAX)
        self._is_reading_header = True

    def data_received(self, data: bytes) -> None:
        """Bytes arrived; the first ones of a request start its deadline."""
        if self._is_refused:
            return
        if not self._in_request and not self._is_reading_header:
            self._arm(HEADER_S_MAX)
            self._is_reading_header = True
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone."""
        self._disarm()
        self.door.forget(self, self._peer)
        if self._is_refused:
            self.door.forget_refused()
        super().connection_lost(exc)

    def began(self) -> None:
        """A request's header is complete and its handler runs."""
        self._in_request = True
        self._is_reading_header = False
        self._disarm()

    def ended(self) -> None:
        """The handler is done; the client has a while to take the answer and to ask again."""
        self._in_request = False
        self._arm(IDLE_S_MAX)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that is no HTTP, or a handler that failed in a way nobody foresaw. Closes the connection."""
        if isinstance(exc, MeshError):
            error = exc
        elif status < 500:
            error = MeshError("bad_request", what=f"this is no HTTP request: {_first_line(message)}", rule="http")
        else:
            log.error("%s %s failed", request.method, request.path, exc_info=exc)
            error = MeshError("internal", what=type(exc).__name__ if exc is not None else "no answer in time")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun and cannot be taken back")
        response = problems.problem(error, instance=request.path, decider=self.door.decider())
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; what the library itself refuses outside every guard is said in our words."""
        if isinstance(resp, web.HTTPException):
            refused = problems.of_http(resp, method=request.method, path=request.path)
            resp = problems.problem(refused, instance=request.path, decider=self.door.decider())
        return await super().finish_response(request, resp, start_time)

    def _refuse(self, wire: asyncio.WriteTransport, refusal: MeshError) -> None:
        """Say why, and hang up when the client has: a reset would take the answer back."""
        self.force_close()
        if not self.door.refuse():
            wire.abort()
            return
        self._is_refused = True
        wire.write(_bare_answer(refusal, self.door.decider()))
        wire.write_eof()
        self._arm(REFUSED_S_MAX)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if self._wire is not None:
            self._wire.abort()


def is_loopback(peer: str) -> bool:
    """True for an address of this host, and for the unix socket, which has none."""
    if not peer:
        return True
    try:
        return ipaddress.ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _first_line(message: str | None) -> str:
    line = (message or "malformed").strip().partition("\n")[0].rstrip(":")
    return line.partition(" when reading")[0]  # what was too long to be read is too long to be told


def _bare_answer(error: MeshError, decider: problems.Decider) -> bytes:
    """A whole response as bytes, for a connection that will not be parsed."""
    body = msgspec.json.encode(problems.document(error, instance="/", decider=decider))
    head = (
        f"HTTP/1.1 {error.status} Service Unavailable\r\nContent-Type: {problems.CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in problems.HEADERS.items()) + "\r\n"
    return head.encode("ascii") + body
