"""Listings that the API gives in pages: followed to their end, and printed while they come where that is possible.

Invariant: `-o json` is one answer of the API as it came, with its cursor. Neighbour: `output` prints the items.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cli.client import Answer, Client
from cli.output import Column, Item, listing
from cli.session import Session

PAGE_MAX = 1_000  # items of one answer


def listed(
    session: Session,
    client: Client,
    noun: str,
    columns: Sequence[Column],
    *,
    name: Callable[[Item], object],
    empty: str,
    limit: int | None = None,
    cursor: str = "",
    **query: Any,
) -> str | None:
    """Print all of `/v1/NOUN`, or `limit` of it; the cursor of what was left out, if anything was."""
    pages = _pages(client, noun, limit=limit, cursor=cursor, **query)
    answer = next(pages)
    items: list[Item] = answer.value[noun]
    if session.output == "table":
        for answer in pages:
            items += answer.value[noun]
    listing(session, answer, items, columns, name=name, empty=empty)
    if session.output in ("jsonl", "name"):
        for answer in pages:
            listing(session, answer, answer.value[noun], columns, name=name, empty=empty)
    left: str | None = answer.value.get("next")
    return left


def _pages(client: Client, noun: str, *, limit: int | None, cursor: str, **query: Any) -> Iterator[Answer]:
    """One answer after the other."""
    left = limit
    while True:
        answer = client.get("v1", noun, cursor=cursor, limit=None if left is None else min(left, PAGE_MAX), **query)
        yield answer
        cursor = answer.value.get("next") or ""
        left = None if left is None else left - len(answer.value[noun])
        if not cursor or left == 0:
            return
