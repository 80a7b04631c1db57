"""`meshctl agents`: what is asked of the daemon, what is said of it, and what a new agent is made of."""

import json
import os
import tomllib
from pathlib import Path

import pytest

from cli.agent_templates import KINDS
from meshd.agents.manifest import Declared, load
from meshd.api.agent_schemas import LogLine
from meshd.api.schemas import AgentView
from protocol.errors import MeshError
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import FakeBackend, Served, an_agent

MANIFEST = 'name = "new"\nkind = "stdio"\nrun = ["cat"]\ncapabilities = ["new@1"]\n'


def test_an_added_agent_runs_where_its_manifest_was_written(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path
) -> None:
    file = tmp_path / "new.toml"
    file.write_text(MANIFEST)
    said = meshctl("agents", "add", str(file))
    assert (said.code, said.err) == (0, "")
    assert said.out == "new is ready: scoring@2; its manifest is kept in /agents.d/new.toml\n"
    (asked,) = backend.added
    assert tomllib.loads(asked.manifest)["directory"] == str(tmp_path)
    assert (asked.file, asked.replace) == (str(file), False)
    assert meshctl("agents", "add", "--replace", str(file)).code == 0
    assert backend.added[1].replace


def test_a_manifest_with_a_byte_order_mark_is_added_without_it(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path
) -> None:
    file = tmp_path / "new.toml"
    file.write_text(MANIFEST, encoding="utf-8-sig")
    assert meshctl("agents", "add", str(file)).code == 0
    assert tomllib.loads(backend.added[0].manifest)["name"] == "new"


