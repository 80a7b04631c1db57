"""Background work with a name: the only place that makes asyncio tasks.

Invariant: a task's failure is told exactly once, to `on_failure`; `close` ends them all.
Neighbours: everything in the daemon that waits in the background.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

AGAIN_S = 10.0  # who has not ended by then is cancelled once more: longer than anybody tidies up

OnFailure: TypeAlias = Callable[[str, BaseException], None]


class Supervisor:
    """Holds the background tasks of one daemon."""

    def __init__(self, on_failure: OnFailure) -> None:
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()

    def apart(self, on_failure: OnFailure) -> "Supervisor":
        """One whose failures are told to `on_failure`; what it runs ends with ours."""
        other = Supervisor(on_failure)
        other._tasks = self._tasks
        return other

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` in the background under `name`; its failure goes to `on_failure`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            self._on_failure(task.get_name(), failure)

    async def close(self) -> None:
        """Cancel everything and wait until it has ended."""
        current = asyncio.current_task()
        while tasks := [task for task in self._tasks if task is not current]:
            await end(*tasks)
            await asyncio.sleep(0)  # whoever had ended is taken off the list by a callback


def heed_cancellation() -> None:
    """Be cancelled now, when a library took the cancellation of this task for itself: asked after its calls.

    Else the task goes on until it is cancelled once more, ten seconds later. Raises asyncio.CancelledError.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel these until they have ended. One cancellation may be lost in a library.

    `asyncio.wait_for` of Python 3.11 loses it when what it waits for fails in that moment, as every connection to a
    server that is away does; work that tries again for ever would go on for ever.
    """
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=AGAIN_S)
