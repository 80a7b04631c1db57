"""Free-form values: task input and output, between JSON at the edges and msgpack in the mesh.

Invariant: what gets in or out is plain (null, booleans, numbers that are finite, text, lists, objects
with text keys), at most 16 levels deep and within its size. Neighbours: `service` and `hosting`.
"""

import math
from typing import Any

import msgpack
import msgspec

from protocol import limits
from protocol.errors import UNREADABLE, MeshError

_INTEGERS = (-(1 << 63), (1 << 64) - 1)


def packed(value: object, *, what: str, bytes_max: int) -> bytes:
    """The value as msgpack. Raises MeshError("bad_input" or "too_large"), naming `what`."""
    problem = _problem(value, depth=0)
    if problem:
        raise MeshError("bad_input", what=f"{what} {problem}")
    try:
        encoded = msgpack.packb(value, use_bin_type=True)
    except (UnicodeEncodeError, ValueError, OverflowError) as failure:
        raise MeshError("bad_input", what=f"{what} cannot be encoded: {failure}") from None
    if len(encoded) > bytes_max:
        raise MeshError("too_large", what=what, bytes=len(encoded), limit=bytes_max)
    return bytes(encoded)


def unpacked(encoded: bytes) -> object:
    """The value of msgpack bytes; None for no bytes. Raises MeshError("bad_input")."""
    if not encoded:
        return None
    try:
        value: object = msgpack.unpackb(encoded, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as failure:
        raise MeshError("bad_input", what=f"a value in the mesh cannot be read: {failure}") from None
    problem = _problem(value, depth=0)
    if problem:  # a node that signs is admitted, but what it signs may still be nonsense
        raise MeshError("bad_input", what=f"a value in the mesh cannot be read: it {problem}")
    return value


def told_schema(schema: dict[str, Any] | bool) -> bytes:
    """A JSON Schema for other nodes; no bytes when it is too much to tell."""
    encoded = msgspec.json.encode(schema)
    return encoded if len(encoded) <= limits.SCHEMA_BYTES_MAX else b""


def heard_schema(encoded: bytes) -> dict[str, Any] | bool | None:
    """The JSON Schema in what a node told; None when there is none that can be shown."""
    try:
        schema: dict[str, Any] | bool = msgspec.json.decode(encoded, type=dict[str, Any] | bool)
    except UNREADABLE:
        return None
    return None if _problem(schema, depth=limits.DEPTH_MAX - limits.SCHEMA_DEPTH_MAX) else schema


def _problem(value: object, *, depth: int) -> str:
    """What is wrong with a value, as the end of a sentence; empty when nothing is."""
    if depth > limits.DEPTH_MAX:
        return f"is nested more than {limits.DEPTH_MAX} levels deep"
    if value is None or isinstance(value, bool | str):
        return ""
    if isinstance(value, int):
        return "" if _INTEGERS[0] <= value <= _INTEGERS[1] else "holds an integer of more than 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "holds a number that is not finite"
    if isinstance(value, list | tuple):
        return next((problem for item in value if (problem := _problem(item, depth=depth + 1))), "")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return "holds an object whose keys are not all text"
        return next((problem for item in value.values() if (problem := _problem(item, depth=depth + 1))), "")
    return f"holds a {type(value).__name__}, which is no plain value"
