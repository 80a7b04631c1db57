"""Many real daemons on one nats-server, each of which tells by its log what it saw and when.

Invariant: whatever was started has ended when the `async with` block is left, Ctrl-C and SIGTERM included.
Every time is the wall clock of this one host, stamped by the daemon as it logs an event; the log is read
later, so that looking costs nothing meanwhile. Neighbours: `mesh` hurts them and prints what came of it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
from msgspec import structs

from tests.live.hosts import SCRIPTS, told
from tests.servers import NatsServer, free_port
from tests.waiting import until

READY_S = 120.0
LOOK_S = 0.05  # between two looks at the logs while something is waited for
APART_S = 0.05  # between two starts of a bring-up


class Happening(NamedTuple):
    """One event that one daemon logged, at seconds since 1970."""

    at_s: float
    kind: str
    name: str  # of the node it is about; empty when it is about the daemon itself
    life: int
    event: dict[str, Any]


class Traffic(NamedTuple):
    """What went through the connections of all daemons, both ways, as the server counts it."""

    messages: int
    bytes: int


class Daemon:
    """One daemon with a state directory of its own, in the foreground of nobody."""

    def __init__(self, directory: Path, name: str, environ: dict[str, str]) -> None:
        self.name = name
        self.dir = directory / name
        self._out, self._err = (directory / f"{name}.{stream}" for stream in ("out", "err"))
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._happenings: list[Happening] = []
        self.spawned_s = 0.0

    @property
    def pid(self) -> int:
        """Of the process that was spawned last."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def spawn(self, *flags: str) -> None:
        """Start it and wait for nothing."""
        self.spawned_s = time.time()
        command = [str(SCRIPTS / "meshd"), "start", "--dir", str(self.dir), "--name", self.name, *flags]
        with self._out.open("wb") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environ,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether it has printed its line. Raises AssertionError when it ended instead."""
        assert self.is_up, f"{self.name} ended: {self._err.read_text()[-2_000:]}"
        return b" is ready in mesh " in self._out.read_bytes()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal if it is there."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it where it stands."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def end(self) -> None:
        """It is gone when this returns."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def happenings(self, since_s: float = 0.0) -> Iterator[Happening]:
        """What it has logged of events until now, oldest first."""
        self._read_on()
        return (each for each in self._happenings if each.at_s >= since_s)

    def _read_on(self) -> None:
        with contextlib.suppress(OSError), self._err.open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
            self._read += len(whole) + len(newline)
            for line in whole.splitlines():
                if b'"kind"' in line:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError):
            record = json.loads(line)
            event = record["event"]
            at_s = datetime.fromisoformat(record["time"]).timestamp()
            kind, name, life = event["kind"], event.get("name", ""), event.get("life", 0)
            self._happenings.append(Happening(at_s, kind, name, life, event))


