"""Text is UTF-8, with or without a mark."""

import pytest

from meshd.plaintext import text_of


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig"])
def test_a_mark_before_the_text_is_none_of_it(codec: str) -> None:
    assert text_of("größe = 1\n".encode(codec)) == "größe = 1\n"


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_who_saved_it_as_utf_16_is_told_what_to_do(mark: bytes) -> None:
    with pytest.raises(ValueError, match=r"^is UTF-16: save it as UTF-8$"):
        text_of(mark + b"a\0")


def test_the_line_that_is_no_text_is_named() -> None:
    with pytest.raises(ValueError, match=r"^is not UTF-8 at line 2$"):
        text_of(b"a\n\xe9\n")
