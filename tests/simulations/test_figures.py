"""Figures that a scenario bounds: told when they are met, and broken when they are exceeded or not measured at all."""

from pathlib import Path

import pytest
from msgspec import structs

from simulations.command import main
from simulations.figures import FIGURES
from simulations.report import failed
from simulations.running import PASSED, VIOLATED
from simulations.scenario import Scenario, ScenarioError, parsed
from simulations.shrink import shrunk
from simulations.trace import Line
from simulations.world import MEASURED, Verdict, World
from simulations.written import written
from tests.simulations.reports.conftest import reported

HEAD = 'about = "one dies"\nnodes = 6\nrun_s = 20\nstart = "known"\nexpect.always = ["no-exception"]\n'
DEATH = '[[fault]]\nkind = "crash"\nnode = "n2"\nat_s = 5\nnoticed_s = 60\n'
EVERY = dict.fromkeys(FIGURES, 0.0)


def _scenario(figures: dict[str, float], *, then: str = DEATH) -> Scenario:
    bounds = ", ".join(f'"{name}" = {most}' for name, most in figures.items())
    return parsed(f"{HEAD}expect.figures = {{ {bounds} }}\n{then}", origin="here")


def _run(figures: dict[str, float], *, then: str = DEATH) -> Verdict:
    return World(_scenario(figures, then=then), seed=1).run()


def test_a_bound_that_is_met_is_told_with_what_was_measured() -> None:
    verdict = _run({"detection-p50-s": 9, "false-deaths": 0, "messages-node-s": 100})
    assert not verdict.violations
    assert 4 < verdict.figures["detection-p50-s"] < 9
    assert verdict.figures["false-deaths"] == 0


@pytest.mark.parametrize("name", sorted(EVERY.keys() - {"false-deaths", "false-suspicions"}))
def test_a_bound_that_is_exceeded_is_a_broken_rule_of_that_name(name: str) -> None:
    (broken,) = _run({name: 0.0}).violations
    assert broken.rule == name
    assert "at most 0 was expected" in broken.what
    is_of_all = name.endswith("-node-s")  # of the whole run, and no line of it led there
    assert bool(broken.ancestry) is not is_of_all


def test_what_is_shown_of_an_exceeded_figure_led_to_the_worst_of_what_it_counts() -> None:
    lines: list[Line] = []
    (broken,) = World(_scenario({"detection-max-s": 0.0}, then=DEATH), seed=1, write=lines.append).run().violations
    deaths = [each for each in lines if each.kind == "event" and each.what.startswith("PeerDead(")]
    assert broken.ancestry[-1] == max(deaths, key=lambda line: line.at_ns).seq


def test_those_who_are_doubted_and_buried_alive_are_counted() -> None:
    split = '[[fault]]\nkind = "partition"\ngroups = [["n1-n3"], ["n4-n6"]]\nat_s = 5\n'
    assert {each.rule for each in _run(EVERY, then=split).violations} >= {"false-deaths", "false-suspicions"}


def test_the_deaths_of_who_died_often_count_like_any_other() -> None:
    head = HEAD.replace("run_s = 20", "run_s = 110") + 'expect.figures = { "false-deaths" = 100 }\n'
    fault = '[[fault]]\nkind = "partition"\nshape = "isolate"\nnodes = ["n4"]\n'
    again = "at_s = 5\nfor_s = 12\ntimes = 5\nevery_s = 20\n"
    damped, told = (
        World(parsed(f"{head}membership.damp_s = {damp_s}\n{fault}{again}", origin="here"), seed=1).run()
        for damp_s in (30, 0)
    )
    assert damped.figures["false-deaths"] == told.figures["false-deaths"] == 25


def _node(kind: str, *, at_s: float, for_s: float) -> str:
    return f'[[fault]]\nkind = "{kind}"\nnode = "n2"\nat_s = {at_s}\nfor_s = {for_s}\n'


