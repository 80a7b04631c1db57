"""The store on JetStream: a key-value bucket (`KV_<bucket>`, subjects `$KV.<bucket>.<key>`).

Invariant: a write ends only when the stream's leader acknowledged or refused it; until then the
identical compare-and-set is repeated, over as many connections as it takes. nats-server 2.15
checks the expected sequence before the message id, so a repeat whose first try stood is refused,
and what stands there tells whose it is. No watcher, and no consumer that outlives its call.
Neighbours: `wire` is what JetStream is asked and answers; `keys` is what may be stored.
"""

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from meshd.ports import Changes, Inspection, Stream
from meshd.store import wire
from meshd.store.keys import check_key, check_prefix, check_value
from meshd.store.line import Answers, Line, Missing, Unanswered
from meshd.store.writes import Writes
from protocol import ids
from protocol.errors import MeshError
from protocol.inputs import BUCKET_FULL, Entry, Lost, Unsent, Written
from protocol.limits import FRAME_BYTES_MAX, LISTED_MAX
from protocol.primitives import Rng

READ_S_MAX = 5.0  # reads and listings fail after this; writes never do
OPEN_S_MAX = 10.0  # a new leader takes up to 8 s
PAUSE_S_MIN, PAUSE_S_MAX = 0.1, 2.0  # between tries of one write
RECONNECT_S = 0.1
WRITES_IN_FLIGHT_MAX = 256  # a quarter of a second of one disk's synced writes
BUCKET_BYTES_MAX = 512 << 20  # a thousand of the largest records, half a million usual ones
RESERVED = 1 / 16  # of the bucket, for awards and ends of the tasks that are in it; new tasks leave it alone
PAGE_KEYS_MAX, PAGE_BYTES_MAX = 1_000, 8 << 20  # of one step of a listing
TAKEN_AT_ONCE = 64  # messages of it between two turns of the loop: 2 ms
SCAN_IDLE_S = 10  # a listing that broke off leaves its consumer this long

_T = TypeVar("_T")


