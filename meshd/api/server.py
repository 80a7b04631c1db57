"""Where the API listens: a unix socket for this user, loopback TCP for everything else.

Invariant: `DIR/api.json` (0600) names what answers now, and is removed when nothing does.
Neighbours: the daemon starts it with its `Backend`; commands find it by `api.json`.
"""

import asyncio
import errno
import os
import secrets
from collections.abc import Awaitable, Callable
from functools import cache

import msgspec
from aiohttp import web
from msgspec import Struct

from meshd.addresses import host_port, is_loopback, joined
from meshd.api import agent_logs, agent_schemas, asked, events, guards, openapi, problems, schemas
from meshd.api.backend import Backend
from meshd.api.connection import Connection, Door
from meshd.api.problems import Decider
from meshd.api.recorded import recorded
from meshd.api.routes import ROUTES, Route
from meshd.statedir import StateDir
from protocol.errors import MeshError

API_FILE = "api.json"
CLOSE_S = 2.0  # for answers under way when the daemon stops
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BACKEND: web.AppKey[Backend] = web.AppKey("backend", Backend)


class Address(Struct, frozen=True):
    """What stands in `api.json`."""

    url: str
    token: str
    socket: str


class Api:
    """The API of one node, listening from `start` to `close`."""

    def __init__(self, backend: Backend, state: StateDir, *, listen: str = "", insecure: bool = False) -> None:
        """`listen` is HOST:PORT, or "" for a free port on 127.0.0.1; other than loopback needs `insecure`."""
        self._backend = backend
        self._state = state
        self._listen = listen or "127.0.0.1:0"
        self._insecure = insecure
        self._token = secrets.token_urlsafe(32)
        self._listeners: list[asyncio.Server] = []
        self._runner: web.AppRunner | None = None
        self._waiting: set[asyncio.Task[object]] = set()
        self.address = Address(url="", token=self._token, socket="")

    async def start(self) -> Address:
        """Listen, and write where into `api.json`. Raises MeshError port_taken, insecure, config or directory."""
        host, port = host_port(self._listen, key="api.listen", origin="--listen")
        if not self._insecure and not is_loopback(host):
            raise MeshError("insecure", address=self._listen)
        self._runner = web.AppRunner(self._app(), shutdown_timeout=CLOSE_S, handler_cancellation=True)
        await self._runner.setup()
        try:
            self.address = Address(url="", token=self._token, socket=await self._listen_unix())
            url = await self._listen_tcp(host, port)
            self.address = msgspec.structs.replace(self.address, url=url)
            self._state.write(API_FILE, msgspec.json.encode(self.address) + b"\n")
        except MeshError:
            await self.close()
            raise
        return self.address

    async def close(self) -> None:
        """Answer no more; who waits is cut off, answers under way get a moment. Idempotent."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for task in tuple(self._waiting):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self.address.socket:
            _remove(self.address.socket)
            _remove(str(self._state.path / API_FILE))
            self.address = Address(url="", token=self._token, socket="")

    def _app(self) -> web.Application:
        app = web.Application(middlewares=guards.CHAIN)
        app[BACKEND] = self._backend
        app.on_response_prepare.append(problems.add_headers)
        for route in ROUTES:
            answer = _answering(route)
            app.router.add_route(route.method, route.path, self._until_close(answer) if route.waits else answer)
        streams = events.Streams(self._backend)

        @cache
        def description() -> bytes:  # made when somebody asks for it: a start is 20 ms shorter
            return msgspec.json.encode(openapi.document(self._backend.status().version))

        async def stream(request: web.Request) -> web.StreamResponse:
            query = (await asked.read(request, query=schemas.EventsQuery, body=None)).query
            last_event_id = request.headers.get("Last-Event-ID", "")
            return await streams.serve(request, after=query.after, last_event_id=last_event_id)

        async def metrics(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=self._backend.metrics(), headers={"Content-Type": METRICS_TYPE})

        async def describe(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=description(), content_type="application/json")

        followers = agent_logs.Followers(self._backend)

        async def follow_log(request: web.Request) -> web.StreamResponse:
            question = await asked.read(request, query=agent_schemas.LinesQuery, body=None)
            return await followers.serve(request, question.query)

        app.router.add_get("/v1/events", self._until_close(stream), allow_head=False)
        app.router.add_get("/v1/agents/{name}/logs/follow", self._until_close(follow_log), allow_head=False)
        app.router.add_get("/metrics", metrics, allow_head=False)
        app.router.add_get("/openapi.json", describe, allow_head=False)
        return app

    def _until_close(self, handle: guards.Handler) -> guards.Handler:
        """A handler that `close` cuts off: streams and long polls would hold up the end."""

        async def handled(request: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101  # coroutines of a server run in tasks
            self._waiting.add(task)
            try:
                return await handle(request)
            finally:
                self._waiting.discard(task)

        return handled

    async def _listen_unix(self) -> str:
        path = str(self._state.socket_path())
        _remove(path)  # the lock on the directory is ours: whoever listened there is gone
        door = Door(decider=self._decider)
        before = os.umask(0o177)  # the socket is 0600 from its first moment
        try:
            listener = await asyncio.get_running_loop().create_unix_server(self._connections(door), path)
        except OSError as failure:
            problem = f"no socket can be made: {failure.strerror or failure}"
            raise MeshError("directory", path=path, problem=problem, cure="choose another with --dir") from None
        finally:
            os.umask(before)
        self._listeners.append(listener)
        return path

    async def _listen_tcp(self, host: str, port: int) -> str:
        door = Door(token=self._token, decider=self._decider)
        try:
            listener = await asyncio.get_running_loop().create_server(self._connections(door), host, port)
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE:
                raise MeshError("port_taken", address=self._listen, flag="--listen") from None
            raise MeshError(
                "config", key="api.listen", problem=f"{self._listen}: {failure.strerror or failure}", origin="--listen"
            ) from None
        self._listeners.append(listener)
        port = listener.sockets[0].getsockname()[1]
        names = {joined(host, port)} | ({f"localhost:{port}"} if is_loopback(host) else set())
        door.hosts = frozenset(name.lower() for name in names)
        return f"http://{joined(host, port)}"

    def _connections(self, door: Door) -> Callable[[], Connection]:
        assert self._runner is not None  # noqa: S101  # `start` made it
        server = self._runner.server
        assert server is not None  # noqa: S101  # `setup` made it
        return lambda: Connection(server, door)

    def _decider(self) -> Decider:
        status = self._backend.status()
        return Decider(node=status.node, name=status.name)


def _answering(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        question = await asked.read(request, query=route.query, body=route.body)
        node = request.app[BACKEND]
        with recorded(node.audits, route, request.path, question.body):
            said = await route.handle(node, question)
        status, value = said if isinstance(said, tuple) else (route.status, said)
        return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")

    return answer


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise MeshError("directory", path=path, problem=f"cannot be removed: {reason}", cure="remove it") from None
