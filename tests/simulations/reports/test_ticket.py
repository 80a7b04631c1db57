"""Tickets: the tables are there, and hostile text is neither markup nor a broken table."""

from msgspec import structs

from simulations.reports.files import page
from simulations.reports.shapes import Rule, RunReport, SweepReport
from simulations.reports.ticket import fenced, plain, ticket
from tests.simulations.reports.conftest import HOSTILE


def test_a_ticket_of_a_run_has_its_tables(passing: RunReport) -> None:
    text = ticket(passing)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Verdicts",
        "## Faults",
        "## How soon it was known",
        "## Work",
        "## Messages",
        "## Run it again",
        "## Scenario",
    ]
    assert text.startswith("# small: passed\n")


def test_a_ticket_says_how_soon_a_promise_was_kept_and_how_often_a_sight_was_seen(passing: RunReport) -> None:
    kept = Rule("one-view", "eventually", "E2", "all see all", "held", at_s=0.25, within_s=15.0)
    seen = Rule("peer-dead", "sometimes", "", "", "seen", count=8)
    lines = ticket(structs.replace(passing, rules=(kept, seen))).splitlines()
    assert "| one-view | E2 | ✓ held | 0.25 s of 15 s | All see all |" in lines
    assert "| peer-dead |  | ✓ seen | ×8 | Is to be seen |" in lines


def test_a_ticket_says_who_was_cut_off_from_whom(passing: RunReport) -> None:
    assert "| partition | n1 record / n2-n4 | 20 | 22 |" in ticket(passing).splitlines()


def test_a_ticket_of_a_failure_says_what_broke_and_what_led_to_it(failing: RunReport) -> None:
    text = ticket(failing)
    assert f"at {failing.broken[0].at_s:.6f} s" in text
    assert failing.broken[0].ancestors[-1].what in text


def test_of_a_figure_that_is_over_its_bound_it_is_said_which_of_many_cases_the_steps_led_to(failing: RunReport) -> None:
    rule = failing.broken[0].rule
    figure = structs.replace(failing, rules=(Rule(rule, "figure", "", "", "broken"),))
    assert "What led to it, the oldest first:" in ticket(failing)
    assert "What led to the slowest case, or of a count to the last one, the oldest first:" in ticket(figure)


def test_a_ticket_of_many_runs_lists_those_that_failed_first(sweeping: SweepReport) -> None:
    lines = ticket(sweeping).splitlines()
    seeds = lines[lines.index("## Seeds") + 4 :]
    assert f"{sweeping.passed} of 6 runs passed" in lines[0]
    assert ["passed" in line for line in seeds[:6]] == [False] * (6 - sweeping.passed) + [True] * sweeping.passed


def test_hostile_text_stays_on_its_line_and_means_nothing() -> None:
    said = plain(HOSTILE + "\n| x")
    assert "\n" not in said
    assert "\u202e" not in said
    assert all(said[place - 1] == "\\" for place, each in enumerate(said) if each in "<|`*")


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert fenced("a ```` b").startswith("`````\n")


def test_ticket_and_page_say_of_how_many_faults_the_sides_are_left_out(passing: RunReport) -> None:
    said = "Of 1,024 faults it is left out who was cut off from whom."
    for shown in (ticket, page):
        assert said in shown(structs.replace(passing, sides_left_out=1_024))
        assert "Of one fault it is left out who was cut off from whom." in shown(
            structs.replace(passing, sides_left_out=1)
        )
        assert "left out" not in shown(passing)
