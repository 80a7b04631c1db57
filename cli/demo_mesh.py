"""Three nodes as real processes in one folder: started, killed, brought back, and cleaned away.

Invariant: whatever happened, after `clean` no process and no file of the demo is left.
Neighbours: `demo_direct` directs, `demo_processes` finds and signals.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from cli import demo_processes
from cli.client import Client
from cli.session import Session
from meshd import clock
from protocol.errors import MeshError

START_S = 30.0
STOP_S = 15.0
LOG_LINES = 12
LOG_BYTES = 65_536
POLL_S = 0.05
NAMES = ("a", "b", "c")
HOST = "a"  # of the embedded server, and so of the record

_PACKAGE_AUDIT = """\
name = "package-audit"
version = "1.0.0"
purpose = "Audit one installed distribution or one part of the standard library"
capabilities = ["package-audit@1"]
kind = "stdio"
run = [{python}, "-c", "from meshd.demo.package_audit import main; main()"]
slots = 2
limits = {{ task_s = 300 }}
"""
_ENVIRONMENT_AUDIT = """\
name = "environment-audit"
version = "1.0.0"
purpose = "Audit the whole Python installation, one task a piece"
capabilities = ["environment-audit@1"]
kind = "python"
run = "meshd.demo.environment_audit:agent"
slots = 1
limits = {{ task_s = 900 }}
"""


class DemoError(Exception):
    """A step failed; `node` is the one whose log may say why."""

    def __init__(self, message: str, node: "Node | None" = None) -> None:
        super().__init__(message)
        self.node = node


class Node:
    """One daemon with a state directory of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._starting: subprocess.Popen[str] | None = None

    def client(self) -> Client:
        """A client of its API. Raises Refusal when it does not run."""
        session = Session()
        session.dir = self.folder
        return Client(session)

    def prepare(self) -> None:
        """Make the directory with the two manifests."""
        manifests = self.folder / "agents.d"
        manifests.mkdir(parents=True, mode=0o700)
        python = '"' + sys.executable.replace("\\", "\\\\").replace('"', '\\"') + '"'
        (manifests / "package-audit.toml").write_text(_PACKAGE_AUDIT.format(python=python))
        (manifests / "environment-audit.toml").write_text(_ENVIRONMENT_AUDIT.format())

    def begin(self, *options: str) -> None:
        """Start the daemon; `ready` waits for it."""
        command = [program("meshd"), "start", "--detach", "--dir", str(self.folder), "--name", self.name, *options]
        self._starting = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            start_new_session=True,  # Ctrl-C is for us; the nodes are ended in their order
        )

    def ready(self) -> None:
        """Return when the daemon that was begun is ready. Raises DemoError with what it said."""
        if self._starting is None:
            return
        try:
            said, _ = self._starting.communicate(timeout=START_S)
        except subprocess.TimeoutExpired:
            raise DemoError(f"node {self.name} was not ready within {START_S:.0f} s", self) from None
        status, self._starting = self._starting.returncode, None
        if status != 0:
            last = said.strip().splitlines()[-LOG_LINES:] or [f"exit status {status}"]
            raise DemoError(f"node {self.name} did not start: " + "\n  ".join(last), self)

    def pids(self) -> list[int]:
        """The daemon, its agents, and on the host of the record its nats-server."""
        return demo_processes.under(self.folder, demo_processes.look())

    def is_running(self) -> bool:
        """True while its daemon holds the lock of its directory; asks nothing of the daemon."""
        try:
            with (self.folder / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass  # there is no lock yet
        return False

    def kill(self) -> list[int]:
        """End it all at once, as a power cut would; the numbers of the processes come back."""
        return demo_processes.end(self.pids)

    def begin_stop(self) -> subprocess.Popen[bytes]:
        """Ask it to leave."""
        return subprocess.Popen(
            [program("meshd"), "stop", "--dir", str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )

    def last_lines(self) -> list[str]:
        """The end of what it logged, for people."""
        lines: list[str] = []
        for log in sorted(self.folder.glob("*.log")):
            try:
                text = log.read_bytes()[-LOG_BYTES:].decode(errors="replace")
            except OSError:
                continue
            lines += [f"node {self.name}: {_readable(line)}" for line in text.splitlines()[-LOG_LINES:]]
        return lines


class Mesh:
    """The three nodes and their folder, which is new or empty. Raises MeshError("directory")."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = _own(folder)
        self.nodes = {name: Node(name, self.folder / name) for name in NAMES}

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def invitation(self) -> str:
        """What lets b and c join. Raises DemoError."""
        command = [program("meshctl"), "--dir", str(self[HOST].folder), "invite", "-o", "name"]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=START_S, check=False)
        if ran.returncode != 0:
            raise DemoError(f"node {HOST} gave no invitation: {ran.stderr.strip()}", self[HOST])
        return ran.stdout.strip()

    def stop(self) -> None:
        """Let every node leave, the host of the record last; what does not go is ended."""
        others = [self[name].begin_stop() for name in NAMES if name != HOST and self[name].pids()]
        for stopping in others:
            _wait(stopping)
        if self[HOST].pids():
            _wait(self[HOST].begin_stop())
        self.clean()

    def clean(self) -> None:
        """End what still runs and remove the folder."""
        everything = self._everything
        if everything():
            demo_processes.end(everything, signal.SIGTERM)
            until(lambda: not everything(), 1.0)
        demo_processes.end(everything)
        until(lambda: not everything(), 5.0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _everything(self) -> list[int]:
        seen = demo_processes.look()
        return [pid for node in self.nodes.values() for pid in demo_processes.under(node.folder, seen)]


def until(holds: Callable[[], bool], deadline_s: float) -> bool:
    """Wait until `holds`, at most that long; whether it did."""
    end = clock.monotonic_ns() + int(deadline_s * 1e9)
    pause = threading.Event()
    while not holds():
        if clock.monotonic_ns() >= end:
            return False
        pause.wait(POLL_S)
    return True


def program(name: str) -> str:
    """The command of this installation. Raises DemoError when there is none."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise DemoError(f"the command {name} is not installed beside {sys.executable}")
    return found


def environment() -> dict[str, str]:
    """Ours without what would configure a daemon: the demo looks the same everywhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MESHD_")}


def _readable(line: str) -> str:
    """A line of a log in JSON as time, level and message; any other line as it is."""
    try:
        entry = json.loads(line)
        return f"{str(entry['time'])[11:23]} {entry['level']}: {entry['message']}"
    except (ValueError, LookupError, TypeError):
        return line


def made(folder: Path, option: str) -> Path:
    """The folder, made if it was missing. Raises MeshError("directory"), which names `option`."""
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        cure = f"choose another folder with {option}"
        raise MeshError("directory", path=folder, problem=failure.strerror or failure, cure=cure) from None
    return folder


def _own(folder: Path | None) -> Path:
    """The folder of the mesh, which nobody else uses; a new one when none is given."""
    if folder is None:
        # Short, because a unix socket's path has to fit into a hundred bytes.
        return Path(tempfile.mkdtemp(prefix="meshd-demo-"))
    if any(made(folder, "--dir").iterdir()):
        problem, cure = "is not empty", "give the demo a folder of its own with --dir"
        raise MeshError("directory", path=folder, problem=problem, cure=cure)
    return folder.absolute()


def _wait(stopping: subprocess.Popen[bytes]) -> None:
    try:
        stopping.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        stopping.kill()
        stopping.wait()
