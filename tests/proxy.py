"""A TCP proxy in front of a server: the faults of a link, at will and each way by itself.

Invariant: bytes that pass are neither changed nor reordered, and at most `UNSENT_MAX` chunks wait in it: then
the sender feels it. Neighbours: the contract suites, and the cells of `tests/live/`.
"""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65_536
SLOW_CHUNK_BYTES = 1_024  # so that connections share a slow link in turns
UNSENT_MAX = 64  # chunks on their way; a bound of bytes would stop a long delay earlier than a slow link
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: an end is a reset, not a goodbye


class Way:
    """One direction of all connections of a link. Change its attributes at any time."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = 0.0  # 0: as fast as it goes
        self.is_lost = False  # what comes by now never arrives
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._free_at = 0.0

    def hold(self) -> None:
        """Nothing passes, and nothing is lost: as on a link that drops packets and a sender that repeats them."""
        self._flowing.clear()

    def mend(self) -> None:
        """Pass everything on again, at once."""
        self.delay_s = self.bytes_per_s = 0.0
        self.is_lost = False
        self._flowing.set()

    @property
    def chunk_bytes(self) -> int:
        return SLOW_CHUNK_BYTES if self.bytes_per_s else CHUNK_BYTES

    def due_at(self, now_s: float, count: int) -> float:
        """When so many bytes that come now have passed."""
        took_s = count / self.bytes_per_s if self.bytes_per_s else 0.0
        self._free_at = max(self._free_at, now_s) + took_s
        return self._free_at + self.delay_s

    async def opened(self) -> None:
        """Return when it is not held."""
        await self._flowing.wait()


class Proxy:
    """Listens on a loopback port for as long as the `async with` block lasts."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.up = Way()  # to the server
        self.down = Way()  # its answers
        self._writers: set[asyncio.StreamWriter] = set()
        self._refuses = False
        self._server: asyncio.Server | None = None
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        self.mend()
        self.cut()
        while self._writers:  # noqa: ASYNC110 - until every connection's task has seen its end
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def open(self) -> int:
        """Connections that stand now."""
        return len(self._writers) // 2

    def cut(self) -> None:
        """Reset every connection now; new ones are taken."""
        for writer in self._writers:
            reset(writer)

    async def storm(self, every_s: float, lasts_s: float) -> None:
        """Reset every connection again and again."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + lasts_s
        while loop.time() < until_s:
            self.cut()
            await asyncio.sleep(every_s)

    def refuse(self) -> None:
        """End every connection, and new ones as soon as they come."""
        self._refuses = True
        self.cut()

    def hold(self) -> None:
        """Connections stay up and nothing passes, either way."""
        self.up.hold()
        self.down.hold()

    def swallow_answers(self) -> None:
        """What the server says from now on is lost."""
        self.down.is_lost = True

    def mend(self) -> None:
        """Pass everything on again."""
        self._refuses = False
        self.up.mend()
        self.down.mend()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up_writer = writer
        self._writers.add(writer)
        try:
            if self._refuses:
                reset(writer)
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(up_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, up_writer, self.up))
                group.create_task(_pass(up_reader, writer, self.down))
        except OSError:
            reset(writer)
        finally:
            self._writers -= {writer, up_writer}


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
    """All bytes of one connection in one direction, each in its time, and then its end."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNSENT_MAX)

    async def deliver() -> None:
        while True:
            due_at, chunk = await waiting.get()
            if due_at > loop.time():
                await asyncio.sleep(due_at - loop.time())
            await way.opened()
            if not chunk:
                return
            if not way.is_lost:
                writer.write(chunk)
                await writer.drain()

    try:
        async with asyncio.TaskGroup() as group:
            delivery = group.create_task(deliver())
            chunk = b" "
            while chunk and not delivery.done():
                chunk = await reader.read(way.chunk_bytes)
                await waiting.put((way.due_at(loop.time(), len(chunk)), chunk))
    except* OSError:
        pass
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End it at once, as a link does that is cut."""
    found = writer.get_extra_info("socket")
    if found is not None and found.fileno() >= 0:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
