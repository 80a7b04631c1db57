"""One process of an agent, in a group of its own: its pipes, its stderr, its limits, and its end.

Invariant: when `wait` has returned, the process is reaped and its whole group was killed; the group
is killed while the dead leader still holds its number, so no stranger can be hit.
Neighbours: `launch` runs first in it; `reaper` ends its group when the daemon cannot; `pipe` talks over its
stdin and stdout; `seat` keeps it up.
"""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct

from meshd.agents import launch
from meshd.agents.reaper import Reaper
from meshd.supervise import Supervisor

LOG_LINES_MAX = 500  # of stderr, kept for `meshctl agents logs`
LOG_LINE_BYTES_MAX = 2_048  # a longer line is cut; the rest of it is dropped
CHUNK_BYTES = 32_768  # read at once: one turn of the loop stays short
DRAIN_S_MAX = 1.0  # what is still in the pipes of a dead process is read for so long
UNDYING_S = 5.0  # after SIGKILL a process is gone, unless the kernel holds it, or it is another user's
LOOKS = 5  # in that time: while we stood still ourselves, no more than the time between two of them passes
POLL_S = 0.05  # how often a process is looked at where the system has no descriptors of processes

# What an agent inherits of the daemon's environment; everything else may hold secrets.
_INHERITED = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR")


class Plan(Struct, frozen=True):
    """What to start: a command, where, under which agent's name, and its memory (0: no limit)."""

    agent: str
    command: tuple[str, ...]
    folder: Path
    memory_bytes: int = 0


class Log:
    """The last lines an agent's processes wrote to stderr, and what the daemon noted about them."""

    def __init__(self) -> None:
        self.count = 0  # of all lines there ever were
        self._lines: deque[str] = deque(maxlen=LOG_LINES_MAX)

    def add(self, line: str) -> None:
        """One line, without its end."""
        self.count += 1
        self._lines.append(line)

    def lines(self) -> list[str]:
        """Oldest first."""
        return list(self._lines)


