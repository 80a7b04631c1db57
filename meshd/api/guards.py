"""Who may ask, checked before anything else looks at a request; and how every refusal is said.

Invariant: deny first, in this order: host, repeated headers, origin, content type, token, size. A handler runs only
after all of them. Neighbours: `connection.Door` holds what is allowed, `routes` says what is open.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from meshd.api import problems
from meshd.api.connection import Connection, Door, is_loopback
from protocol.errors import MeshError

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_BYTES_MAX = 1_048_576  # four times the largest input: JSON escapes may blow it up
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SINGLE_HEADERS = ("Authorization", "Content-Encoding", "Idempotency-Key", "Last-Event-ID", "Origin", "Sec-Fetch-Site")
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})  # without a token, on loopback only


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: whatever is refused inside becomes a problem document."""
    connection = connection_of(request)
    connection.began()
    try:
        return await handler(request)
    except MeshError as error:
        return problems.problem(error, instance=request.path, decider=connection.door.decider())
    except web.HTTPException as refusal:
        refused = problems.of_http(refusal, method=request.method, path=request.path)
        response = problems.problem(refused, instance=request.path, decider=connection.door.decider())
        if "Allow" in refusal.headers:
            response.headers["Allow"] = refusal.headers["Allow"]
        return response
    finally:
        connection.ended()


@web.middleware
async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A name that is not ours is a browser that was tricked by DNS (rebinding)."""
    door = door_of(request)
    if not door.is_private and request.headers.get("Host", "").lower() not in _names(door, request):
        raise MeshError("bad_host", host=repr(request.headers.get("Host", ""))[:100], rule="host")
    return await handler(request)


@web.middleware
async def check_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is said twice is read one way here and another way by a proxy; the library refuses a second Host itself."""
    for name in SINGLE_HEADERS:
        if len(request.headers.getall(name, ())) > 1:
            raise MeshError("bad_request", what=f"the header {name} came more than once", rule="header")
    return await handler(request)


@web.middleware
async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """No page of another site may make a browser change anything here."""
    if request.method not in SAFE_METHODS:
        site = request.headers.get("Sec-Fetch-Site", "none")
        origin = request.headers.get("Origin")
        if site not in ("none", "same-origin") or (origin is not None and not _is_own(origin, request)):
            raise MeshError("denied", what="a request from a page of another site", rule="origin")
    return await handler(request)


@web.middleware
async def check_content_type(request: web.Request, handler: Handler) -> web.StreamResponse:
    """JSON is the only body; a form of another site can send any other kind."""
    if request.body_exists:
        given = request.headers.get("Content-Type", "none")
        if request.content_type != "application/json":
            raise MeshError("bad_content_type", given=repr(given)[:100], rule="content-type")
        if "Content-Encoding" in request.headers:
            raise MeshError("bad_content_type", given="compressed JSON", rule="content-type")
    return await handler(request)


@web.middleware
async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
    """On TCP every request shows the token, except the three that tell a local monitor how the node is."""
    door = door_of(request)
    if not door.is_private and not _is_open(request):
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        expected = door.token.encode()
        is_same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected)
        if scheme.lower() != "bearer" or not is_same:
            raise MeshError("unauthorized", rule="token")
    return await handler(request)


@web.middleware
async def check_size(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A body that says it is too large is not read at all."""
    length = request.content_length
    if length is not None and length > BODY_BYTES_MAX:
        raise MeshError("too_large", what="the body", bytes=length, limit=BODY_BYTES_MAX, rule="size")
    return await handler(request)


CHAIN = (answer_problems, check_host, check_headers, check_origin, check_content_type, check_token, check_size)


def connection_of(request: web.BaseRequest) -> Connection:
    """The connection that a request came on."""
    connection = request.protocol
    assert isinstance(connection, Connection)  # noqa: S101  # `server` makes no other kind
    return connection


def door_of(request: web.BaseRequest) -> Door:
    """The door that a request came through."""
    return connection_of(request).door


def _names(door: Door, request: web.Request) -> frozenset[str]:
    """The door's names, and the address the client reached, which rebinding cannot fake."""
    sockname = request.transport.get_extra_info("sockname") if request.transport is not None else None
    if not isinstance(sockname, tuple):
        return door.hosts
    host, port = sockname[:2]
    return door.hosts | {f"[{host}]:{port}" if ":" in host else f"{host}:{port}"}


def _is_own(origin: str, request: web.Request) -> bool:
    return urlsplit(origin).netloc.lower() == request.headers.get("Host", "").lower() != ""


def _is_open(request: web.Request) -> bool:
    return request.path in OPEN_PATHS and is_loopback(request.remote or "")
