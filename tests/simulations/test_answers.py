"""What programs read of a scenario and of traces: JSON on stdout, which says what people are told."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from simulations import postmortem
from simulations.command import main
from simulations.deaths import deaths
from simulations.running import BAD_SCENARIO, NOT_DETERMINISTIC, PASSED, VIOLATED
from simulations.scenario import checked, named

DEATH = """
about = "one dies"
nodes = 4
run_s = 12
start = "known"
expect.figures = { false-deaths = 0, messages-node-s = 0 }
[[fault]]
kind = "crash"
node = "n2"
at_s = 2
noticed_s = 60
"""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    (folder / "one.toml").write_text(DEATH)
    assert main(["run", str(folder / "one.toml"), "--once", "--trace", str(folder / "one.trace")]) == VIOLATED
    return folder / "one.trace"


def _answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = PASSED) -> Any:
    capsys.readouterr()
    assert main([*words, "-o", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_scenario_is_shown_whole_and_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    shown = _answer(capsys, "show", "split", "--set", "nodes=7")
    assert (shown["nodes"], shown["preset"]) == (7, "lan")
    assert checked(_answer(capsys, "show", "split"), origin="here") == named("split")


def test_a_line_is_explained_with_those_that_led_to_it(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _answer(capsys, "explain", str(trace), "150")["lines"]
    assert lines[-1]["seq"] == 150
    assert [line["seq"] for line in lines] == sorted({line["seq"] for line in lines})


def test_a_death_is_explained_with_its_accusers_and_what_broke_with_its_rule(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _answer(capsys, "explain", str(trace), "n2")
    (death,) = told["deaths"]
    assert death["believers"] == 3
    assert {*death["accusers"]} <= {"n1", "n3", "n4"}
    assert [each["line"]["node"] for each in told["suspected"]]
    assert (death["count"], death["last_s"] >= death["line"]["at_s"], "after_s" in death) == (0, True, True)
    assert [each["rule"] for each in _answer(capsys, "explain", str(trace))["broken"]] == ["messages-node-s"]


def test_a_line_that_says_dead_and_a_rule_that_a_death_broke_come_with_who_accused(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (death,) = _answer(capsys, "explain", str(trace), "n2")["deaths"]
    told = _answer(capsys, "explain", str(trace), str(death["line"]["seq"]))
    assert (told["node"], told["deaths"]) == ("n2", [death])
    assert _answer(capsys, "explain", str(trace), "1")["deaths"] == []
    path, kept = tmp_path / "dies.toml", tmp_path / "dies.trace"
    path.write_text(DEATH.replace("expect.figures = {", "expect.never = ['peer-dead'] #"))
    assert main(["run", str(path), "--once", "--trace", str(kept)]) == VIOLATED
    (broken,) = _answer(capsys, "explain", str(kept))["broken"]
    assert (broken["rule"], broken["node"], len(broken["deaths"])) == ("never peer-dead", "n2", 1)
    assert broken["ancestors"]


@pytest.mark.parametrize("options", [("-o", "json"), ("--count", "3", "--output=json")])
def test_the_event_may_stand_behind_options(
    options: tuple[str, ...], trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["explain", str(trace), *options, "150"]) == PASSED
    assert json.loads(capsys.readouterr().out)["lines"][-1]["seq"] == 150


def test_for_people_the_deaths_of_a_node_are_read_once(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Mock(wraps=deaths)
    monkeypatch.setattr(postmortem, "deaths", read)
    assert main(["explain", str(trace), "n2"]) == PASSED
    assert read.call_count == 1


def test_two_traces_that_part_are_held_together_as_values(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = trace.with_name("other.trace")
    scenario = str(trace.with_name("one.toml"))
    assert main(["run", scenario, "--once", "--seed", "2", "--trace", str(other)]) == VIOLATED
    told = _answer(capsys, "diff", str(trace), str(other), code=VIOLATED)
    assert (told["same"], told["seeds"], told["is_of_one_scenario"]) == (False, [1, 2], True)
    assert told["one"] != told["other"]
    assert told["differs"]["t"][0] != told["differs"]["t"][1]
    assert [led[-1]["seq"] for led in told["led"]] == [told["one"]["cause"], told["other"]["cause"]]
    same = _answer(capsys, "diff", str(trace), str(trace))
    assert (same["same"], same["differs"], same["led"]) == (True, {}, [[], []])


def test_what_was_made_small_is_told_as_its_report(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = trace.with_name("small.toml")
    told = _answer(capsys, "shrink", str(trace), "--runs", "1", "--out", str(small))
    assert (told["name"], told["broken"][0]["rule"]) == (str(small), "messages-node-s")


def test_a_replay_tells_the_report_or_where_it_parts(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _answer(capsys, "replay", str(trace), code=VIOLATED)["passed"] is False
    lines = trace.read_text().splitlines(keepends=True)
    spoilt = trace.with_name("spoilt.trace")
    line = json.loads(lines[40])
    lines[40] = json.dumps({**line, "t": line["t"] + 1}, separators=(",", ":")) + "\n"
    end = json.loads(lines[-1])
    lines[-1] = json.dumps({key: value for key, value in end.items() if key != "lines"}, separators=(",", ":")) + "\n"
    spoilt.write_text("".join(lines))
    told = _answer(capsys, "replay", str(spoilt), code=NOT_DETERMINISTIC)
    assert (told["same"], told["one"]["seq"], told["other"]["seq"]) == (False, 40, 40)


def test_of_a_part_there_is_no_answer_since_the_end_is_not_due(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["replay", str(trace), "--until", "3", "-o", "json"]) == BAD_SCENARIO
    said = capsys.readouterr()
    error = json.loads(said.err)["error"]
    assert error["message"].startswith("--until: of a part there is no report, for what is promised")
    assert "replay --help" in error["hint"]
    assert not said.out


def test_of_a_part_there_is_no_report_since_the_end_is_not_due(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    page = trace.with_name("part.html")
    assert main(["replay", str(trace), "--until", "3", "--report", str(page)]) == BAD_SCENARIO
    said = capsys.readouterr()
    assert said.err.startswith("error[bad_scenario]: --until: of a part there is no report, for what is promised")
    assert "replay --help" in said.err.splitlines()[-1]
    assert not said.out
    assert not page.exists()
