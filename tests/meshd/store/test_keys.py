"""Keys, prefixes and values at their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.store.keys import check_key, check_prefix, check_value
from meshd.transport.subjects import check_publish
from protocol.errors import MeshError
from protocol.ids import task_key
from protocol.limits import FRAME_BYTES_MAX


@given(st.text(max_size=80))
def test_a_key_that_passes_is_a_plain_subject(key: str) -> None:
    try:
        check_key(key)
    except MeshError:
        return
    check_publish(f"$KV.bucket.{key}", b"", "")


def test_the_keys_of_tasks_pass() -> None:
    check_key(task_key("abcdefghijklmnopqrstuvwxyz"))
    check_prefix("p07")
    check_prefix("")


def test_a_refusal_shows_no_control_characters_and_no_end_of_text() -> None:
    with pytest.raises(MeshError) as caught:
        check_key("\x1b[31m" + "x" * 10_000)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_a_value_of_exactly_the_limit_passes() -> None:
    check_value("p00.a", b"x" * FRAME_BYTES_MAX)
    with pytest.raises(MeshError):
        check_value("p00.a", b"x" * (FRAME_BYTES_MAX + 1))
