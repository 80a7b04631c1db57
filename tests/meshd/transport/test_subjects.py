"""Subjects and patterns, against the rules of NATS."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.transport.subjects import check_pattern, check_publish, matches, probe_of
from protocol.errors import LocalError
from protocol.subjects import Subjects

WORDS = st.lists(st.sampled_from(["a", "b", "*", ">"]), min_size=1, max_size=4)
PLAIN = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("pattern", "subject", "reached"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a", False),
        ("a", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
    ],
)
def test_a_pattern_reaches_what_nats_says(pattern: str, subject: str, reached: bool) -> None:
    assert matches(pattern, subject) is reached


@given(PLAIN)
def test_every_subject_matches_itself_and_the_whole(words: list[str]) -> None:
    subject = ".".join(words)
    assert matches(subject, subject)
    assert matches(">", subject)
    assert matches(".".join("*" for _ in words), subject)


@given(WORDS)
def test_the_tail_wildcard_stands_at_the_end_alone(words: list[str]) -> None:
    pattern = ".".join(words)
    if ">" in words[:-1]:
        with pytest.raises(LocalError):
            check_pattern(pattern)
    else:
        check_pattern(pattern)


@given(st.text(max_size=20))
def test_what_passes_cannot_break_out_of_its_line(subject: str) -> None:
    try:
        check_publish(subject, b"", "")
    except LocalError:
        return
    assert subject.isascii()
    assert not set(subject) & set(" \t\r\n*>")
    assert all(subject.split("."))


def test_every_subject_of_the_mesh_passes() -> None:
    subjects = Subjects("m")
    check_publish(subjects.fact(region="eu", src="a"), b"", "")
    check_publish(subjects.node(dst="b", life=1, src="a"), b"", "mesh.m.absent.a.1")
    check_pattern(subjects.facts())
    check_pattern(subjects.inbox(dst="a", life=1))


@pytest.mark.parametrize(
    ("subject", "probe"),
    [("x.0", 0), ("x.41", 41), ("x.", None), ("x.a", None), ("x.-1", None), ("x.1e3", None), ("x." + "9" * 20, None),
     ("x.\u0663", None)],
)  # fmt: skip
def test_a_probe_number_is_decimal_and_fits_sixty_four_bits(subject: str, probe: int | None) -> None:
    assert probe_of(subject) == probe
