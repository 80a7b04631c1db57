"""The probe against real servers, foreign programs and silence."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from meshd.broker.probe import probe
from tests.servers import NatsServer, free_port


@pytest.mark.live
async def test_a_ready_server_is_found_with_its_name(nats_server: NatsServer) -> None:
    found = await probe("127.0.0.1", nats_server.port, user="meshd", password=nats_server.password, within_s=5)
    assert found is not None
    assert found.is_ready
    assert found.server_name == nats_server.name


@pytest.mark.live
async def test_a_server_that_refuses_our_credential_is_not_ours(nats_server: NatsServer) -> None:
    assert await probe("127.0.0.1", nats_server.port, user="meshd", password="wrong", within_s=5) is None


async def test_nobody_listening_is_no_server() -> None:
    assert await probe("127.0.0.1", free_port(), user="meshd", password="x", within_s=5) is None


@pytest.mark.parametrize(
    "words",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"INFO {\r\n", b"INFO []\r\n", b"INFO {}\r\n", b"x" * 100_000, b"\xff\xfe\r\n"],
    ids=["hangs up", "another protocol", "cut off", "no object", "says no more", "endless line", "no text"],
)
async def test_a_program_that_speaks_something_else_is_no_server(words: bytes) -> None:
    async with _program(words) as port:
        assert await probe("127.0.0.1", port, user="meshd", password="x", within_s=5) is None


async def test_a_program_that_says_nothing_is_given_up_after_the_deadline() -> None:
    async with _program(None) as port:
        assert await probe("127.0.0.1", port, user="meshd", password="x", within_s=0.05) is None


@contextlib.asynccontextmanager
async def _program(words: bytes | None) -> AsyncIterator[int]:
    """A program on a port that says `words` and hangs up, or says nothing and listens."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if words is None:
                await reader.read()
            else:
                writer.write(words)
            writer.close()
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.wait_for(ended.wait(), 10)
