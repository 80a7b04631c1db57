"""A TCP proxy in front of a server: cuts connections, holds bytes back, swallows answers.

Invariant: bytes that pass are neither changed nor reordered. Neighbours: the contract suites.
"""

import asyncio
from types import TracebackType
from typing import Self


class Proxy:
    """Listens on a loopback port for as long as the `async with` block lasts."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._swallows = False
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
        self.cut()
        while self._writers:  # noqa: ASYNC110 - until every connection's task has seen its end
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """End every connection now; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    def refuse(self) -> None:
        """End every connection, and new ones as soon as they come."""
        self._refuses = True
        self.cut()

    def hold(self) -> None:
        """Connections stay up and nothing passes, either way."""
        self._flowing.clear()

    def swallow_answers(self) -> None:
        """What the server says from now on is lost."""
        self._swallows = True

    def mend(self) -> None:
        """Pass everything on again."""
        self._swallows = self._refuses = False
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up_writer = writer
        self._writers.add(writer)
        try:
            if self._refuses:
                writer.transport.abort()
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(up_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, is_answer=False))
                group.create_task(self._pump(up_reader, writer, is_answer=True))
        except OSError:
            writer.transport.abort()
        finally:
            self._writers -= {writer, up_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        try:
            while chunk := await reader.read(65_536):
                if not self._flowing.is_set():
                    await self._flowing.wait()
                if not (is_answer and self._swallows):
                    writer.write(chunk)
                    await writer.drain()
        except OSError:
            pass
        writer.close()
