"""The NATS transport against restarts, freezes, refusals and floods: what memory cannot show."""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial

import pytest

from meshd.supervise import Supervisor
from meshd.transport import nats as transport_nats
from meshd.transport.nats import NatsTransport
from protocol.errors import MeshError
from protocol.inputs import Input, LinkChanged, Received
from tests.servers import NatsServer, free_port
from tests.waiting import until

pytestmark = pytest.mark.live


class Link:
    """A transport with what it was told and what failed under it."""

    def __init__(self, url: str, *, user: str = "", password: str = "") -> None:
        self.failures: list[tuple[str, BaseException]] = []
        self.told: list[Input] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append((name, failure)))
        self.transport = NatsTransport(
            url.split(","),
            name="test",
            supervisor=self.supervisor,
            rng=random.Random(7),
            user=user,
            password=password,
        )

    async def open(self) -> "Link":
        await self.transport.open(self.told.append)
        return self

    async def close(self) -> None:
        await self.transport.close()
        await self.supervisor.close()
        assert self.failures == []

    def links(self) -> list[bool]:
        return [item.up for item in self.told if isinstance(item, LinkChanged)]

    def frames(self) -> list[bytes]:
        return [item.frame for item in self.told if isinstance(item, Received)]


def _link(server: NatsServer) -> Link:
    return Link(server.url, user=server.user, password=server.password)


@pytest.fixture
async def link(own_nats_server: NatsServer) -> AsyncIterator[Link]:
    made = await _link(own_nats_server).open()
    yield made
    await made.close()


async def test_a_killed_and_restarted_server_is_found_again_with_all_subscriptions(
    link: Link, own_nats_server: NatsServer
) -> None:
    await link.transport.subscribe("mesh.m.fact.*.*")
    await link.transport.subscribe("mesh.m.node.a.1.*")
    for changes in (3, 5, 7):
        own_nats_server.kill()
        await until(lambda: not link.transport.is_up)
        assert not link.transport.publish("mesh.m.fact.eu.a", b"stale")
        await own_nats_server.start()
        await until(partial(_has_changed, link, changes))
    assert link.links() == [True, False, True, False, True, False, True]
    link.transport.publish("mesh.m.fact.eu.a", b"fresh")
    link.transport.publish("mesh.m.node.a.1.b", b"direct")
    await until(lambda: len(link.frames()) == 2)
    assert link.frames() == [b"fresh", b"direct"]
    assert link.transport.counts["dropped"] == 3


def _has_changed(link: Link, times: int) -> bool:
    return len(link.links()) == times


async def test_a_frozen_server_is_noticed_and_what_piled_up_is_not_replayed(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_nats, "PING_S", 0.1)
    monkeypatch.setattr(transport_nats, "LOOK_S", 0.1)
    link = await _link(own_nats_server).open()
    witness = await _link(own_nats_server).open()
    await witness.transport.subscribe("mesh.m.>")
    own_nats_server.freeze()
    sent = 0
    while link.transport.publish("mesh.m.fact.eu.a", b"s" * 60_000):  # until its buffers are full
        sent += 1
        await asyncio.sleep(0)
    assert sent > 0
    await until(lambda: link.links() == [True, False])
    own_nats_server.thaw()
    await until(lambda: link.transport.is_up and witness.transport.is_up)
    assert link.transport.publish("mesh.m.fact.eu.a", b"fresh")
    await until(lambda: b"fresh" in witness.frames())
    assert len(witness.frames()) <= sent  # what the socket held may arrive, nothing arrives twice
    await link.close()
    await witness.close()


async def test_a_flush_cut_short_by_a_frozen_server_does_no_harm_afterwards(
    link: Link, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_nats, "FLUSH_S_MAX", 0.1)
    await link.transport.subscribe("mesh.m.a")
    own_nats_server.freeze()
    link.transport.publish("mesh.m.a", b"1")
    await link.transport.flush()
    own_nats_server.thaw()
    link.transport.publish("mesh.m.a", b"2")
    await until(lambda: link.frames() == [b"1", b"2"])
    assert link.links() == [True]


async def test_closing_does_not_wait_for_a_frozen_server(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_nats, "FLUSH_S_MAX", 0.1)
    monkeypatch.setattr(transport_nats, "CONNECT_S_MAX", 0.2)
    link = await _link(own_nats_server).open()
    own_nats_server.freeze()
    await until(lambda: not link.transport.publish("mesh.m.a", b"s" * 600_000))
    async with asyncio.timeout(10):
        await link.close()
    own_nats_server.thaw()


