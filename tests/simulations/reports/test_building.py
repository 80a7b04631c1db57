"""What a report says of each rule, and which steps stand beside a failure."""

from simulations.reports.building import STEPS_MAX, said_of, sender_of
from simulations.reports.shapes import RunReport
from tests.simulations.reports.conftest import FAILING, reported, small


def test_a_rule_says_its_letters_and_its_sentence() -> None:
    def declared() -> None:
        """A1, G7: nothing is as
        it seems.

        Nor is this."""

    assert said_of(declared) == ("A1, G7", "nothing is as it seems.")


def test_a_promise_of_a_run_that_was_stopped_is_neither_held_nor_broken() -> None:
    report = reported(small(FAILING + "eventually = { one-view = 8 }\n"))
    verdicts = {(rule.name, rule.sort): rule for rule in report.rules}
    assert verdicts["peer-dead", "never"].verdict == "broken"
    assert verdicts["one-view", "eventually"].verdict == "cut short"
    assert verdicts["one-view", "eventually"].at_s is None


def test_the_steps_beside_a_failure_end_with_it_and_hold_what_led_to_it(failing: RunReport) -> None:
    shown = failing.space_time
    assert shown is not None
    assert 0 < len(shown.steps) <= STEPS_MAX
    assert [step.seq for step in shown.steps] == sorted(step.seq for step in shown.steps)
    assert round(shown.steps[-1].at_s, 6) <= failing.broken[0].at_s
    assert set(shown.ancestry) <= {step.seq for step in shown.steps}
    assert failing.broken[0].ancestors[-1].seq in shown.ancestry


def test_a_run_that_passed_has_no_failure_to_draw(passing: RunReport) -> None:
    assert passing.space_time is None
    assert not passing.broken


def test_who_sent_a_message_is_read_from_its_line() -> None:
    assert sender_of("Confirm from n12") == "n12"
    assert not sender_of("Tick")
