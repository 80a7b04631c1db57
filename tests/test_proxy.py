"""The proxy of the tests does to bytes what it says, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.proxy import CHUNK_BYTES, UNSENT_MAX, Proxy
from tests.waiting import until

BYTES = bytes(range(256)) * 512


@asynccontextmanager
async def _echo() -> AsyncIterator[Proxy]:
    """A proxy in front of a server that says what it is told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


async def _connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))


async def _echoed(proxy: Proxy, sent: bytes) -> float:
    """Seconds until all of it was back, unchanged."""
    loop = asyncio.get_running_loop()
    reader, writer = await _connect(proxy)
    began_s = loop.time()
    writer.write(sent)
    async with asyncio.timeout(20):
        assert await reader.readexactly(len(sent)) == sent
    took_s = loop.time() - began_s
    writer.close()
    await writer.wait_closed()
    return took_s


async def test_bytes_pass_unchanged_and_in_order_also_when_they_are_late_or_slow() -> None:
    async with _echo() as proxy:
        await _echoed(proxy, BYTES)
        proxy.up.delay_s = proxy.down.delay_s = 0.1
        assert await _echoed(proxy, BYTES) >= 0.2
        proxy.mend()
        proxy.down.bytes_per_s = 4.0 * len(BYTES)
        assert await _echoed(proxy, BYTES) >= 0.25


async def test_a_slow_link_is_shared_by_its_connections() -> None:
    async with _echo() as proxy:
        proxy.up.bytes_per_s = 4.0 * len(BYTES)
        took_s = await asyncio.gather(*(_echoed(proxy, BYTES) for _ in range(2)))
        assert max(took_s) >= 0.5


async def test_what_is_held_one_way_comes_when_it_is_mended_and_the_other_way_is_open() -> None:
    async with _echo() as proxy:
        reader, writer = await _connect(proxy)
        proxy.down.hold()
        writer.write(b"one")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(3), 0.05)
        proxy.mend()
        assert await asyncio.wait_for(reader.readexactly(3), 20) == b"one"
        writer.close()
        await writer.wait_closed()


async def test_a_sender_feels_that_nothing_passes() -> None:
    async with _echo() as proxy:
        proxy.up.hold()
        _, writer = await _connect(proxy)
        writer.write(bytes(4 * UNSENT_MAX * CHUNK_BYTES))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.1)
        writer.transport.abort()


async def test_a_storm_resets_every_connection_and_takes_new_ones() -> None:
    async with _echo() as proxy:
        reader, writer = await _connect(proxy)
        await until(lambda: proxy.open == 1, what="a connection through the proxy")
        await proxy.storm(every_s=0.01, lasts_s=0.03)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(1), 20)
        writer.close()
        await _echoed(proxy, b"again")
