"""The one place where tests wait: for a condition, with a deadline, never for a guess."""

import asyncio
from collections.abc import Callable

TICK_S = 0.01


async def until(condition: Callable[[], object], within_s: float = 10.0, what: str = "the condition") -> None:
    """Return as soon as `condition()` is true. Raises AssertionError after `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - conditions are of every kind, not all have an event
                await asyncio.sleep(TICK_S)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {within_s} s") from None