@pytest.mark.parametrize("kind", ["crash", "pause", "unlink"])
def test_who_is_silent_by_two_faults_is_silent_when_one_of_them_ends(kind: str) -> None:
    both = _node(kind, at_s=5, for_s=0.5) + _node(kind, at_s=5.2, for_s=14)
    verdict = _run({"detection-p50-s": 9}, then=both)
    assert not verdict.violations
    assert verdict.figures["detection-p50-s"] > 1


def test_a_pause_ends_with_the_life_that_was_stopped() -> None:
    figures = {"detection-p50-s": 6.0}
    (unmeasured,) = _run(figures, then=_node("pause", at_s=5, for_s=60) + _node("crash", at_s=7, for_s=1)).violations
    assert unmeasured.rule == MEASURED


def test_what_was_not_measured_meets_no_bound() -> None:
    (broken,) = _run({"detection-p99-s": 19}, then="").violations
    assert (broken.rule, broken.what[:17]) == (MEASURED, "detection-p99-s: ")


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("", "nobody fell silent"),
        (
            _node("pause", at_s=5, for_s=0.3),
            "who fell silent was found out by nobody, and nobody had to find out for longer than 19 s",
        ),
    ],
)
def test_what_was_not_measured_says_why_and_shows_no_lines_for_none_of_them_led_there(then: str, why: str) -> None:
    verdict = _run({"detection-p99-s": 19}, then=then)
    (broken,) = verdict.violations
    assert broken.what == f"detection-p99-s: not measured, for {why}"
    assert "what happened before it" not in failed("one", verdict)
    assert reported(_scenario({"detection-p99-s": 19}, then=then)).space_time is None


def test_where_the_only_other_finds_a_death_there_is_nobody_left_to_learn_of_it() -> None:
    two = structs.replace(_scenario({"detection-p99-s": 19, "spread-p99-s": 19}), nodes=2)
    (broken,) = World(two, seed=1).run().violations
    why = "nobody learned of a death after the first who did, and nobody had to for longer than 19 s"
    assert broken.what == f"spread-p99-s: not measured, for {why}"


def test_what_counts_over_the_whole_run_shows_no_lines_and_what_else_is_broken_its_own() -> None:
    assert reported(_scenario({"messages-node-s": 0})).space_time is None
    both = reported(_scenario({"messages-node-s": 0, "detection-max-s": 0})).space_time
    assert both is not None
    assert both.ancestry


def test_an_unknown_figure_and_one_below_nothing_are_refused_with_their_key() -> None:
    with pytest.raises(ScenarioError, match=r"expect\.figures: there is no 'speed'; there are suspected-p50-s"):
        _scenario({"speed": 3})
    with pytest.raises(ScenarioError, match=r"expect\.figures\.false-deaths"):
        _scenario({"false-deaths": -1})


@pytest.mark.parametrize(
    ("name", "most", "said"),
    [
        ("false-deaths", "inf", "Expected float <= "),
        ("messages-node-s", "1e10", "Expected float <= "),
        ("false-deaths", "nan", "Expected float >= "),
        ("spread-max-s", "20", "nothing takes longer than 20 s in a run of 20 s"),
    ],
)
def test_a_bound_that_nothing_can_exceed_is_refused_with_its_key(name: str, most: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=rf"expect\.figures\.{name}") as error:
        parsed(f"{HEAD}expect.figures.{name} = {most}\n{DEATH}", origin="here")
    assert said in str(error.value)


def test_a_figure_that_is_exceeded_is_made_small_without_losing_what_it_is_measured_of() -> None:
    small = shrunk(_scenario({"detection-p50-s": 1.0}), seed=1, runs_max=30).scenario
    assert [type(fault).__name__ for fault in small.fault] == ["Crash"]