async def test_a_flood_fills_a_bound_and_is_refused_not_kept(link: Link) -> None:
    taken = sum(link.transport.publish("mesh.m.a", b"x" * 100_000) for _ in range(1_000))
    assert 0 < taken < 100  # in one turn of the loop nothing can leave
    assert link.transport.counts["dropped"] == 1_000 - taken
    await link.transport.flush()
    assert link.transport.publish("mesh.m.a", b"room again")


async def test_a_flush_returns_after_the_server_has_read_everything() -> None:
    read: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A server that takes its time for every line, and answers each PING in its turn."""
        writer.write(b'INFO {"max_payload": 1048576, "headers": true}\r\n')
        while line := await reader.readline():
            read.append(line.split()[0] if line.split() else b"")
            for _ in range(10):
                await asyncio.sleep(0)
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        link = await Link(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}").open()
        for number in range(50):
            link.transport.publish("mesh.m.a", b"%d" % number)
        await link.transport.flush()
        assert read.count(b"PUB") == 50
        await link.close()


async def test_the_next_server_is_taken_when_the_first_does_not_answer(nats_server: NatsServer) -> None:
    urls = f"nats://127.0.0.1:{free_port()},{nats_server.url}"
    link = await Link(urls, user=nats_server.user, password=nats_server.password).open()
    assert link.transport.server == f"127.0.0.1:{nats_server.port}"
    await link.close()


async def test_credentials_in_an_address_are_never_shown(nats_server: NatsServer) -> None:
    url = f"nats://{nats_server.user}:{nats_server.password}@127.0.0.1:{nats_server.port}"
    link = await Link(url).open()
    assert link.transport.server == f"127.0.0.1:{nats_server.port}"
    await link.close()
    refused = Link(url.replace(f"{nats_server.port}", f"{free_port()}"))
    with pytest.raises(MeshError) as caught:
        await refused.open()
    assert nats_server.password not in caught.value.message


async def test_a_refused_first_connection_is_one_sentence_and_a_cure() -> None:
    port = free_port()
    with pytest.raises(MeshError, match=f"the nats-server does not answer at 127.0.0.1:{port}") as caught:
        await Link(f"nats://127.0.0.1:{port}").open()
    assert caught.value.code == "broker"
    assert caught.value.hint


async def test_who_can_do_without_a_server_is_told_so_and_connected_when_it_comes(own_nats_server: NatsServer) -> None:
    own_nats_server.kill()
    link = _link(own_nats_server)
    link.transport.open_later(link.told.append)
    await link.transport.subscribe("mesh.m.fact.*.*")
    await until(lambda: link.links() == [False] and "does not answer" in link.transport.problem)
    assert not link.transport.publish("mesh.m.fact.eu.a", b"early")
    await own_nats_server.start()
    await until(lambda: link.links() == [False, True])
    link.transport.publish("mesh.m.fact.eu.a", b"late")
    await until(lambda: link.frames() == [b"late"])
    await link.close()


async def test_wrong_credentials_are_named_as_such(nats_server: NatsServer) -> None:
    for password in ("wrong", ""):
        with pytest.raises(MeshError, match="does not accept our credentials"):
            await Link(nats_server.url, user="meshd", password=password).open()
    with pytest.raises(MeshError, match="does not accept our credentials"):
        await Link(nats_server.url).open()


@pytest.mark.parametrize("url", ["", "127.0.0.1", "http://127.0.0.1", "nats://", "nats://h:x", "nats://h:99999", "\n"])
async def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(MeshError, match="has an address that is none"):
        await Link(url).open()


@pytest.mark.parametrize(
    "words",
    [
        *(b"", b"SSH-2.0-OpenSSH\r\n", b"INFO {\r\n", b"INFO {}\r\n-ERR 'no'\r\n", b"\xff\r\n"),
        *(b"INFO\r\n", b"INFO 5\r\n", b"INFO []\r\n", b'INFO {"connect_urls": 5}\r\n', b"x" * 200_000 + b"\r\n"),
        b"INFO {}\r\n-ERR\r\n",
    ],
    ids=lambda words: ascii(words[:24]),
)
async def test_a_program_that_is_no_nats_server_is_one_clear_error(words: bytes) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        with pytest.raises(MeshError) as caught:
            await Link(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}").open()
    assert caught.value.code == "broker"


async def test_a_silent_program_is_given_up_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_nats, "CONNECT_S_MAX", 0.1)
    ended = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        with pytest.raises(MeshError, match="did not answer"):
            await Link(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}").open()
        await asyncio.wait_for(ended.wait(), 10)
