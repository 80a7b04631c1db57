"""meshctl against a real API over a fake node, in this process or as one of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from cli.meshctl import run
from tests.meshd.api.fake_backend import FakeBackend, Served

ROOT = Path(__file__).parent.parent.parent


ENVIRON = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}  # of a command that is a process of its own


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Meshctl: TypeAlias = Callable[..., Said]


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def served(tmp_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A daemon, as far as commands can tell; MESHD_DIR leads to it."""
    monkeypatch.setenv("MESHD_DIR", str(tmp_path / "n"))
    with Served(tmp_path / "n", backend) as served:
        yield served


@pytest.fixture
def meshctl(capsys: pytest.CaptureFixture[str]) -> Meshctl:
    """Run a command line in this process."""

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        return Said(code, *capsys.readouterr())

    return command


def spawned(*arguments: str, **how: object) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    program = "from cli.meshctl import main; main()"
    environ = {**os.environ, **ENVIRON}
    settings: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environ}
    settings |= how
    return subprocess.Popen([sys.executable, "-W", "error", "-c", program, *arguments], **settings)  # type: ignore[call-overload, no-any-return]  # one dictionary of settings
