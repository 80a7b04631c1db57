"""One request to a service over a connection of its own, and its answer, read in bounded pieces.

Invariant: nothing is read beyond the bounds below, and the loop is let go every few pieces: a service that answers
without end, or byte by byte, takes its turn like everybody and no more. h11 reads what is HTTP and what is not.
Neighbours: `http` asks, `answers` says what an answer means.
"""

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11
from msgspec import Struct

from meshd.quoting import quoted

READ_BYTES = 16_384  # at once
HEAD_BYTES_MAX = 16_384  # of a head, a trailer, or a line between two chunks; servers refuse more than 8 KiB themselves
INTERIM_MAX = 16  # answers of 1xx before the one that counts: some send a hint or two
PIECES_MAX = 16_384  # of a body: with 16 bytes in each, the largest result is whole
TURN_PIECES = 32  # read without letting others on: below a millisecond
GOODBYE_S = 1.0  # for a service to close its side of TLS


class NoHttpError(Exception):
    """What came is no answer of HTTP, or none that has an end; the text is the end of a sentence on the agent."""


class Head(Struct, frozen=True):
    """Status and headers of an answer; their names in small letters, of two the first."""

    status: int
    headers: Mapping[str, str]


class Exchange:
    """A connection that is used once. All its methods but `close` raise OSError when it breaks."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._url = urlsplit(url)
        self._reader = reader
        self._writer = writer
        self._talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._pieces = 0
        self._is_cut = False  # the service has closed its side
        self._is_whole = False

    def post(self, headers: Mapping[str, str], body: bytes) -> None:
        """Send the request, without waiting: it leaves while the answer is read, which may come first."""
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        ours = {"Host": self._url.netloc, "Content-Length": str(len(body)), "Connection": "close"}
        request = h11.Request(method="POST", target=target, headers=[*ours.items(), *headers.items()])
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._talk.send(event) or b"")

    async def head(self) -> Head:
        """The head of the answer that counts. Raises NoHttpError."""
        for _ in range(INTERIM_MAX + 1):
            event = await self._next()
            if isinstance(event, h11.Response):
                headers: dict[str, str] = {}
                for name, value in event.headers:
                    headers.setdefault(name.decode("ascii"), value.decode("latin-1"))
                return Head(status=event.status_code, headers=headers)
        raise NoHttpError(f"says more than {INTERIM_MAX} times that its answer is to come (1xx)")

    async def body(self, bytes_max: int) -> bytes:
        """Its body, or one byte more than `bytes_max` of it. Raises NoHttpError."""
        body = bytearray()
        for _ in range(PIECES_MAX):
            event = await self._next()
            if not isinstance(event, h11.Data):
                self._is_whole = True
                return bytes(body)
            body += event.data
            if len(body) > bytes_max:
                return bytes(body[: bytes_max + 1])
        raise NoHttpError(f"answers in more than {PIECES_MAX} pieces")

    def close(self) -> None:
        """Let it go: with a word when the answer is whole, else at once, whatever is on the way."""
        if self._is_whole:
            self._writer.close()
        else:
            self._writer.transport.abort()

    async def _next(self) -> object:
        self._pieces += 1
        if self._pieces % TURN_PIECES == 0:
            await asyncio.sleep(0)
        while True:
            try:
                event = self._talk.next_event()
            except h11.RemoteProtocolError as failure:
                if self._is_cut:
                    raise ConnectionError("closed before the answer was whole") from None
                raise NoHttpError(f"answers what is no HTTP: {_why(failure)}") from None
            if event is not h11.NEED_DATA:
                return event
            read = await self._reader.read(READ_BYTES)
            self._is_cut = not read
            self._talk.receive_data(read)


async def reached(url: str, tls: ssl.SSLContext | None, within_s: float) -> Exchange:
    """Connect, and say nothing yet. Raises OSError, which TimeoutError is, too."""
    place = urlsplit(url)
    port = place.port or (80 if tls is None else 443)
    goodbye_s = None if tls is None else GOODBYE_S
    async with asyncio.timeout(within_s):
        try:
            reader, writer = await asyncio.open_connection(
                place.hostname, port, ssl=tls, limit=READ_BYTES, ssl_shutdown_timeout=goodbye_s
            )
        except UnicodeError:  # of a name that no resolver could be asked for
            raise OSError(f"{quoted(place.hostname or '')} is no name of a host") from None
    return Exchange(url, reader, writer)


def _why(failure: h11.RemoteProtocolError) -> str:
    if failure.error_status_hint == 431:
        return f"a head or a line of more than {HEAD_BYTES_MAX} bytes"
    return quoted(str(failure)[:200].replace("request line", "status line"))  # h11 says it of both
