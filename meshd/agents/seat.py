"""One process of an agent, kept up: started, started anew with backoff when it dies, given up when it keeps dying.

Invariant: at most one process at a time, and the next begins only when the last one and its group are gone.
Neighbours: `pipe` talks to the process; `hosted` chooses the seat for each task.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TypeAlias

from msgspec import Struct

from meshd import clock
from meshd.agents.child import Child, Log, Plan
from meshd.agents.pipe import Pipe
from meshd.agents.reaper import Reaper
from meshd.agents.said import Offers
from meshd.ports import Desk, Failed, Outcome, Work
from meshd.supervise import Supervisor
from protocol.primitives import NS_PER_S

State: TypeAlias = Literal["starting", "ready", "restarting", "failed", "stopped"]


class Patience(Struct, frozen=True):
    """How long an agent is waited for, in seconds."""

    start_s: float = 60.0  # for a worker to import its module
    grace_s: float = 1.0  # to stop a task when told to
    linger_s: float = 10.0  # for the other tasks of a process that did not, before it is ended all the same
    stop_s: float = 2.0  # to exit at the end of input, and then on SIGTERM
    backoff_s_min: float = 0.2  # before the next process, doubled with each crash in a row
    backoff_s_max: float = 30.0
    crashes_max: int = 10  # in a row, without one task answered; then it is given up
    steady_s: float = 60.0  # a process that lived so long was no failed start

    def backoff_s(self, crashes: int) -> float:
        """How long to wait after so many crashes in a row, one at least."""
        return min(self.backoff_s_max, self.backoff_s_min * 2.0 ** min(crashes - 1, 30))


class Manner(Struct, frozen=True):
    """How a kind's process behaves."""

    says_ready: bool = False  # it tells when it is, and what it can do
    may_go_on: bool = False  # what it was told to stop may go on behind it, and nobody can tell
    may_come_later: bool = False  # it talks to a service that need not be there yet


