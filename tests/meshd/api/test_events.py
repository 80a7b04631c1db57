"""The live stream: form, resumption, and what happens to a reader that does not keep up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from meshd.api import events, schemas
from meshd.api.backend import Following
from meshd.api.events import encoded
from meshd.api.server import Api
from protocol.events import PeerLeft, TaskDone
from tests.meshd.api.fake_backend import LIFE, A, B, FakeBackend

WAIT_S = 10.0
LEFT = PeerLeft(B, "b", LIFE)


async def heard(response: aiohttp.ClientResponse, count: int) -> list[dict[str, str]]:
    """The next `count` messages, comments left out."""
    messages: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(WAIT_S):
        while len(messages) < count and (line := (await response.content.readline()).decode()):
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                messages.append(fields)
                fields = {}
            else:
                fields = {}
    return messages


def seqs(messages: list[dict[str, str]]) -> list[int]:
    return [json.loads(message["data"])["seq"] for message in messages]


def test_an_event_is_one_flat_object() -> None:
    event = TaskDone("t", "i", 2, B, took_ms=30)
    value: dict[str, Any] = json.loads(encoded(schemas.Stamped(7, LIFE, A, event)))
    assert list(value)[:4] == ["seq", "time_ms", "node", "kind"]
    assert (value["kind"], value["seq"], value["task"], value["took_ms"]) == ("task_done", 7, "t", 30)


async def test_a_reader_hears_what_happens_from_now_on(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.happen(LEFT)
    async with unix.get("/v1/events") as response:
        assert response.content_type == "text/event-stream"
        backend.happen(LEFT)
        (message,) = await heard(response, 1)
    assert message["id"] == f"{LIFE}.2"
    assert json.loads(message["data"])["kind"] == "peer_left"


@pytest.mark.parametrize("last", [f"{LIFE}.2", "2"])
async def test_a_reader_goes_on_where_it_was(unix: aiohttp.ClientSession, backend: FakeBackend, last: str) -> None:
    for _ in range(4):
        backend.happen(LEFT)
    async with unix.get("/v1/events", headers={"Last-Event-ID": last}) as response:
        assert seqs(await heard(response, 2)) == [3, 4]


async def test_after_zero_begins_with_the_oldest(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.happen(LEFT)
    async with unix.get("/v1/events?after=0") as response:
        assert seqs(await heard(response, 1)) == [1]


async def test_what_another_life_said_is_over(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    backend.happen(LEFT)
    async with unix.get("/v1/events", headers={"Last-Event-ID": f"{LIFE - 1}.900"}) as response:
        missed, event = await heard(response, 2)
    assert missed["event"] == "missed"
    assert "started anew" in json.loads(missed["data"])["why"]
    assert seqs([event]) == [1]


@pytest.mark.parametrize("last", [f"{LIFE}.900", "900"])
async def test_a_place_that_is_ahead_is_told_so_at_once_and_goes_on_with_what_comes(
    unix: aiohttp.ClientSession, backend: FakeBackend, last: str
) -> None:
    backend.happen(LEFT)
    async with unix.get("/v1/events", headers={"Last-Event-ID": last}) as response:
        (missed,) = await heard(response, 1)
        assert missed["event"] == "missed"
        assert "only at 1" in json.loads(missed["data"])["why"]
        backend.happen(LEFT)
        assert seqs(await heard(response, 1)) == [2]


async def test_a_gap_is_said(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    for _ in range(6):
        backend.happen(LEFT)
    del backend.kept[:4]
    async with unix.get("/v1/events?after=1") as response:
        gap, event = await heard(response, 2)
    said = json.loads(gap["data"])
    assert (gap["event"], said["from"], said["to"]) == ("missed", 2, 4)
    assert "not kept" in said["why"]
    assert json.loads(event["data"])["seq"] == 5


@pytest.mark.parametrize("last", ["x", "1.x", "-1", "1.2.3", "9" * 30, "\u00b2"])
async def test_a_place_that_is_none_is_refused(unix: aiohttp.ClientSession, last: str) -> None:
    async with unix.get("/v1/events", headers={"Last-Event-ID": last}) as response:
        assert response.status == 400


async def test_one_reader_too_many_is_refused_and_a_place_becomes_free(
    unix: aiohttp.ClientSession, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STREAMS_MAX", 1)
    async with unix.get("/v1/events"), unix.get("/v1/events") as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "overloaded"
    async with asyncio.timeout(WAIT_S):
        while True:
            async with unix.get("/v1/events") as response:
                if response.status == 200:
                    return


async def test_silence_is_filled_with_comments(unix: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.01)
    async with unix.get("/v1/events") as response, asyncio.timeout(WAIT_S):
        while (await response.content.readline()) != b": alive\n":
            pass


async def test_a_reader_that_does_not_keep_up_is_told_and_dropped(api: Api, backend: FakeBackend) -> None:
    reader, writer = await asyncio.open_unix_connection(api.address.socket, limit=1_024)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(WAIT_S):
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(20_000):  # some megabytes: more than the kernel holds for a reader that does not read
            backend.happen(LEFT)
        said = b""
        while chunk := await reader.read(65_536):
            said += chunk
    writer.close()
    await writer.wait_closed()
    assert b"event: lagged" in said
    assert said.count(b'data: {"seq"') < 20_000


async def test_the_end_of_the_daemon_ends_the_stream(api: Api) -> None:
    reader, writer = await asyncio.open_unix_connection(api.address.socket)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(WAIT_S):
        await reader.readuntil(b"\r\n\r\n")
        await api.close()
        await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_backend_that_ends_its_events_ends_the_stream(
    unix: aiohttp.ClientSession, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def two() -> AsyncIterator[schemas.Stamped]:
        for seq in (1, 2):
            yield schemas.Stamped(seq, LIFE, A, LEFT)

    @asynccontextmanager
    async def follow(after_seq: int | None) -> AsyncIterator[Following]:
        yield Following(0, two())

    monkeypatch.setattr(backend, "follow", follow)
    async with unix.get("/v1/events") as response:
        assert seqs(await heard(response, 3)) == [1, 2]
