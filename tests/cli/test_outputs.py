"""Every command in every form of output: the API's own JSON, one object a line, bare names, and quiet."""

import json

import click
import pytest

from cli.client import Answer, Client
from cli.meshctl import NOUNS, root
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import LIFE, FakeBackend, Served, a_task, done

ONE, TWO = (name.ljust(26, "x") for name in ("one", "two"))

# what is typed: the names it is about
COMMANDS: dict[str, list[str]] = {
    "status": ["a"],
    "peers": ["a", "b"],
    "peers show b": ["b"],
    "peers ping b": ["b"],
    "peers drain b": ["b"],
    "peers undrain b": ["b"],
    "peers remove c": ["c"],
    "config": ["tasks.lease_s", "node.name"],
    "config show --origin": ["tasks.lease_s", "node.name"],
    "config set log.level debug": ["log.level"],
    "agents": ["scorer", "scorer"],
    "agents --at b": ["scorer"],
    "agents show scorer": ["scorer", "scorer"],
    "agents start scorer": ["scorer"],
    "agents stop scorer": ["scorer"],
    "capabilities": ["scoring@2"],
    "capabilities search scor": ["scoring@2"],
    "capabilities who-can scoring@2": ["scorer"],
    "capabilities show scoring@2": ["scoring@2"],
    "call scoring@2": ["scorer"],
    "tasks": [TWO, ONE],
    "tasks submit scoring@2 --key k": ["keyk".ljust(26, "x")],
    "tasks submit scoring@2 --key k --wait": [TWO],
    "tasks show one": [ONE],
    "tasks why one": [ONE],
    "tasks tree gid": [ONE, TWO],
    "tasks wait two": [TWO],
    "tasks cancel one": [ONE],
    "audit": ["a/7"],
    "audit tail -n 5": ["a/7"],
    "invite": ["mj1_token"],
    "version": ["0.1.0"],
}
OTHERWISE = {
    "demo": "a program of its own",
    "sim": "a program of its own",
    "tasks watch": "a stream",
    "tasks retry": "happens once, in test_work",
    "agents add": "reads a file, in test_agents",
    "agents remove": "happens once, in test_agents",
    "agents logs": "lines and no names, in test_agents",
    "agents new": "writes files, and asks nobody",
    "audit show": "made of several answers",
    "audit search": "made of several answers",
    "audit restart": "happens once, in test_audit",
    "audit verify": "reads files, and asks nobody",
    "audit export": "reads files, and asks nobody",
    "config check": "reads files, and asks nobody",
    "doctor": "made of several answers, and of what lies on this host",
    "top": "made of several answers",
    "completion": "a script for the shell",
}
LISTS = {"peers": "peers", "agents": "agents", "capabilities": "capabilities", "tasks": "tasks"}
EVERY = pytest.mark.parametrize("line", sorted(COMMANDS))


@pytest.fixture(autouse=True)
def mesh(served: Served, backend: FakeBackend) -> None:
    """Two tasks, the second of which has ended."""
    ended = done(a_task("two", submitted_ms=LIFE + 1), {"text": "\u202e\u0000 café"})
    backend.put(a_task("one"), ended)
    backend.ends_with = ended


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes of every answer of the API, in order."""
    answers: list[bytes] = []
    ask = Client._ask

    def listening(client: Client, *how: object) -> Answer:
        answer = ask(client, *how)  # type: ignore[arg-type]  # passed on as it came
        answers.append(answer.raw)
        return answer

    monkeypatch.setattr(Client, "_ask", listening)
    return answers


def test_no_command_is_left_out() -> None:
    said: set[str] = set()
    context = click.Context(root)
    for noun in NOUNS:
        command = root.get_command(context, noun)
        verbs = command.list_commands(context) if isinstance(command, click.Group) else []
        said |= {noun} | {f"{noun} {verb}" for verb in verbs}
    covered = {" ".join(line.split()[:length]) for line in COMMANDS for length in (1, 2)}
    assert said - covered - OTHERWISE.keys() == set()


@EVERY
def test_json_is_the_answer_of_the_api_to_the_byte(meshctl: Meshctl, heard: list[bytes], line: str) -> None:
    said = meshctl(*line.split(), "-o", "json")
    assert (said.code, said.err) == (0, "")
    if line == "version":
        assert json.loads(said.out)["meshd"] == json.loads(heard[-1])["version"]
    else:
        assert said.out.encode() == heard[-1] + b"\n"


@EVERY
def test_jsonl_is_one_object_a_line(meshctl: Meshctl, heard: list[bytes], line: str) -> None:
    said = meshctl(*line.split(), "-o", "jsonl")
    objects = [json.loads(each) for each in said.out.splitlines()]
    assert all(isinstance(each, dict) for each in objects)
    if line in LISTS:
        assert objects == json.loads(heard[-1])[LISTS[line]]


@EVERY
def test_name_is_one_bare_name_a_line(meshctl: Meshctl, line: str) -> None:
    said = meshctl(*line.split(), "-o", "name")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == COMMANDS[line]


@EVERY
def test_quiet_says_nothing_beside_the_answer(meshctl: Meshctl, line: str) -> None:
    loud, quiet = meshctl(*line.split()), meshctl(*line.split(), "-q")
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out
    assert len(quiet.out.splitlines()) <= len(loud.out.splitlines())
    assert not quiet.out.split()[0].isupper(), "a heading"
