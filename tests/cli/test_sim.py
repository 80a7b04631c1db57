"""`meshctl sim from-live`: what is asked of the daemon, what is printed, what is refused."""

import json
import os
import sys
from pathlib import Path

import pytest
from msgspec import structs

from cli.meshctl import run
from simulations import command, forecast
from simulations.world import World
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import FakeBackend, Served, a_task

ASKED = ("sim", "from-live", "--kill", "b@3s", "--run", "20s")


def test_the_live_mesh_is_played_and_told_in_its_own_names(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    backend.put(a_task("t1"))
    said = meshctl(*ASKED)
    assert (said.code, said.err) == (0, "")
    first, unplayed, second, *_ = said.out.splitlines()
    assert first == "2 nodes of mesh xyz as a sees it, 1 task under way, 20 s, seed 1"
    assert unplayed == "  not played: settings: those of other nodes (all play with a's)"
    assert second == "at 3 s: b killed"
    assert "  dead         by a\n" in said.out
    assert f"  {'t1'.ljust(26, 'x')}  scoring@2  from b to a\n" in said.out
    assert "one view at " in said.out


def test_a_task_that_nobody_has_yet_is_named_among_what_is_not_played(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    backend.put(a_task("t1", state="open", owner=""))
    assert "  not played: tasks that nobody has yet: 1\n" in meshctl(*ASKED).out


def test_a_program_reads_the_same_as_json(meshctl: Meshctl, served: Served) -> None:
    said = meshctl(*ASKED, "-o", "json")
    told = json.loads(said.out)
    assert (told["nodes"], told["seen_by"], told["faults"]) == (2, "a", ["at 3 s: b killed"])
    assert [notice["what"] for notice in told["notices"]] == ["suspect", "dead"]


@pytest.mark.parametrize("words", [("-o", "json", "sim", "list"), ("sim", "list", "-o", "json")])
def test_the_list_is_json_wherever_that_is_said(meshctl: Meshctl, words: tuple[str, ...]) -> None:
    assert "split" in {each["name"] for each in json.loads(meshctl(*words).out)}


@pytest.mark.parametrize("words", [("-o", "json", "sim", "show", "split"), ("sim", "show", "split", "-o", "json")])
def test_a_scenario_is_shown_as_json(meshctl: Meshctl, words: tuple[str, ...]) -> None:
    assert json.loads(meshctl(*words).out)["nodes"] == 5


def test_what_has_no_json_says_so_instead_of_printing_something_else(meshctl: Meshctl) -> None:
    said = meshctl("-o", "json", "sim", "traffic", "10")
    assert (said.code, said.out) == (2, "")
    assert json.loads(said.err)["error"]["message"] == "'-o' is not known here"


@pytest.mark.parametrize("words", [("--seed", "3"), ("--bogus",), ("-n1", "run", "split")])
def test_an_option_without_a_command_is_refused_in_json_where_that_is_asked_for(
    meshctl: Meshctl, words: tuple[str, ...]
) -> None:
    said = meshctl("-o", "json", "sim", *words)
    assert (said.code, said.out) == (2, "")
    error = json.loads(said.err)["error"]
    assert error["message"].startswith(f"{words[0]!r} stands before the command: name the command first")
    assert error["hint"] == "meshctl sim --help"


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("show", "--help"), ()])
def test_its_help_is_for_people_whatever_answers_are_printed_as(meshctl: Meshctl, words: tuple[str, ...]) -> None:
    said = meshctl("-o", "json", "sim", *words)
    assert (said.code, said.err) == (0, "")
    assert said.out == meshctl("sim", *words).out


def test_a_number_below_zero_is_no_option(meshctl: Meshctl, tmp_path: Path) -> None:
    small, trace = tmp_path / "small.toml", str(tmp_path / "small.trace")
    small.write_text('about = "one alone"\nnodes = 1\nrun_s = 1\n')
    assert meshctl("sim", "run", str(small), "--once", "--trace", trace).code == 0
    asked = ("sim", "explain", trace, "-5")
    said = meshctl(*asked)
    assert said.err.startswith("error[bad_scenario]: there is no line -5 ")
    told = json.loads(meshctl("-o", "json", *asked).err)["error"]
    assert said.err == f"error[{told['code']}]: {told['message']}\ntry: {told['hint']}\n"


def test_what_is_kept_can_be_run(meshctl: Meshctl, served: Served, tmp_path: Path) -> None:
    kept = tmp_path / "kept.toml"
    said = meshctl(*ASKED, "--save", str(kept))
    assert said.err == f"kept: meshctl sim run {kept}\n"
    ran = meshctl("sim", "run", str(kept), "--once")
    assert ran.code == 0
    assert "passed. seed 1, 2 nodes, 40 s" in ran.out