class Lines:
    """Bytes cut into lines. Holds no more than `bytes_max` of one, however long it is."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._begun = bytearray()
        self._is_skipping = False

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """The lines that `chunk` ends, without their ends, and whether each was cut off.

        The first `bytes_max` bytes of a longer line come at once; what follows of it is dropped.
        """
        *ended, begun = chunk.split(b"\n")
        for piece in ended:
            yield from self._take(piece)
            if not self._is_skipping:
                yield bytes(self._begun), False
            self._begun.clear()
            self._is_skipping = False
        yield from self._take(begun)

    def rest(self) -> bytes:
        """What began and was not ended."""
        return b"" if self._is_skipping else bytes(self._begun)

    def _take(self, piece: bytes) -> Iterator[tuple[bytes, bool]]:
        if self._is_skipping:
            return
        self._begun += piece[: self._bytes_max + 1]
        if len(self._begun) > self._bytes_max:
            self._is_skipping = True
            yield bytes(self._begun[: self._bytes_max]), True
            self._begun.clear()


class Child:
    """One running process. Made by `start`."""

    def __init__(self, popen: subprocess.Popen[bytes], pipes: "_Pipes", reaper: Reaper) -> None:
        self.pid = popen.pid
        self.last_line = ""  # of stderr, since it was given work after a rest
        self.has_lapsed = False  # it was killed because the daemon stood still past its lease
        self.on_undying: Callable[[str], None] = lambda problem: None  # told once that SIGKILL does not end it
        self._popen = popen
        self._reaper = reaper
        self._lease_s = 0.0
        self._killed: asyncio.TimerHandle | None = None  # runs once it was told to die
        self._pipes = pipes
        self._is_read = asyncio.Event()  # stdout, to its end
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, plan: Plan, log: Log, supervisor: Supervisor, reaper: Reaper) -> "Child":
        """Start it. Raises OSError when the command cannot be run.

        Call from the daemon's main thread: the process dies with the thread that starts it.
        """
        report, report_end = os.pipe()
        try:
            popen = _spawn(plan, report_end)
        except OSError:
            os.close(report)
            raise
        finally:
            os.close(report_end)
        child = None
        try:
            reaper.hold(popen.pid)
            child = cls(popen, await _Pipes.of(popen), reaper)
            supervisor.spawn(f"agent {plan.agent}: process {popen.pid}", child._live(log))
            problem = await _told(report)
        except BaseException:
            _signal_group(popen, signal.SIGKILL)
            if child is None:
                reaper.drop(popen.pid)
                popen.wait()
            raise
        if problem:
            child._is_read.set()
            await child.wait()
            raise OSError(f"{plan.command[0]}: {problem}")
        return child

    @property
    def is_alive(self) -> bool:
        """False once it was reaped."""
        return self._popen.returncode is None

    async def wait(self) -> str:
        """How it ended, as a clause: "ended with exit code 3"."""
        return await asyncio.shield(self._ended)

    async def read(self) -> bytes:
        """The next bytes of its stdout, or none at the end."""
        chunk = await self._pipes.stdout.read(CHUNK_BYTES)
        if not chunk:
            self._is_read.set()
        return chunk

    def write(self, line: bytes) -> None:
        """A line for its stdin; dropped when it reads no more. Bounded by what callers have open."""
        if not self._pipes.stdin.is_closing():
            self._pipes.stdin.write(line)

    @property
    def unread_bytes(self) -> int:
        """What was written and its pipe did not take."""
        return self._pipes.stdin.transport.get_write_buffer_size()

    async def has_room(self) -> None:
        """Return when it has read most of what was written, or reads no more."""
        with suppress(ConnectionError):
            await self._pipes.stdin.drain()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; nothing once it was reaped: its number may be another's."""
        if not self.is_alive:
            return
        _signal_group(self._popen, number)
        if number is signal.SIGKILL and self._killed is None:
            self._look_whether_gone(LOOKS)

    def _look_whether_gone(self, looks: int) -> None:
        if not self.is_alive:
            return
        if looks:
            loop = asyncio.get_running_loop()
            self._killed = loop.call_later(UNDYING_S / LOOKS, self._look_whether_gone, looks - 1)
        else:
            how = f"its process {self.pid} is still there {UNDYING_S:g} s after SIGKILL"
            self.on_undying(f"cannot be ended: {how}; see: ps -o user,stat,wchan -p {self.pid}")

    def bind(self, lease_s: float) -> None:
        """From now on it does not outlive a daemon that stands still for `lease_s`; 0 releases it."""
        if self.is_alive and lease_s != self._lease_s:
            self._lease_s = lease_s
            self._reaper.hold(self.pid, lease_s)

    async def end(self, patience_s: float) -> bool:
        """End of input, then SIGTERM, then SIGKILL, each after `patience_s`; False when that does not end it either."""
        self._pipes.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            done, _ = await asyncio.wait([self._ended], timeout=patience_s)
            if done:
                return True
            self.signal(number)
        for _ in range(LOOKS):
            done, _ = await asyncio.wait([self._ended], timeout=UNDYING_S / LOOKS)
            if done:
                return True
        return False

    async def _live(self, log: Log) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_stderr(log))
                await _exit_of(self._popen)
                self._bury()
                with suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_S_MAX):
                        await self._is_read.wait()
                        await self._pipes.stderr_is_read.wait()
                self._pipes.close()  # a descendant that left the group may still hold them open
        finally:
            try:
                await self._kill()
            finally:  # a second cancellation may have cut that short
                self._bury()
                self._pipes.close()
                if not self._ended.done():
                    self._ended.set_result(_manner(self._popen.returncode))

    async def _kill(self) -> None:
        """End it if it has not ended, while the loop goes on; what cannot be ended is left behind."""
        if self.is_alive:
            self._let_go()
            with suppress(TimeoutError):
                async with asyncio.timeout(UNDYING_S):
                    await _exit_of(self._popen)

    def _bury(self) -> None:
        """Reap it, if it has ended."""
        self._let_go()
        self._popen.poll()

    def _let_go(self) -> None:
        """Kill its group while the number is still its own; nobody else has to do it from now on."""
        self.has_lapsed = self.has_lapsed or self._reaper.has_lapsed(self.pid)
        if self.is_alive:
            _signal_group(self._popen, signal.SIGKILL)
        self._reaper.drop(self.pid)

    async def _read_stderr(self, log: Log) -> None:
        lines = Lines(LOG_LINE_BYTES_MAX)
        while chunk := await self._pipes.stderr.read(CHUNK_BYTES):
            for line, _ in lines.feed(chunk):
                self._note(line, log)
        self._note(lines.rest(), log)
        self._pipes.stderr_is_read.set()

    def _note(self, line: bytes, log: Log) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self.last_line = text
            log.add(text)


