"""Scenarios from TOML: what is wrong with one is said with its key."""

from pathlib import Path

import pytest

from simulations.scenario import ScenarioError, named, parsed, stock

HEAD = 'about = "x"\nnodes = 3\nrun_s = 30\n'

WRONG = {
    "unknown key": ("speed = 3\n", "speed"),
    "unknown fault": ('[[fault]]\nkind = "flood"\nat_s = 1\n', "flood"),
    "negative time": ('[[fault]]\nkind = "stall"\nat_s = -1\nfor_s = 1\n', "fault[0].at_s"),
    "missing field": ('[[fault]]\nkind = "stall"\nat_s = 1\n', "for_s"),
    "unknown node": ('[[fault]]\nkind = "crash"\nnode = "n9"\nat_s = 1\n', "there is no node 'n9'"),
    "fault after the end": ('[[fault]]\nkind = "crash"\nnode = "n1"\nat_s = 31\n', "after the end of the run"),
    "overlapping groups": (
        '[[fault]]\nkind = "partition"\ngroups = [["n1"], ["n1", "n2"]]\nrecord = "n1"\nat_s = 1\n',
        "n1 stands in two groups",
    ),
    "share above one": ("[link]\nloss = 1.5\n", "link.loss"),
    "unknown predicate": ('[expect]\nalways = ["peace"]\n', "expect.always: there is no 'peace'"),
    "unknown promise": ("[expect]\neventually = { peace = 3 }\n", "expect.eventually: there is no 'peace'"),
    "unknown sight": ('[expect]\nsometimes = ["ufo"]\n', "expect.sometimes: there is no 'ufo'"),
    "promise after the end": ("[expect]\neventually = { one-view = 60 }\n", "run_s"),
    "unknown preset": ('preset = "moon"\n', "preset: there is no 'moon'"),
    "unknown node for work": ('[work]\nat = "n7"\n', "work.at"),
    "unknown routing": ('routing = "fair"\n', "routing: there is no 'fair'"),
    "unknown route": ('[work]\nroute = "fast"\n', "work.route"),
    "odd agent of nobody": ("[agents.odd]\nn9 = { slower = 10 }\n", "agents.odd: there is no node 'n9'"),
    "setting out of range": ("[tasks]\nlease_s = 0.1\n", "tasks.lease_s"),
    "no TOML": ("nodes = = 3\n", "line 4"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_bad_scenario_is_refused_with_its_origin_and_key(what: str) -> None:
    text, told = WRONG[what]
    with pytest.raises(ScenarioError) as caught:
        parsed(HEAD + text, origin="here.toml")
    assert str(caught.value).startswith("here.toml: ")
    assert told in str(caught.value)


def test_every_scenario_of_the_stock_can_be_read_and_says_what_it_is_about() -> None:
    assert len(stock()) >= 10
    assert all(parsed(text, origin=name).about for name, text in stock().items())


def test_a_name_that_is_neither_of_the_stock_nor_a_file_is_answered_with_what_there_is() -> None:
    with pytest.raises(ScenarioError, match="quiet-join"):
        named("nowhere")


def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        named(str(tmp_path / "missing.toml"))
