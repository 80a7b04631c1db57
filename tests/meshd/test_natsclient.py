"""Connections that are reset at every point: they end, whoever waits hears of it, and nothing of them is left."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshd.natsclient import NatsClient
from tests.proxy import reset

GREETING = b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576,"headers":true,"proto":1}\r\n'
POINTS = ("greeted", "subscribed", "pinged", "published", "refused", "in the middle of a message", "full")

Complaint = dict[str, Any]


class _Server:
    """Speaks as much of NATS as brings a client to one point, and resets it there."""

    def __init__(self, point: str) -> None:
        self._point = point
        self.is_full = asyncio.Event()  # set by who has sent more than fits in all buffers

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(GREETING)
            await reader.readline()  # CONNECT
            await reader.readline()  # PING
            writer.write(b"PONG\r\n")
            await writer.drain()
            if self._point == "full":
                await self.is_full.wait()
            elif self._point != "greeted":
                await self._until_there(reader, writer)
        reset(writer)

    async def _until_there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {"subscribed": b"SUB", "pinged": b"PING"}.get(self._point, b"PUB")
        while line := await reader.readline():
            if line.startswith(ends):
                said = {"refused": b"-ERR 'No'\r\n", "in the middle of a message": b"MSG a 1 100\r\nabc"}
                writer.write(said.get(self._point, b""))
                return await writer.drain()
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")


async def _complaints(work: Callable[[], Awaitable[None]]) -> list[Complaint]:
    """What the loop would have logged of this work, and of what it left."""
    complaints: list[Complaint] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    await work()
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    return complaints


async def _busy(client: NatsClient, server: _Server, point: str) -> None:
    """Says all that it can until its connection has ended."""
    while client.is_connected:
        if point == "full" and client.pending_data_size > 1 << 20:
            server.is_full.set()
        if point == "pinged":
            await client._send_ping()
        elif client.pending_data_size < 2 << 20:
            await client.publish("a", b"x" * (60_000 if point == "full" else 100))
        await asyncio.sleep(0)


@pytest.mark.parametrize("point", POINTS)
async def test_a_reset_connection_ends_tells_so_and_leaves_nothing(point: str) -> None:
    async def work() -> None:
        ended = asyncio.Event()
        server = _Server(point)

        async def heard(*_: object) -> None: ...

        async def closed() -> None:
            ended.set()

        async with server.listening() as url:
            client = NatsClient()
            await client.connect(servers=[url], allow_reconnect=False, error_cb=heard, closed_cb=closed, pending_size=0)
            await client.subscribe("b", cb=heard)
            with contextlib.suppress(Exception):
                await _busy(client, server, point)
            async with asyncio.timeout(10):
                await ended.wait()

    assert await _complaints(work) == []


async def test_who_closes_a_connection_with_much_in_hand_is_told_of_its_end_too() -> None:
    async def work() -> None:
        ended = asyncio.Event()
        server = _Server("full")

        async def closed() -> None:
            ended.set()
            server.is_full.set()

        async with server.listening() as url:
            client = NatsClient()
            await client.connect(servers=[url], allow_reconnect=False, closed_cb=closed, pending_size=0)
            for _ in range(100):
                await client.publish("a", b"x" * 60_000)
            await client.close()
            assert ended.is_set()

    assert await _complaints(work) == []
