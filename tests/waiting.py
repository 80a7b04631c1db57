"""The one place where tests wait: for a condition, with a deadline, never for a guess."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

TICK_S = 0.01
DEADLINE_S = 20.0

_T = TypeVar("_T")


async def until(condition: Callable[[], object], within_s: float = DEADLINE_S, what: str = "the condition") -> None:
    """Return as soon as `condition()` is true. Raises AssertionError after `within_s`."""

    async def ask() -> object:
        return condition()

    await until_told(ask, within_s, what)


async def until_told(ask: Callable[[], Awaitable[_T]], within_s: float = DEADLINE_S, what: str = "the answer") -> _T:
    """Ask until the answer is true, and return it. Raises AssertionError after `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            while not (answer := await ask()):  # noqa: ASYNC110 - not every condition has an event
                await asyncio.sleep(TICK_S)
            return answer
    except TimeoutError:
        raise AssertionError(f"{what} did not come within {within_s} s") from None
