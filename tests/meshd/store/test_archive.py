"""The archive on a real server: in order, once, never changed, and what is wrong with it is named."""

import random
import secrets
from collections.abc import AsyncIterator

import msgspec
import nats
import pytest

from meshd.ports import Archive, Kept, Span
from meshd.store import archive
from meshd.store.archive import JetStreamArchive
from protocol.errors import MeshError
from tests.proxy import Proxy
from tests.servers import NatsServer

A, B = "audit.a", "audit.b"


def opened(server: NatsServer, stream: str, url: str = "") -> JetStreamArchive:
    return JetStreamArchive(
        [url or server.url],
        stream=stream,
        subjects=f"{stream}.audit.*",
        name="t",
        rng=random.Random(7),
        user=server.user,
        password=server.password,
        keep_s=3_600.0,
        bytes_max=1 << 20,
    )


@pytest.fixture
def stream() -> str:
    return f"s{secrets.token_hex(6)}"


@pytest.fixture
async def kept(nats_server: NatsServer, stream: str) -> AsyncIterator[JetStreamArchive]:
    made = opened(nats_server, stream)
    await made.open()
    yield made
    await made.close()


async def test_frames_of_two_writers_stand_in_order_and_are_read_by_subject(kept: Archive, stream: str) -> None:
    a, b = f"{stream}.{A}", f"{stream}.{B}"
    assert (await kept.span()).last == 0
    assert await kept.append(a, b"1", mark="a1", expect=0) == 1
    assert await kept.append(b, b"2", mark="b1", expect=0) == 2
    assert await kept.append(a, b"3", mark="a2", expect=1) == 3
    assert await kept.last(a) == Kept(3, a, b"3")
    assert await kept.next(a, 2) == Kept(3, a, b"3")
    assert await kept.next(f"{stream}.audit.*", 2) == Kept(2, b, b"2")
    assert await kept.next(b, 3) is None
    assert await kept.last(f"{stream}.audit.c") is None
    assert await kept.span() == Span(1, 3)


async def test_what_does_not_follow_the_last_one_is_not_added(kept: Archive, stream: str) -> None:
    subject = f"{stream}.{A}"
    assert await kept.append(subject, b"1", mark="1", expect=0) == 1
    assert await kept.append(subject, b"x", mark="x", expect=0) is None
    assert await kept.append(subject, b"x", mark="x", expect=9) is None
    assert await kept.last(subject) == Kept(1, subject, b"1")


async def test_opening_it_again_changes_nothing_and_another_stream_of_its_name_is_refused(
    nats_server: NatsServer, kept: Archive, stream: str
) -> None:
    await kept.append(f"{stream}.{A}", b"1", mark="1", expect=0)
    await kept.open()
    assert (await kept.span()).last == 1
    client = await nats.connect(nats_server.url, user=nats_server.user, password=nats_server.password)
    foreign = {"name": f"{stream}-x", "subjects": [f"{stream}-x.audit.*"], "storage": "memory"}
    await client.request(f"$JS.API.STREAM.CREATE.{stream}-x", msgspec.json.encode(foreign))
    await client.close()
    other = opened(nats_server, f"{stream}-x")
    with pytest.raises(MeshError, match="storage is 'memory', not 'file'"):
        await other.open()
    await other.close()


async def test_nobody_can_delete_or_purge_what_stands_there(
    nats_server: NatsServer, kept: Archive, stream: str
) -> None:
    await kept.append(f"{stream}.{A}", b"1", mark="1", expect=0)
    client = await nats.connect(nats_server.url, user=nats_server.user, password=nats_server.password)
    for method, body in (("MSG.DELETE", b'{"seq":1}'), ("PURGE", b"")):
        answer = await client.request(f"$JS.API.STREAM.{method}.{stream}", body)
        assert msgspec.json.decode(answer.data)["error"]
    await client.close()
    assert (await kept.span()).last == 1


async def test_an_outage_is_an_error_with_its_reason_and_passes(
    nats_server: NatsServer, kept: Archive, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ANSWERED_S_MAX", 0.5)
    async with Proxy(nats_server.port) as proxy:
        via = opened(nats_server, stream, proxy.url)
        assert (await via.span()).last == 0
        proxy.refuse()
        with pytest.raises(MeshError, match="the store "):
            await via.append(f"{stream}.{A}", b"1", mark="1", expect=0)
        proxy.mend()
        monkeypatch.setattr(archive, "ANSWERED_S_MAX", 20.0)
        assert await via.append(f"{stream}.{A}", b"1", mark="1", expect=0) == 1
        await via.close()
        with pytest.raises(MeshError, match="is closed"):
            await via.span()