def test_it_stands_in_the_output_and_in_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, report = tmp_path / "mine.toml", tmp_path / "mine.md"
    path.write_text(written(_scenario({"detection-max-s": 15})))
    assert main(["run", str(path), "--report", str(report)]) == PASSED
    assert "  measured: detection-max-s " in capsys.readouterr().out
    assert "at most 15" in report.read_text()
    assert main(["run", str(path), "--once", "--set", "expect.figures.detection-max-s=1"]) == VIOLATED


SILENT = '[[fault]]\nkind = "crash"\nnode = "n3-n5"\nat_s = 10\n'  # more than half: nobody is declared dead
DEAF = '[[fault]]\nkind = "links"\none = ["n2-n6"]\nother = ["n1"]\nat_s = 4\nlink = { loss = 1.0 }\n'


@pytest.mark.parametrize("point", ["p50", "p99", "max"])
def test_a_death_that_nobody_found_out_is_over_the_bound_although_another_was_found_in_time(point: str) -> None:
    (broken,) = _run({f"detection-{point}-s": 9}, then=DEATH.replace("at_s = 5", "at_s = 1") + SILENT).violations
    assert broken.rule == f"detection-{point}-s"
    assert broken.what == (
        "10, and at most 9 was expected; after 10 s n1 had not found out about n3, and 5 more such pairs"
    )


def test_what_is_shown_of_a_wait_in_vain_led_to_that_pair_and_not_to_one_that_found_out() -> None:
    lines: list[Line] = []
    scenario = _scenario({"detection-max-s": 9.0}, then=DEATH.replace("at_s = 5", "at_s = 1") + SILENT)
    (broken,) = World(scenario, seed=1, write=lines.append).run().violations
    assert "n1 had not found out about n3" in broken.what
    last = next(line for line in lines if line.seq == broken.ancestry[-1])
    assert (last.node, last.what.partition("(")[0]) == ("n1", "PeerSuspect")
    assert "name='n3'" in last.what


def test_who_had_less_time_than_the_bound_gives_does_not_exceed_it() -> None:
    late = '[[fault]]\nkind = "crash"\nnode = "n3"\nat_s = 19\n'
    verdict = _run({"detection-max-s": 9}, then=DEATH + late)
    assert not verdict.violations
    assert verdict.figures["detection-max-s"] < 9


def test_a_silence_that_ended_before_anybody_minded_is_over_a_bound_that_is_shorter() -> None:
    brief = '[[fault]]\nkind = "pause"\nnode = "n3"\nat_s = 5\nfor_s = 0.5\n'
    assert [each.rule for each in _run({"detection-max-s": 0.4}, then=brief).violations] == ["detection-max-s"]
    assert [each.rule for each in _run({"suspected-max-s": 0.4}, then=brief).violations] == ["suspected-max-s"]
    assert [each.rule for each in _run({"suspected-max-s": 0.6}, then=brief).violations] == [MEASURED]


def test_who_never_hears_of_a_death_that_others_know_is_over_the_bound_of_its_spread() -> None:
    (broken,) = _run({"spread-max-s": 5}, then=DEAF + DEATH).violations
    assert broken.rule == "spread-max-s"
    assert "n1 had not found out about n2" in broken.what


def test_who_was_cut_off_from_the_dead_need_not_find_out() -> None:
    cut = '[[fault]]\nkind = "partition"\ngroups = [["n2-n6"], ["n1"]]\nat_s = 4\n'
    assert not _run({"detection-max-s": 9, "spread-max-s": 5}, then=cut + DEATH).violations


def test_a_death_that_nobody_found_is_over_the_bound_of_its_spread_once_it_should_have_been_found() -> None:
    def broken(run_s: int) -> list[str]:
        scenario = _scenario({"spread-max-s": 5}, then=DEATH.replace("at_s = 5", "at_s = 1") + SILENT)
        return [each.what for each in World(structs.replace(scenario, run_s=run_s), seed=1).run().violations]

    assert not broken(34), "it should have been found after 20 s at the latest, and may spread for 5"
    (what,) = broken(37)
    assert what.startswith("7, and at most 5 was expected; after 7 s n6 had not found out about n3")
