"""Text of others on a terminal: harmless, short, and otherwise as it was."""

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.observe.text import SHOWN_CHARS_MAX, missed, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, Grüße, 日本, 👍", "plain text, Grüße, 日本, 👍"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028\u0085\x7f", "\\u2028\\x85\\x7f"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_could_move_the_cursor_or_turn_the_line_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_a_process_that_can_open_no_more_files_still_escapes() -> None:
    program = (
        "import resource; from meshd.observe.text import shown;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0)); print(shown('two\\nlines'))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True, timeout=60) == "two\\nlines\n"


def test_a_long_text_is_cut_off_and_says_how_long_it_was() -> None:
    said = shown("x" * 5_000)
    assert said == "x" * SHOWN_CHARS_MAX + "… (5000 characters)"


@given(st.text(max_size=200))
def test_no_control_character_and_no_line_break_is_left(text: str) -> None:
    said = shown(text)
    assert all(unicodedata.category(char) not in {"Cc", "Zl", "Zp", "Cs"} for char in said)
    assert len(said.splitlines()) <= 1


def test_a_lost_owner_is_put_in_the_words_of_the_evidence() -> None:
    assert missed("silent", 3.04) == "is silent for 3.0 s"
    assert missed("absent", 0.9) == "is absent, says the broker"
    assert missed("node_restarted", 0.0) == "has restarted"
