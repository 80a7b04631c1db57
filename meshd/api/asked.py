"""A request as handlers see it: path, query and body, already checked against their schemas.

Invariant: nothing unknown passes; what is refused is named with its place. Neighbours: `routes`
declares the schemas, `guards` has checked who asks.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from meshd.api.guards import BODY_BYTES_MAX
from protocol import limits
from protocol.errors import MeshError

T = TypeVar("T")

BODY_S_MAX = 15.0  # for the whole body: a megabyte at 70 kB/s
KEY = re.compile(r"[\x21-\x7e]{1,128}")
PATH_PART_CHARS_MAX = 128


class Asked(Struct, frozen=True):
    """One request: the names in its path, its decoded query and body, and the one header that matters."""

    path: Mapping[str, str]
    query: Any
    body: Any
    key: str = ""


async def read(request: web.Request, *, query: type[Struct], body: type[Struct] | None) -> Asked:
    """Check and decode all of a request. Raises MeshError bad_input, too_large or timed_out."""
    path = dict(request.match_info)
    for name, part in path.items():
        if len(part) > PATH_PART_CHARS_MAX or not part.isprintable():
            raise MeshError("bad_input", what=f"the {name} in the path is no name")
    key = request.headers.get("Idempotency-Key")
    if key is not None and KEY.fullmatch(key) is None:  # an empty one is a mistake, and would do the work twice
        raise MeshError("bad_input", what="Idempotency-Key is 1 to 128 printable ASCII characters without spaces")
    return Asked(
        path=path,
        query=_query(request, query),
        body=None if body is None else _decoded(await _bytes(request), body),
        key=key or "",
    )


def _query(request: web.Request, schema: type[T]) -> T:
    given = request.query
    for name in given:
        if len(given.getall(name)) > 1:
            raise MeshError("bad_input", what=f"the query names {_shown(name)} more than once")
    try:
        return msgspec.convert(dict(given), schema, strict=False)
    except msgspec.ValidationError as failure:
        raise MeshError("bad_input", what=f"the query: {failure}") from None


async def _bytes(request: web.Request) -> bytes:
    chunks = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.content.iter_any():
                chunks += chunk
                if len(chunks) > BODY_BYTES_MAX:
                    raise MeshError("too_large", what="the body", bytes=f"over {BODY_BYTES_MAX}", limit=BODY_BYTES_MAX)
    except TimeoutError:
        raise MeshError("timed_out", what="the rest of the body", seconds=BODY_S_MAX) from None
    return bytes(chunks)


def _decoded(content: bytes, schema: type[T]) -> T:
    content = content if content.strip() else b"{}"
    try:
        found = msgspec.json.decode(content, type=schema)
        json.loads(content, object_pairs_hook=_without_twins, parse_int=str)
        return found
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        problem = _no_json(content)  # first: the fields of half an object are nobody's mistake
        if problem:
            raise MeshError("bad_request", what=f"the body is no JSON: {problem}", rule="json") from None
        raise MeshError("bad_input", what=f"the body: {failure}", rule="schema") from None
    except RecursionError:
        what = f"the body is nested deeper than {limits.DEPTH_MAX} levels"
        raise MeshError("bad_input", what=what, rule="depth") from None


def _without_twins(pairs: list[tuple[str, Any]]) -> None:
    """RFC 8259, 4: of a name that stands twice readers take either, so what one checked another may not do."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise MeshError("bad_input", what=f"the body names {_shown(twin)} more than once in one object", rule="schema")


def _no_json(content: bytes) -> str:
    """What makes these bytes no JSON, and at which byte; empty when they are."""
    try:
        content.decode("utf-8")
        msgspec.json.decode(content, type=msgspec.Raw)
    except UnicodeDecodeError as failure:
        return f"no UTF-8 at byte {failure.start}"
    except msgspec.DecodeError as failure:
        if "truncated" not in str(failure):
            return str(failure).removeprefix("JSON is malformed: ")
        return "a \\u escape is half of a pair" if _is_whole(content) else f"it is cut off at byte {len(content)}"
    except RecursionError:
        return f"it is nested deeper than {limits.DEPTH_MAX} levels"
    return ""


def _is_whole(content: bytes) -> bool:
    """Whether the decoder stopped before the end of what is there."""
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _shown(name: str) -> str:
    return ascii(name)[1:-1][:60]
