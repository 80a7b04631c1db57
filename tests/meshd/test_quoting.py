"""Wrong values as errors repeat them."""

import pytest

from meshd.quoting import QUOTED_CHARS_MAX, quoted, quoted_key


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        ("a\x1b[2Jb", r"'a\x1b[2Jb'"),
        ("na\u00efve", r"'na\xefve'"),
        ("\u202egnol", r"'\u202egnol'"),
        (["\n"], r"['\n']"),
        ([10**5_000], "that number"),
    ],
)
def test_a_value_is_one_line_that_moves_no_cursor(value: object, text: str) -> None:
    assert quoted(value) == text


def test_a_long_value_is_cut_off_and_shows_it() -> None:
    assert quoted("x" * 5_000) == "'" + "x" * (QUOTED_CHARS_MAX - 1) + "…"


@pytest.mark.parametrize(
    ("key", "text"),
    [("node.name", "node.name"), ("n\x1b", r"'n\x1b'"), ("n\u0430me", r"'n\u0430me'"), ("a\u200fb", r"'a\u200fb'")],
)
def test_a_key_stands_as_it_is_when_it_is_plain(key: str, text: str) -> None:
    assert quoted_key(key) == text