class Seat:
    """Holds one process and what is needed to start the next."""

    def __init__(
        self,
        plan: Plan,
        *,
        slots: int,
        output_bytes_max: int,
        manner: Manner,
        patience: Patience,
        log: Log,
        supervisor: Supervisor,
        reaper: Reaper,
        on_change: Callable[[], None],
        on_offers: Callable[[Offers], None],
    ) -> None:
        self.state: State = "stopped"
        self.detail = ""
        self.is_coming = False  # a process is being started right now
        self._plan = plan
        self._slots = slots
        self._output_bytes_max = output_bytes_max
        self._manner = manner
        self._patience = patience
        self._log = log
        self._supervisor = supervisor
        self._reaper = reaper
        self._on_change = on_change
        self._on_offers = on_offers
        self._crashes = 0
        self._child: Child | None = None
        self._pipe: Pipe | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._first: asyncio.Future[str] | None = None
        self._is_stopping = asyncio.Event()

    @property
    def is_hopeful(self) -> bool:
        """True when there will be room without waiting for a backoff."""
        return self.is_coming or self.state in ("starting", "ready")

    @property
    def pid(self) -> int:
        """Of its process; 0 when there is none."""
        return self._child.pid if self._child is not None and self._child.is_alive else 0

    def room(self, task: str) -> int:
        """Free slots for `task`; 0 also while the process is at another attempt of the same task."""
        if self._pipe is None or not self._pipe.is_open or self._pipe.has(task):
            return 0
        return self._slots - self._pipe.held

    @property
    def is_open(self) -> bool:
        """True when its process may be given something, whatever it has in hand."""
        return self._pipe is not None and self._pipe.is_open

    async def start(self) -> str:
        """Bring up the first process; why it never can be, or nothing when it is ready. Then keep one up.

        Cancelling only ends the wait. A seat that gave up begins anew.
        """
        if self._first is None or self._keeper is None or self._keeper.done():
            self._crashes = 0
            self._is_stopping.clear()
            self._first = asyncio.get_running_loop().create_future()
            self._turn("starting")
            self._keeper = self._supervisor.spawn(f"agent {self._plan.agent}: seat", self._keep(self._first))
        return await asyncio.shield(self._first)

    async def run(self, work: Work, desk: Desk, limit_s: float) -> Outcome:
        """Give the process a task; call only when there is `room`."""
        if self._pipe is None:
            return Failed("agent_unavailable", "the agent is not up", retry=True)
        return await self._pipe.run(work, desk, limit_s)

    async def stop(self) -> None:
        """End the process and everything it started, and start no other; one that cannot be ended is left behind."""
        self._is_stopping.set()
        if self._pipe is not None:
            self._pipe.is_ending = True
        is_gone = self._child is None or await self._child.end(self._patience.stop_s)
        if self._keeper is not None and is_gone:
            await asyncio.wait([self._keeper])
        self._turn("stopped")

    async def _keep(self, first: asyncio.Future[str]) -> None:
        try:
            while not self._is_stopping.is_set():
                problem = await self._live(first)
                self.is_coming = False
                if problem and not self._is_stopping.is_set():
                    self._blame(problem, first)
                # After the state: who hears of a crash knows already that there is no room here.
                self._let_go()
                if self.state == "failed":
                    return
                if self.state == "restarting":
                    await self._pause()
        finally:
            if self._child is not None:
                self._child.signal(signal.SIGKILL)
            self._let_go()
            if not first.done():
                first.set_result("was stopped before it was ready")

    def _blame(self, problem: str, first: asyncio.Future[str]) -> None:
        self._log.add(f"meshd: the agent {problem}")
        self._crashes += 1
        if not first.done() and not self._manner.may_come_later:
            self._turn("failed", problem)
            first.set_result(problem)  # it was not ready once, so it never will be
        elif self._crashes >= self._patience.crashes_max:
            self._turn("failed", f"given up after {self._crashes} crashes in a row; the last one {problem}")
        else:
            self._turn("restarting", problem)
            if not first.done():
                first.set_result("")

    def _let_go(self) -> None:
        if self._pipe is not None:
            self._pipe.let_go()

    async def _live(self, first: asyncio.Future[str]) -> str:
        """One process from its start to its end: what it is to blame for, or nothing when we ended it."""
        self.is_coming = True
        self._on_change()
        try:
            child = self._child = await Child.start(self._plan, self._log, self._supervisor, self._reaper)
        except OSError as failure:
            return f"cannot be started: {failure.strerror or failure}"
        child.on_undying = self._note_undying
        pipe = self._pipe = Pipe(
            child,
            agent=self._plan.agent,
            output_bytes_max=self._output_bytes_max,
            grace_s=self._patience.grace_s,
            linger_s=self._patience.linger_s,
            log=self._log,
            supervisor=self._supervisor,
            on_change=self._on_change,
            is_ready=not self._manner.says_ready,
            on_offers=self._on_offers if self._manner.says_ready else None,
            may_go_on=self._manner.may_go_on,
        )
        if self._is_stopping.is_set():
            child.signal(signal.SIGKILL)
        started_ns = clock.monotonic_ns()
        async with asyncio.TaskGroup() as group:
            talk = group.create_task(pipe.talk())
            await pipe.wait_ready(self._patience.start_s)
            if pipe.is_open:
                self.is_coming = False
                self._turn("ready")
                if not first.done():
                    first.set_result("")
        if pipe.has_delivered or clock.monotonic_ns() - started_ns > self._patience.steady_s * NS_PER_S:
            self._crashes = 0
        return "" if pipe.is_ending else talk.result()

    def _note_undying(self, problem: str) -> None:
        """What it has in hand stays there: it may go on with it, and nobody can tell."""
        self._log.add(f"meshd: the agent {problem}")
        if not self._is_stopping.is_set():
            self._turn("restarting", problem)

    async def _pause(self) -> None:
        """The backoff, cut short by `stop`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.backoff_s(self._crashes)):
                await self._is_stopping.wait()

    def _turn(self, state: State, detail: str = "") -> None:
        self.state, self.detail = state, detail
        self._on_change()
