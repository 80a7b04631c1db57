"""The stream that keeps the audit of every node, `<mesh>-audit`: added to in order, never changed.

Invariant: what is added follows what its writer believes to be last on its subject, or is not added; so
nothing is there twice, however often it was sent. Neighbours: `line` is the connection, `wire` what
JetStream is asked and answers; the daemon's shipping adds, its API reads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from meshd.ports import Kept, Span
from meshd.store import wire
from meshd.store.line import Line, Missing, Unanswered
from protocol.errors import MeshError
from protocol.primitives import Rng

ANSWERED_S_MAX = 5.0  # then the caller is told, and asks again when it likes
PAUSE_S = 0.1
BYTES_MAX = 512 << 20  # of the stream, which its server sets aside: a million records; the oldest go first
MESSAGE_BYTES_MAX = 300_000  # a batch, its envelope and its headers

_T = TypeVar("_T")


class JetStreamArchive:
    """One stream over one connection of its own."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        stream: str,
        subjects: str,
        name: str,
        rng: Rng,
        user: str = "",
        password: str = "",
        keep_s: float,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._servers = tuple(servers)
        self._name = name
        self._rng = rng
        self._user, self._password = user or None, password or None
        self._stream = stream
        self._config = stream_config(stream, subjects=subjects, keep_s=keep_s, bytes_max=bytes_max)
        self._line: Line | None = None
        self._connecting = asyncio.Lock()
        self._is_closed = False

    async def open(self) -> None:
        """As `meshd.ports.Archive.open`."""
        await self._answered(self._make)

    async def append(self, subject: str, frame: bytes, *, mark: str, expect: int) -> int | None:
        """As `meshd.ports.Archive.append`."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expect), "Nats-Msg-Id": mark}

        async def attempt(line: Line) -> int | None:
            answer = await line.ask(subject, frame, headers)
            if answer.error is None:
                return answer.seq
            if answer.error.err_code in wire.WRONG_SEQUENCE:
                return None
            raise Unanswered(f"refuses records for now: {answer.error.description}")

        return await self._answered(attempt)

    async def last(self, subject: str) -> Kept | None:
        """As `meshd.ports.Archive.last`."""
        return await self._answered(lambda line: self._look(line, {"last_by_subj": subject}))

    async def next(self, subject: str, seq: int) -> Kept | None:
        """As `meshd.ports.Archive.next`."""
        return await self._answered(lambda line: self._look(line, {"seq": max(seq, 1), "next_by_subj": subject}))

    async def span(self) -> Span:
        """As `meshd.ports.Archive.span`."""

        async def attempt(line: Line) -> Span:
            answer = await line.call(f"STREAM.INFO.{self._stream}")
            if answer.error is not None:
                raise Missing(f"misses the stream {self._stream}: {answer.error.description}")
            return Span(answer.state.first_seq, answer.state.last_seq)

        return await self._answered(attempt)

    async def close(self) -> None:
        """As `meshd.ports.Archive.close`."""
        self._is_closed = True
        if self._line is not None:
            await self._line.close()

    async def _look(self, line: Line, which: dict[str, object]) -> Kept | None:
        answer = await line.call(f"STREAM.MSG.GET.{self._stream}", msgspec.json.encode(which))
        if answer.error is None and answer.message is not None:
            return Kept(answer.message.seq, answer.message.subject, answer.message.data)
        if answer.error is not None and answer.error.err_code == wire.NO_MESSAGE:
            return None
        raise Unanswered(f"cannot read: {answer.error.description if answer.error is not None else 'no message'}")

    async def _make(self, line: Line) -> None:
        answer = await line.call(f"STREAM.CREATE.{self._stream}", msgspec.json.encode(self._config))
        if answer.error is None or answer.error.err_code == wire.STREAM_DIFFERS:
            known = await line.call(f"STREAM.INFO.{self._stream}")
            difference = wire.differing(self._config, known.config, among=ESSENTIAL)
            if not difference:
                return
            raise MeshError("store", problem=f"cannot use the stream {self._stream}: {difference}")
        raise Unanswered(f"cannot make the stream {self._stream}: {answer.error.description}")

    async def _answered(self, attempt: Callable[[Line], Awaitable[_T]]) -> _T:
        """Try until there is an answer. Raises MeshError("store") after `ANSWERED_S_MAX`."""
        reason = "no connection"
        try:
            async with asyncio.timeout(ANSWERED_S_MAX):
                while True:
                    try:
                        return await attempt(await self._connected())
                    except Missing:
                        reason = f"has no stream {self._stream}, or not yet"
                    except Unanswered as fault:
                        reason = str(fault)
                    await asyncio.sleep(PAUSE_S * (1 + self._rng.random()))
        except TimeoutError:
            raise MeshError("store", problem=reason) from None

    async def _connected(self) -> Line:
        async with self._connecting:
            if self._is_closed:
                raise MeshError("store", problem="is closed")
            if self._line is not None and self._line.is_up:
                return self._line
            fault = Unanswered("has no address")
            for url in self._servers:
                try:
                    self._line = await Line.connect(url, self._name, self._user, self._password)
                    return self._line
                except Unanswered as failure:
                    fault = failure
            raise fault


ESSENTIAL = ("subjects", "retention", "storage", "deny_delete", "deny_purge")


def stream_config(stream: str, *, subjects: str, keep_s: float, bytes_max: int) -> dict[str, object]:
    """A stream that only grows, until the oldest of it is too old or too much."""
    return {
        "name": stream,
        "subjects": [subjects],
        "retention": "limits",
        "storage": "file",
        "num_replicas": 1,
        "max_bytes": bytes_max,
        "max_age": int(keep_s * wire.SECOND_NS),
        "max_msg_size": MESSAGE_BYTES_MAX,
        "discard": "old",  # a full archive forgets its oldest; it never stops the work
        "duplicate_window": wire.DEDUPLICATED_S * wire.SECOND_NS,
        "allow_direct": False,
        "allow_rollup_hdrs": False,
        "deny_delete": True,
        "deny_purge": True,
    }
