"""Carries out what the node decided: sends, writes, reads, runs agents, answers, tells observers.

Invariant: messages leave at once and in order; writes pass through a lane of their own, one at a
time a key, so that a slow store delays awards and never heartbeats. Decides nothing.
Neighbours: `engine` in front; transport, store, agents and observers behind.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, assert_never

from meshd import clock
from meshd.ports import Sink, Store, Transport
from meshd.supervise import Supervisor
from protocol import limits
from protocol.effects import (
    Announce,
    Carry,
    Effect,
    Emit,
    List,
    Listen,
    Read,
    Reply,
    RunAgent,
    Send,
    Spread,
    StopAgent,
    Tune,
    Write,
)
from protocol.errors import MeshError
from protocol.events import Event
from protocol.inputs import AgentFailed, Entry, Found, Listed, Unsent
from protocol.primitives import NS_PER_S

READS_MAX = 4  # reads under way at once; they share the connection with the writes
LISTINGS_MAX = 2  # and so do listings, which may be long
PAGE = 16  # entries of a listing that the engine is given at once: opening them takes it 2 ms

Observer: TypeAlias = Callable[[Event], None]  # never blocks, never raises


class Workshop(Protocol):
    """Where agents run: `meshd.hosting.Hosting`."""

    def run(self, order: RunAgent) -> None:
        """Give it to the agent; the outcome comes back as an input."""
        ...

    def stop(self, order: StopAgent) -> None:
        """Stop it; that it is over comes back as `AgentStopped`, no result does."""
        ...


class Gate(Protocol):
    """What every effect passes: `meshd.observe.audit.Audit`, which has some on record before they are done."""

    def pass_on(
        self, effects: Sequence[Effect], *, do: Callable[[Effect], None], refuse: Callable[[Effect], None]
    ) -> None:
        """Do the effects of one turn; those that need a record follow behind the rest, or are refused."""
        ...


class Ungated:
    """Lets everything pass: for a node that keeps no audit."""

    def pass_on(
        self, effects: Sequence[Effect], *, do: Callable[[Effect], None], refuse: Callable[[Effect], None]
    ) -> None:
        """Do these."""
        del refuse
        for effect in effects:
            do(effect)


OPEN = Ungated()


class Performer:
    """The only place where effects become deeds."""

    def __init__(
        self,
        *,
        transport: Transport,
        store: Store,
        workshop: Workshop,
        observers: Sequence[Observer],
        supervisor: Supervisor,
        gate: Gate = OPEN,
    ) -> None:
        self._gate = gate
        self._transport = transport
        self._store = store
        self._workshop = workshop
        self._observers = tuple(observers)
        self._supervisor = supervisor
        self._sink: Sink = lambda input: None
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._lanes: dict[str, deque[Write]] = {}
        self._reading = asyncio.Semaphore(READS_MAX)
        self._listing = asyncio.Semaphore(LISTINGS_MAX)
        self._looking: dict[str, bool] = {}  # keys that are being read → asked for again since that began
        self._listening: frozenset[str] = frozenset()
        self._tuning = asyncio.Lock()  # one change of what is heard after the other
        self.writes_waiting = 0
        self.written = 0  # writes that came to an outcome,
        self.writing_s = 0.0  # and how long they took
        self.sent: Counter[str] = Counter()  # messages that left, by the class of their subject: node, fact
        self.dropped = 0  # and that the transport did not take

    def bind(self, sink: Sink) -> None:
        """Where outcomes go."""
        self._sink = sink

    def expect(self, request: int) -> asyncio.Future[Reply]:
        """The reply to a request that was put; forgotten as soon as nobody waits for it."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[request] = future
        future.add_done_callback(lambda _: self._replies.pop(request, None))
        return future

    @property
    def expected(self) -> int:
        """How many replies somebody waits for."""
        return len(self._replies)

    def refuse_all(self, code: str, **fields: object) -> None:
        """There will be no more replies: say so to all who wait."""
        for request in list(self._replies):
            self._answer(Reply(request, code=code, fields=fields))

    def submit(self, effects: Sequence[Effect]) -> None:
        """Carry out the effects of one turn, in order; nothing here waits."""
        self._gate.pass_on(effects, do=self._do, refuse=self._refuse)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._publish(effect.subject, effect.frame, effect.reply)
            case Spread() | Announce() | Carry():
                self._publish(effect.subject, effect.frame, "")
            case Tune():
                self._supervisor.spawn(f"tune {effect.on}", self._tune(effect))
            case Listen():
                self._listen(frozenset(effect.subjects))
            case Write():
                self._queue(effect)
            case Read():
                self._look(effect.key)
            case List():
                self._supervisor.spawn("list", self._list(effect.partitions))
            case RunAgent():
                self._workshop.run(effect)
            case StopAgent():
                self._workshop.stop(effect)
            case Reply():
                self._answer(effect)
            case Emit():
                for observer in self._observers:
                    observer(effect.event)
            case _:
                assert_never(effect)

    def _refuse(self, effect: Effect) -> None:
        """It cannot be on record. Nobody waits in vain: a run is given back, and an award is sent again when asked."""
        failure = MeshError("unaudited", problem="see its status")
        match effect:
            case RunAgent():
                why = failure.message
                self._sink(AgentFailed(effect.task, effect.epoch, "agent_unavailable", why, retry=True))
            case Reply():
                self._answer(Reply(effect.request, code=failure.code, fields=failure.fields))
            case StopAgent():
                self._do(effect)
            case _:
                self.dropped += 1

    def _publish(self, subject: str, frame: bytes, reply: str) -> None:
        if self._transport.publish(subject, frame, reply):
            self.sent[".".join(subject.split(".", 3)[2:3])] += 1
        else:
            self.dropped += 1

    def _listen(self, subjects: frozenset[str]) -> None:
        """Hear these and no others; the transport sees to it over reconnects."""
        for subject in sorted(subjects ^ self._listening):
            change = self._transport.subscribe if subject in subjects else self._transport.unsubscribe
            self._supervisor.spawn(f"listen {subject}", change(subject))
        self._listening = subjects

    async def _tune(self, effect: Tune) -> None:
        """Hear one in place of the other, in one go: what comes twice looks replayed, what is missed is said again."""
        async with self._tuning:
            await asyncio.gather(self._transport.subscribe(effect.on), self._transport.unsubscribe(effect.off))

    def _answer(self, reply: Reply) -> None:
        future = self._replies.pop(reply.request, None)
        if future is not None and not future.done():
            future.set_result(reply)

    def _queue(self, write: Write) -> None:
        lane = self._lanes.get(write.key)
        if lane is not None:  # it waits its turn even in a full lane: outcomes of a key come in order
            self.writes_waiting += 1
            lane.append(write)
            return
        if self.writes_waiting >= limits.WRITES_WAITING_MAX and not write.urgent:
            self._sink(Unsent(write.key, "the lane of writes"))
            return
        self.writes_waiting += 1
        self._lanes[write.key] = deque((write,))
        self._supervisor.spawn(f"write {write.key}", self._write_all(write.key))

    async def _write_all(self, key: str) -> None:
        """All writes of one key, one after the other; each outcome is an input."""
        lane = self._lanes[key]
        try:
            while lane:
                write = lane[0]
                began_ns = clock.monotonic_ns()
                outcome = await self._store.write(key, write.frame, expect=write.expect, keep_s=write.keep_s)
                self.written += 1
                self.writing_s += (clock.monotonic_ns() - began_ns) / NS_PER_S
                lane.popleft()
                self.writes_waiting -= 1
                self._sink(outcome)
        finally:
            self.writes_waiting -= len(lane)
            del self._lanes[key]

    def _look(self, key: str) -> None:
        """Read a key. While a read of it is under way askers share the next: what they ask is how it stands now."""
        if key in self._looking:
            self._looking[key] = True
        else:
            self._looking[key] = False
            self._supervisor.spawn(f"read {key}", self._read(key))

    async def _read(self, key: str) -> None:
        """Until a read is done that began after it was last asked for; what an earlier one found is out of date."""
        try:
            while True:
                async with self._reading:
                    self._looking[key] = False
                    found = await self._found(key)
                if not self._looking[key]:
                    break
                if found.failed:
                    self._sink(found)  # as many as ask are told so, while the store is away
        finally:
            del self._looking[key]
        self._sink(found)

    async def _found(self, key: str) -> Found:
        try:
            entry = await self._store.read(key)
        except MeshError as failure:
            return Found(key, 0, b"", failed=failure.message)
        return Found(key, 0, b"") if entry is None else Found(key, entry.revision, entry.frame)

    async def _list(self, partitions: tuple[int, ...]) -> None:
        entries: list[Entry] = []
        async with self._listing:
            try:
                for partition in partitions:
                    entries += await self._store.scan(f"p{partition:02d}")
            except MeshError as failure:
                self._sink(Listed(partitions, (), failed=failure.message))
                return
            for start in range(0, max(len(entries), 1), PAGE):
                self._sink(Listed(partitions, tuple(entries[start : start + PAGE])))
                await asyncio.sleep(0)  # the engine takes it, and what else has come
