"""The embedded server's life: a port, a start or an adoption, restarts, an end.

Invariant: at most one server runs on a directory, and it outlives the daemon; only `stop` and a
changed configuration end it. Neighbours: `config`, `binary`, `process` and `probe` do the parts.
"""

import asyncio
import errno
import os
import socket
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

from meshd import clock
from meshd.addresses import host_port, joined
from meshd.broker import disk
from meshd.broker.binary import find_server
from meshd.broker.config import DISK_MB_MAX, USER, ServerConfig
from meshd.broker.probe import probe
from meshd.broker.process import ServerProcess
from meshd.supervise import Supervisor
from protocol.errors import MeshError
from protocol.primitives import NS_PER_S

READY_S_MAX = 30.0  # 20 ms when empty; a full store is read first
PROBE_S_MAX = 2.0
PROBE_PAUSE_S = 0.01
PAUSE_S_MIN, PAUSE_S_MAX = 0.1, 5.0  # before a restart, doubled each time
PAUSE_S_CRASHING = 30.0  # when it keeps ending: somebody should look, but nobody may have to
CRASHES_MAX, CRASHES_WITHIN_S = 5, 60
DISK_LOOK_S = 1.0
MEND_S_MIN, MEND_S_MAX = 5.0, 300.0  # between two restarts for a disk that was full, doubled each time
LOG_LINES_TOLD = 5
LOG_BYTES_READ = 16_384
LOG_LINES_READ = 200  # all that those bytes hold
LOOPBACK = "127.0.0.1"
LISTEN_FLAG = "--nats-listen"
TAKEN = ("port_taken", "address_lost")

OnGivenUp = Callable[[str], None]


