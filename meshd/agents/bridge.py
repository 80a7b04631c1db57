"""What runs in the process of an mcp agent: an MCP client, which speaks the pipe for the server's tools.

Invariant: it lives and dies with its server: the server's exit code or signal is its own, so that the daemon tells
of the server, and starts both anew. What is no JSON-RPC goes to the log; a line or body without end is cut off.
Neighbours: `worker` is the pipe's side of it, `tools` the names and values, `mcp` starts it.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx2
import mcp_types
import msgspec
from mcp import Client, MCPError
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from meshd.agents import launch
from meshd.agents.remote import headers
from meshd.agents.sieve import Sieve
from meshd.agents.tools import TOOLS_LISTED_MAX, TOOLS_MAX, BridgePlan, Offer, Tool, complaint_of, offered, value_of
from meshd.agents.worker import Worker, pipe_of_our_own
from meshd.quoting import quoted
from meshd.sdk import Context, InputError, TaskError
from protocol.limits import TEXT_CHARS_MAX

LINE_BYTES_MAX = 4 << 20  # one message of a server; a list of a thousand tools with their schemas is one
REFRESH_S = 60.0  # a server is asked for its tools so often: not every one tells of a change, or that it is gone
RELIST_S = 1.0  # and no oftener, whatever it says: each list that is another one goes to the whole mesh
CLOSE_S = 0.5  # to exit at the end of its input


def main() -> None:
    """`bridge PLAN`, in the manifest's folder."""
    tasks, answers = pipe_of_our_own()
    plan = msgspec.json.decode(sys.argv[1], type=BridgePlan)
    bridge = Bridge(plan)
    worker = Worker(bridge, answers, plan.output_bytes_max)
    sys.excepthook = lambda kind, failure, trace: _end(_reason(failure, plan))
    asyncio.run(bridge.serve(worker, worker.serve(tasks)))


class Bridge:
    """The tools of one server: what a worker serves, `worker.Handles`."""

    def __init__(self, plan: BridgePlan) -> None:
        self._plan = plan
        self._offers: dict[str, Offer] = {}
        self._client: Client | None = None
        self._sieve: Sieve | None = None
        self._changed = asyncio.Event()

    async def serve(self, worker: Worker, tasks: Coroutine[Any, Any, None]) -> None:
        """Connect, say what the tools are, and work until the end of the input of tasks."""
        async with AsyncExitStack() as stack:
            server = _reached(self._plan) if self._plan.url else _started(self._plan, worker)
            client = Client(self._sifted(server), cache=None, message_handler=self._hear, client_info=_WE)
            self._client = await stack.enter_async_context(client)
            _there(self._sieve).version = self._client.protocol_version
            await self._offer(worker)
            async with asyncio.TaskGroup() as group:
                following = [group.create_task(self._follow(worker)), group.create_task(self._refresh())]
                await tasks
                for each in following:
                    each.cancel()

    @asynccontextmanager
    async def _sifted(self, server: AbstractAsyncContextManager[TransportStreams]) -> AsyncIterator[TransportStreams]:
        async with server as (incoming, outgoing):
            self._sieve = Sieve(incoming)
            yield self._sieve, outgoing

    def is_blocking(self, capability: str) -> bool:
        """A request to the server is let go at once; the server is told."""
        return False

    async def handle(self, capability: str, input: Any, ctx: Context, part: Callable[[object], None]) -> object:
        """Call the tool. Raises TaskError when input, answer or the tool's own word are against it."""
        offer = self._offers.get(capability)
        if offer is None:
            raise TaskError(f"the server has no tool for {capability} any more", retry=True)
        arguments = {} if input is None else input
        if not isinstance(arguments, dict):
            raise InputError(f"{capability} takes an object with the tool's arguments, not {quoted(input)}")
        if wrong := offer.checks.misfit_in(capability, arguments):
            raise InputError(wrong)

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            ctx.progress({"progress": progress, "total": total, "message": message})

        told = ("task", "epoch", "attempt", "iid", "gid")  # task and epoch are a fencing token
        meta: Any = {f"meshd/{name}": getattr(ctx, name) for name in told}
        try:
            result = await _there(self._client).call_tool(offer.tool, arguments, progress_callback=tell, meta=meta)
        except MCPError as failure:
            is_gone = failure.code == mcp_types.CONNECTION_CLOSED
            raise TaskError(f"the server answered: {failure.message[:TEXT_CHARS_MAX]}", retry=is_gone) from None
        except (RuntimeError, ValidationError) as failure:
            raise TaskError(f"the server's answer is no result of the tool: {_misfit(failure)}") from None
        parts = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in result.content]
        if result.is_error:
            raise TaskError(complaint_of(parts))
        return value_of(result.structured_content, parts)

    async def _hear(self, message: object) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._changed.set()

    async def _follow(self, worker: Worker) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._offer(worker)
            await asyncio.sleep(RELIST_S)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            self._changed.set()

    async def _offer(self, worker: Worker) -> None:
        left_out = _there(self._sieve).left_out
        left_out.clear()
        self._offers, problems = offered(await self._listed(), self._plan.capabilities)
        problems = left_out + problems
        for problem in problems[:TOOLS_MAX]:
            _note(problem)
        more = f" (and {len(problems) - 1} more: see the log)" if len(problems) > 1 else ""
        schemas = {
            name: {"takes": each.schema.takes, "gives": each.schema.gives} for name, each in self._offers.items()
        }
        worker.offer(schemas, problems[0] + more if problems else "")

    async def _listed(self) -> list[Tool]:
        """All pages of the list, within bounds. Exits when it has no end."""
        client = _there(self._client)
        tools: list[Tool] = []
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            tools += [Tool(name=each.name, takes=each.input_schema, gives=each.output_schema) for each in page.tools]
            if len(tools) > TOOLS_LISTED_MAX or (page.next_cursor is not None and not page.tools):
                raise _UnfitError(f"lists more than {TOOLS_LISTED_MAX} tools, or pages without any")
            cursor = page.next_cursor
            if cursor is None:
                return tools


