"""Golden vectors: the bytes of every kind of message, held against an independent reader of msgpack.

They are the compatibility promise: what stands in `tests/golden` must be readable for ever. A
vector that is missing is written by `MESHD_GOLDEN=write pytest tests/protocol/test_wire.py`, never by itself.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

from protocol import limits
from protocol.wire.kinds import KINDS, AnyBody
from tests.protocol.bodies import EXAMPLES

GOLDEN = Path(__file__).parent.parent / "golden"
BY_KIND: Mapping[str, AnyBody] = {str(body.__struct_config__.tag): body for body in EXAMPLES}


def _json(value: Any) -> Any:
    """A value read from msgpack, as JSON can say it: bytes are {"bytes": hex}."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    return value


def _vector(body: AnyBody) -> dict[str, Any]:
    encoded = msgspec.msgpack.encode(body)
    _, *values = msgpack.unpackb(encoded)
    return {
        "kind": body.__struct_config__.tag,
        "fields": dict(zip(body.__struct_fields__, map(_json, values), strict=True)),
        "hex": encoded.hex(),
    }


def _files() -> list[Path]:
    return sorted(GOLDEN.glob("*.json"))


if os.environ.get("MESHD_GOLDEN") == "write":
    for _kind, _body in BY_KIND.items():
        _path = GOLDEN / f"{_kind}.json"
        if not _path.exists():
            _path.write_text(json.dumps(_vector(_body), indent=1) + "\n")


def _is_default(value: Any, field: msgspec.structs.FieldInfo) -> bool:
    return field.default is not msgspec.NODEFAULT and value == field.default


def test_every_kind_has_an_example_and_a_vector() -> None:
    assert set(BY_KIND) == set(KINDS)
    assert {json.loads(path.read_text())["kind"] for path in _files()} == set(KINDS)


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: str(body.__struct_config__.tag))
def test_an_example_leaves_no_field_at_its_default(body: AnyBody) -> None:
    fields = msgspec.structs.fields(body)
    assert not [field.name for field in fields if _is_default(getattr(body, field.name), field)]


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.stem)
def test_a_vector_reads_the_same_with_msgpack_alone(path: Path) -> None:
    vector = json.loads(path.read_text())
    kind, *values = msgpack.unpackb(bytes.fromhex(vector["hex"]))
    assert kind == vector["kind"]
    assert [_json(value) for value in values] == list(vector["fields"].values())


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.stem)
def test_a_vector_decodes_to_the_fields_that_it_names(path: Path) -> None:
    vector = json.loads(path.read_text())
    body = msgspec.msgpack.decode(bytes.fromhex(vector["hex"]), type=KINDS[vector["kind"]].body)
    for name, then in vector["fields"].items():
        assert _has_grown(_json(msgpack.unpackb(msgspec.msgpack.encode(getattr(body, name)))), then)


def _has_grown(now: Any, then: Any) -> bool:
    """The same, but for fields that structs inside have got since, at their end."""
    if isinstance(now, list) and isinstance(then, list):
        return len(now) >= len(then) and all(map(_has_grown, now, then))
    return bool(now == then)


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: str(body.__struct_config__.tag))
def test_what_we_write_today_is_what_the_vector_says(body: AnyBody) -> None:
    vector = json.loads((GOLDEN / f"{body.__struct_config__.tag}.json").read_text())
    assert _vector(body) == vector


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: str(body.__struct_config__.tag))
def test_a_field_that_we_do_not_know_yet_is_skipped(body: AnyBody) -> None:
    values = msgpack.unpackb(msgspec.msgpack.encode(body))
    grown = msgpack.packb([*values, {"later": [1, 2]}, b"later still"])
    assert msgspec.msgpack.decode(grown, type=type(body)) == body


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: str(body.__struct_config__.tag))
def test_a_field_that_an_older_node_does_not_send_has_its_default(body: AnyBody) -> None:
    values = msgpack.unpackb(msgspec.msgpack.encode(body))
    fields = msgspec.structs.fields(body)
    required = [field for field in fields if field.default is msgspec.NODEFAULT]
    older = msgspec.msgpack.decode(msgpack.packb(values[: 1 + len(required)]), type=type(body))
    assert all(_is_default(getattr(older, field.name), field) for field in fields[len(required) :])


def test_kinds_share_no_tag_and_none_is_larger_than_a_frame() -> None:
    for tag, kind in KINDS.items():
        assert kind.body.__struct_config__.tag == tag
        assert kind.frame_bytes_max <= limits.FRAME_BYTES_MAX
