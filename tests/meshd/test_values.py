"""Free-form values between JSON and msgpack."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd import values
from protocol import limits
from protocol.errors import MeshError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("schema", [True, False, {}, {"type": "string"}, {"enum": [None, 1.5, "é"]}])
def test_a_schema_is_heard_as_it_is_told(schema: dict[str, Any] | bool) -> None:
    assert values.heard_schema(values.told_schema(schema)) == schema


@pytest.mark.parametrize(
    "told", [b"", b"null", b"[]", b'"text"', b"{", b"\xff", b'{"a":' * 70 + b"1" + b"}" * 70, b'{"a":' * 30_000]
)
def test_what_is_no_schema_is_not_heard(told: bytes) -> None:
    assert values.heard_schema(told) is None


def test_a_schema_that_is_too_large_is_not_told() -> None:
    assert values.told_schema({"description": "x" * limits.SCHEMA_BYTES_MAX}) == b""


def packed(value: object, bytes_max: int = 1_000_000) -> bytes:
    return values.packed(value, what="the input", bytes_max=bytes_max)


def nested(levels: int, inner: object = 1) -> object:
    for _ in range(levels):
        inner = [inner]
    return inner


@given(PLAIN)
def test_a_plain_value_comes_back_as_it_was(value: object) -> None:
    assert values.unpacked(packed(value)) == value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "a number that is not finite"),
        ([{"a": float("-inf")}], "a number that is not finite"),
        (1 << 64, "an integer of more than 64 bits"),
        ({"a": -(1 << 63) - 1}, "an integer of more than 64 bits"),
        ({1: "a"}, "an object whose keys are not all text"),
        (b"bytes", "a bytes, which is no plain value"),
        ([{1, 2}], "a set, which is no plain value"),
        ("\ud800", "cannot be encoded"),
        ({"\udfff": 1}, "cannot be encoded"),
        (nested(17), "nested more than 16 levels deep"),
    ],
)
def test_what_is_not_plain_is_refused_by_name(value: object, problem: str) -> None:
    with pytest.raises(MeshError) as caught:
        packed(value)
    assert caught.value.code == "bad_input"
    assert caught.value.message.startswith("the input ")
    assert problem in caught.value.message


def test_sixteen_levels_are_fine() -> None:
    assert values.unpacked(packed(nested(16))) == nested(16)


def test_a_value_over_its_limit_is_refused_with_both_sizes() -> None:
    packed("x" * 10, bytes_max=11)
    with pytest.raises(MeshError, match="the input is 12 bytes; the limit is 11"):
        packed("x" * 11, bytes_max=11)


def test_no_bytes_are_no_value() -> None:
    assert values.unpacked(b"") is None


@pytest.mark.parametrize(
    "encoded",
    [
        b"\xc1",  # never used in msgpack
        packed([1, 2])[:-1],
        packed(1) + packed(2),
        msgpack.packb({1: 2}),
        msgpack.packb({b"a": 2}),
        msgpack.packb(b"bytes"),
        msgpack.packb(float("nan")),
        msgpack.packb(msgpack.ExtType(5, b"x")),
        msgpack.packb(msgpack.Timestamp(1, 2)),
        b"\x91" * 5_000 + b"\x01",
        b"\x91" * 17 + b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xa2\xff\xfe",
    ],
)
def test_what_is_no_plain_value_of_the_mesh_cannot_be_read(encoded: bytes) -> None:
    with pytest.raises(MeshError) as caught:
        values.unpacked(encoded)
    assert caught.value.code == "bad_input"
