"""Files that a command is asked to write: nothing is lost that the same command could not make again."""

import os
from pathlib import Path

import pytest

from simulations import outputs
from simulations.command import main
from simulations.reports import files
from simulations.running import BAD_SCENARIO, PASSED
from simulations.scenario import ScenarioError

TINY = 'about = "two nodes"\nnodes = 2\nrun_s = 4\n'


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TINY)
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "MINE", "--trace", "MINE"], "--trace MINE: that is what this command reads"),
        (["run", "MINE", "--trace", "HERE/./mine.toml"], "that is what this command reads"),
        (["run", "split", "--trace", "MINE"], "--trace MINE: that is there already, and is no trace"),
        (["run", "MINE", "--trace", "HERE/a.md", "--report", "HERE/a.md"], "that is the file of --trace, too"),
        (["run", "MINE", "--report", "HERE/a.md", "--report", "HERE/a.md"], "that is the file of --report, too"),
        (["run", "--trace", "HERE/a.md", "--report", "HERE/a.md"], "that is the file of --trace, too"),
        (["run", "MINE", "--report", "HERE/notes.md"], "that is there already, and is no report"),
        (["sweep", "MINE", "--report", "HERE/notes.md"], "that is there already, and is no report"),
        (["shrink", "MINE", "--out", "MINE"], "--out MINE: that is what this command reads"),
        (["shrink", "split", "--out", "MINE"], "--out MINE: that is there already, and was not made small"),
        (["shrink", "split", "--out", "HERE/small.txt"], "a scenario ends in .toml"),
        (["run", "MINE", "--trace", "HERE/nowhere/x"], "there is no such folder"),
        (["run", "MINE", "--trace", "HERE"], "that is a folder"),
    ],
)
def test_a_file_that_would_be_lost_is_refused_before_anything_runs(
    words: list[str], said: str, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.md").write_text("# mine\n")
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    assert main([word.replace("MINE", str(mine)).replace("HERE", str(tmp_path)) for word in words]) == BAD_SCENARIO
    assert said.replace("MINE", str(mine)) in capsys.readouterr().err
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_what_the_same_command_made_is_replaced_and_a_pipe_takes_what_comes(mine: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"r.{end}" for end in ("trace", "html", "md", "json")]
    trace, *reports = (str(file) for file in files)
    asked = ["run", str(mine), "--once", "--trace", trace, *(word for each in reports for word in ("--report", each))]
    assert main(asked) == PASSED
    assert main([*asked, "--seed", "2"]) == PASSED
    assert main(["sweep", str(mine), "--seeds", "1:1", "--report", reports[0]]) == PASSED
    assert main(["run", str(mine), "--once", "--trace", os.devnull]) == PASSED


def test_a_trace_that_is_replayed_is_not_overwritten_by_its_report(mine: Path, tmp_path: Path) -> None:
    trace = tmp_path / "t.json"
    assert main(["run", str(mine), "--once", "--trace", str(trace)]) == PASSED
    assert main(["replay", str(trace), "--report", str(trace)]) == BAD_SCENARIO
    assert main(["run", str(mine), "--once", "--report", str(trace)]) == BAD_SCENARIO
    assert main(["replay", str(trace)]) == PASSED


def test_every_end_of_a_report_is_known_by_what_such_a_report_says() -> None:
    assert [*outputs.REPORTS] == [*files.WRITERS]


def test_what_was_made_small_is_replaced_by_what_is_made_small_again(mine: Path) -> None:
    mine.write_bytes(outputs.SMALL + b'x"\n')
    outputs.check(small=mine)
    with pytest.raises(ScenarioError, match="is not replaced"):
        outputs.check(save=mine)
