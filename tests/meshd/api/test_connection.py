"""Bounds on connections: how many, how slow, and what a request that is none is told."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from meshd.api import asked, connection, schemas
from meshd.api.connection import Door, is_loopback
from meshd.api.problems import Decider
from meshd.api.server import Api
from meshd.statedir import StateDir
from protocol.errors import MeshError
from tests.meshd.api.fake_backend import FakeBackend, a_task

WAIT_S = 10.0  # for what happens within milliseconds


async def answered(api: Api, sent: bytes) -> bytes:
    """Everything the API says to these bytes, until it closes."""
    reader, writer = await asyncio.open_unix_connection(api.address.socket)
    writer.write(sent)
    async with asyncio.timeout(WAIT_S):
        said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 100 + b"\r\n",
    ],
)
async def test_what_is_no_request_gets_one_problem_and_the_connection_ends(api: Api, sent: bytes) -> None:
    head, _, body = (await answered(api, sent)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert json.loads(body)["error"]["code"] == "bad_request"
    assert b"\r\nServer: meshd\r\n" in head


async def test_a_header_that_is_too_long_is_not_told_back(api: Api) -> None:
    said = await answered(api, b"GET / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: " + b"k" * 10_240 + b"\r\n\r\n")
    assert b"more than 8190 bytes" in said
    assert b"kkk" not in said


@pytest.mark.parametrize("path", ["/healthz", "/nothing"])
async def test_an_expectation_we_do_not_meet_is_a_problem_too(api: Api, path: str) -> None:
    sent = f"GET {path} HTTP/1.1\r\nHost: a\r\nExpect: cake\r\nConnection: close\r\n\r\n".encode()
    head, _, body = (await answered(api, sent)).partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"\r\nServer: meshd\r\n" in head
    assert json.loads(body)["error"]["code"] == "bad_input"


async def test_a_header_that_never_ends_is_cut_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADER_S_MAX", 0.05)
    assert await answered(api, b"GET /v1/status HTTP/1.1\r\nHost: a\r\n") == b""


async def test_a_silent_connection_is_cut_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADER_S_MAX", 0.05)
    assert await answered(api, b"") == b""


async def test_a_second_request_has_its_deadline_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = await asyncio.open_unix_connection(api.address.socket)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(WAIT_S):
        assert b"200" in await reader.readuntil(b"}")
        monkeypatch.setattr(connection, "HEADER_S_MAX", 0.05)
        writer.write(b"GET /healthz HT")
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_never_ends_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "BODY_S_MAX", 0.05)
    head = b"POST /v1/stop HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
    said = await answered(api, head)
    assert said.startswith(b"HTTP/1.1 504")
    assert b'"timed_out"' in said


async def test_one_connection_too_many_is_told_so_and_the_others_go_on(
    api: Api, unix: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unix.get("/healthz") as response:
        await response.read()
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 1)
    said = await answered(api, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 503")
    assert b"\r\nServer: meshd\r\n" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "overloaded"
    async with unix.get("/healthz") as response:
        assert response.status == 200


async def test_a_flood_of_refused_connections_is_cut_off_without_a_word(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 0)
    monkeypatch.setattr(connection, "REFUSED_MAX", 1)
    _, told = await asyncio.open_unix_connection(api.address.socket)
    cut_off, writer = await asyncio.open_unix_connection(api.address.socket)
    async with asyncio.timeout(WAIT_S):
        assert await cut_off.read() == b""
    for each in (told, writer):
        each.close()
        await each.wait_closed()


async def test_who_was_refused_and_went_makes_room_for_the_next_refusal(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 0)
    monkeypatch.setattr(connection, "REFUSED_MAX", 1)
    for _ in range(3):
        async with asyncio.timeout(WAIT_S):
            while not (await answered(api, b"")).startswith(b"HTTP/1.1 503"):
                pass


async def test_an_answer_that_is_not_taken_is_cut_off(
    api: Api, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE_S_MAX", 0.05)
    is_gone = asyncio.Event()
    lost = connection.Connection.connection_lost

    def connection_lost(one: connection.Connection, failure: BaseException | None) -> None:
        lost(one, failure)
        is_gone.set()

    monkeypatch.setattr(connection.Connection, "connection_lost", connection_lost)
    backend.put(*(a_task(f"t{n:02d}", result="x" * 262_000) for n in range(15)))
    _, writer = await asyncio.open_unix_connection(api.address.socket, limit=1_024)
    writer.write(b"GET /v1/tasks HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(WAIT_S):
        await is_gone.wait()
    writer.transport.abort()


async def test_a_closed_connection_makes_room(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 1)
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for _ in range(3):
        async with asyncio.timeout(WAIT_S):
            while not (await answered(api, request)).startswith(b"HTTP/1.1 200"):
                pass


def a_connection(door: Door) -> connection.Connection:
    return object.__new__(connection.Connection)


def test_one_address_may_not_take_all_connections() -> None:
    door = Door(token="t", decider=Decider)
    for _ in range(connection.CONNECTIONS_PER_PEER_MAX):
        assert door.admit(a_connection(door), "192.0.2.1") is None
    refused = door.admit(a_connection(door), "192.0.2.1")
    assert isinstance(refused, MeshError)
    assert door.admit(a_connection(door), "192.0.2.2") is None
    assert door.admit(a_connection(door), "127.0.0.1") is None


def test_an_address_that_hangs_up_may_come_again() -> None:
    door = Door(token="t", decider=Decider)
    for _ in range(3 * connection.CONNECTIONS_PER_PEER_MAX):
        one = a_connection(door)
        assert door.admit(one, "192.0.2.1") is None
        door.forget(one, "192.0.2.1")
        door.forget(one, "192.0.2.1")
    assert door.connections == 0


@pytest.mark.parametrize(
    ("peer", "expected"),
    [("", True), ("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("fe80::1%eth0", False), ("x", False)],
)
def test_loopback_is_told_from_the_rest(peer: str, expected: bool) -> None:
    assert is_loopback(peer) is expected


async def test_a_client_that_goes_takes_its_long_poll_with_it(tmp_path: Path) -> None:
    class Patient(FakeBackend):
        gone = asyncio.Event()

        async def task(self, name: str) -> schemas.Task:
            try:
                await asyncio.Event().wait()
            finally:
                self.gone.set()
            return a_task(name)

    backend = Patient()
    state = StateDir.open(tmp_path / "n")
    api = Api(backend, state)
    await api.start()
    _, writer = await asyncio.open_unix_connection(api.address.socket)
    writer.write(b"GET /v1/tasks/one HTTP/1.1\r\nHost: a\r\n\r\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(WAIT_S):
        await backend.gone.wait()
    await api.close()
    state.close()
