"""A real nats-server for tests: on loopback, with a directory and a credential of its own.

Invariant: it listens on one port for its whole life, and `stop` leaves no process behind.
Neighbours: `conftest` hands it out as fixtures.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
from pathlib import Path

from meshd.broker.binary import find_server
from meshd.broker.config import ServerConfig
from meshd.broker.probe import probe

READY_S_MAX = 20.0


PORTS = range(12_000, 32_000)  # below those that the kernel gives away: nobody else is handed one meanwhile


def free_port() -> int:
    """A loopback port that nobody listens on now, nor is given before it is used; tests run side by side."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class NatsServer:
    """Start, kill, freeze and stop one server; `url`, `user` and `password` let a client in."""

    def __init__(self, directory: Path, name: str = "test") -> None:
        (directory / "js").mkdir(parents=True, exist_ok=True)
        self.name = name
        self.port = free_port()
        self.user = "meshd"
        self.password = secrets.token_urlsafe(32)
        self.config = ServerConfig(
            name=name, host="127.0.0.1", port=self.port, directory=directory, password=self.password
        )
        self.config.path.write_text(self.config.text())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Spawn and wait until JetStream answers."""
        self.spawn()
        await self.ready()

    async def ready(self) -> None:
        """Return when JetStream answers."""
        assert self._process is not None
        async with asyncio.timeout(READY_S_MAX):
            while not await self._is_ready():
                assert self._process.poll() is None, f"the server ended: {self.log()}"
                await asyncio.sleep(0.01)

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        self._process = self._spawn()

    def kill(self) -> None:
        """End it as a crash does, at once."""
        self._signal(signal.SIGKILL)
        self._wait()

    def freeze(self) -> None:
        """It keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)  # until none of its threads runs any more

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self._process.terminate()
            self._wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        return subprocess.Popen([find_server(), "-c", self.config.path], stdin=null, stdout=null, stderr=null)

    def log(self) -> str:
        return self.config.log_path.read_text() if self.config.log_path.exists() else ""

    async def _is_ready(self) -> bool:
        found = await probe("127.0.0.1", self.port, user=self.user, password=self.password, within_s=1.0)
        return found is not None and found.is_ready

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(timeout=20)
