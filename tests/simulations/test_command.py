"""The commands: what they print, and the five exit codes."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from cli.sim import sim
from simulations import __main__, command
from simulations.command import main
from simulations.running import BAD_SCENARIO, NEVER_SEEN, NOT_DETERMINISTIC, PASSED, VIOLATED, Choice
from simulations.scenario import stock
from simulations.world import Verdict, World

TINY = 'about = "two nodes"\nnodes = 2\nrun_s = 4\n'


def _written(folder: Path, text: str) -> str:
    path = folder / "tiny.toml"
    path.write_text(TINY + text)
    return str(path)


def test_a_run_that_keeps_every_promise_is_exit_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", _written(tmp_path, "[expect]\neventually = { one-view = 2 }\n")]) == PASSED
    assert "passed. seed 1, 2 nodes" in capsys.readouterr().out


def test_a_broken_promise_is_exit_1_with_the_command_that_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = '[[fault]]\nkind = "one-way"\nsrc = ["n1"]\ndst = ["n2"]\nat_s = 0\n'
    path = _written(tmp_path, cut + "[expect]\neventually = { one-view = 2 }\n")
    assert main(["run", path, "--seed", "5"]) == VIOLATED
    said = capsys.readouterr().out
    assert "VIOLATED one-view" in said
    assert f"run {path} --seed 5" in said


def test_a_bad_scenario_is_exit_2_and_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", _written(tmp_path, "[link]\nloss = 2\n")]) == BAD_SCENARIO
    assert capsys.readouterr().err.startswith("error[bad_scenario]: ")


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (["run", "nowhere"], "python -m simulations list"),
        (["run", "nowhere.toml"], "python -m simulations list"),
        (["run", ""], "python -m simulations list"),
        (["sweep", "split", "--seeds", "x"], "python -m simulations sweep --help"),
        (["replay", "nowhere"], "python -m simulations run split --trace FILE"),
        (["figures", "g0"], "python -m simulations figures --help"),
    ],
)
def test_every_refusal_ends_with_what_to_try(words: list[str], step: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == BAD_SCENARIO
    said, tried = capsys.readouterr().err.splitlines()
    assert tried.startswith(f"try: {step}")
    assert "Errno" not in said


def test_a_trace_that_is_run_is_said_to_be_one_that_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = str(tmp_path / "x.trace")
    assert main(["run", _written(tmp_path, ""), "--trace", trace]) == PASSED
    assert main(["run", trace]) == BAD_SCENARIO
    said, step = capsys.readouterr().err.splitlines()
    assert "is a trace, not a scenario" in said
    assert step == f"try: python -m simulations replay {trace}"


def test_whoever_stops_reading_is_not_answered_with_a_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "simulations", "list"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (PASSED, "")


@pytest.mark.parametrize("text", ["", "x" * 100_000])
def test_a_reader_who_goes_away_changes_nothing_about_the_exit_code(text: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    door = f"from simulations import __main__ as m; m.main = lambda _: print('{text}') or 1; raise SystemExit(m.door())"
    ended = subprocess.run([sys.executable, "-c", door], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (VIOLATED, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_stdout_that_is_full_or_closed_is_no_traceback() -> None:
    command = [sys.executable, "-m", "simulations", "list"]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == BAD_SCENARIO
    assert ended.stderr.startswith("error[bad_input]: stdout: no space left on device\ntry: ")
    shell = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command]
    closed = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert (closed.returncode, closed.stderr) == (PASSED, "")


def test_ctrl_c_is_a_quiet_end_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "main", stopped)
    assert __main__.door() == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "seeds",
    ["x:y", "3", "9:1", "1:2:3", "1:99999999999999999999", ":", "0:-1", "9223372036854775808:9223372036854775809"],
)
def test_seeds_that_are_no_range_are_exit_2(tmp_path: Path, seeds: str) -> None:
    assert main(["sweep", _written(tmp_path, ""), "--seeds", seeds]) == BAD_SCENARIO


def test_a_world_that_differs_from_itself_is_exit_50(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, runs = World.run, iter(range(9))

    def moody(self: World) -> Verdict:
        return structs.replace(real(self), digest=str(next(runs)))

    monkeypatch.setattr(World, "run", moody)
    assert main(["run", _written(tmp_path, "")]) == NOT_DETERMINISTIC


def test_a_scenario_in_python_that_the_seed_does_not_decide_is_exit_50_and_has_not_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dice.py"
    path.write_text(
        "import random\nfrom simulations.scenario import Scenario\n"
        'def scenario():\n    return Scenario(about="x", nodes=2, run_s=2.0, join_s=random.random())\n'
    )
    assert main(["run", str(path)]) == NOT_DETERMINISTIC
    said = capsys.readouterr().out
    assert "NOT DETERMINISTIC" in said
    assert "passed" not in said


def test_what_should_happen_sometimes_and_never_does_is_exit_51(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _written(tmp_path, '[expect]\nsometimes = ["peer-dead"]\n')
    assert main(["sweep", path, "--seeds", "1:3"]) == NEVER_SEEN
    assert "peer-dead was never seen, in 3 runs" in capsys.readouterr().out


def test_what_must_never_happen_and_does_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '[expect]\nnever = ["peer-suspect"]\n[[fault]]\nkind = "crash"\nnode = "n2"\nat_s = 1\n'
    assert main(["run", _written(tmp_path, text), "--once"]) == VIOLATED
    rule, what, *_ = capsys.readouterr().out.splitlines()
    assert "VIOLATED never peer-suspect" in rule
    assert what.startswith("  n1 said peer suspect: peer n2, name n2, "), what
    assert ", accuser n1, evidence " in what


def test_a_run_of_the_whole_stock_gives_each_scenario_a_report_and_a_trace_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, Path, list[Path]]] = []

    def noted(choice: Choice, _seed: int, *, trace: Path, reports: list[Path], **_: object) -> int:
        given.append((choice.name, trace, reports))
        return PASSED

    monkeypatch.setattr(command, "stock", lambda: ("split", "ring"))
    monkeypatch.setattr(command, "run", noted)
    assert main(["run", "--report", str(tmp_path / "r.md"), "--trace", str(tmp_path / "t.trace")]) == PASSED
    assert given == [(name, tmp_path / f"t-{name}.trace", [tmp_path / f"r-{name}.md"]) for name in ("split", "ring")]


def test_a_role_that_nobody_plays_is_a_violation_and_not_silence(tmp_path: Path) -> None:
    assert main(["run", _written(tmp_path, '[[fault]]\nkind = "crash"\nnode = "owner"\nat_s = 1\n')]) == VIOLATED


def test_the_list_names_every_scenario_and_show_prints_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == PASSED
    assert "owner-paused" in capsys.readouterr().out
    assert main(["show", "split"]) == PASSED
    assert 'kind = "partition"' in capsys.readouterr().out
    assert main(["show", "nowhere"]) == BAD_SCENARIO


def test_a_trace_tells_every_step_with_its_time(tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    assert main(["run", _written(tmp_path, ""), "--trace", str(trace)]) == PASSED
    header, *records, end = [json.loads(line) for line in trace.read_text().splitlines()]
    assert header["trace"] == 1
    assert len(end["digest"]) == 32
    times = [record["t"] for record in records]
    assert len(times) > 50
    assert times == sorted(times)


def test_a_trace_that_cannot_be_written_is_exit_2(tmp_path: Path) -> None:
    assert main(["run", _written(tmp_path, ""), "--trace", str(tmp_path)]) == BAD_SCENARIO


def test_meshctl_sim_is_a_door_to_the_same_with_the_same_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.main(["run", "nowhere", "--seed", "3"], standalone_mode=False) == BAD_SCENARIO
    assert "quiet-join" in capsys.readouterr().err
    assert sim.main(["list"], standalone_mode=False) == PASSED
    assert sim.main(["--help"], standalone_mode=False) == PASSED
    assert "meshctl sim from-live --help" in " ".join(capsys.readouterr().out.split())


def test_what_the_readme_makes_small_fails_and_the_dead_that_it_explains_has_died(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(command.__file__).with_name("README.md").read_text()
    examples = {
        tuple(shlex.split(each))
        for each in re.findall(r"^python -m simulations shrink (split .*?)(?:  |$| --report)", text, re.M)
    }
    assert examples
    for words in examples:
        assert main(["run", *words, "--once"]) == VIOLATED
    trace = str(tmp_path / "split.trace")
    assert main(["run", "split", "--once", "--trace", trace]) == PASSED
    for event in re.findall(r"^python -m simulations explain split.trace (\w+)", text, re.M):
        capsys.readouterr()
        assert main(["explain", trace, event]) == PASSED
        assert event.isdecimal() or f"{event} was declared dead by" in capsys.readouterr().out


def test_a_program_reads_the_list_a_run_and_a_sweep_as_json_and_people_the_rest_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _written(tmp_path, "[expect]\nfigures = { messages-node-s = 0 }\n")
    assert main(["list", "-o", "json"]) == PASSED
    assert {each["name"] for each in json.loads(capsys.readouterr().out)} == {*stock()}
    assert main(["list", "-o", "name"]) == PASSED
    assert capsys.readouterr().out.split() == [*stock()]
    assert main(["run", path, "--once", "-o", "json"]) == VIOLATED
    said = capsys.readouterr()
    assert json.loads(said.out)["passed"] is False
    assert "VIOLATED messages-node-s" in said.err
    assert main(["sweep", path, "--seeds", "1:2", "-o", "json"]) == VIOLATED
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    assert main(["run", "-o", "json"]) == BAD_SCENARIO
