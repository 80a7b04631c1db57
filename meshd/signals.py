"""The signals that tell a daemon to end, from before its first life begins until its last one has ended.

Invariant: none is lost, and none ends the process by itself. One that comes twice within `ONCE_S` is one: `timeout`
and other programs that pass signals on send each to us and to our group. What nobody has heard yet, as between two
lives, is told to who listens next. An event loop's own handlers end with it, and leave the process to the system's.
Neighbour: `app` listens in each life.
"""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self, TypeAlias

from meshd import clock
from protocol.primitives import NS_PER_S, Mono

NUMBERS = (signal.SIGTERM, signal.SIGINT)
ONCE_S = 0.1  # the copies of one are some ms apart, and nobody presses Ctrl-C twice so soon

Heard: TypeAlias = Callable[[signal.Signals], None]


class Signals:
    """Heeds them for as long as the `with` block lasts, in the main thread."""

    def __init__(self) -> None:
        self._former: dict[int, Any] = {}
        self._untold: list[tuple[Mono, signal.Signals]] = []
        self._last_ns: dict[signal.Signals, Mono] = {}  # when those came that were told
        self._listener: tuple[asyncio.AbstractEventLoop, Heard] | None = None

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._came) for number in NUMBERS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)

    def listen(self, heard: Heard) -> None:
        """From now on each is told to `heard`, in the loop that runs, and first those that nobody has heard."""
        loop = asyncio.get_running_loop()
        self._listener = loop, heard
        loop.call_soon(self._tell)

    def leave(self) -> None:
        """What comes from now on is for who listens next."""
        self._listener = None

    def _came(self, number: int, _: FrameType | None) -> None:
        self._untold.append((clock.monotonic_ns(), signal.Signals(number)))
        if self._listener is not None and not self._listener[0].is_closed():
            self._listener[0].call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        # What is compared is compared here: another signal may come in the midst of `_came`.
        while self._listener is not None and self._untold:
            came_ns, number = self._untold.pop(0)
            last_ns = self._last_ns.get(number)
            if last_ns is None or came_ns - last_ns >= ONCE_S * NS_PER_S:
                self._last_ns[number] = came_ns
                self._listener[1](number)
