"""What a report says of each rule, and which steps stand beside a failure."""

import re

from msgspec import structs

from simulations.lineage import again
from simulations.reports.building import STEPS_MAX, Occasion, run_report, said_of, sender_of
from simulations.reports.observer import Observer
from simulations.reports.shapes import Commands, RunReport
from simulations.running import wanted_of
from simulations.world import World
from tests.simulations.reports.conftest import FAILING, reported, small


def test_a_rule_says_its_letters_and_its_sentence() -> None:
    def declared() -> None:
        """A1, G7: nothing is as
        `it` seems.

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


def test_what_led_to_a_failure_names_nodes_and_not_their_ids(failing: RunReport) -> None:
    (broken,) = failing.broken
    assert re.search(r"PeerDead\(peer='n\d', name='n\d', .*accusers=\('n\d'(, 'n\d')+\)", broken.ancestors[-1].what)
    assert failing.space_time is not None
    steps = (*broken.ancestors, *failing.space_time.steps)
    assert not [step.what for step in steps if re.search(r"\b[a-z2-7]{32}\b", step.what)]


def test_of_what_is_long_past_all_lines_between_count_as_left_out_whether_remembered_or_not() -> None:
    scenario = small(FAILING)
    observer = Observer(scenario)
    verdict = World(scenario, seed=3, watch=(observer.begin,)).run()
    _, ancestors = again(scenario, seed=3, wanted=wanted_of(verdict))
    forgetful = structs.replace(verdict, lines=verdict.lines[-1:])
    shown = run_report(Occasion("small", Commands()), scenario, forgetful, observer, ancestors=ancestors).space_time
    assert shown is not None
    first, *_, last = (step.seq for step in shown.steps)
    assert len(shown.steps) + shown.left_out == last - first + 1


def test_a_run_that_passed_has_no_failure_to_draw(passing: RunReport) -> None:
    assert passing.space_time is None
    assert not passing.broken


def test_who_sent_a_message_is_read_from_its_line() -> None:
    assert sender_of("Confirm from n12") == "n12"
    assert not sender_of("Tick")
