"""HOST:PORT, by every way in."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from meshd import config
from meshd.addresses import host_of, host_port, is_loopback, joined, server_of
from meshd.api.server import Api
from meshd.broker.server import EmbeddedServer
from meshd.statedir import StateDir
from meshd.supervise import Supervisor
from protocol.errors import MeshError
from tests.meshd.api.fake_backend import FakeBackend

GOOD = [
    ("0.0.0.0:4222", ("0.0.0.0", 4222)),
    ("[::1]:1", ("::1", 1)),
    ("[fe80::a]:65535", ("fe80::a", 65_535)),
    ("host-a.local:65535", ("host-a.local", 65_535)),
]
BAD = ["4222", ":4222", "host", "host:", "host:65536", "host:x", "host:-1", "::1:4222", "[::1]", "[::1:1", "a b:1",
       "[host]:1", "h:9" * 99, "h\n:1", "h:1\n", "h:\u0663"]  # fmt: skip

Enter = Callable[[str, Path], Awaitable[None]]


@pytest.mark.parametrize(("listen", "address"), GOOD)
def test_an_address_is_a_host_and_a_port(listen: str, address: tuple[str, int]) -> None:
    assert host_port(listen, key="api.listen", origin="--listen") == address
    assert joined(*address) == listen
    assert host_of(listen) == host_of(f"nats://{listen}") == address[0]


async def by_settings(listen: str, _: Path) -> None:
    config.load(flags={"nats.listen": listen})


async def by_server(listen: str, directory: Path) -> None:
    supervisor = Supervisor(lambda name, failure: None)
    server = EmbeddedServer(
        directory, name="n", password="p", supervisor=supervisor, on_given_up=lambda why: None, listen=listen
    )
    await server.start()


async def by_api(listen: str, directory: Path) -> None:
    state = StateDir.open(directory)
    try:
        await Api(FakeBackend(), state, listen=listen).start()
    finally:
        state.close()


@pytest.mark.parametrize("enter", [by_settings, by_server, by_api])
@pytest.mark.parametrize("listen", BAD)
async def test_what_is_no_address_is_refused_at_every_way_in(enter: Enter, listen: str, tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="HOST:PORT") as caught:
        await enter(listen, tmp_path)
    assert caught.value.code == "config"
    assert str(caught.value.fields["key"]).endswith(".listen")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("nats://u:secret@10.0.0.1:4333", "10.0.0.1:4333"),
        ("tls://host", "host:4222"),
        ("nats://[::1]:4333/", "[::1]:4333"),
        ("nats://[fd00::2]", "[fd00::2]:4222"),
    ],
)
def test_a_server_is_named_without_its_credentials(url: str, server: str) -> None:
    assert server_of(url) == server


@pytest.mark.parametrize("url", ["", "host:4222", "http://host:4222", "nats://", "nats://host:x", "nats://[::1:4222"])
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address that is none"):
        server_of(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_hosts_are_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.1"])
def test_hosts_that_others_may_reach_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)
