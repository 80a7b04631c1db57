"""The report for people."""

import json
from pathlib import Path

import pytest

from cli.demo_proof import Move, Proof
from cli.demo_report import clean, lines, markdown, place, proof_rows, record_sentence, size
from meshd.demo.consolidation import consolidate
from meshd.demo.package_audit import audit
from meshd.demo.pieces import Installation, Piece


@pytest.fixture(scope="module")
def report() -> dict[str, object]:
    here = Installation()
    names = (("distribution", "click"), ("distribution", "msgspec"), ("stdlib", "json"), ("stdlib", "pickle"))
    results = [audit(Piece("distribution" if kind == "distribution" else "stdlib", name), here) for kind, name in names]
    value = json.loads(json.dumps(consolidate(results)))
    assert isinstance(value, dict)
    return value


def proof(*moves: Move, lost: tuple[str, ...] = ()) -> Proof:
    return Proof(
        submitted=5,
        pieces=4,
        done=5,
        lost=lost,
        failed=(),
        committed_twice=(),
        moved=moves,
        again=0,
        read_from="b",
        read_alike_by="a",
        copies=1,
        kept_on="a",
    )


def test_no_line_is_longer_than_eighty_columns(report: dict[str, object]) -> None:
    shown = lines(report)
    assert len(shown) > 15
    assert max(len(line) for line in shown) < 80


def test_the_numbers_of_the_report_are_shown(report: dict[str, object]) -> None:
    text = "\n".join(lines(report))
    assert "4: 2 distributions, 2 of the library" in text
    assert "BSD-3-Clause 2" in text
    assert "none: every hash is the recorded one" in text


def test_what_agents_say_cannot_move_the_cursor_or_turn_the_text(report: dict[str, object]) -> None:
    hostile = {**report, "altered": {"count": 1, "first": [{"piece": "x", "found": "a\x1b[2J\r\u202eb"}]}}
    text = "\n".join(lines(hostile)) + markdown(hostile, proof())
    assert "a\\x1b[2J\\r\\u202eb" in text
    assert not any(mark in text for mark in "\x1b\r\u202e")


def test_a_report_of_another_shape_is_refused_in_words(report: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="where an object was due"):
        lines({**report, "python": [1]})


def test_the_page_has_every_row_and_the_proof(report: dict[str, object]) -> None:
    move = Move(task="0123456789", piece="click", former="c", owner="b", why="absent")
    page = markdown(report, proof(move))
    assert "| moved to another node | 1 | click: c to b, absent |" in page
    assert "Read back through node b. Record: one copy, on a; b and a read the same." in page
    assert page.count("\n| ") > 20


def test_a_bar_in_a_name_does_not_break_the_table(report: dict[str, object]) -> None:
    hostile = {**report, "altered": {"count": 1, "first": [{"piece": "x", "found": "a|b<script>"}]}}
    assert "a\\|b&lt;script>" in markdown(hostile, proof())


def test_many_moves_are_summed_up() -> None:
    rows = proof_rows(proof(*(Move(f"id{number}", f"task{number}", "c", "b", "absent") for number in range(6))))
    assert ("", "", "and 2 more") in rows
    assert ("moved to another node", "6", "task0: c to b, absent") in rows


def test_lost_tasks_are_named() -> None:
    assert ("lost", "1", "t7") in proof_rows(proof(lost=("t7",)))


def test_the_record_is_never_said_to_have_more_copies_than_it_has() -> None:
    assert record_sentence(proof()) == "record: one copy, on a; b and a read the same"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 kB"), (2_500_000, "2.5 MB"), (3 * 10**9, "3.0 GB")],
)
def test_sizes_are_shown_in_the_largest_unit(count: int, text: str) -> None:
    assert size(count) == text


def test_a_place_keeps_its_last_folder() -> None:
    assert place("a.py:1") == "a.py:1"
    assert place("x/y/z/a.py:1") == "…/z/a.py:1"
    assert clean(Path("a b")) == "a b"
