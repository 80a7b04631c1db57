"""Core messaging over nats-py, with one client object for each connection.

Invariant: a connection is never revived. What it had not sent dies with it, so nothing stale is
replayed; the next connection subscribes anew before it is announced as up.
Neighbours: `subjects` checks what goes out; `meshd.store.jetstream` keeps a connection of its own,
so that bulk never delays a heartbeat.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from meshd.addresses import server_of
from meshd.natsclient import NatsClient
from meshd.ports import Sink
from meshd.supervise import Supervisor, end, heed_cancellation
from meshd.transport.subjects import check_absences, check_pattern, check_publish, probe_of
from protocol.errors import MeshError
from protocol.inputs import Absent, LinkChanged, Received
from protocol.limits import INBOX_MAX
from protocol.primitives import Rng

CONNECT_S_MAX = 2  # for each step of a handshake
RECONNECT_S = 0.1  # and up to as much again by chance, so that a mesh does not return in one instant
PING_S = 5  # with two unanswered, a silent server is noticed within 15 s
FLUSH_S_MAX = 2.0
LOOK_S = 1.0  # how often a connection is looked at that ended without a word
OUTBOX_BYTES_MAX = 4 << 20  # four of the largest frames, thousands of usual ones; older than a second is stale anyway
STRANGE = (ValueError, AttributeError, TypeError)  # what nats-py makes of a greeting that is none of NATS
ARRIVED_BYTES_MAX = 32 << 20  # of one subscription, while the loop is too busy to take them

_Arrived: TypeAlias = Callable[[Msg], Awaitable[None]]
_Frame: TypeAlias = tuple[str, bytes, str]  # subject, frame, reply


FAULTS = ("dropped", "overrun", "refused")  # what `NatsTransport.counts` tells of


class NatsTransport:
    """One node's link to its server; `problem` is the last thing that went wrong with it.

    `counts`: "dropped" frames that never left, "overrun" frames that arrived faster than they
    were taken, "refused" subjects that the server's permissions forbid.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        name: str,
        supervisor: Supervisor,
        rng: Rng,
        user: str = "",
        password: str = "",
    ) -> None:
        self._servers = tuple(servers)
        self._name = name
        self._supervisor = supervisor
        self._rng = rng
        self._user, self._password = user or None, password or None
        self._subscriptions: dict[str, _Arrived] = {}
        self._connection: _Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._sink: Sink = _nowhere
        self._server = ""
        self.problem = ""
        self.counts: Counter[str] = Counter()

    @property
    def is_up(self) -> bool:
        """As `meshd.ports.Transport.is_up`."""
        return self._connection is not None and self._connection.is_up

    @property
    def server(self) -> str:
        """As `meshd.ports.Transport.server`: host:port, without credentials."""
        return self._server

    async def open(self, sink: Sink) -> None:
        """As `meshd.ports.Transport.open`."""
        self._sink = sink
        for url in self._servers:
            _where(url)
        connection = await self._connect()
        self._keeper = self._supervisor.spawn("transport", self._keep(connection))

    def open_later(self, sink: Sink) -> None:
        """Like `open`, for who can do without for now: goes on trying in the background; `problem` says why."""
        self._sink = sink
        self._keeper = self._supervisor.spawn("transport", self._keep(None))

    async def subscribe(self, subject: str) -> None:
        """As `meshd.ports.Transport.subscribe`."""
        check_pattern(subject)
        await self._subscribe(subject, self._received)

    async def unsubscribe(self, subject: str) -> None:
        """As `meshd.ports.Transport.unsubscribe`."""
        if self._subscriptions.pop(subject, None) is not None:
            await self._tell_subscriptions()

    async def watch_absences(self, subject: str) -> None:
        """As `meshd.ports.Transport.watch_absences`."""
        check_absences(subject)
        await self._subscribe(subject, self._missed)

    def publish(self, subject: str, frame: bytes, reply: str = "") -> bool:
        """As `meshd.ports.Transport.publish`. Raises LocalError for what can be no frame or subject."""
        check_publish(subject, frame, reply)
        if self._connection is not None and self._connection.take((subject, frame, reply)):
            return True
        self.counts["dropped"] += 1
        return False

    async def flush(self) -> None:
        """As `meshd.ports.Transport.flush`."""
        if self._connection is not None:
            await self._connection.settled()

    async def close(self) -> None:
        """As `meshd.ports.Transport.close`."""
        await self.flush()
        if self._keeper is not None:
            await end(self._keeper)
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _subscribe(self, pattern: str, arrived: _Arrived) -> None:
        if pattern in self._subscriptions:
            return
        self._subscriptions[pattern] = arrived
        await self._tell_subscriptions()

    async def _tell_subscriptions(self) -> None:
        """Return when the connected server knows what we listen to; another one is told when it is connected."""
        connection = self._connection
        if connection is not None and connection.is_up:
            with contextlib.suppress(nats.errors.Error):  # it ended meanwhile
                await connection.listen(self._subscriptions)
            await connection.settled()

    async def _keep(self, connection: "_Connection | None") -> None:
        """Announce each connection, send what it is given, and replace it when it ends."""
        if connection is None:
            self._sink(LinkChanged(up=False))
            connection = await self._connect_again()
        while True:
            self._sink(LinkChanged(up=True))
            await connection.run()
            self._connection = None
            self._sink(LinkChanged(up=False))
            await connection.close()
            connection = await self._connect_again()

    async def _connect_again(self) -> "_Connection":
        while True:
            await asyncio.sleep(RECONNECT_S * (1 + self._rng.random()))
            with contextlib.suppress(MeshError):
                return await self._connect()

    async def _connect(self) -> "_Connection":
        """A connection to the first server that takes us. Raises MeshError("broker")."""
        refusal = MeshError("broker", problem="has no address", cure="name one with nats.urls")
        for url in self._servers:
            self._server = _where(url)
            connection = _Connection(self._failed)
            try:
                await connection.open(url, name=self._name, user=self._user, password=self._password)
                await connection.listen(self._subscriptions)
                heed_cancellation()
            except (OSError, nats.errors.Error, *STRANGE) as fault:
                heed_cancellation()
                refusal = _refusal(self._server, connection.fault or fault)
                self.problem = refusal.message
            else:
                self._connection, self.problem = connection, ""
                return connection
            finally:
                if self._connection is not connection:
                    await connection.close()
        raise refusal

    async def _received(self, message: Msg) -> None:
        if message.headers is None or "Status" not in message.headers:
            self._sink(Received(subject=message.subject, frame=message.data))

    async def _missed(self, message: Msg) -> None:
        probe = probe_of(message.subject)
        if probe is not None and message.headers is not None and message.headers.get("Status") == "503":
            self._sink(Absent(probe=probe))

    def _failed(self, fault: Exception) -> None:
        if isinstance(fault, nats.errors.SlowConsumerError):
            self.counts["overrun"] += 1
        elif "permissions violation" in str(fault).lower():
            self.counts["refused"] += 1
        self.problem = str(fault)


