"""`meshctl config`: what is shown with and without a daemon, what a file is told, what can be changed."""

import json
from pathlib import Path

import pytest

from meshd.settings import rows
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import FakeBackend, Served


@pytest.fixture
def no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MESHD_DIR", str(tmp_path / "nobody"))
    return tmp_path


def test_a_running_daemon_tells_its_own_settings_with_unit_and_origin(meshctl: Meshctl, served: Served) -> None:
    assert meshctl("config").out.splitlines() == ["SETTING        VALUE", "tasks.lease_s  5.0 s", 'node.name      "a"']
    said = meshctl("config", "show", "--origin")
    assert said.out.splitlines()[1] == "tasks.lease_s  5.0 s  file /etc/meshd.toml:7"
    assert meshctl("config", "show", "node", "-o", "name").out == "node.name\n"
    assert json.loads(meshctl("config", "-o", "json").out)["settings"][1]["origin"] == "flag --name"


def test_without_a_daemon_it_shows_what_a_start_would_use_and_says_so(
    meshctl: Meshctl, no_daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHD_TASKS__LEASE_S", "7")
    said = meshctl("config", "show", "--origin")
    assert said.code == 0
    assert said.err == f"no daemon answers at {no_daemon / 'nobody'}; this is what a start would use\n"
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert lines["tasks.lease_s"].endswith("environment MESHD_TASKS__LEASE_S")
    assert lines["membership.preset"].split() == ["membership.preset", '"lan"', "default"]
    assert len(lines) == 1 + len(rows())


def test_files_are_shown_as_a_start_with_them_would_use_them(meshctl: Meshctl, no_daemon: Path) -> None:
    file = no_daemon / "m.toml"
    file.write_text("[node]\nregion = 'eu'\n")
    said = meshctl("config", "show", "node.region", "--origin", "--config", str(file))
    assert said.out.splitlines()[1].split(maxsplit=2) == ["node.region", '"eu"', f"file {file}:2"]
    assert said.err == ""


def test_an_address_that_nobody_answers_at_is_no_place_to_guess(meshctl: Meshctl, no_daemon: Path) -> None:
    assert meshctl("config", "show", "--node", "http://127.0.0.1:9").code == 3


def test_an_unknown_prefix_is_told(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("config", "show", "nonsense")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error[bad_input]: no setting begins with nonsense")


def test_a_file_that_is_right_is_said_to_be(meshctl: Meshctl, no_daemon: Path) -> None:
    file = no_daemon / "m.toml"
    file.write_text("version = 1\n[node]\nregion = 'eu'\n")
    said = meshctl("config", "check", str(file))
    assert said.code == 0
    assert said.out == f"1 of {len(rows())} settings are given, all as they may be\n"


def test_everything_that_is_wrong_with_a_file_is_named_with_its_line(meshctl: Meshctl, no_daemon: Path) -> None:
    file = no_daemon / "m.toml"
    file.write_text("[tasks]\nleese_s = 3\n\nask_interval_s = 'often'\n")
    said = meshctl("config", "check", str(file))
    assert said.code == 2
    assert said.out.splitlines() == [
        f"tasks.leese_s: no such setting; did you mean tasks.lease_s? (file {file}:2)",
        f"tasks.ask_interval_s: must be a number from 0.05 to 60, not 'often' (file {file}:4)",
    ]
    problems = json.loads(meshctl("config", "check", str(file), "-o", "json").out)["problems"]
    assert [(each["key"], each["origin"]) for each in problems] == [
        ("tasks.leese_s", f"file {file}:2"),
        ("tasks.ask_interval_s", f"file {file}:4"),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[node\n", "is not TOML: Expected ']'"),
        (b"\xff", "is not UTF-8 at line 1"),
        (b"version = 2\nnew = 1\n", "a newer one is needed"),
        (b"'\x1b[2J' = 1\n", "is not TOML"),
        (b'"\\u001b[2J" = 1\n', "no such setting"),
        (b"[api]\nlisten = '0.0.0.0:80'\n", "not a loopback address"),
    ],
)
def test_hostile_and_foreign_files_are_one_line_each(
    meshctl: Meshctl, no_daemon: Path, content: bytes, told: str
) -> None:
    file = no_daemon / "m.toml"
    file.write_bytes(content)
    said = meshctl("config", "check", str(file))
    assert said.code == 2
    (line,) = said.out.splitlines()
    assert told in line
    assert "\x1b" not in line


def test_a_file_that_is_not_there_is_named(meshctl: Meshctl, no_daemon: Path) -> None:
    assert "cannot be read: No such file" in meshctl("config", "check", str(no_daemon / "none.toml")).out


def test_the_level_of_the_log_is_changed_while_the_daemon_runs(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    said = meshctl("config", "set", "log.level", "debug")
    assert (said.code, said.out) == (0, "log.level is debug until the daemon ends\n")
    assert backend.upkeep.levels == ["debug"]
    refused = meshctl("config", "set", "log.level", "loud")
    assert refused.code == 2
    assert "log.level: must be one of debug, info, warning, error, not 'loud'" in refused.err
    assert backend.upkeep.levels == ["debug"]


def test_what_cannot_be_changed_while_it_runs_is_refused_with_the_way_to_change_it(
    meshctl: Meshctl, served: Served
) -> None:
    said = meshctl("config", "set", "tasks.lease_s", "9")
    assert said.code == 2
    assert "only log.level can" in said.err
    assert "start the daemon anew" in said.err
