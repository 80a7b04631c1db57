"""What is wrong with a command line is said in one sentence, with what to try, and ends with exit code 2."""

import pytest

from cli.sim import sim
from simulations.command import main
from simulations.running import BAD_SCENARIO


@pytest.mark.parametrize(
    ("words", "said", "step"),
    [
        (["run", "--seed", "x"], "--seed: 'x' is no seed, which is a whole number from 0 to 92233", "run --help"),
        (["run", "--seed", "-1"], "--seed: '-1' is no seed, which is a whole number", "run --help"),
        (["shrink", "split", "--seed", "9" * 20], f"--seed: '{'9' * 20}' is no seed", "shrink --help"),
        (["repaly"], "command: there is no 'repaly'; did you mean replay?", "--help"),
        (["xyz"], "command: there is no 'xyz'; there are list, show, run, ", "--help"),
        (["replay"], "trace is missing", "replay --help"),
        (["diff", "one"], "other is missing", "diff --help"),
        (["run", "split", "--bogus"], "'--bogus' is not known here", "run --help"),
        (["-o", "json", "list"], "'-o' stands before the command: name the command first, then its options", "--help"),
        (["sweep", "split", "--jobs", "0"], "--jobs: '0' is no number from 1 to 1000", "sweep --help"),
        (["replay", "x", "--until", "soon"], "--until: 'soon' is no time, for example 34.2s", "replay --help"),
        (["grid", "kinshp"], "STUDY: there is no 'kinshp'; did you mean kinship?", "grid --help"),
        (["traffic", "0"], "nodes: '0' is no number of nodes, from 1 to 2,048", "traffic --help"),
        (["traffic", "--seconds", "x"], "--seconds: 'x' is no time above 15", "traffic --help"),
        (["run", "--set"], "--set: expected one argument", "run --help"),
        (["\x1b[2Jx"], "command: there is no '", "--help"),
    ],
)
def test_a_misuse_is_two_lines(words: list[str], said: str, step: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == BAD_SCENARIO
    caught = capsys.readouterr()
    problem, hint = caught.err.splitlines()
    assert problem.startswith(f"error[bad_input]: {said}")
    assert hint == f"try: python -m simulations {step}"
    assert (caught.out, "\x1b" in caught.err) == ("", False)


def test_meshctl_sim_says_the_same_in_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.main(["run", "--seed", "x"], standalone_mode=False) == BAD_SCENARIO
    assert capsys.readouterr().err.splitlines()[-1] == "try: meshctl sim run --help"


def test_help_is_still_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert not ended.value.code
    assert "--trace FILE" in capsys.readouterr().out
