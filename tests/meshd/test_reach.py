"""Under which addresses other hosts reach a server that listens here."""

import socket

import pytest

from meshd.addresses import is_loopback
from meshd.reach import reachable


def test_an_address_is_itself() -> None:
    assert reachable("127.0.0.1", 4222) == ("nats://127.0.0.1:4222",)
    assert reachable("10.1.2.3", 4222) == ("nats://10.1.2.3:4222",)
    assert reachable("::1", 4222) == ("nats://[::1]:4222",)


def test_a_server_that_listens_everywhere_is_named_by_an_address_of_this_host() -> None:
    found = reachable("0.0.0.0", 4222)
    hosts = [url.removeprefix("nats://").rpartition(":")[0] for url in found]
    assert hosts
    assert "0.0.0.0" not in hosts
    for host in hosts:
        with socket.socket() as listener:
            listener.bind((host, 0))  # it is ours


def test_a_host_without_a_route_or_a_name_is_reached_by_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("meshd.reach._BEYOND", {socket.AF_INET: "999.0.0.1", socket.AF_INET6: "nowhere"})
    (only,) = reachable("0.0.0.0", 4222)
    assert is_loopback(only.removeprefix("nats://").rpartition(":")[0])