class _Connection:
    """One client from its first byte to its last, and the frames that wait to be handed to it."""

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._client = NatsClient()
        self._on_fault = on_fault
        self._outbox: asyncio.Queue[_Frame | asyncio.Event] = asyncio.Queue()
        self._outbox_bytes = 0
        self._asked: dict[str, Subscription] = {}
        self._asking = asyncio.Lock()
        self._ended = asyncio.Event()
        self.fault: Exception | None = None

    @property
    def is_up(self) -> bool:
        return self._client.is_connected

    async def open(self, url: str, *, name: str, user: str | None, password: str | None) -> None:
        """Connect. Raises OSError, the errors of nats-py, and STRANGE."""
        await self._client.connect(
            servers=[url],
            name=name,
            user=user,
            password=password,
            error_cb=self._failed,
            closed_cb=self._closed,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # without a bound the first connection is tried for ever
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S_MAX,
            ping_interval=PING_S,
            max_outstanding_pings=2,
            pending_size=0,  # else a full buffer makes publish wait, and that wait swallows cancellation
            skip_subject_validation=True,  # done before
        )

    async def listen(self, wanted: Mapping[str, _Arrived]) -> None:
        """Ask for `wanted` and for nothing else, however that changes meanwhile.

        Raises the errors of nats-py when the connection has ended.
        """
        async with self._asking:
            while change := sorted(wanted.keys() ^ self._asked.keys()):
                pattern = change[0]
                if pattern in wanted:
                    self._asked[pattern] = await self._client.subscribe(
                        pattern,
                        cb=wanted[pattern],
                        pending_msgs_limit=INBOX_MAX,
                        pending_bytes_limit=ARRIVED_BYTES_MAX,
                    )
                else:
                    await self._asked.pop(pattern).unsubscribe()

    def take(self, frame: _Frame) -> bool:
        """Hand over a frame to be sent; False when the connection is down or has too much in hand."""
        size = len(frame[1])
        in_hand = self._outbox_bytes + self._client.pending_data_size
        if not self.is_up or in_hand + size > OUTBOX_BYTES_MAX:
            return False
        self._outbox_bytes += size
        self._outbox.put_nowait(frame)
        return True

    async def settled(self) -> None:
        """Return when the server has read all that was taken before, or after `FLUSH_S_MAX`."""
        if not self.is_up:
            return
        mark = asyncio.Event()
        self._outbox.put_nowait(mark)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S_MAX):
                await mark.wait()

    async def run(self) -> None:
        """Send until the connection ends."""
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(self._send())
            while self.is_up and not self._ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._ended.wait()
            sender.cancel()

    async def close(self) -> None:
        """Disconnect. Idempotent; never waits long for a server that takes nothing, nor minds one that has reset us."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(CONNECT_S_MAX):
                await self._client.close()

    async def _send(self) -> None:
        with contextlib.suppress(nats.errors.Error):
            while True:
                item = await self._outbox.get()
                if isinstance(item, asyncio.Event):
                    await self._round_trip()
                    item.set()
                else:
                    subject, frame, reply = item
                    self._outbox_bytes -= len(frame)
                    await self._client.publish(subject, frame, reply=reply)
        self._ended.set()  # a client that refuses to send is of no more use

    async def _round_trip(self) -> None:
        # nats-py writes a PING ahead of what is buffered, so only the second is behind it. A PONG
        # whose waiter was cancelled would end its read loop: longer than the pings let a server be
        # silent, so that only the end of the connection ever cuts the wait short.
        for _ in range(2):
            await self._client.flush(timeout=PING_S * 4)

    async def _failed(self, fault: Exception) -> None:
        self.fault = fault
        self._on_fault(fault)

    async def _closed(self) -> None:
        self._ended.set()


def _nowhere(_: object) -> None:
    """Where inputs go before `open`."""


def _where(url: str) -> str:
    """Host and port of a server's address, without its credentials. Raises MeshError("broker")."""
    try:
        return server_of(url)
    except ValueError as failure:
        raise MeshError("broker", problem=str(failure), cure="write nats://HOST:PORT") from None


def _refusal(where: str, fault: Exception) -> MeshError:
    """One sentence and a cure for a connection that could not be made."""
    said = str(fault)
    if isinstance(fault, ConnectionRefusedError):
        return MeshError("broker", problem=f"does not answer at {where}", cure="start it, or check the address")
    if isinstance(fault, TimeoutError | nats.errors.TimeoutError):
        problem = f"did not answer at {where} within {CONNECT_S_MAX} s"
        return MeshError("broker", problem=problem, cure="check the address and what lies between")
    if "authorization" in said.lower() or "authentication" in said.lower():
        cure = "join with a fresh invitation, or check the NATS user and password"
        return MeshError("broker", problem=f"at {where} does not accept our credentials", cure=cure)
    if isinstance(fault, OSError):
        problem = f"cannot be reached at {where}: {fault.strerror or said}"
        return MeshError("broker", problem=problem, cure="check the address")
    return MeshError("broker", problem=f"at {where} does not speak NATS: {said}", cure="check the address")
