"""The nats.conf of the embedded server: a typed value and the text it becomes.

Invariant: every bound and every place on disk is said here, nothing is left to the server's
defaults (which are three quarters of the host's memory and disk, and no fsync for minutes).
Neighbours: `server` writes the text and has the binary check it.
"""

from pathlib import Path

from msgspec import Struct

from meshd.addresses import joined

MEMORY_MB_MAX = 64  # streams in memory: none of ours are
DISK_MB_MAX = 2_048  # of which the bucket of tasks takes 512 unless told otherwise, and the audit as much
DISK_MB_BESIDE = 1_536  # for the audit and what the server needs itself, beside the bucket of tasks
LOG_MB_MAX = 4  # then the server starts another
LOGS_KEPT = 3
USER = "meshd"


class ServerConfig(Struct, frozen=True):
    """Everything one embedded server is told. `monitor_port` 0: no monitoring page."""

    name: str
    host: str
    port: int
    directory: Path
    password: str
    user: str = USER
    monitor_port: int = 0
    disk_mb: int = DISK_MB_MAX

    @property
    def path(self) -> Path:
        """Where the text lies."""
        return self.directory / "nats.conf"

    @property
    def pid_path(self) -> Path:
        """Where the server writes its process id."""
        return self.directory / "pid"

    @property
    def log_path(self) -> Path:
        """Where the server writes its log."""
        return self.directory / "log"

    def text(self) -> str:
        """The configuration file, in the server's own syntax."""
        lines = [
            f"server_name: {quoted(self.name)}",
            f"listen: {quoted(joined(self.host, self.port))}",
            *([f"http: {quoted(joined('127.0.0.1', self.monitor_port))}"] if self.monitor_port else []),
            "jetstream {",
            f"  store_dir: {quoted(str(self.directory / 'js'))}",
            f"  max_memory_store: {MEMORY_MB_MAX}MB",
            f"  max_file_store: {self.disk_mb}MB",
            "  sync_interval: always  # an acknowledged record is on disk",
            "}",
            f"authorization {{ user: {quoted(self.user)}, password: {quoted(self.password)} }}",
            "max_payload: 1MB",
            "ping_interval: 5s",
            "ping_max: 2",
            "write_deadline: 5s",
            "lame_duck_duration: 30s",
            "lame_duck_grace_period: 2s",
            f"pid_file: {quoted(str(self.pid_path))}",
            f"log_file: {quoted(str(self.log_path))}",
            f"log_size_limit: {LOG_MB_MAX}MB",
            f"log_max_num: {LOGS_KEPT}",
            "logtime: true",
        ]
        return "\n".join(lines) + "\n"


def disk_mb(bytes_max: int) -> int:
    """What the server may take of the disk when the bucket of tasks may hold `bytes_max`."""
    return max(DISK_MB_MAX, (bytes_max >> 20) + DISK_MB_BESIDE)


def quoted(text: str) -> str:
    """A string of the configuration's syntax. Raises ValueError for control characters."""
    if not text.isprintable():
        raise ValueError(f"{text!r} cannot stand in a configuration file")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
