"""An event loop whose time is made up: while anything is ready nothing passes, then it leaps to the next timer.

Invariant: two runs of the same code are the same run; no selector is polled and no thread is awaited. When
nothing is ready and no timer is left nobody can ever go on, which is an error that says who waits for what.
Neighbours: `clock.py` gives meshd's clock the loop's time. It replaces the loop's inner step, a private
name that `test_loop.py` watches over.
"""

import asyncio
import heapq
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

NS_PER_S = 1_000_000_000
TURNS_WITHOUT_TIME_MAX = 100_000  # a hundred times more than a busy instant of twenty nodes takes
ROOT = Path(__file__).parents[3]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class DeadLock(AssertionError):
    """Nothing is scheduled, and somebody waits."""


class Standstill(AssertionError):
    """Somebody spins, and time does not pass."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at a thousand seconds, and only timers move it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000 * NS_PER_S
        self.turns = 0
        self._turns_now = 0
        self._pending: list[tuple[int, int, asyncio.TimerHandle]] = []  # timers of one instant fire as they were set
        self._set = 0

    def time(self) -> float:
        """Seconds, as asyncio counts them."""
        return self.now_ns / NS_PER_S

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's, but timers of the same instant keep their order."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._set += 1
        heapq.heappush(self._pending, (max(round(when * NS_PER_S), self.now_ns), self._set, timer))
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        """A thread takes real time, which has no meaning here."""
        raise AssertionError(f"{func} was given to a thread, and threads have no virtual time")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def _run_once(self) -> None:
        """One turn: everything that is ready now, or else the next instant at which something is."""
        ready: Any = self._ready  # type: ignore[attr-defined]  # asyncio's own queue of what is to be called
        if ready:
            self._turns_now += 1
            if self._turns_now > TURNS_WITHOUT_TIME_MAX:
                self._turns_now = 0
                raise Standstill(f"{TURNS_WITHOUT_TIME_MAX} turns, and no time has passed:\n{who_waits(self)}")
        else:
            self._leap(ready)
        self.turns += 1
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _leap(self, ready: Any) -> None:
        """To the next timer, and every timer of that instant."""
        while self._pending and self._pending[0][2].cancelled():
            heapq.heappop(self._pending)
        if not self._pending:
            raise DeadLock(f"nothing is scheduled any more, and these wait:\n{who_waits(self)}")
        self.now_ns, self._turns_now = max(self.now_ns, self._pending[0][0]), 0  # a scene may have let time pass
        while self._pending and self._pending[0][0] <= self.now_ns:
            ready.append(heapq.heappop(self._pending)[2])


def who_waits(loop: asyncio.AbstractEventLoop) -> str:
    """A line for each task: its name, where it stands in our code, and what it waits for."""
    return "\n".join(sorted(_line(task) for task in asyncio.all_tasks(loop)))


def _line(task: asyncio.Task[Any]) -> str:
    here, awaited = "not begun", "its turn"
    inner: Any = task.get_coro()
    while (frame := getattr(inner, "cr_frame", None)) is not None:
        code, path = frame.f_code, Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and ".venv" not in path.parts:
            here, awaited = f"{path.relative_to(ROOT)}:{frame.f_lineno} in {code.co_qualname}", "a future"
        elif awaited == "a future":
            awaited = code.co_qualname  # the first step out of our code says what we wait for
        inner = inner.cr_await
    other = getattr(task, "_fut_waiter", None)
    if isinstance(other, asyncio.Task):
        awaited = f"the end of {other.get_name()}"
    return f"  {task.get_name()} waits at {here} for {awaited}"