class _Pipes:
    """The three pipes of one process, as streams."""

    def __init__(self, stdin: StreamWriter) -> None:
        self.stdin = stdin
        self.stdout = StreamReader(limit=CHUNK_BYTES)
        self.stderr = StreamReader(limit=CHUNK_BYTES)
        self.stderr_is_read = asyncio.Event()
        self._transports: list[asyncio.BaseTransport] = [stdin.transport]

    @classmethod
    async def of(cls, popen: subprocess.Popen[bytes]) -> "_Pipes":
        loop = asyncio.get_running_loop()
        # A StreamReaderProtocol is what carries flow control; its reader is never fed.
        transport, protocol = await loop.connect_write_pipe(lambda: StreamReaderProtocol(StreamReader()), popen.stdin)
        pipes = cls(StreamWriter(transport, protocol, None, loop))
        for reader, file in ((pipes.stdout, popen.stdout), (pipes.stderr, popen.stderr)):
            pipes._transports.append((await loop.connect_read_pipe(partial(StreamReaderProtocol, reader), file))[0])
        return pipes

    def close(self) -> None:
        """Let go of all three; readers see the end."""
        for transport in self._transports:
            transport.close()


def _spawn(plan: Plan, report: int) -> subprocess.Popen[bytes]:
    bare_python = (sys.executable, "-I", "-S", launch.__file__)
    return subprocess.Popen(
        [*bare_python, str(os.getpid()), str(plan.memory_bytes), str(report), *plan.command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=plan.folder,
        env=environment(plan.agent, os.environ),
        pass_fds=[report],
        process_group=0,
    )


def _signal_group(popen: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, number)


def _manner(code: int | None) -> str:
    if code is None:
        return "was left behind before it had ended"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


async def _exit_of(popen: subprocess.Popen[bytes]) -> None:
    """Return when the process has ended; where the system can tell, it is not reaped yet."""
    try:
        descriptor = os.pidfd_open(popen.pid)
    except (AttributeError, OSError):  # no Linux, or a sandbox that forbids it
        while popen.poll() is None:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(POLL_S)
        _signal_group(popen, signal.SIGKILL)  # its group, of which it was the first
        return
    await _readable(descriptor)


async def _told(report: int) -> str:
    """What `launch` says it could not do; nothing once the command runs."""
    return await _readable(report, bytes_max=512)


async def _readable(descriptor: int, bytes_max: int = 0) -> str:
    """Wait until there is something to read, read up to `bytes_max` bytes of it, and close."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
        return os.read(descriptor, bytes_max).decode("utf-8", "replace") if bytes_max else ""
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def environment(agent: str, daemon: Mapping[str, str]) -> dict[str, str]:
    """What an agent's process gets to see: an allow-list of the daemon's own, and its name."""
    kept = {name: value for name, value in daemon.items() if name in _INHERITED or name.startswith("LC_")}
    return kept | {"MESHD_AGENT": agent, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
