"""What is wrong with a command line is said in one sentence, with what to try, and ends with exit code 2."""

import json

import pytest

from cli.sim import sim
from simulations.command import EXAMPLE, main
from simulations.running import BAD_SCENARIO
from simulations.scenario import RUN_S_MAX

LONG = f"{'x' * 300}.toml"


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
        (["show", "split", "--outp", "json"], "'--outp' is not known here; did you mean --output?", "show --help"),
        (["sweep", "calm", "--seed=1:1"], "'--seed=1:1' is not known here; did you mean --seeds?", "sweep --help"),
        (["-o", "table", "list"], "'-o' stands before the command: name the command first, then its options", "--help"),
        (["sweep", "split", "--jobs", "0"], "--jobs: '0' is no number from 1 to 1000", "sweep --help"),
        (["replay", "x", "--until", "soon"], "--until: 'soon' is no time up to 172,800 s", "replay --help"),
        (["replay", "x", "--until", "1e9"], "--until: '1e9' is no time up to 172,800 s", "replay --help"),
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


def test_a_replay_goes_as_far_as_the_longest_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "nope", "--until", str(RUN_S_MAX)]) == BAD_SCENARIO
    assert capsys.readouterr().err.startswith("error[bad_scenario]: nope cannot be read")


def test_meshctl_sim_says_the_same_in_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.main(["run", "--seed", "x"], standalone_mode=False) == BAD_SCENARIO
    assert capsys.readouterr().err.splitlines()[-1] == "try: meshctl sim run --help"


@pytest.mark.parametrize(
    ("words", "code", "said", "step"),
    [
        (
            ["run", "nope"],
            "bad_scenario",
            "there is no scenario 'nope', and the file of one ends in .toml or .py; there are bidder-killed, ",
            "list",
        ),
        (
            ["run", "spilt"],
            "bad_scenario",
            "there is no scenario 'spilt', and the file of one ends in .toml or .py; did you mean split?",
            "list",
        ),
        (["run", LONG], "bad_scenario", f"{LONG} cannot be read: file name too long", "list"),
        (["run", "split", "--trace", LONG], "bad_scenario", f"--trace {LONG}: file name too long", "run --help"),
        (["run", "\x1b[2Jx.toml"], "bad_scenario", "\x1b[2Jx.toml cannot be read: there is no such file", "list"),
        (
            ["replay", "nope"],
            "bad_scenario",
            "nope cannot be read: there is no such file",
            f"run {EXAMPLE} --trace FILE",
        ),
        (["run", "--seed", "x"], "bad_input", "--seed: 'x' is no seed", "run --help"),
        (["xyz"], "bad_input", "command: there is no 'xyz'; there are list, show, run, ", "--help"),
        (["run", "split", "--bogus"], "bad_input", "'--bogus' is not known here", "run --help"),
    ],
)
@pytest.mark.parametrize("option", [["-o", "json"], ["-ojson"], ["--output=json"], ["--output", "json"]])
def test_who_asks_for_json_is_refused_in_it(
    words: list[str], code: str, said: str, step: str, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sim.main([*words, *option], standalone_mode=False) == BAD_SCENARIO
    caught = capsys.readouterr()
    error = json.loads(caught.err)["error"]
    assert (error["code"], error["message"][: len(said)], caught.out) == (code, said, "")
    assert error["hint"].startswith(f"meshctl sim {step}")
    assert {"rule", "node", "iid"} < set(error)


@pytest.mark.parametrize("options", [[], ["-o", "table"], ["-ojson", "-otable"], ["--output=json", "--output=table"]])
def test_a_refusal_is_for_people_unless_json_is_what_was_said_last(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sim.main(["run", "json", *options], standalone_mode=False) == BAD_SCENARIO
    assert capsys.readouterr().err.startswith("error[bad_scenario]: there is no scenario 'json'")


def test_help_is_still_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert not ended.value.code
    assert "--trace FILE" in capsys.readouterr().out
