"""Sweeps: the same words and digest whatever the number of processes; failures with their command."""

import io
import json
from pathlib import Path

import pytest

from simulations import sweep
from simulations.command import main
from simulations.progress import Progress
from simulations.running import BAD_SCENARIO, PASSED, VIOLATED, Choice
from simulations.sights import SIGHTS

TINY = 'about = "two nodes"\nnodes = 2\nrun_s = 4\n'
LATE = "[expect]\neventually = { agents-known = 0 }\n"  # true of some seeds


def _written(folder: Path, text: str) -> str:
    path = folder / "tiny.toml"
    path.write_text(TINY + text)
    return str(path)


def test_one_process_and_two_print_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, said = _written(tmp_path, LATE), []
    for jobs in ("1", "2"):
        code = main(["sweep", path, "--seeds", "1:9", "--jobs", jobs])
        said.append((code, capsys.readouterr().out))
    assert said[0] == said[1]
    assert "of 9 seeds passed, digest " in said[0][1]


def test_a_sweep_says_what_it_saw_in_how_many_runs_and_what_it_never_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lossy = ["--set", "link.loss=0.3"]
    assert (
        main(["sweep", _written(tmp_path, ""), "--seeds", "1:3", *lossy, "--report", str(tmp_path / "s.json")])
        == PASSED
    )
    said = " ".join(capsys.readouterr().out.split())
    seen, never = said.split("seen, in how many of 3 runs: ")[1].split(" never seen: ")
    assert "message-lost 3" in seen
    assert "task-accepted" not in seen
    assert "task-accepted, " in never
    report = json.loads((tmp_path / "s.json").read_text())
    assert [each["name"] for each in report["sights"]] == list(SIGHTS)
    assert {each["name"]: each["runs"] for each in report["sights"]}["message-lost"] == 3


def test_every_failure_is_listed_with_the_commands_that_run_it_alone_replay_it_and_make_it_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _written(tmp_path, LATE)
    assert main(["sweep", path, "--seeds", "1:6", "--set", "link.loss=0.5"]) == VIOLATED
    lines = capsys.readouterr().out.splitlines()
    runs = [line.split("simulations ", 1)[1] for line in lines if line.startswith("  run: ")]
    assert runs
    assert len(runs) == sum("VIOLATED agents-known" in line for line in lines)
    assert main(runs[0].split()) == VIOLATED
    further = [[line for line in lines if line.startswith(f"  {verb}: ")] for verb in ("replay", "shrink")]
    assert [len(each) for each in further] == [len(runs), len(runs)]
    small = further[1][0].split("simulations ", 1)[1]
    assert small == runs[0].replace("run", "shrink", 1)
    assert main([*small.split(), "--runs", "1", "--out", str(tmp_path / "small.toml")]) == PASSED


def test_a_scenario_that_cannot_be_read_is_refused_before_any_process_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sweep", "nowhere", "--jobs", "2"]) == BAD_SCENARIO
    assert capsys.readouterr().err.startswith("error[bad_scenario]: there is no scenario 'nowhere'")


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "100000"])
def test_a_number_of_processes_that_is_none_is_a_misuse(tmp_path: Path, jobs: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", _written(tmp_path, ""), "--jobs", jobs])
    assert ended.value.code == 2


def test_progress_is_shown_on_a_terminal_and_nowhere_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", _written(tmp_path, ""), "--seeds", "1:2"]) == PASSED
    assert not capsys.readouterr().err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    progress = Progress(4, out=terminal)
    progress.at(1)
    progress.at(2, "1 failed")
    progress.clear()
    assert "2 of 4, 1 failed" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")


def test_a_sweep_that_is_stopped_says_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = sweep.result

    def stopped(choice: Choice, seed: int) -> sweep.Result:
        if seed == 3:
            raise KeyboardInterrupt
        return real(choice, seed)

    monkeypatch.setattr(sweep, "result", stopped)
    (tmp_path / "two.toml").write_text('about = "two"\nnodes = 2\nrun_s = 2\n')
    with pytest.raises(KeyboardInterrupt):
        main(["sweep", str(tmp_path / "two.toml"), "--seeds", "1:9"])
    assert capsys.readouterr().err == "stopped after 2 of 9 seeds, 0 of them failed\n"
