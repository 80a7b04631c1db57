"""All that a cancelled task led to is cancelled with it, wherever its homes are.

Invariant: it starts after the cancel of the first stands, so whatever is submitted later finds that by itself, and
what this does not come to, because its daemon ends, is ended by the watchers when they list. Neighbour: `service`.
"""

import asyncio
from collections.abc import Awaitable, Callable

from meshd.listing import Position, Row
from meshd.shelf import Shelf
from protocol.errors import MeshError
from protocol.wire.task import ENDED, TaskRecord

AT_ONCE = 64  # cancels under way
ROUNDS_MAX = 8  # looks for more: no task is deeper than its hops


async def unended(shelf: Shelf, task: TaskRecord) -> list[str]:
    """The tasks it led to, itself or through others, that have not ended. Raises MeshError("store")."""

    def fits(row: Row) -> bool:
        return row.gid == task.gid and row.state not in ENDED

    await shelf.refresh()
    found: list[str] = []
    after: Position | None = None
    while page := await shelf.page(fits, after=after, count=AT_ONCE):
        found += [each.id for each in page if task.id in each.ancestors]
        after = page[-1].submitted_ms, page[-1].id
    return found


async def cancel(
    shelf: Shelf, task: TaskRecord, *, known: list[str], cancel_one: Callable[[str], Awaitable[object]]
) -> int:
    """Cancel all that has not ended of what it led to; how many ended with it, those `known` before included."""
    seen = dict.fromkeys(known)
    for _ in range(ROUNDS_MAX):
        found = await unended(shelf, task)
        if not found:
            break
        seen |= dict.fromkeys(found)
        for start in range(0, len(found), AT_ONCE):
            await asyncio.gather(*(_one(each, cancel_one) for each in found[start : start + AT_ONCE]))
    ends = [await shelf.one(each) for each in seen]
    return sum(each.state.value == "cancelled" for each in ends)


async def _one(task: str, cancel_one: Callable[[str], Awaitable[object]]) -> None:
    try:
        await cancel_one(task)
    except MeshError as refusal:
        if refusal.code not in ("already_ended", "unknown_task"):  # by its own watcher, most likely
            raise