class EmbeddedServer:
    """One supervised nats-server under `state_dir`/nats.

    `listen`: HOST:PORT, or "" for loopback and the port of last time, else a free one: whoever is
    founded while this one is stopped would take the well-known 4222, and strand all who joined here.
    `on_given_up` is told why, with the last lines of the log, when it keeps ending; then it is tried slowly.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        name: str,
        password: str,
        supervisor: Supervisor,
        on_given_up: OnGivenUp,
        listen: str = "",
        user: str = USER,
        disk_mb: int = DISK_MB_MAX,
    ) -> None:
        self._directory = state_dir.resolve() / "nats"
        self._name = name
        self._user, self._password = user, password
        self._supervisor = supervisor
        self._on_given_up = on_given_up
        self._listen = listen
        self._disk_mb = disk_mb
        self._program = Path()
        self._config: ServerConfig | None = None
        self._process: ServerProcess | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.restarts = 0
        self.given_up = ""
        self.disk_problem = ""  # why nothing can be recorded, as the end of "the nats-server …"
        self.former = ""  # HOST:PORT where others knew it, when that was another

    @property
    def url(self) -> str:
        """Where this host reaches it: nats://127.0.0.1:PORT."""
        return f"nats://{joined(_reachable(self._settled.host), self._settled.port)}"

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it listens on."""
        return self._settled.host, self._settled.port

    @property
    def pid(self) -> int:
        """The process id, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_adopted(self) -> bool:
        """True when an earlier daemon started the process."""
        return self._process is not None and self._process.is_adopted

    def log_tail(self, lines: int = LOG_LINES_TOLD) -> list[str]:
        """The last lines of its log, oldest first."""
        try:
            with (self._directory / "log").open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - LOG_BYTES_READ))
                return log.read().decode(errors="replace").splitlines()[-lines:]
        except OSError:
            return []

    async def start(self) -> None:
        """Adopt the server that runs here, or start one; return when its JetStream answers.

        Raises MeshError: "broker" (missing, too old, refuses its configuration, does not get
        ready), "port_taken", "address_lost", "directory" (cannot be written), "config" (`listen` is no address).
        """
        self._program = find_server()
        host, port = self._choose_address()
        self._config = self._configured(host, port)
        if not await self._adopt():
            await self._begin(host, port)
        self._remember_address()
        self._tasks = (
            self._supervisor.spawn("nats-server", self._watch()),
            self._supervisor.spawn("nats-server's disk", self._look_after_disk()),
        )

    async def _begin(self, host: str, port: int) -> None:
        """Start one; a port that nobody asked for, and that is taken meanwhile, is exchanged for a free one."""
        is_anybodys = not self._listen and not self._kept_port()
        try:
            if not _is_free(host, port):
                raise self._taken(host, port)
            self._write_config()
            await self._launch()
        except MeshError as failure:
            if failure.code not in TAKEN or not is_anybodys:
                raise
            self._config = self._configured(host, _free_port())
            self._write_config()
            await self._launch()

    async def stop(self) -> None:
        """End the server for good; returns when it is gone. Idempotent."""
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._process is not None:
            await self._process.stop()
            self._process = None

    @property
    def _settled(self) -> ServerConfig:
        if self._config is None:
            raise MeshError("broker", problem="has not been started", cure="start it first")
        return self._config

    def _choose_address(self) -> tuple[str, int]:
        if self._listen:
            host, port = host_port(self._listen, key="nats.listen", origin=LISTEN_FLAG)
            if not port:
                problem = f"{self._listen!a} names no port, and others have to know it"
                raise MeshError("config", key="nats.listen", problem=problem, origin=LISTEN_FLAG)
            return host, port
        kept = self._kept_port()
        if kept:
            return LOOPBACK, kept
        return LOOPBACK, _free_port()

    def _kept_port(self) -> int:
        return _number_in(self._directory / "port")

    def _taken(self, host: str, port: int) -> MeshError:
        """Another program has the address; where others know the server by it, taking another is no way out."""
        is_known = port == self._kept_port()
        return MeshError("address_lost" if is_known else "port_taken", address=joined(host, port), flag=LISTEN_FLAG)

    def _remember_address(self) -> None:
        """Others reach it here from now on; where they did before is kept until `forget_former`."""
        kept, port = self._kept_port(), self._settled.port
        if kept and kept != port:
            self._write("former", str(kept))
        self._write("port", str(port))
        former = _number_in(self._directory / "former")
        self.former = str(former) if former and former != port else ""

    def forget_former(self) -> None:
        """The others know the new address."""
        self.former = ""
        (self._directory / "former").unlink(missing_ok=True)

    def _configured(self, host: str, port: int) -> ServerConfig:
        try:
            (self._directory / "js").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            (self._directory / "log").touch(mode=0o600)
            (self._directory / "log").chmod(0o600)
        except OSError as fault:
            raise _unwritable(self._directory, fault) from None
        return ServerConfig(
            name=self._name,
            host=host,
            port=port,
            directory=self._directory,
            user=self._user,
            password=self._password,
            disk_mb=self._disk_mb,
        )

    async def _adopt(self) -> bool:
        """Take over the server that runs on this directory; end it if it runs another configuration."""
        config = self._settled
        found = self._process = ServerProcess.find(config.pid_path, config.path)
        if found is None:
            return False
        try:
            is_same = config.path.read_text() == config.text()
        except (OSError, UnicodeDecodeError):
            is_same = False
        if is_same and await self._answers(PROBE_S_MAX):
            return True
        await found.stop()
        self._process = None
        return False

    async def _launch(self) -> None:
        """Spawn and wait until it is ready. Raises MeshError when it is not; then nothing runs."""
        config = self._settled
        self._process = process = ServerProcess.spawn(self._program, config.path)
        deadline = clock.monotonic_ns() + int(READY_S_MAX * NS_PER_S)
        while not await self._answers(PROBE_S_MAX):
            if not process.is_alive():
                raise self._fallen(config)
            if clock.monotonic_ns() > deadline:
                await process.stop()
                problem = f"was not ready within {READY_S_MAX:.0f} s{self._said()}"
                raise MeshError("broker", problem=problem, cure=f"see {config.log_path}")
            await asyncio.sleep(PROBE_PAUSE_S)

    async def _answers(self, within_s: float) -> bool:
        config = self._settled
        host = _reachable(config.host)
        found = await probe(host, config.port, user=config.user, password=config.password, within_s=within_s)
        return found is not None and found.is_ready and found.server_name == config.name

    async def _watch(self) -> None:
        """Start it again whenever it ends; slowly, and said loudly, when it keeps ending."""
        crashes: deque[int] = deque(maxlen=CRASHES_MAX)
        pause_s = PAUSE_S_MIN
        while True:
            if self._process is not None:
                await self._process.ended()
            now = clock.monotonic_ns()
            if crashes and now - crashes[-1] > CRASHES_WITHIN_S * NS_PER_S:
                pause_s = PAUSE_S_MIN
            crashes.append(now)
            if len(crashes) == CRASHES_MAX and now - crashes[0] < CRASHES_WITHIN_S * NS_PER_S:
                slowly = f"it is tried again every {PAUSE_S_CRASHING:.0f} s"
                self.given_up = f"ended {CRASHES_MAX} times within {CRASHES_WITHIN_S} s, {slowly}{self._said()}"
                self._on_given_up(self.given_up)
                crashes.clear()
                pause_s = PAUSE_S_CRASHING
            await asyncio.sleep(pause_s)
            if pause_s < PAUSE_S_MAX:
                pause_s = min(pause_s * 2, PAUSE_S_MAX)
            self.restarts += 1
            try:
                await self._launch()
            except MeshError:
                continue  # a start that failed is one more crash; the log says why
            self.given_up = ""

    async def _look_after_disk(self) -> None:
        """Say when there is no room; start the server again when it found none and there is some."""
        pause_s, not_before = MEND_S_MIN, clock.monotonic_ns()
        while True:
            free, fault = disk.free_bytes(self._directory), disk.fault_in(self.log_tail(LOG_LINES_READ))
            self.disk_problem = disk.problem(self._directory, free=free, fault=fault)
            now = clock.monotonic_ns()
            if fault and free >= disk.ROOM_BYTES_MIN and now >= not_before and self._process is not None:
                await self._process.stop()  # `_watch` starts it again
                not_before = clock.monotonic_ns() + int(pause_s * NS_PER_S)
                pause_s = min(pause_s * 2, MEND_S_MAX)
            elif not fault and now - not_before > MEND_S_MAX * NS_PER_S:
                pause_s = MEND_S_MIN
            await asyncio.sleep(DISK_LOOK_S)

    def _write_config(self) -> None:
        config = self._settled
        self._write("nats.conf", config.text())
        refusal = _objection(self._program, config.path)
        if refusal:
            cure = f"see that {config.directory} is as meshd made it"
            raise MeshError("broker", problem=f"refuses its configuration: {refusal}", cure=cure)

    def _write(self, name: str, text: str) -> None:
        path = self._directory / name
        draft = path.with_suffix(".new")
        try:
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
            draft.replace(path)
        except OSError as fault:
            raise _unwritable(path, fault) from None

    def _fallen(self, config: ServerConfig) -> MeshError:
        last = " ".join(self.log_tail(3))
        if "address already in use" in last:
            return self._taken(config.host, config.port)
        return MeshError("broker", problem=f"ended while it started{self._said()}", cure=f"see {config.log_path}")

    def _said(self) -> str:
        lines = self.log_tail()
        return "; its log ends: " + " | ".join(lines) if lines else "; its log is empty"


def _is_free(host: str, port: int) -> bool:
    """True when a server could listen there now. A host that is not ours is left for it to refuse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as fault:
            return fault.errno not in (errno.EADDRINUSE, errno.EACCES)
    return True


def _number_in(file: Path) -> int:
    """A port that was written down; 0 when none was."""
    try:
        port = int(file.read_text("ascii"))
    except (OSError, ValueError):
        return 0
    return port if 0 < port < 65_536 else 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def _reachable(host: str) -> str:
    """The address for this host itself: a server that listens everywhere is asked on loopback."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound


def _objection(program: Path, config: Path) -> str:
    """What the server has against a configuration file; nothing when it is content."""
    try:
        tried = subprocess.run(
            [program, "-t", "-c", config], capture_output=True, text=True, timeout=PROBE_S_MAX * 5, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        return str(fault)
    return "" if tried.returncode == 0 else (tried.stderr or tried.stdout).strip()[-300:]


def _unwritable(path: Path, fault: OSError) -> MeshError:
    return MeshError("directory", path=path, problem=fault.strerror or str(fault), cure="make it writable for meshd")
