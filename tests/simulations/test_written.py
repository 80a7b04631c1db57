"""Scenarios as text again: what is written is read back as the same; single keys are changed and checked."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import structs

from simulations.scenario import ScenarioError, parsed, stock
from simulations.written import changed, keys_of, on_one_line, written

SPLIT = parsed(stock()["split"], origin="split")


@pytest.mark.parametrize("name", stock())
def test_every_scenario_of_the_stock_is_the_same_when_written_and_read_again(name: str) -> None:
    scenario = parsed(stock()[name], origin=name)
    assert parsed(written(scenario), origin="again") == scenario


@given(some.text(some.characters(exclude_categories=["Cs"])))
def test_any_text_survives_being_written(about: str) -> None:
    scenario = structs.replace(SPLIT, about=about)
    assert parsed(written(scenario), origin="again").about == about


def test_one_line_says_all_but_what_it_is_about() -> None:
    line = on_one_line(SPLIT)
    assert "\n" not in line
    assert f"nodes={SPLIT.nodes}" in line
    assert 'kind = "partition"' in line
    assert SPLIT.about not in line


def test_keys_are_changed_deep_in_tables_and_lists_and_new_ones_made() -> None:
    scenario = changed(SPLIT, ["link.loss=0.05", "fault.0.at_s=9", "work.at=n2", "nodes=7"])
    assert (scenario.link.loss, scenario.fault[0].at_s, scenario.work.at, scenario.nodes) == (0.05, 9, "n2", 7)
    assert changed(SPLIT, ["expect.sometimes=[]"]).expect.sometimes == ()


def test_a_key_is_taken_as_refusals_name_it_and_a_number_as_people_shorten_it() -> None:
    scenario = changed(SPLIT, ["fault[0].at_s=9", "link.loss=.05"])
    assert (scenario.fault[0].at_s, scenario.link.loss) == (9, 0.05)
    assert keys_of(["fault[0].at_s=9"]) == {"fault"}


WRONG = {
    "nodes": ("--set nodes:", "not key=value"),
    "=3": ("--set =3:", "not key=value"),
    "nodes=": ("--set nodes:", "int"),
    "nodes=many": ("--set nodes:", "nodes"),
    "speed=3": ("--set speed:", "speed"),
    "link.los=0.1": ("--set link.los:", "los"),
    "link.loss=2": ("--set link.loss:", "link.loss"),
    "nodes.x=2": ("--set nodes.x:", "nodes has no parts"),
    "fault.99.at_s=2": ("--set fault.99.at_s:", "'99'"),
    "fault.first.at_s=2": ("--set fault.first.at_s:", "'first'"),
    "fault[99].at_s=2": ("--set fault[99].at_s:", "'99'"),
    "link.loss=.x": ("--set link.loss:", "link.loss"),
    "fault.0.at_s=-2": ("--set fault.0.at_s:", "fault[0].at_s"),
    "nodes=3\nrun_s=1": ("--set nodes:", "int"),
    "run_s=1e999": ("--set run_s:", "run_s"),
    "nodes=" + "9" * 5_000: ("--set nodes:", "nodes"),
    "nodes=" + "[" * 100_000: ("--set nodes:", "nodes"),
}


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change[:20])
def test_a_change_that_cannot_be_is_refused_with_its_key(change: str) -> None:
    begins, told = WRONG[change]
    with pytest.raises(ScenarioError) as caught:
        changed(SPLIT, [change])
    assert str(caught.value).startswith(begins)
    assert told in str(caught.value)