def test_what_is_kept_is_a_new_file_and_a_seed_is_one_of_run(meshctl: Meshctl, served: Served, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("mine\n")
    for words, what in (
        (("--save", str(mine)), f"--save {mine}: that is there already"),
        (("--save", str(tmp_path / "no" / "x.toml")), f"--save {tmp_path / 'no' / 'x.toml'}: there is no such folder"),
        (
            ("--save", str(tmp_path / "r.md"), "--report", str(tmp_path / "r.md")),
            f"--save {tmp_path / 'r.md'}: that is",
        ),
        (("--seed", "-1"), "--seed: '-1' is no seed, which is a whole number from 0 to 9223372036854775807"),
        (("--seed", "9" * 19), f"--seed: '{'9' * 19}' is no seed"),
        (("--seed", "x"), "--seed: 'x' is no seed"),
    ):
        said = meshctl(*ASKED, *words)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"error[bad_input]: {what}")
    assert mine.read_text() == "mine\n"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.toml"]


def test_a_misuse_is_answered_with_a_command_that_can_be_typed(meshctl: Meshctl) -> None:
    said = meshctl("sim", "from-live", "--bogus")
    assert said.code == 2
    assert said.err.splitlines()[-1] == "try: meshctl sim from-live --help"
    assert "Usage: meshctl sim from-live [OPTIONS]" in meshctl("sim", "from-live", "--help").out


def test_a_report_is_written_and_says_who_is_who(meshctl: Meshctl, served: Served, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    said = meshctl(*ASKED, "--report", str(page))
    assert (said.code, said.err) == (0, f"report: {page}\n")
    assert "n1 is a, n2 is b" in page.read_text()
    refused = meshctl(*ASKED, "--report", str(tmp_path / "report.pdf"))
    assert refused.code == 2
    assert "a report ends in .html, .md, .json" in refused.err


def test_what_cannot_be_played_is_one_error(meshctl: Meshctl, served: Served, tmp_path: Path) -> None:
    for words, what in (
        (("--kill", "z@3s"), "--kill z@3s: there is no node 'z'; there are a, b"),
        (("--cut", "region:mars@3s"), "--cut region:mars@3s: there is no region 'mars'; there are local"),
        (("--cut", "a:a,b@3s"), "--cut a:a,b@3s: 'a' stands in two groups"),
        (("--pause", "b@-3s+1s"), "--pause b@-3s+1s: '-3s' is no time from 0 to 3600 s, for example 10s"),
        (("--kill", "b@3s", "--run", "9e9s"), "--run: '9e9s' is no time from 0 to 3600 s, for example 10s"),
        ((), "nothing is to happen: name --cut, --kill, --pause or --broker-down"),
    ):
        said = meshctl("sim", "from-live", *words)
        assert (said.code, said.out) == (2, "")
        assert said.err.splitlines()[0] == f"error[bad_input]: {what}"
    lost = meshctl(*ASKED, "--save", str(tmp_path))
    assert lost.code == 2
    assert lost.err.startswith(f"error[bad_input]: --save {tmp_path}: that is a folder")


def test_a_name_of_control_characters_does_not_reach_the_terminal(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    hostile = "b\x1b[2J\n\u202e"
    backend.peers_[1] = structs.replace(backend.peers_[1], name=hostile)
    said = meshctl("sim", "from-live", "--kill", "bbbbbbbb@3s", "--run", "20s")
    assert said.code == 0
    assert not {"\x1b", "\u202e"} & set(said.out)
    refused = meshctl("sim", "from-live", "--kill", "z@3s")
    assert not {"\x1b", "\u202e"} & set(refused.err)
    assert len(refused.err.splitlines()) == 2


def test_without_a_daemon_it_says_so(meshctl: Meshctl, tmp_path: Path) -> None:
    said = meshctl("--dir", str(tmp_path), *ASKED)
    assert said.code == 3
    assert said.err.startswith("error[unreachable]")


def test_its_help_tells_the_options(meshctl: Meshctl) -> None:
    said = meshctl("sim", "from-live", "--help")
    assert said.code == 0
    assert "--broker-down T+D" in said.out


def test_sim_without_a_word_says_what_there_is_and_runs_nothing(
    meshctl: Meshctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "run", lambda _: pytest.fail("it was run"))
    said = meshctl("sim")
    assert (said.code, said.err) == (0, "")
    assert said.out == meshctl("sim", "--help").out
    assert all(word in said.out for word in ("list", "run", "sweep", "from-live"))


@pytest.mark.parametrize("words", [("run", "split"), ASKED[1:]])
def test_a_broken_rule_is_exit_1_whoever_reads_along(
    served: Served, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def broke(*_: object, **__: object) -> int:
        print("x" * 100_000)
        return 1

    monkeypatch.setattr(command, "main", broke)
    foretold = forecast.foretold
    monkeypatch.setattr(
        forecast, "foretold", lambda *told, **how: structs.replace(foretold(*told, **how), broken=("E2",))
    )
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        assert run(["sim", *words]) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device on this platform")
@pytest.mark.parametrize("words", [("list",), ("--help",), ("from-live", "--help"), ASKED[1:]])
def test_a_stdout_without_room_is_no_broken_rule(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(["sim", *words]) == 2
    assert capsys.readouterr().err == "error[bad_input]: stdout: no space left on device\ntry: send it elsewhere\n"
