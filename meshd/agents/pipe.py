"""The conversation with one process of an agent: JSON objects, one a line, UTF-8, in any order.

Invariant: every task given gets exactly one outcome, and only from the process that it was given to; no more
than one line of bounded length is held. A task that was told to stop keeps its slot until the process says
that it has; a process that does not say so is ended as soon as nothing else depends on it, or after a while.
Neighbours: `child` is the process, `seat` gives tasks and starts the next process.
"""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from meshd import values
from meshd.agents.child import Child, Lines, Log
from meshd.agents.said import (
    OF_ALL,
    VERBS,
    Offers,
    Said,
    Saying,
    Wanted,
    decode,
    excerpt,
    reason_of,
    task_of,
)
from meshd.ports import BEGUN_TOO_LATE, Desk, Event, Failed, Finished, Outcome, Work
from meshd.supervise import Supervisor
from protocol.errors import UNREADABLE, MeshError
from protocol.ids import is_capability
from protocol.limits import INPUT_BYTES_MAX, REQUESTS_OPEN_MAX, STILL_LEASES, TEXT_CHARS_MAX, UNREAD_BYTES_MAX

ENVELOPE_BYTES = 1_024  # of a line, beside the value it carries
ESCAPED_BYTES = 6  # JSON may write one byte as six, \u0000
MISTAKES_MAX = 1_000  # lines that are none of the pipe's, by one process; more is a flood

EXIT_S_MAX = 5.0  # from the end of its output to its own: an interpreter clears up, on a busy machine for seconds
ENDED_MAX = 64  # tasks of a process that are remembered: what it says of them is late, and harms nobody
STOOD_STILL = "was ended, because this node stood still for two thirds of the lease of its exclusive task"

_encode = msgspec.json.Encoder().encode