def test_an_added_agent_that_is_not_up_yet_says_why(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.toml"
    file.write_text(MANIFEST)
    away = an_agent("new", file="/agents.d/new.toml", state="restarting", detail="the server is away")

    async def add_agent(_asked: object) -> AgentView:
        return away

    monkeypatch.setattr(backend, "add_agent", add_agent)
    said = meshctl("agents", "add", str(file))
    assert said.out == "new is restarting: the server is away; its manifest is kept in /agents.d/new.toml\n"


def test_a_python_module_needs_no_manifest(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path
) -> None:
    file = tmp_path / "shout.py"
    file.write_text("")
    assert meshctl("agents", "add", str(file)).code == 0
    (asked,) = backend.added
    keys = {"directory": str(tmp_path), "name": "shout", "kind": "python", "run": "shout:agent"}
    assert (tomllib.loads(asked.manifest), asked.file) == (keys, str(file))
    for name, problem in (("gone.py", "there is no such file"), ("My Agent.py", "My Agent cannot name an agent")):
        if name != "gone.py":
            (tmp_path / name).write_text("")
        said = meshctl("agents", "add", str(tmp_path / name))
        assert said.code == 2
        assert problem in said.err
    assert len(backend.added) == 1


def test_a_manifest_that_says_where_it_runs_is_sent_as_it_stands(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path
) -> None:
    file = tmp_path / "new.toml"
    file.write_text(f'directory = "/tmp"\n{MANIFEST}')
    assert meshctl("agents", "add", str(file)).code == 0
    assert backend.added[0].manifest == file.read_text()
    file.write_text(f'directory = "beside"\n{MANIFEST}')
    said = meshctl("agents", "add", str(file))
    assert said.code == 2
    assert "directory: must be a whole path" in said.err


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"name = ", "is not TOML: Invalid value (at end of document)"),
        (b"\n\xff", "is not UTF-8 at line 2"),
        (b"#" * 70_000, "is larger than 61440 bytes"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused_here(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "new.toml"
    if content is not None:
        file.write_bytes(content)
    said = meshctl("agents", "add", str(file))
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[0] == f"error[manifest]: {file}: {problem}"
    assert backend.added == []


def test_a_pipe_and_a_directory_are_no_manifests(meshctl: Meshctl, served: Served, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name in ("pipe", "folder"):
        said = meshctl("agents", "add", str(tmp_path / f"{name}.toml"))
        assert said.err.startswith(f"error[manifest]: {tmp_path}/{name}.toml: is no regular file")


def test_what_the_daemon_refuses_is_said_with_file_key_and_cure(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path
) -> None:
    file = tmp_path / "new.toml"
    file.write_text(MANIFEST)
    backend.refuse = MeshError("manifest", path=file, problem="slots: must be a whole number from 1 to 64, not 0")
    said = meshctl("agents", "add", str(file))
    assert said.code == 2
    assert f"error[manifest]: {file}: slots: must be" in said.err
    assert "try: " in said.err


@pytest.mark.parametrize(
    ("verb", "running", "expected"),
    [
        ("start", 0, "scorer is ready"),
        ("stop", 0, "scorer is stopped; start it with: meshctl agents start scorer"),
        ("stop", 2, "scorer takes nothing new, and stops when 2 tasks in hand ended or went back; start it with: "),
        ("remove", 0, "scorer is removed"),
        ("remove", 1, "scorer takes nothing new, and is gone when 1 task in hand ended or went back"),
    ],
)
def test_what_became_of_an_agent_is_one_sentence(
    meshctl: Meshctl, served: Served, backend: FakeBackend, verb: str, running: int, expected: str
) -> None:
    backend.running = running
    said = meshctl("agents", verb, "scorer")
    assert said.code == 0
    assert said.out.startswith(expected), said.out


def test_an_agent_that_does_not_come_up_is_said_to_be_so_with_the_reason(
    meshctl: Meshctl, served: Served, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(name: str) -> AgentView:
        return an_agent(name, state="elsewhere", detail="it may run in west only, and its node stands in east")

    monkeypatch.setattr(backend, "start_agent", start)
    said = meshctl("agents", "start", "scorer")
    assert said.out == "scorer is elsewhere: it may run in west only, and its node stands in east\n"


@pytest.mark.parametrize("verb", ["start", "stop", "remove", "logs"])
def test_an_agent_that_is_not_here_is_exit_7(meshctl: Meshctl, served: Served, verb: str) -> None:
    said = meshctl("agents", verb, "nobody")
    assert said.code == 7
    assert "no agent is called nobody" in said.err


def test_a_log_is_its_last_lines_made_safe(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.lines.append(LogLine(6, "red \x1b[31m"))
    assert meshctl("agents", "logs", "scorer", "-n", "2").out == "line 5\nred \\x1b[31m\n"
    assert json.loads(meshctl("agents", "logs", "scorer", "-o", "json").out)["lines"][0] == {"seq": 3, "text": "line 3"}
    lines = meshctl("agents", "logs", "scorer", "-o", "jsonl", "-n", "1").out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [6]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_agent_is_a_manifest_that_loads_a_program_and_a_test(meshctl: Meshctl, tmp_path: Path, kind: str) -> None:
    said = meshctl("agents", "new", "say-louder", "--kind", kind, "--dir", str(tmp_path / "mine"))
    assert said.code == 0
    assert [Path(line).name for line in said.out.splitlines()] == [
        "say-louder.toml",
        "say_louder_agent.py",
        "test_say_louder_agent.py",
    ]
    manifest = tomllib.loads((tmp_path / "mine" / "say-louder.toml").read_text())
    assert manifest.keys() <= set(Declared.__struct_fields__)
    assert load(tmp_path / "mine" / "say-louder.toml").kind == kind
    again = meshctl("agents", "new", "say-louder", "--kind", kind, "--dir", str(tmp_path / "mine"))
    assert again.code == 1
    assert "stands there already, and is not written over" in again.err


def test_a_log_without_a_line_is_told_as_that(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.lines = []
    said = meshctl("agents", "logs", "scorer")
    assert (said.code, said.out, said.err) == (0, "", "scorer has written nothing to stderr yet\n")


@pytest.mark.parametrize("name", ["", "../etc", "Loud", "1st", "x" * 49, "a b", "a\n"])
def test_a_name_that_no_agent_may_have_writes_nothing(meshctl: Meshctl, tmp_path: Path, name: str) -> None:
    said = meshctl("agents", "new", name, "--kind", "python", "--dir", str(tmp_path / "mine"))
    assert said.code == 2
    assert not (tmp_path / "mine").exists()
