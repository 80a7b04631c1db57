"""The writes of one store that have no outcome yet.

Invariant: closing a store cancels every one of them and nothing else. Neighbours: both stores.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class Writes:
    """The callers who wait for an outcome."""

    def __init__(self) -> None:
        self._callers: set[asyncio.Task[object]] = set()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """The caller's task waits from here to the end of the block."""
        caller = asyncio.current_task()
        if caller is None:
            raise RuntimeError("a write needs a task to wait in")
        self._callers.add(caller)
        try:
            yield
        finally:
            self._callers.discard(caller)

    def cancel(self) -> None:
        """End the wait of all of them."""
        for caller in tuple(self._callers):
            caller.cancel()
