"""The writes of one store that have no outcome yet.

Invariant: closing a store cancels every one of them and nothing else: none is told of a failure, whenever it came.
Neighbours: both stores.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from protocol.errors import MeshError


class Writes:
    """The callers who wait for an outcome."""

    def __init__(self) -> None:
        self._callers: set[asyncio.Task[object]] = set()
        self._is_over = False

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """The caller's task waits from here to the end of the block.

        What fails in it once all was cancelled fails for that: a library may have lost the cancellation.
        """
        if self._is_over:
            raise asyncio.CancelledError
        caller = asyncio.current_task()
        if caller is None:
            raise RuntimeError("a write needs a task to wait in")
        self._callers.add(caller)
        try:
            yield
        except MeshError as failure:
            if not self._is_over:
                raise
            raise asyncio.CancelledError from failure
        finally:
            self._callers.discard(caller)

    def cancel(self) -> None:
        """End the wait of all of them, and of those that come later."""
        self._is_over = True
        for caller in tuple(self._callers):
            caller.cancel()
