"""Drawing: words stay words, axes have round values, cells are runs."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.reports import svg


@given(st.text())
def test_any_text_is_well_formed_xml_and_utf_8(text: str) -> None:
    element = ElementTree.fromstring(svg.tag("text", svg.words(text), title=text))
    assert element.tag == "text"
    assert not len(element)
    svg.words(text).encode("utf-8")


def test_what_cannot_be_seen_or_turns_the_order_is_shown() -> None:
    assert svg.words("a\u202eb\x07\ud800") == "a\\u202eb\\u0007\\ud800"


@pytest.mark.parametrize(
    ("low", "high", "values"), [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 120, [0, 20, 40, 60, 80, 100, 120])]
)
def test_an_axis_has_round_values(low: float, high: float, values: list[float]) -> None:
    assert svg.ticks(svg.Scale(low, high, 0, 100)) == pytest.approx(values)


def test_a_logarithmic_axis_has_powers_of_ten() -> None:
    scale = svg.Scale(0.001, 10, 0, 400, is_log=True)
    assert svg.ticks(scale) == pytest.approx([0.001, 0.01, 0.1, 1, 10])
    assert scale.at(0.1) == pytest.approx(200)


def test_cells_of_one_letter_are_one_path_of_runs() -> None:
    assert svg.cells(("..d", "dd."), "d") == "M2 0h1v1h-1zM0 1h2v1h-2z"
    assert not svg.cells(("..",), "d")


def test_steps_hold_until_the_next_point() -> None:
    assert 'd="M0 0L5 0L5 2L9 2L9 1"' in svg.steps([(0, 0), (5, 2), (9, 1)], "x")


def test_an_axis_of_short_times_is_in_milliseconds() -> None:
    short = svg.x_axis(svg.Scale(0.0, 0.002, 0.0, 100.0), top=0, bottom=10, unit="s")
    assert ">2 ms<" in short
    assert "0.00" not in short
    assert ">2 s<" in svg.x_axis(svg.Scale(0.0, 2.0, 0.0, 100.0), top=0, bottom=10, unit="s")
