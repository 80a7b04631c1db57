"""Does a nats-server answer at an address, with our credential, and does its JetStream answer too?

Invariant: one connection, a handful of lines of the NATS text protocol, a deadline; no client
library. Neighbours: `server` asks here whether a start or an adoption worked.
"""

import asyncio
import contextlib

import msgspec
from msgspec import Struct

REPLY = "_meshd.probe"
LINE_BYTES_MAX = 65_536


class Found(Struct, frozen=True):
    """What answered: its configured name, and whether its JetStream does."""

    server_name: str
    is_ready: bool


class _Greeting(Struct, frozen=True):
    server_name: str = ""


async def probe(host: str, port: int, *, user: str, password: str, within_s: float) -> Found | None:
    """Ask once; None when nothing there speaks NATS or it does not let us in within `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES_MAX)
            try:
                return await _converse(reader, writer, user=user, password=password)
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
        return None


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, user: str, password: str
) -> Found | None:
    greeting = await reader.readline()
    if not greeting.startswith(b"INFO "):
        return None
    try:
        said = msgspec.json.decode(greeting[5:], type=_Greeting)
    except msgspec.MsgspecError:
        return None
    hello = {"user": user, "pass": password, "name": "meshd probe", "verbose": False}
    abilities = {"headers": True, "no_responders": True}
    writer.write(b"CONNECT %s\r\nSUB %s 1\r\n" % (msgspec.json.encode(hello | abilities), REPLY.encode()))
    writer.write(b"PUB $JS.API.INFO %s 0\r\n\r\n" % REPLY.encode())
    while line := await reader.readline():
        if line.startswith(b"-ERR"):
            return None
        if line.startswith((b"MSG ", b"HMSG ")):  # a plain message is JetStream's account, a header is "nobody"
            return Found(server_name=said.server_name, is_ready=line.startswith(b"MSG "))
    return None
