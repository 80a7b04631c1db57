"""Pages of listings: how much is asked for, and the cursors that say where a page ended.

Invariant: a cursor names a place in the order and not an item, so that it stays good while items come and go.
Neighbours: `routes` answers pages with these.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from meshd.api.schemas import PAGE_DEFAULT, PAGE_MAX, Cursor, Task, TaskPage, TaskStateName
from protocol import limits
from protocol.errors import MeshError

PAGE_BYTES_MAX = 4_194_304  # a page of tasks ends early rather than weigh more
CURSOR_CHARS_MAX = 1_024

Item = TypeVar("Item")
Position = TypeVar("Position")


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A page: how many at most, and where the page before ended."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE_MAX
    cursor: Annotated[str, Meta(max_length=CURSOR_CHARS_MAX)] = ""


class PeersQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which nodes: those of one region, or all."""

    region: Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)] = ""


class AgentsQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which agents: those of one node, by its name or id, or those of this node."""

    node: str = ""
    here: bool = False


class CapabilitiesQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """`search`: only capabilities whose name, or an agent's name or purpose, holds this text."""

    search: Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)] = ""


class TasksQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A page of tasks: the filters, how many at most, and where the page before ended."""

    state: TaskStateName | Literal[""] = ""
    capability: str = ""
    home: str = ""
    gid: str = ""
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(max_length=CURSOR_CHARS_MAX)] = ""


def of_names(
    found: Sequence[Item], key: Callable[[Item], tuple[str, ...]], query: PageQuery
) -> tuple[tuple[Item, ...], str | None]:
    """One page of what is ordered by `key`, and the cursor of the next. Raises MeshError("bad_input")."""
    after = _position(query.cursor, tuple[str, ...])
    rest = [item for item in found if after is None or key(item) > after]
    page = tuple(rest[: query.limit])
    return page, _cursor(key(page[-1])) if len(rest) > len(page) else None


def of_tasks(found: list[Task], limit: int) -> TaskPage:
    """The first `limit` of `found`, or fewer when they are heavy; at least one."""
    kept: list[Task] = []
    weight = 0
    for one in found[:limit]:
        weight += len(msgspec.json.encode(one))
        if kept and weight > PAGE_BYTES_MAX:
            break
        kept.append(one)
    is_last = len(kept) == len(found)
    return TaskPage(tuple(kept), None if is_last else _cursor(Cursor(kept[-1].submitted_ms, kept[-1].id)))


def place(cursor: str) -> Cursor | None:
    """Where a page of tasks ended, or None for the first. Raises MeshError("bad_input")."""
    return _position(cursor, Cursor)


def _cursor(position: object) -> str:
    return urlsafe_b64encode(msgspec.json.encode(position)).decode("ascii").rstrip("=")


def _position(cursor: str, kind: type[Position]) -> Position | None:
    if not cursor:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=kind)
    except (ValueError, RecursionError):
        raise MeshError("bad_input", what="the cursor is not one of a page that was answered here") from None