class Fleet:
    """Daemons on a server of their own: `async with Fleet(directory, nodes=40, preset="lan") as fleet`."""

    def __init__(self, directory: Path, *, nodes: int, preset: str) -> None:
        self._dir = directory
        (directory / "server").mkdir()
        (directory / "run").mkdir(mode=0o700)
        self.preset = preset
        self.server = NatsServer(directory / "server")
        self._monitor_port = free_port()
        config = structs.replace(self.server.config, monitor_port=self._monitor_port)
        config.path.write_text(config.text())
        environ = {key: value for key, value in os.environ.items() if not key.startswith("MESHD_")}
        environ |= {"XDG_RUNTIME_DIR": str(directory / "run")}
        self.nodes = [Daemon(directory, f"n{number:02d}", environ) for number in range(1, nodes + 1)]
        self._token = ""

    async def __aenter__(self) -> Self:
        try:
            await self.server.start()
        except BaseException:
            self.server.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.end()
        self.server.stop()

    @property
    def up(self) -> list[Daemon]:
        """Daemons whose process is there."""
        return [node for node in self.nodes if node.is_up]

    async def found(self) -> None:
        """The first daemon founds the mesh, and invites the others."""
        first = self.nodes[0]
        credential = self._dir / "credential.json"
        credential.write_text(json.dumps({"user": self.server.user, "password": self.server.password}))
        credential.chmod(0o600)
        self._config("first.toml", f'[nats]\nurls = ["{self.server.url}"]\ncredential_file = "{credential}"\n')
        self._config("rest.toml", "")
        await self.start(first)
        said = await told([str(SCRIPTS / "meshctl"), "--dir", str(first.dir), "invite", "-o", "name"])
        assert said.code == 0, said.err
        self._token = said.out.strip()

    def spawn(self, node: Daemon) -> None:
        """Start one, the first time or again."""
        is_first = node is self.nodes[0]
        flags = ["--config", str(self._dir / ("first.toml" if is_first else "rest.toml"))]
        is_new = not (node.dir / "mesh.json").exists()
        node.spawn(*flags, *(["--join", self._token] if is_new and not is_first else []))

    async def start(self, node: Daemon) -> None:
        """Start one; it is ready when this returns."""
        self.spawn(node)
        await until(node.is_ready, READY_S, f"{node.name} being ready")

    async def saw(
        self, kind: str, subject: Daemon, since_s: float, *, observers: Iterable[Daemon], within_s: float
    ) -> dict[str, float]:
        """When each observer said this of the subject for the first time since then; all of them have."""
        watching = list(observers)
        found: dict[str, float] = {}

        def is_seen_by_all() -> bool:
            for observer in watching:
                if observer.name not in found:
                    told_s = (
                        each.at_s
                        for each in observer.happenings(since_s)
                        if each.kind == kind and each.name == subject.name
                    )
                    first = next(told_s, None)
                    if first is not None:
                        found[observer.name] = first
            return len(found) == len(watching)

        await _until(is_seen_by_all, within_s, f"{kind} of {subject.name} at {len(watching)} nodes")
        return found

    async def one_view(self, within_s: float) -> float:
        """Wait until every daemon that is up sees exactly those alive; when the last of them came to see that."""
        await _until(lambda: not self.lacking(), within_s, "one view")
        changes = (each.at_s for node in self.up for each in node.happenings(node.spawned_s) if each.kind in VIEW)
        return max(changes)

    def lacking(self) -> str:
        """Who does not see what is there; nothing when all do."""
        wanted = {node.name for node in self.up}
        for node in self.up:
            seen: dict[str, str] = {node.name: "peer_alive"}
            for each in node.happenings(node.spawned_s):
                if each.kind in VIEW and each.name != node.name:
                    seen[each.name] = each.kind
            alive = {name for name, kind in seen.items() if kind == "peer_alive"}
            if alive != wanted:
                return f"{node.name}: {sorted(alive ^ wanted)}"
        return ""

    def told(self, kind: str, since_s: float) -> list[tuple[str, Happening]]:
        """Every event of a kind since then, with the name of who logged it."""
        return [(node.name, each) for node in self.nodes for each in node.happenings(since_s) if each.kind == kind]

    async def traffic(self) -> dict[str, Traffic]:
        """What has gone through the connections, by the client's name as the server has it."""
        url = f"http://127.0.0.1:{self._monitor_port}/connz?limit=1024"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            connections = (await answer.json())["connections"]
        found: dict[str, Traffic] = {}
        for each in connections:
            key = f"{each.get('name', '')} {each['cid']}"
            found[key] = Traffic(each["in_msgs"] + each["out_msgs"], each["in_bytes"] + each["out_bytes"])
        return found

    def _config(self, name: str, text: str) -> None:
        (self._dir / name).write_text(f'{text}[membership]\npreset = "{self.preset}"\n')


VIEW = ("peer_alive", "peer_suspect", "peer_dead", "peer_left")


async def _until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """As `until`, with looks that leave the processors to the daemons. Raises TimeoutError that says what."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - the condition is what other processes have written
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise TimeoutError(f"{what} did not come within {within_s:g} s") from None
