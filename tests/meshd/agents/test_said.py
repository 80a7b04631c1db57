"""Lines of agents as values, and the words for those that are none."""

import pytest

from meshd.agents.said import EXCERPT_BYTES, OF_ALL, VERBS, Saying, decode, excerpt, reason_of, task_of
from protocol.errors import UNREADABLE


def test_every_verb_is_a_field_and_those_of_workers_come_last() -> None:
    assert (*OF_ALL, "oversize", "offers", "ready") == VERBS
    assert OF_ALL == ("result", "error", "progress", "part", "call", "submit", "publish")


def test_a_line_that_publishes_says_under_which_topic() -> None:
    assert decode(b'{"task": "t", "publish": {"topic": "sales.all", "value": [1]}}').publish == Saying("sales.all", [1])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"publish": "sales.all"}', "Expected object, got str - at $.publish"),
        (b'{"publish": {"value": 1}}', "Object missing required field topic - at $.publish"),
        (b'{"publish": {"topic": ["a.b"]}}', "Expected str, got array - at $.publish.topic"),
        (b'{"task": "\xff"}', "not UTF-8"),
        (b'{"publish": {"topic": "a.b", "value": ' + b"[" * 20_000, "nested too deep"),
        (b"hello", "not JSON"),
    ],
    ids=["text", "no topic", "list", "bytes", "deep", "words"],
)
def test_a_line_that_cannot_be_read_has_a_reason(line: bytes, reason: str) -> None:
    with pytest.raises(UNREADABLE) as caught:
        decode(line)
    assert reason_of(caught.value) == reason


def test_the_task_of_an_unfit_line_is_found_when_it_names_one() -> None:
    assert task_of(b'{"task": "t", "publish": 3}') == "t"
    assert task_of(b'{"task": 3}') == task_of(b"hello") == ""


def test_a_long_line_is_quoted_by_its_beginning() -> None:
    assert excerpt(b"x" * (EXCERPT_BYTES + 1)) == repr("x" * EXCERPT_BYTES) + "…"
    assert excerpt(b"\x1b") == r"'\x1b'"
