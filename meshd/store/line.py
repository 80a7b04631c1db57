"""One connection to a server with JetStream, and the answers awaited on it.

Invariant: a connection is never revived: what it had not sent dies with it, and every question on it
fails at once when it ends. Neighbours: `jetstream` and `archive` ask over one each.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias

import msgspec
import nats.errors
from nats.aio.msg import Msg

from meshd.addresses import server_of
from meshd.natsclient import NatsClient
from meshd.store import wire
from meshd.supervise import heed_cancellation
from protocol.errors import MeshError

ANSWER_S_MAX = 2.0  # an answer takes milliseconds; a new leader takes seconds, and then we ask again
CONNECT_S_MAX = 2  # for each step of a handshake
PING_S = 5  # with two unanswered, a silent server is noticed within 15 s
STRANGE = (ValueError, AttributeError, TypeError)  # what nats-py makes of a greeting that is none of NATS
PENDING_BYTES_MAX = 16 << 20  # not yet taken by the socket


class Unanswered(Exception):
    """No outcome yet; the text completes "the store …"."""


class Missing(Unanswered):
    """Nobody takes what is written: the stream is away, or its server has not loaded it."""


Answers: TypeAlias = "asyncio.Queue[Msg | None]"  # None: the connection ended


class Line:
    """One connection and the answers awaited on it. When it ends every question fails at once, and it stays ended."""

    def __init__(self) -> None:
        self._client = NatsClient()
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._waiting: dict[str, Answers] = {}
        self._asked = 0
        self._fault = ""

    @classmethod
    async def connect(cls, url: str, name: str, user: str | None, password: str | None) -> "Line":
        """Connect to one server. Raises Unanswered with the reason, MeshError("store") when `url` is none."""
        where = _where(url)
        line = cls()
        try:
            await line._connect(url, name, user, password)
            heed_cancellation()
        except (OSError, nats.errors.Error, *STRANGE) as fault:
            await line.close()
            heed_cancellation()
            raise Unanswered(f"cannot reach {where}: {line._fault or _said(fault)}") from None
        except asyncio.CancelledError:
            await line.close()
            raise
        return line

    @property
    def is_up(self) -> bool:
        """True until the connection ends."""
        return self._client.is_connected

    @property
    def version(self) -> str:
        """Of the server, as it greeted us."""
        seen = self._client.connected_server_version
        return f"{seen.major}.{seen.minor}.{seen.patch}"

    async def call(self, method: str, request: bytes = b"") -> wire.Answer:
        """Ask the JetStream API."""
        try:
            return await self.ask(f"$JS.API.{method}", request)
        except Missing:
            raise Unanswered("finds no JetStream on its server: it is off there, or not for this user") from None

    async def ask(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> wire.Answer:
        """Publish and wait for the stream's or the API's answer. Raises Unanswered."""
        with self.answers() as (reply, answers):
            await self.send(subject, payload, reply=reply, headers=headers)
            message = await self.next(answers)
        if message.headers is not None and "Status" in message.headers:
            raise Missing("is not there: the server answers for no such stream")
        try:
            return msgspec.json.decode(message.data, type=wire.Answer)
        except msgspec.MsgspecError:
            raise Unanswered("answers in no form that JetStream has") from None

    async def send(
        self, subject: str, payload: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Hand over to the socket. Raises Unanswered when there is none, or it takes nothing."""
        if self._client.pending_data_size > PENDING_BYTES_MAX:
            raise Unanswered("is not taking what is sent")
        try:
            await self._client.publish(subject, payload, reply=reply, headers=headers)
        except nats.errors.Error:
            raise Unanswered("lost its connection") from None

    @contextlib.contextmanager
    def answers(self) -> Iterator[tuple[str, Answers]]:
        """A reply subject and the queue where its answers arrive."""
        self._asked += 1
        token = str(self._asked)
        queue = self._waiting[token] = asyncio.Queue()
        try:
            yield f"{self._inbox}.{token}", queue
        finally:
            del self._waiting[token]

    @contextlib.asynccontextmanager
    async def listing(self) -> AsyncIterator[tuple[str, Answers]]:
        """The same for stored messages, which arrive under their own subjects."""
        with self.answers() as (reply, queue):
            subject = reply.replace(self._inbox, f"{self._inbox}.list")

            async def arrived(message: Msg) -> None:
                queue.put_nowait(message)

            try:
                subscription = await self._client.subscribe(subject, cb=arrived)
            except nats.errors.Error:
                raise Unanswered("lost its connection") from None
            try:
                yield subject, queue
            finally:
                with contextlib.suppress(nats.errors.Error):
                    await subscription.unsubscribe()

    async def next(self, answers: Answers) -> Msg:
        """The next answer. Raises Unanswered when there is none in time."""
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                message = await answers.get()
        except TimeoutError:
            why = f": {self._fault}" if self._fault else ""
            raise Unanswered(f"did not answer within {ANSWER_S_MAX:g} s{why}") from None
        if message is None:
            raise Unanswered("lost its connection")
        return message

    async def close(self) -> None:
        """Disconnect. Idempotent; never waits long for a server that takes nothing, nor minds one that has reset us."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(CONNECT_S_MAX):
                await self._client.close()

    async def _connect(self, url: str, name: str, user: str | None, password: str | None) -> None:
        await self._client.connect(
            servers=[url],
            name=name,
            error_cb=self._failed,
            closed_cb=self._ended,
            allow_reconnect=False,  # a connection is never revived: what it had buffered would be sent again
            max_reconnect_attempts=1,  # without a bound the first connection is tried for ever
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S_MAX,
            ping_interval=PING_S,
            pending_size=0,  # else a full buffer makes publish wait, and that wait swallows cancellation
            user=user,
            password=password,
        )
        await self._client.subscribe(f"{self._inbox}.*", cb=self._arrived)

    async def _arrived(self, message: Msg) -> None:
        queue = self._waiting.get(message.subject.rpartition(".")[2])
        if queue is not None:
            queue.put_nowait(message)

    async def _failed(self, fault: Exception) -> None:
        if not (self._fault and isinstance(fault, OSError)):  # the server's own words outlast the hanging up
            self._fault = _said(fault)

    async def _ended(self) -> None:
        for queue in self._waiting.values():
            queue.put_nowait(None)


def _said(fault: Exception) -> str:
    """A fault in words; a reset may overtake what the server said before it hung up."""
    if isinstance(fault, ConnectionResetError):
        return "it hung up, as on a failed authorization"
    return str(fault) or "it does not answer"  # a time that ran out has no words


def _where(url: str) -> str:
    """Host and port of a server's address, without its credentials. Raises MeshError("store")."""
    try:
        return server_of(url)
    except ValueError as failure:
        raise MeshError("store", problem=str(failure)) from None