class JetStreamStore:
    """One bucket over one connection of its own. `problem` says why writes wait, or nothing.

    `bytes_max` 0: as large as it is, `BUCKET_BYTES_MAX` when it is made.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        bucket: str,
        name: str,
        rng: Rng,
        user: str = "",
        password: str = "",
        replicas: int = 1,
        bytes_max: int = 0,
    ) -> None:
        self._servers = tuple(servers)
        self._name = name
        self._rng = rng
        self._user, self._password = user or None, password or None
        self._stream = f"KV_{bucket}"
        self._subject = f"$KV.{bucket}."
        self._config = wire.stream_config(
            bucket, replicas=replicas, bytes_max=bytes_max or BUCKET_BYTES_MAX, value_bytes_max=FRAME_BYTES_MAX + 4_096
        )
        self._wanted_bytes = bytes_max
        self.bytes = self.bytes_max = 0  # what the bucket holds, as last told and written since; 0: not known
        self._line: Line | None = None
        self._connecting = asyncio.Lock()
        self._slots = asyncio.Semaphore(WRITES_IN_FLIGHT_MAX)
        self._writes = Writes()
        self._nonce = secrets.token_hex(8)
        self._calls = 0
        self._is_closed = False
        self.problem = ""
        self.refusal = ""  # why the last write was refused that wanted room, until one like it goes through
        self._refused_bytes = 0  # of a new key that the bucket had no room for
        self.made_anew = ""  # the stream, when it was not there and this store made it

    async def open(self) -> None:
        """As `meshd.ports.Store.open`."""
        await self._answered(OPEN_S_MAX, self._make)

    async def write(self, key: str, value: bytes, *, expect: int, keep_s: float = 0.0) -> Written | Lost | Unsent:
        """As `meshd.ports.Store.write`. `keep_s` is rounded up to whole seconds."""
        check_key(key)
        check_value(key, value)
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expect), "Nats-Msg-Id": self._mint()}
        if keep_s > 0:
            headers["Nats-TTL"] = f"{math.ceil(keep_s)}s"
        if expect == 0 and not keep_s and self._is_reserved(len(value)):
            self._refuse(f"is full: {wire.FULL}", size=len(value))
            return Unsent(key, BUCKET_FULL)
        with self._writes.one():
            async with self._slots:
                return await self._settle(key, value, expect, headers)

    async def read(self, key: str) -> Entry | None:
        """As `meshd.ports.Store.read`."""
        check_key(key)
        found = await self._answered(READ_S_MAX, lambda line: self._look(line, key))
        if found is None or found.is_marker:
            return None
        return Entry(key=key, revision=found.seq, frame=found.data)

    async def scan(self, prefix: str) -> list[Entry]:
        """As `meshd.ports.Store.scan`."""
        check_prefix(prefix)
        subjects = f"{self._subject}{prefix}.>" if prefix else f"{self._subject}>"
        return await self._answered(READ_S_MAX, lambda line: self._list(line, subjects))

    async def changes(self, mark: str) -> Changes:
        """As `meshd.ports.Store.changes`."""
        return await self._answered(READ_S_MAX, lambda line: self._changes(line, mark))

    async def _changes(self, line: Line, mark: str) -> Changes:
        told = await self._told(line)
        bucket, _, known = mark.rpartition("/")
        is_whole = bucket != told.created or int(known) > told.state.last_seq
        after = 0 if is_whole else int(known)
        is_news = is_whole or told.state.last_seq > after
        entries = await self._list(line, f"{self._subject}>", after=after) if is_news else []
        return Changes(tuple(entries), f"{told.created}/{told.state.last_seq}", is_whole)

    async def copies(self) -> tuple[int, str]:
        """As `meshd.ports.Store.copies`: servers that hold the whole record now, the leader first."""
        answer = await self._answered(READ_S_MAX, self._told)
        cluster = answer.cluster or wire.Cluster()
        current = [replica.name for replica in cluster.replicas if replica.current and not replica.offline]
        where = [name for name in (cluster.leader, *current) if name]
        return len(current) + 1, ", ".join(where)

    async def _told(self, line: Line) -> wire.Answer:
        """What the server tells of the stream; how full it is is noted."""
        answer = await line.call(f"STREAM.INFO.{self._stream}")
        if answer.error is not None:
            raise Unanswered(f"misses the stream {self._stream}: {answer.error.description}")
        self._note(answer)
        return answer

    def _note(self, answer: wire.Answer) -> None:
        self.bytes, self.bytes_max = answer.state.bytes, max(0, wire.number(answer.config, "max_bytes"))
        if self._refused_bytes and not self._is_reserved(self._refused_bytes):
            self._refuse("", size=0)

    def _refuse(self, why: str, *, size: int) -> None:
        self.refusal, self._refused_bytes = why, size

    def _is_reserved(self, size: int) -> bool:
        """Would another `size` bytes take of the room that is kept for the ends of tasks?"""
        return bool(self.bytes_max) and self.bytes + size > self.bytes_max * (1 - RESERVED)

    async def inspect(self) -> Inspection:
        """As `meshd.ports.Store.inspect`."""
        return await self._answered(READ_S_MAX, self._inspect)

    async def _inspect(self, line: Line) -> Inspection:
        answer = await line.call(f"STREAM.INFO.{self._stream}")
        if answer.error is not None:
            return Inspection(line.version, (Stream(self._stream, answer.error.description),))
        current = [each for each in (answer.cluster or wire.Cluster()).replicas if each.current and not each.offline]
        stream = Stream(
            name=self._stream,
            problem=wire.differing(self._config, answer.config),
            copies=len(current) + 1,
            copies_wanted=wire.number(answer.config, "num_replicas"),
            keys=answer.state.messages,
            bytes=answer.state.bytes,
            bytes_max=max(0, wire.number(answer.config, "max_bytes")),
        )
        return Inspection(line.version, (stream,))

    async def close(self) -> None:
        """As `meshd.ports.Store.close`."""
        self._is_closed = True
        self._writes.cancel()
        if self._line is not None:
            await self._line.close()

    async def _settle(self, key: str, value: bytes, expect: int, headers: dict[str, str]) -> Written | Lost | Unsent:
        pause_s = PAUSE_S_MIN
        while True:
            line = await self._connected()
            try:
                outcome = await self._attempt(line, key, value, expect, headers)
            except Missing:
                self.problem = f"misses the stream {self._stream}: its server does not have it, or not yet"
                if pause_s >= PAUSE_S_MAX:  # it has been away for seconds: nobody is about to bring it back
                    await self._mend(line)
            except Unanswered as fault:
                self.problem = str(fault)
            else:
                is_full = isinstance(outcome, Unsent)
                self.problem = f"is full: {wire.FULL}" if is_full else ""
                if is_full and expect == 0:
                    self._refuse(self.problem, size=len(value))
                elif isinstance(outcome, Written) and (expect == 0 or not self._refused_bytes):
                    self._refuse("", size=0)
                return outcome
            await asyncio.sleep(pause_s * (0.5 + self._rng.random() / 2))
            pause_s = min(pause_s * 2, PAUSE_S_MAX)

    async def _mend(self, line: Line) -> None:
        """Make the stream that is missing, if it is; writes go on to wait if that fails."""
        try:
            await self._make(line)
        except (Unanswered, MeshError) as fault:
            self.problem = str(fault)

    async def _attempt(
        self, line: Line, key: str, value: bytes, expect: int, headers: dict[str, str]
    ) -> Written | Lost | Unsent:
        answer = await line.ask(self._subject + key, value, headers)
        if answer.error is None:
            self.bytes += len(value) if expect == 0 else 0
            return Written(key=key, revision=answer.seq)
        is_full = wire.FULL in answer.error.description
        waits_not = expect == 0 or ids.is_presence_key(key)  # a beat only asks whether writes are answered
        if answer.error.err_code not in wire.WRONG_SEQUENCE and not (is_full and waits_not):
            self.refusal = f"refuses writes for now: {answer.error.description}"
            raise Unanswered(self.refusal)
        standing = await self._look(line, key)
        if is_full and (standing is None or standing.is_marker):  # else an earlier try of ours may be what stands
            return Unsent(key, BUCKET_FULL)
        if standing is None or standing.is_marker:
            if expect != 0:
                return Lost(key=key, revision=0, frame=b"")
            headers["Nats-Expected-Last-Subject-Sequence"] = str(standing.seq if standing is not None else 0)
            raise Unanswered("is removing the key")
        if is_full and standing.seq == expect:
            return Unsent(key, BUCKET_FULL)
        if standing.seq == expect:
            raise Unanswered("has another write to the key on its way")
        if standing.data == value:  # signed by us for this key: an earlier try of ours
            return Written(key=key, revision=standing.seq)
        return Lost(key=key, revision=standing.seq, frame=standing.data)

    async def _look(self, line: Line, key: str) -> wire.Stored | None:
        request = msgspec.json.encode({"last_by_subj": self._subject + key})
        answer = await line.call(f"STREAM.MSG.GET.{self._stream}", request)
        if answer.error is None:
            return answer.message
        if answer.error.err_code == wire.NO_MESSAGE:
            return None
        raise Unanswered(f"cannot read: {answer.error.description}")

    async def _list(self, line: Line, subjects: str, *, after: int = 0) -> list[Entry]:
        consumer = self._mint()
        config = wire.consumer_config(consumer, subjects=subjects, idle_s=SCAN_IDLE_S, after=after)
        request = msgspec.json.encode({"stream_name": self._stream, "config": config})
        made = await line.call(f"CONSUMER.CREATE.{self._stream}.{consumer}.{subjects}", request)
        if made.error is not None:
            raise Unanswered(f"cannot list: {made.error.description}")
        if made.num_pending > LISTED_MAX:
            raise MeshError("store", problem=f"holds {made.num_pending} keys under {subjects}, over {LISTED_MAX}")
        found: dict[str, Entry] = {}
        pending = made.num_pending
        page = msgspec.json.encode({"batch": PAGE_KEYS_MAX, "max_bytes": PAGE_BYTES_MAX, "no_wait": True})
        while pending > 0:
            async with line.listing() as (reply, answers):  # one each: a full page is followed by a word about it
                await line.send(f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer}", page, reply=reply)
                pending = await self._page(line, answers, found)
        await line.send(f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}", b"")
        return [found[key] for key in sorted(found)]

    async def _page(self, line: Line, answers: Answers, found: dict[str, Entry]) -> int:
        """Take one page of a listing; how many keys are still to come."""
        pending = 0
        for taken in range(PAGE_KEYS_MAX):
            message = await line.next(answers)
            if taken % TAKEN_AT_ONCE == 0:
                await asyncio.sleep(0)  # what has come already is taken without a pause
            if not message.reply:  # a word of the server's: only stored messages can be acknowledged
                status = (message.headers or {}).get("Status", "")
                if status == "404":  # what was pending has been replaced or removed since
                    return 0
                if status in ("408", "409") and taken:  # this page is full
                    return pending
                raise Unanswered(f"broke off a listing with status {status}")
            meta = message.metadata
            key = message.subject.removeprefix(self._subject)
            headers = message.headers or {}
            if "KV-Operation" in headers or "Nats-Marker-Reason" in headers:
                found.pop(key, None)
            else:
                found[key] = Entry(key=key, revision=meta.sequence.stream, frame=message.data)
            pending = meta.num_pending
            if pending == 0:
                return 0
        return pending

    async def _make(self, line: Line) -> None:
        known = await line.call(f"STREAM.INFO.{self._stream}")
        is_missing = known.error is not None and known.error.err_code == wire.NO_STREAM
        answer = await line.call(f"STREAM.CREATE.{self._stream}", msgspec.json.encode(self._config))
        if answer.error is None:
            self.made_anew = self._stream if is_missing else self.made_anew
            self._note(answer)
            return
        if answer.error.code >= wire.UNAVAILABLE_CODE:
            raise Unanswered(answer.error.description)
        difference = answer.error.description
        if answer.error.err_code == wire.STREAM_DIFFERS:
            found = await line.call(f"STREAM.INFO.{self._stream}")
            difference = wire.differing(self._config, found.config)
            if not difference:
                return await self._resize(line, found)
        raise MeshError("stream_differs", stream=self._stream, difference=difference)

    async def _resize(self, line: Line, found: wire.Answer) -> None:
        """Give the bucket the size that was asked for, if one was."""
        if self._wanted_bytes and wire.number(found.config, "max_bytes") != self._wanted_bytes:
            config = msgspec.json.encode(found.config | {"max_bytes": self._wanted_bytes})
            found = await line.call(f"STREAM.UPDATE.{self._stream}", config)
            if found.error is not None:
                raise Unanswered(f"cannot be {self._wanted_bytes >> 20} MiB large: {found.error.description}")
        self._note(found)

    async def _answered(self, within_s: float, attempt: Callable[[Line], Awaitable[_T]]) -> _T:
        """Try until there is an answer. Raises MeshError("store") after `within_s`."""
        reason = ""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    line = await self._connected()
                    try:
                        return await attempt(line)
                    except Unanswered as fault:
                        reason = str(fault)
                    await asyncio.sleep(PAUSE_S_MIN)
        except TimeoutError:
            why = reason or self.problem or "no connection"
            raise MeshError("store", problem=f"gave no answer within {within_s:g} s: {why}") from None

    async def _connected(self) -> Line:
        """The living connection, or the next one: tried until it stands."""
        async with self._connecting:
            while self._line is None or not self._line.is_up:
                if self._is_closed:
                    raise MeshError("store", problem="is closed")
                for url in self._servers:
                    try:
                        self._line = await Line.connect(url, self._name, self._user, self._password)
                        self.problem = ""
                        break
                    except Unanswered as fault:
                        self.problem = str(fault)
                else:
                    await asyncio.sleep(RECONNECT_S * (1 + self._rng.random()))
            return self._line

    def _mint(self) -> str:
        self._calls += 1
        return f"{self._nonce}-{self._calls}"