class _UnfitError(Exception):
    """What the server does that no server may."""


_T = TypeVar("_T")
_WE = mcp_types.Implementation(name="meshd", version="1")


@asynccontextmanager
async def _started(plan: BridgePlan, worker: Worker) -> AsyncIterator[TransportStreams]:
    """The server as a child in our own group, one JSON-RPC message a line."""
    report, report_end = os.pipe()
    bare_python = (sys.executable, "-I", "-S", launch.__file__)
    server = await asyncio.create_subprocess_exec(
        *bare_python, str(os.getpid()), str(plan.memory_bytes), str(report_end), *plan.run,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=[report_end], limit=LINE_BYTES_MAX,
    )  # fmt: skip
    os.close(report_end)
    heard, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, to_send = anyio.create_memory_object_stream[SessionMessage](0)
    is_closing = asyncio.Event()

    async def listen(stdout: asyncio.StreamReader) -> None:
        number = 0
        while True:
            try:
                line = await stdout.readline()
            except ValueError:
                worker.give_up(LINE_BYTES_MAX)
                await asyncio.Event().wait()  # for the daemon to end us
            if not line:
                break
            number += 1
            if (message := _message(line, number)) is not None:
                await heard.send(message)
        code = await server.wait()
        if not is_closing.is_set():
            _end_like(code, report)

    async def speak(stdin: asyncio.StreamWriter) -> None:
        async for message in to_send:
            with suppress(ConnectionError):  # it has ended; `listen` says how
                stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await stdin.drain()

    async with anyio.create_task_group() as group:
        group.start_soon(listen, _there(server.stdout))
        group.start_soon(speak, _there(server.stdin))
        try:
            yield incoming, outgoing
        finally:
            is_closing.set()
            _there(server.stdin).close()
            with anyio.move_on_after(CLOSE_S, shield=True):
                await server.wait()
            group.cancel_scope.cancel()


@asynccontextmanager
async def _reached(plan: BridgePlan) -> AsyncIterator[TransportStreams]:
    """The server at its URL, with answers bounded and no redirect to another place."""
    secret = headers(Path(), plan.token_file, plan.headers_file)
    limits = httpx2.Timeout(plan.connect_s, read=None)
    async with (
        httpx2.AsyncClient(
            headers=secret | {"Accept-Encoding": "identity"},
            timeout=limits,
            event_hooks={"response": [_bound]},
            trust_env=False,
        ) as client,
        streamable_http_client(plan.url, http_client=client, max_sse_event_size=LINE_BYTES_MAX) as streams,
    ):
        yield streams


async def _bound(response: httpx2.Response) -> None:
    """A body that is no stream of events is one message, and no longer than one."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _UnfitError("answers in an encoding that it was not offered")
    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """The bytes of another stream, up to `LINE_BYTES_MAX`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for chunk in self._stream:
            count += len(chunk)
            if count > LINE_BYTES_MAX:
                raise _UnfitError(f"answers more than {LINE_BYTES_MAX} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _there(value: _T | None) -> _T:
    """What is there by now."""
    if value is None:
        raise _UnfitError("was asked before it was connected")
    return value


def _message(line: bytes, number: int) -> SessionMessage | None:
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except (ValidationError, ValueError):
        if line.strip():
            shown = quoted(line[:200].decode("utf-8", "backslashreplace").rstrip())
            _note(f"line {number} of the server's output is no JSON-RPC: {shown}")
        return None


def _misfit(failure: Exception) -> str:
    """The first thing that is wrong, with its place."""
    if isinstance(failure, ValidationError):
        first = failure.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:TEXT_CHARS_MAX]
    cause = failure.__cause__
    place = getattr(cause, "json_path", "")
    said = getattr(cause, "message", "") or str(failure).partition("\n")[0]
    return f"{place}: {said}"[:TEXT_CHARS_MAX] if place else said[:TEXT_CHARS_MAX]


def _reason(failure: BaseException, plan: BridgePlan) -> str:
    """One sentence of why it cannot go on, from whatever came out of the client."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    where = plan.url.partition("?")[0] or json.dumps(plan.run)
    match failure:
        case ValidationError():
            why = f"answers what is no MCP: {_misfit(failure)}"
        case MCPError() | _UnfitError() | OSError() | ValueError() | RuntimeError() | httpx2.HTTPError():
            why = str(failure).partition("\n")[0] or type(failure).__name__
        case _:
            why = f"{type(failure).__name__}: {failure}".partition("\n")[0]
    return f"the MCP server {where[:200]}: {why}"[:TEXT_CHARS_MAX]


def _end_like(code: int, report: int) -> None:
    """End as the server did."""
    os.set_blocking(report, False)
    try:
        if problem := os.read(report, 512):
            _end(f"the command cannot be started: {problem.decode('utf-8', 'replace')}")
    except BlockingIOError:
        pass
    if code < 0:
        signal.signal(signal.Signals(-code), signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


def _end(why: str) -> None:
    sys.stderr.write(f"{why}\n")
    sys.stderr.flush()
    os._exit(1)


def _note(what: str) -> None:
    sys.stderr.write(f"meshd: {what}\n")
