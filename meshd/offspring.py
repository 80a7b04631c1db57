"""All that a cancelled task led to is cancelled with it, wherever its homes are.

Invariant: it starts after the cancel of the first stands, so whatever is submitted later finds that by itself, and
what this does not come to, because its daemon ends, is ended by the watchers when they list. Neighbour: `service`.
"""

import asyncio
from collections.abc import Awaitable, Callable

from meshd.listing import Fits, Position
from meshd.shelf import Shelf
from protocol import records
from protocol.errors import MeshError
from protocol.wire.task import ENDED, TaskRecord, TaskState

AT_ONCE = 64  # cancels under way
ROUNDS_MAX = 8  # looks for more: no task is deeper than its hops


async def unended(shelf: Shelf, task: TaskRecord) -> list[str]:
    """The tasks it led to, itself or through others, that have not ended. Raises MeshError("store")."""
    return [each.id for each in await _all(shelf, task, lambda row: row.state not in ENDED)]


async def cancel(shelf: Shelf, task: TaskRecord, *, cancel_one: Callable[[str], Awaitable[object]]) -> int:
    """Cancel all that has not ended of what it led to; how many ended with it, those that did by themselves included.

    Raises MeshError: what could not be listed or cancelled.
    """
    for _ in range(ROUNDS_MAX):
        found = await unended(shelf, task)
        if not found:
            break
        for start in range(0, len(found), AT_ONCE):
            await asyncio.gather(*(_one(each, cancel_one) for each in found[start : start + AT_ONCE]))
    ended = {task.id}
    cancelled = await _all(shelf, task, lambda row: row.state == TaskState.CANCELLED)
    for each in sorted(cancelled, key=lambda record: len(record.ancestors)):
        if any(one in ended and records.is_cancelled_with(each, one) for one in each.ancestors):
            ended.add(each.id)
    return len(ended) - 1


async def refuse_bereft(shelf: Shelf, name: str) -> None:
    """Nothing is opened again that would end at once with a cancelled ancestor, after a run perhaps.

    Raises MeshError: parent_cancelled, or that the task cannot be read.
    """
    task = await shelf.one(name)
    for ancestor in task.ancestors:
        try:
            is_cancelled = (await shelf.one(ancestor)).state is TaskState.CANCELLED
        except MeshError:  # what removed itself is no cancel, and what cannot be read is looked at again later
            is_cancelled = False
        if is_cancelled:
            raise MeshError("parent_cancelled", task=task.id, parent=ancestor)


async def _all(shelf: Shelf, task: TaskRecord, fits: Fits) -> list[TaskRecord]:
    await shelf.refresh()
    found: list[TaskRecord] = []
    after: Position | None = None
    while page := await shelf.page(lambda row: row.gid == task.gid and fits(row), after=after, count=AT_ONCE):
        found += [each for each in page if task.id in each.ancestors]
        after = page[-1].submitted_ms, page[-1].id
    return found


async def _one(task: str, cancel_one: Callable[[str], Awaitable[object]]) -> None:
    try:
        await cancel_one(task)
    except MeshError as refusal:
        if refusal.code not in ("already_ended", "unknown_task"):  # by its own watcher, most likely
            raise
