"""What a service manager is told."""

import socket
from pathlib import Path

import pytest

from meshd import notify


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_who_listens_for_the_daemons_state_is_told(tmp_path: Path, kind: str) -> None:
    address = str(tmp_path / "notify") if kind == "path" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0"))
        notify.tell(notify.READY, {"NOTIFY_SOCKET": address})
        listening.settimeout(5.0)
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nobody/listens/here", "@nobody-listens-here", "vsock:2:1", "/" + "x" * 200])
def test_where_nobody_listens_nothing_happens(address: str) -> None:
    notify.tell(notify.STOPPING, {"NOTIFY_SOCKET": address} if address else {})


def test_a_listener_that_is_full_holds_up_nobody(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        for _ in range(1_000):
            notify.tell(notify.READY, {"NOTIFY_SOCKET": address})
