"""The configuration that the embedded server is given, read back by the server itself."""

import subprocess
from pathlib import Path

import pytest

from meshd.broker.binary import find_server
from meshd.broker.config import ServerConfig, quoted


def _accepts(config: ServerConfig) -> subprocess.CompletedProcess[str]:
    config.directory.mkdir(parents=True, exist_ok=True)
    config.path.write_text(config.text())
    return subprocess.run(
        [find_server(), "-t", "-c", config.path], capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.live
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "localhost"])
@pytest.mark.parametrize("monitor_port", [0, 18222])
def test_the_server_accepts_what_is_written(tmp_path: Path, host: str, monitor_port: int) -> None:
    config = ServerConfig(
        name="n1", host=host, port=14222, directory=tmp_path, password="x" * 43, monitor_port=monitor_port
    )
    ran = _accepts(config)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.live
@pytest.mark.parametrize("text", ['a"b', "a\\b", "$HOME", "a # b", "a } b", "123456", "ünï", "a, user: b"])
def test_no_text_escapes_from_its_quotes(tmp_path: Path, text: str) -> None:
    directory = tmp_path / text
    config = ServerConfig(name="n1", host="127.0.0.1", port=14222, directory=directory, password=text)
    ran = _accepts(config)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "\x1b[31m"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        quoted(text)


def test_every_acknowledged_record_is_on_disk_and_every_store_has_a_bound(tmp_path: Path) -> None:
    text = ServerConfig(name="n1", host="127.0.0.1", port=1, directory=tmp_path, password="x").text()
    assert "sync_interval: always" in text
    assert "max_file_store: 2048MB" in text
    assert "max_memory_store: 64MB" in text
