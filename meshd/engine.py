"""The one writer: drains the inbox, hands each input to the node, and what comes of it to the performer.

Invariant: the only caller of `Node.handle`, with no await between an input and its effects; every
queued input is handled before any due timer, unless there is no end of them.
Neighbours: `inbox` in front, `perform` behind.
"""

import asyncio
from collections.abc import Callable

from meshd import clock
from meshd.inbox import Inbox
from meshd.perform import Performer
from protocol import limits
from protocol.effects import Effect, Reply
from protocol.errors import MeshError
from protocol.inputs import Await, Input, Lagged, Tick
from protocol.node import Node
from protocol.presets import MembershipSettings
from protocol.primitives import NS_PER_MS, NS_PER_S, Instant, Mono

LAG_MS = MembershipSettings().lag_ms
TURN_NS_MAX = 50 * NS_PER_MS  # what else waits has the next turn, after what this one has to say is out
REQUEST_S_MAX = 35.0  # the node answers every request within 30 s; longer means that it is stuck
GRACE_S = 5.0  # for the answer to what the node itself ends in time


class Engine:
    """Runs one node."""

    def __init__(
        self, *, node: Node, performer: Performer, patience_s: float = REQUEST_S_MAX, lag_ms: int = LAG_MS
    ) -> None:
        self.node = node
        self._lag_ms = lag_ms  # who has heard nobody, or not all, for so long was stopped, starved or flooded
        self._performer = performer
        self._patience_s = patience_s
        self._inbox = Inbox()
        self._awake: asyncio.Event = asyncio.Event()
        self._turned: asyncio.Event = asyncio.Event()
        self._requests = 0
        self._ends: dict[str, asyncio.Future[Reply]] = {}  # of tasks that somebody waits for
        self._is_closing = False
        self._has_ended = False
        self._turned_at = clock.monotonic_ns()  # the end of the turn before
        self._deaf_since = self._turned_at  # the beginning of it, or of those before it that left something unheard
        self._is_behind = False
        self._lag_ms_max = 0
        performer.bind(self.put)

    def put(self, input: Input) -> None:
        """Queue an input; the sink of every port. What finds no room is dropped and counted."""
        if self._inbox.put(input):
            self._awake.set()

    @property
    def waiting(self) -> int:
        """How many inputs wait."""
        return len(self._inbox)

    @property
    def refused(self) -> int:
        """How many inputs found no room since the start."""
        return self._inbox.refused

    def take_lag_ms(self) -> int:
        """How long the engine heard nobody, at worst, since this was last asked."""
        lag_ms, self._lag_ms_max = self._lag_ms_max, 0
        return lag_ms

    async def ask(self, make: Callable[[int], Input], *, timeout_s: float | None = None) -> object:
        """Put a request and wait for its reply.

        Raises MeshError with the reply's code, "overloaded" when the inbox is full, "timed_out",
        "not_ready" when the engine has ended.
        """
        within_s = self._patience_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(within_s):
                return _value(await self._request(make))
        except TimeoutError:
            raise MeshError("timed_out", what="this node", seconds=f"{within_s:g}") from None

    async def end_of(self, task: str) -> object:
        """The record of a task that is watched here, once it has ended.

        However many wait for it, and go away again, the ledger is asked once. Raises MeshError:
        "unknown_task" when it is not watched here, or not any more, "overloaded", "not_ready".
        """
        end = self._ends.get(task)
        if end is None:
            end = self._ends[task] = self._request(lambda number: Await(number, task))
            end.add_done_callback(lambda _: self._ends.pop(task, None))
        return _value(await asyncio.shield(end))

    def _request(self, make: Callable[[int], Input]) -> asyncio.Future[Reply]:
        if self._has_ended:
            raise MeshError("not_ready", state="stopping")
        self._requests += 1
        if not self._inbox.put(make(self._requests)):
            raise MeshError("overloaded", what="the inbox of this node", limit=limits.INBOX_MAX)
        self._awake.set()
        return self._performer.expect(self._requests)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return once `is_so` holds, looked at after every turn, or when the engine has ended."""
        while not is_so() and not self._has_ended:
            await self._turned.wait()

    async def run(self) -> None:
        """Until `close`: wait for input or a deadline, handle, perform."""
        try:
            self._performer.submit(self.node.start(clock.now()))
            deadline = self.node.next_deadline()
            while not self._is_closing:
                await self._sleep_until(deadline)
                deadline = self._turn(deadline)
                if self._inbox:
                    await asyncio.sleep(0)  # let the ports read and write between two batches
        finally:
            self._has_ended = True
            self._turned.set()
            self._performer.refuse_all("not_ready", state="stopping")

    def _turn(self, deadline: Mono | None) -> Mono | None:
        """Handle what waits, then the timers that are due by then; the next deadline."""
        now = clock.now()  # no await from here ...
        effects = []
        late_ms = self._late_ms(deadline, now.mono_ns)
        self._lag_ms_max = max(self._lag_ms_max, late_ms)
        if late_ms >= self._lag_ms:
            effects += self.node.handle(Lagged(late_ms), now)
        if late_ms >= self._lag_ms or not self._is_behind:
            self._deaf_since = now.mono_ns
        effects += self._heard(now)
        deadline = self.node.next_deadline()
        if deadline is not None and deadline <= now.mono_ns and (not self._inbox or late_ms >= self._lag_ms):
            effects += self.node.handle(Tick(), now)
            deadline = self.node.next_deadline()
        self._performer.submit(effects)  # ... to here
        self._is_behind, self._turned_at = bool(self._inbox), clock.monotonic_ns()
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()
        return deadline

    def _heard(self, now: Instant) -> list[Effect]:
        """What comes of the inputs that wait: of all, or of as many as one turn has time for."""
        effects: list[Effect] = []
        for _ in range(min(limits.INBOX_BATCH_MAX, len(self._inbox))):
            effects += self.node.handle(self._inbox.take(), now)
            if clock.monotonic_ns() - now.mono_ns >= TURN_NS_MAX:
                break
        return effects

    def _late_ms(self, deadline: Mono | None, now: Mono) -> int:
        """How long we have not heard all: through the turns before, and from a deadline after them until now."""
        due = now if deadline is None else min(now, max(deadline, self._turned_at))  # an old timer may have come back
        return (now - due + self._turned_at - self._deaf_since) // NS_PER_MS

    async def _sleep_until(self, deadline: Mono | None) -> None:
        if self._inbox:
            return
        self._awake.clear()
        if deadline is None:
            await self._awake.wait()
            return
        left_s = (deadline - clock.monotonic_ns()) / NS_PER_S
        if left_s <= 0:
            await asyncio.sleep(0)
            return
        alarm = asyncio.get_running_loop().call_later(left_s, self._awake.set)
        try:
            await self._awake.wait()
        finally:
            alarm.cancel()

    def close(self) -> None:
        """End `run` after the turn it is in."""
        self._is_closing = True
        self._awake.set()


def _value(reply: Reply) -> object:
    if reply.code:
        raise MeshError(reply.code, **reply.fields)
    return reply.value
