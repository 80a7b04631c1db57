"""A started API over a fake node, and a client for its two doors."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from meshd.api.server import Api
from meshd.statedir import StateDir
from tests.meshd.api.fake_backend import FakeBackend


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def api(tmp_path: Path, backend: FakeBackend) -> AsyncIterator[Api]:
    state = StateDir.open(tmp_path / "n")
    api = Api(backend, state)
    await api.start()
    yield api
    await api.close()
    state.close()


@pytest.fixture
async def unix(api: Api) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(path=api.address.socket)
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session


@pytest.fixture
async def tcp(api: Api) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {api.address.token}"}
    async with aiohttp.ClientSession(api.address.url, headers=headers) as session:
        yield session
