"""What a report of many runs says of their rules: what a report of one says of each."""

from msgspec import structs

from simulations.reports.page import run_page
from simulations.reports.shapes import Rule
from simulations.reports.ticket import ticket
from simulations.scenario import Scenario, parsed
from tests.simulations.reports.conftest import gathered, reported

HEAD = 'about = "as told"\nnodes = 4\nrun_s = 16\nstart = "known"\n[expect]\nalways = ["no-exception"]\n'
DEATH = '[[fault]]\nkind = "crash"\nnode = "n2"\nat_s = 3\n'


def _expecting(expect: str) -> Scenario:
    return parsed(f"{HEAD}{expect}\n{DEATH}", origin="here")


def _rows(scenario: Scenario) -> tuple[dict[str, Rule], dict[str, Rule]]:
    """As a report of one run has them, and as one of three has."""
    one, many = reported(scenario).rules, gathered(scenario, range(1, 4)).rules
    return {rule.name: rule for rule in one}, {rule.name: rule for rule in many}


def test_a_figure_that_no_run_measured_was_not_held() -> None:
    quiet = parsed(f"{HEAD}figures = {{ detection-max-s = 9, messages-node-s = 99 }}\n", origin="here")
    one, many = _rows(quiet)
    for name in ("detection-max-s", "messages-node-s", "figures-measured"):
        assert (many[name].verdict, many[name].sort) == (one[name].verdict, one[name].sort), name
    assert (many["detection-max-s"].verdict, many["messages-node-s"].verdict) == ("cut short", "held")
    assert many["detection-max-s"].about == "not measured, at most 9"


def test_what_is_broken_unasked_says_what_it_is() -> None:
    quiet = parsed(f"{HEAD}figures = {{ detection-max-s = 9 }}\n", origin="here")
    for rules in _rows(quiet):
        assert rules["figures-measured"].about == "what has a bound can be measured"


def test_each_rule_that_a_run_broke_counts_and_not_the_first_alone() -> None:
    one, many = _rows(_expecting("figures = { detection-max-s = 1, messages-node-s = 1, bytes-node-s = 1 }"))
    for name in ("detection-max-s", "messages-node-s", "bytes-node-s"):
        assert one[name].verdict == many[name].verdict == "broken"
        assert many[name].seeds == 3


def test_a_promise_in_runs_that_ended_before_it_was_due_was_not_held() -> None:
    for never in ("peer-suspect", "peer-dead"):
        one, many = _rows(_expecting(f'never = ["{never}"]\neventually = {{ agents-known = 10 }}'))
        assert one["agents-known"].verdict == many["agents-known"].verdict == "cut short"
        assert many[never].seeds == 3


def test_who_never_found_out_shows_in_a_report_of_one_run_and_of_many() -> None:
    deaf = '[[fault]]\nkind = "links"\none = ["n2-n4"]\nother = ["n1"]\nat_s = 2\nlink = { loss = 1.0 }\n'
    long = structs.replace(parsed(f"{HEAD}{deaf}{DEATH}", origin="here"), run_s=26)
    brief = structs.replace(long, run_s=16)  # too early to tell
    assert not any(each.never for each in (*reported(brief).detection, *reported(brief).spread))
    one, many = reported(long), gathered(long, range(1, 3))
    for report, runs in ((one, 1), (many, 2)):
        found = {each.name: each for each in (*report.detection, *report.spread)}
        assert (found["known dead"].count, found["known dead"].never) == (runs, runs)
        assert found["known dead"].curve[-1][1] == 0.5
        assert (found["death"].never, found["found dead"].never) == (runs, 0)
    (row,) = [line for line in ticket(one).splitlines() if line.startswith("| known dead |")]
    assert row.split(" | ")[1:3] == ["2", "1"]
    assert "never</td>" in run_page(one)
