"""Fixtures that several packages share: real nats-servers."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import NatsServer

# A shell starts what runs in its background deaf to Ctrl-C, and so would be all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for all tests that leave it alone; use names of your own on it."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    try:
        with ThreadPoolExecutor(1) as thread:  # this thread's event loop may be running
            thread.submit(asyncio.run, server.start()).result()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def own_nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server that the test may kill, freeze and start again."""
    server = NatsServer(tmp_path / "nats")
    try:
        await server.start()
        yield server
    finally:
        server.stop()