class _Hand:
    """One task in hand."""

    def __init__(self, work: Work, desk: Desk) -> None:
        self.work = work
        self.desk = desk
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.is_over = asyncio.Event()  # the process works on it no more
        self.parts: list[object] = []
        self.parts_bytes = 0
        self.requests: set[asyncio.Task[None]] = set()
        self.doubt = ""  # what the process said meanwhile of a task that it never had

    def settle(self, outcome: Outcome) -> None:
        """The first outcome stands."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Pipe:
    """Talks with one process from its start to its end."""

    def __init__(
        self,
        child: Child,
        *,
        agent: str,
        output_bytes_max: int,
        grace_s: float,
        linger_s: float,
        log: Log,
        supervisor: Supervisor,
        on_change: Callable[[], None],
        is_ready: bool,
        on_offers: Callable[[Offers], None] | None = None,
        may_go_on: bool = False,
    ) -> None:
        """`may_go_on`: what a task was told to stop may go on behind the process, and nobody can tell."""
        self.has_delivered = False
        self.is_ending = False  # by us: it is not to blame for what it leaves undone
        self.problem = ""  # why we ended it, when it is to blame
        self.held = 0  # slots taken, by what is in hand or was told to stop; events take none
        self._is_ready = is_ready
        self._is_settled = asyncio.Event()  # ready, or never
        self._child = child
        self._agent = agent
        self._output_bytes_max = output_bytes_max
        self._grace_s = grace_s
        self._linger_s = linger_s
        self._log = log
        self._supervisor = supervisor
        self._on_change = on_change
        self._on_offers = on_offers
        self._may_go_on = may_go_on
        self._hands: dict[str, _Hand] = {}
        self._stopping: dict[str, _Hand] = {}  # told to stop, not yet answered
        self._leases: dict[str, float] = {}  # of those of them that are exclusive
        self._former: deque[str] = deque(maxlen=ENDED_MAX)
        self._linger: asyncio.TimerHandle | None = None  # runs when something did not stop within its grace
        self._how = "was stopped"
        self._line = 0
        self._mistakes = 0
        self._requests = 0

    def has(self, task: str) -> bool:
        """True while the process may work on `task`."""
        return task in self._hands or task in self._stopping

    @property
    def is_open(self) -> bool:
        """True when it may be given a task."""
        return self._is_ready and self._child.is_alive and not (self._linger or self.is_ending or self.problem)

    async def wait_ready(self, start_s: float) -> None:
        """Return when it is ready, or is gone; what is not ready after `start_s` is ended."""
        if self._is_ready:
            return
        try:
            async with asyncio.timeout(start_s):
                await self._is_settled.wait()
        except TimeoutError:
            self._blame(f"was not ready within {start_s:g} s")

    async def run(self, work: Work, desk: Desk, limit_s: float) -> Outcome:
        """Give it one task and wait for the outcome, for `limit_s` at most."""
        try:
            line = _encode(given(work)) + b"\n"
        except (TypeError, ValueError, RecursionError) as failure:
            return Failed("bad_input", f"the input cannot be written as JSON: {failure}", retry=False)
        if not self.held:
            self._child.last_line = ""  # what it said before explains nothing of what comes
        hand = self._hands[work.task] = _Hand(work, desk)
        self._hold(work)
        try:
            if work.is_late:  # looked at now that it ends if we stand still from here on
                hand.settle(Failed("agent_unavailable", BEGUN_TOO_LATE, retry=True))
                hand.is_over.set()
            else:
                self._child.write(line)
                await asyncio.wait([hand.outcome], timeout=limit_s)
            # Ours now, so that what comes after the limit is not the outcome.
            late = Failed("agent_timeout", f"the agent took longer than the {limit_s:g} s it had", retry=True)
            hand.settle(Failed("agent_output", hand.doubt, retry=False) if hand.doubt else late)
        finally:
            for request in hand.requests:
                request.cancel()
            del self._hands[work.task]
            self._former.append(work.task)
            if hand.is_over.is_set():
                self._release(work)
            else:
                await self._stop(hand)
            self._end_if_overdue()
            self._on_change()
        return hand.outcome.result()

    async def talk(self) -> str:
        """Listen until the process has ended; how it did, as a clause. Then somebody must `let_go`."""
        lines = Lines(ESCAPED_BYTES * max(self._output_bytes_max, INPUT_BYTES_MAX) + ENVELOPE_BYTES)
        while chunk := await self._child.read():
            for line, is_cut in lines.feed(chunk):
                self._hear(line, is_cut=is_cut)
            await asyncio.sleep(0)  # a process that floods us must not keep the loop
        if rest := lines.rest():
            self._hear(rest, is_cut=False)
        self._how = await self._ended()
        if self._child.has_lapsed and not (self.problem or self.is_ending):
            self.is_ending = True
            self._log.add(f"meshd: process {self._child.pid} {STOOD_STILL}")
        if self._stopping and not self._hands and not self.problem:
            self.is_ending = True  # to end was its way to stop
        self._is_settled.set()
        return self._how

    def let_go(self) -> None:
        """Fail what was in its hands: the process is gone."""
        self._forgive()
        for hand in (*self._hands.values(), *self._stopping.values()):
            if self.is_ending:
                how = STOOD_STILL if self._child.has_lapsed else "was stopped before it answered"
                hand.settle(Failed("agent_unavailable", f"the agent {how}", retry=True))
            hand.settle(Failed("agent_crashed", f"the agent {self._how} before it answered", retry=True))
            hand.is_over.set()

    def _forgive(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    async def _ended(self) -> str:
        try:
            async with asyncio.timeout(EXIT_S_MAX):
                how = await self._child.wait()
        except TimeoutError:
            self._blame("closed its output while it went on running")
            how = await self._child.wait()
        if self.problem:
            return self.problem
        return f"{how}: {self._child.last_line[:TEXT_CHARS_MAX]}" if self._child.last_line else how

    async def _stop(self, hand: _Hand) -> None:
        """Tell it to stop one task, and wait until it has; it is given the grace, and for the sake of others longer.

        Exclusive work has half a lease at most: two leases after its last renewal its task may be another's.
        """
        task, lease_s = hand.work.task, hand.work.lease_s
        grace_s = min(self._grace_s, lease_s / 2) if lease_s else self._grace_s
        self._stopping[task] = hand
        self._child.write(_encode({"cancel": task}) + b"\n")
        if lease_s and self._may_go_on:
            self._end()
        try:
            async with asyncio.timeout(grace_s):
                await hand.is_over.wait()
        except (TimeoutError, asyncio.CancelledError) as failure:
            if self._linger is None:
                self._linger = asyncio.get_running_loop().call_later(self._linger_s, self._end)
            if lease_s:
                self._end()
            self._end_if_overdue()
            if isinstance(failure, asyncio.CancelledError):
                raise
        await hand.is_over.wait()

    def _hold(self, work: Work) -> None:
        self.held += not isinstance(work, Event)
        if work.lease_s:
            self._leases[work.task] = work.lease_s
            self._bind()

    def _release(self, work: Work) -> None:
        self.held -= not isinstance(work, Event)
        if self._leases.pop(work.task, 0.0):
            self._bind()

    def _bind(self) -> None:
        """While it may be at exclusive work it does not outlive a daemon that stands still.

        That one may have renewed its award most of a lease ago, and what follows two leases is another's.
        """
        self._child.bind(STILL_LEASES * min(self._leases.values(), default=0.0))

    def _end_if_overdue(self) -> None:
        if self._linger is not None and not self._hands:
            self._end()

    def _end(self) -> None:
        """End it for what it did not stop; what else it has in hand is done again."""
        if self._stopping and not (self.problem or self.is_ending):
            self.is_ending = True
            self._log.add(f"meshd: process {self._child.pid} did not stop when it was told to, and was ended")
            self._child.signal(signal.SIGKILL)

    def _blame(self, problem: str) -> None:
        """End it for what it did."""
        self.problem = problem
        self._log.add(f"meshd: process {self._child.pid} {problem}, and was ended")
        self._child.signal(signal.SIGKILL)

    # what it says

    def _hear(self, line: bytes, *, is_cut: bool) -> None:
        self._line += 1
        if self.problem:
            return
        if is_cut:
            problem = f"printed more than {len(line)} bytes in line {self._line}, which begins {excerpt(line)}"
            self._drown(problem)
            return
        if not line.strip():
            return
        try:
            said = decode(line)
        except UNREADABLE as failure:
            self._mistake(task_of(line), f"is no message of an agent ({reason_of(failure)}): {excerpt(line)}")
            return
        verbs = [verb for verb in VERBS if getattr(said, verb) is not UNSET]
        hand = self._hands.get(said.task)
        if hand is not None and hand.is_over.is_set():
            hand = None  # answered, and not collected yet
        if len(verbs) != 1:
            found = " and ".join(verbs) if verbs else "none of " + ", ".join(OF_ALL)
            self._mistake(said.task, f"says {found}: {excerpt(line)}")
        elif said.offers is not UNSET and self._on_offers is not None:
            self._on_offers(said.offers)
        elif said.ready is not UNSET:
            self._is_ready = True
            self._is_settled.set()
        elif said.oversize is not UNSET and not said.task:
            self._drown(f"says more than {said.oversize} bytes at once")
        elif hand is not None:
            self._heed(said, hand)
        elif said.task in self._stopping:
            self._heed_late(said)
        else:
            self._mistake(said.task, f"is about {said.task!r:.80}, which is no task in its hands: {excerpt(line)}")

    def _drown(self, problem: str) -> None:
        """Nothing after what it said can be read, and nobody can tell whose answer it was."""
        for hurt in self._hands.values():
            hurt.settle(Failed("agent_output", f"the agent {problem}", retry=len(self._hands) > 1))
        self._blame(problem)

    def _heed(self, said: Said, hand: _Hand) -> None:
        if said.result is not UNSET:
            hand.is_over.set()
            self.has_delivered = True
            hand.settle(self._outcome(said.result, hand))
        elif said.error is not UNSET:
            hand.is_over.set()
            self.has_delivered = True
            message = said.error.message[:TEXT_CHARS_MAX] or "the agent gave no reason"
            code = "bad_input" if said.error.bad_input else "agent_failed"
            hand.settle(Failed(code, message, retry=said.error.retry and not said.error.bad_input))
        elif said.part is not UNSET:
            self._take_part(said.part, hand)
        elif said.oversize is not UNSET:
            hand.is_over.set()
            large = MeshError("too_large", what="the result", bytes=said.oversize, limit=self._output_bytes_max)
            hand.settle(Failed("agent_output", large.message, retry=False))
        elif said.call is not UNSET:
            self._take_request(said, self._called(said.call, hand), hand)
        elif said.submit is not UNSET:
            self._take_request(said, self._submitted(said.submit, hand), hand)
        elif said.publish is not UNSET:
            self._take_request(said, self._published(said.publish, hand), hand)
        else:
            hand.desk.progress(said.progress)

    def _heed_late(self, said: Said) -> None:
        """What it says of a task that it was told to stop: only its end matters."""
        if not (said.result is UNSET and said.error is UNSET and said.oversize is UNSET):
            stopped = self._stopping.pop(said.task)
            stopped.is_over.set()
            self._release(stopped.work)
            if not self._stopping:
                self._forgive()
            self._on_change()
        elif not (said.call is UNSET and said.submit is UNSET and said.publish is UNSET):
            self._refuse(said, MeshError("cancelled", task=said.task))

    def _outcome(self, result: Raw, hand: _Hand) -> Outcome:
        try:
            value, _ = self._value(result, hand)
        except MeshError as error:
            return Failed("agent_output", error.message, retry=False)
        return Finished(hand.parts if value is None and hand.parts else value)

    def _take_part(self, part: Raw, hand: _Hand) -> None:
        try:
            value, size_bytes = self._value(part, hand)
            hand.parts.append(value)
            hand.parts_bytes += size_bytes
        except MeshError as error:
            hand.settle(Failed("agent_output", error.message, retry=False))
            hand.parts.clear()

    def _value(self, raw: Raw, hand: _Hand) -> tuple[object, int]:
        """A value that the mesh can hold, and its size there. Raises MeshError."""
        try:
            value = msgspec.json.decode(raw)
        except UNREADABLE as failure:
            raise MeshError("bad_input", what=f"the result cannot be read ({reason_of(failure)})") from None
        left_bytes = self._output_bytes_max - hand.parts_bytes
        return value, len(values.packed(value, what="the result", bytes_max=left_bytes))

    # what it asks for

    def _take_request(self, said: Said, asked: Coroutine[Any, Any, object], hand: _Hand) -> None:
        if hand.outcome.done() or self._requests >= REQUESTS_OPEN_MAX:
            asked.close()
            full = MeshError("overloaded", what="the list of requests of this agent", limit=REQUESTS_OPEN_MAX)
            self._refuse(said, full)
            return
        self._requests += 1
        name = f"agent {self._agent}: request of {said.task}"
        request = self._supervisor.spawn(name, self._answer(said, asked))
        if said.publish is UNSET:  # what was said is said, also when the task ends meanwhile
            hand.requests.add(request)
        request.add_done_callback(self._answered)
        request.add_done_callback(hand.requests.discard)

    def _refuse(self, said: Said, refusal: MeshError) -> None:
        """Answer at once; who asks on and on and reads none of it is ended."""
        self._reply(said, {"error": _told(refusal)})
        if self._child.unread_bytes > UNREAD_BYTES_MAX:
            self._blame(f"left {self._child.unread_bytes} bytes of what it was told unread while it went on asking")

    def _answered(self, _: asyncio.Task[None]) -> None:
        self._requests -= 1

    async def _answer(self, said: Said, asked: Coroutine[Any, Any, object]) -> None:
        answer: dict[str, object]
        try:
            answer = {"result": await asked}
        except MeshError as error:
            answer = {"error": _told(error)}
        await self._child.has_room()
        self._reply(said, answer)

    async def _called(self, wanted: Wanted, hand: _Hand) -> object:
        _check(wanted)
        timeout_s = hand.work.deadline_s if wanted.timeout_s is None else wanted.timeout_s
        return await hand.desk.call(wanted.capability, wanted.input, max(timeout_s, 0.001), agent=wanted.agent)

    async def _submitted(self, wanted: Wanted, hand: _Hand) -> object:
        _check(wanted)
        return await hand.desk.submit(wanted.capability, wanted.input, key=wanted.key, is_awaited=wanted.wait)

    async def _published(self, saying: Saying, hand: _Hand) -> None:
        await hand.desk.publish(saying.topic, saying.value)

    def _reply(self, said: Said, answer: dict[str, object]) -> None:
        request = said.request
        if said.publish is not UNSET and request == "":  # nobody waits: what was refused is told in the log
            if isinstance(refusal := answer.get("error"), dict):
                self._log.add(f"meshd: {said.publish.topic[:80]!a} was not published: {refusal['message']}")
            return
        try:
            line = _encode({"reply": request, **answer})
        except (TypeError, ValueError, RecursionError) as failure:
            line = _encode({"reply": request, "error": {"code": "internal", "message": f"no JSON: {failure}"}})
        self._child.write(line + b"\n")

    # what it should not have said

    def _mistake(self, task: str, problem: str) -> None:
        """A line that is none of the pipe's: name it, and fail what it belongs to."""
        self._mistakes += 1
        problem = f"line {self._line} of its output {problem}"
        self._log.add(f"meshd: {problem}")
        hurt = [self._hands[task]] if task in self._hands else list(self._hands.values())
        if task and task in self._former:
            hurt = []
        for hand in hurt:
            if task and len(hurt) > 1:
                hand.doubt = problem  # it was meant for one of them, which will wait in vain
            else:
                hand.settle(Failed("agent_output", problem, retry=len(hurt) > 1))
        if self._mistakes >= MISTAKES_MAX:
            self._blame(f"printed {self._mistakes} lines that are none of the pipe's; the last: {problem}")


def _check(wanted: Wanted) -> None:
    if not is_capability(wanted.capability):
        raise MeshError("bad_capability", capability=repr(wanted.capability[:TEXT_CHARS_MAX]))
    if len(wanted.key) > TEXT_CHARS_MAX:
        raise MeshError("bad_input", what=f"the key is longer than {TEXT_CHARS_MAX} characters")


def given(work: Work) -> dict[str, object]:
    """A task or an event as agents are told of it."""
    told = msgspec.structs.asdict(work)
    del told["begin_by_ns"]
    if isinstance(work, Event):
        told["event"] = told.pop("input")
        del told["capability"], told["epoch"], told["attempt"], told["lease_s"]
    return told


def _told(error: MeshError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}
