"""Where the API listens, what it leaves behind, and why it does not start."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from meshd.api import schemas, server
from meshd.api.backend import Backend
from meshd.api.server import Api
from meshd.statedir import StateDir
from protocol.errors import MeshError
from tests.meshd.api.fake_backend import FakeBackend, a_task


def test_the_fake_node_is_a_backend() -> None:
    backend: Backend = FakeBackend()
    assert backend.status().name == "a"


async def test_the_file_says_where_and_is_for_its_owner_alone(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "n" / "api.json"
    found = json.loads(file.read_text())
    assert found == {"url": api.address.url, "token": api.address.token, "socket": str(tmp_path / "n" / "api.sock")}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(os.stat(api.address.socket).st_mode) == 0o600
    assert found["url"].startswith("http://127.0.0.1:")


async def test_closing_removes_what_would_lead_nowhere(api: Api, tmp_path: Path) -> None:
    await api.close()
    assert not (tmp_path / "n" / "api.json").exists()
    assert not (tmp_path / "n" / "api.sock").exists()
    await api.close()


async def test_a_socket_that_a_killed_daemon_left_is_replaced(tmp_path: Path) -> None:
    state = StateDir.open(tmp_path)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "api.sock"))
    left.close()
    api = Api(FakeBackend(), state)
    await api.start()
    connector = aiohttp.UnixConnector(path=str(tmp_path / "api.sock"))
    async with (
        aiohttp.ClientSession("http://localhost", connector=connector) as session,
        session.get("/healthz") as one,
    ):
        assert one.status == 200
    await api.close()
    state.close()


async def test_a_long_path_moves_the_socket_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "r"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    folder = tmp_path / ("x" * 90)
    state = StateDir.open(folder)
    api = Api(FakeBackend(), state)
    address = await api.start()
    assert json.loads((folder / "api.json").read_text())["socket"] == address.socket
    assert not address.socket.startswith(str(folder))
    assert stat.S_ISSOCK(os.stat(address.socket).st_mode)
    await api.close()
    assert not os.path.exists(address.socket)
    state.close()


async def start_refused(folder: Path, listen: str, *, insecure: bool = False) -> MeshError:
    state = StateDir.open(folder)
    api = Api(FakeBackend(), state, listen=listen, insecure=insecure)
    with pytest.raises(MeshError) as refused:
        await api.start()
    assert not (folder / "api.json").exists()
    assert not (folder / "api.sock").exists()
    state.close()
    return refused.value


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = await start_refused(tmp_path, address)
    assert refused.code == "port_taken"
    assert address in refused.message
    assert "--listen" in refused.hint


@pytest.mark.parametrize(
    ("listen", "code"),
    [
        ("0.0.0.0:0", "insecure"),
        ("192.0.2.1:0", "insecure"),
        ("[::]:0", "insecure"),
        ("host.example:0", "insecure"),
        ("127.0.0.1", "config"),
        ("127.0.0.1:http", "config"),
        ("127.0.0.1:70000", "config"),
        (":80", "config"),
    ],
)
async def test_an_address_that_will_not_do_is_refused(tmp_path: Path, listen: str, code: str) -> None:
    assert (await start_refused(tmp_path, listen)).code == code


async def test_an_address_this_host_does_not_have_is_refused(tmp_path: Path) -> None:
    refused = await start_refused(tmp_path, "192.0.2.1:0", insecure=True)
    assert refused.code == "config"
    assert "192.0.2.1:0" in refused.message


async def test_open_to_the_network_it_answers_to_the_address_that_was_reached(tmp_path: Path) -> None:
    state = StateDir.open(tmp_path)
    api = Api(FakeBackend(), state, listen="0.0.0.0:0", insecure=True)
    port = (await api.start()).url.rpartition(":")[2]
    headers = {"Authorization": f"Bearer {api.address.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"http://127.0.0.1:{port}/v1/status") as response:
            assert response.status == 200
        host = {"Host": f"evil.example:{port}"}
        async with session.get(f"http://127.0.0.1:{port}/v1/status", headers=host) as response:
            assert response.status == 403
    await api.close()
    state.close()


async def test_every_start_has_a_token_of_its_own(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(3):
        state = StateDir.open(tmp_path)
        api = Api(FakeBackend(), state)
        tokens.add((await api.start()).token)
        await api.close()
        state.close()
    assert len(tokens) == 3


class Slow(FakeBackend):
    """It takes its time over a submit, and never ends a wait."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def submit(self, request: schemas.SubmitRequest, *, key: str, principal: str) -> tuple[schemas.Task, bool]:
        self.is_asked.set()
        await self.go_on.wait()
        return await super().submit(request, key=key, principal=principal)

    async def wait(self, task: str, timeout_s: float) -> schemas.Task:
        self.is_asked.set()
        await asyncio.Event().wait()
        return self.tasks_[task]


async def asked_while_closing(folder: Path, request: bytes, before_close: Callable[[Slow], None]) -> bytes:
    """What a client hears whose request is under way while the API closes."""
    backend, state = Slow(), StateDir.open(folder)
    backend.put(a_task("one"))
    api = Api(backend, state)
    address = await api.start()
    reader, writer = await asyncio.open_unix_connection(address.socket)
    writer.write(request)
    async with asyncio.timeout(10.0):
        await backend.is_asked.wait()
        before_close(backend)
        await api.close()
        heard = await reader.read()
    writer.close()
    await writer.wait_closed()
    state.close()
    return heard


async def test_closing_lets_an_answer_under_way_finish(tmp_path: Path) -> None:
    body = b'{"capability":"a@1"}'
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
    heard = await asked_while_closing(tmp_path, head + body, lambda backend: backend.go_on.set())
    assert heard.startswith(b"HTTP/1.1 201")


async def test_closing_does_not_wait_for_those_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLOSE_S", 3_600.0)
    request = b"GET /v1/tasks/one?wait_s=60 HTTP/1.1\r\nHost: a\r\n\r\n"
    assert await asked_while_closing(tmp_path, request, lambda backend: None) == b""
