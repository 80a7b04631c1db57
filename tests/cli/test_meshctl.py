"""The command as a whole: its options, its errors, how it starts and how it is stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli import client
from cli.meshctl import NOUNS
from meshd.running import announce
from meshd.where import CURE
from protocol.errors import ERRORS, MeshError
from protocol.events import TaskSubmitted
from tests.cli.conftest import ENVIRON, ROOT, Meshctl, Said, spawned
from tests.meshd.api.fake_backend import B, FakeBackend, Served, a_task, an_agent

WAIT_S = 20.0


def test_the_help_lists_every_noun_without_importing_one(meshctl: Meshctl) -> None:
    said = meshctl("--help")
    assert said.code == 0
    assert all(noun in said.out for noun in NOUNS)


@pytest.mark.parametrize("noun", sorted(NOUNS))
def test_every_noun_explains_itself(meshctl: Meshctl, noun: str) -> None:
    assert meshctl(noun, "--help").code == 0


def imported_by(*arguments: str) -> set[str]:
    program = (
        "import sys; from cli.meshctl import run; run(sys.argv[1:]); print('|'.join(sys.modules), file=sys.stderr)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "MESHD_DIR": "/nonexistent"}
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environ, timeout=WAIT_S
    )
    return set(ended.stderr.splitlines()[-1].split("|"))


def test_help_imports_no_noun_and_no_network() -> None:
    loaded = imported_by("--help")
    assert not loaded & {"cli.peers", "cli.tasks", "http.client", "asyncio", "socket"}


@pytest.mark.parametrize("arguments", [["peers"], ["tasks"], ["status"], ["call", "a@1"]])
def test_no_noun_imports_nats_or_the_http_library(arguments: list[str]) -> None:
    loaded = imported_by(*arguments)
    assert not loaded & {"nats", "aiohttp", "nacl", "asyncio", "prometheus_client", "logging", "meshd.api"}


@pytest.mark.parametrize(
    "arguments",
    [["peers", "-o", "json"], ["-o", "json", "peers"], ["-o", "table", "peers", "-o", "json"]],
)
def test_global_options_may_stand_on_either_side_and_the_last_one_counts(
    meshctl: Meshctl, served: Served, arguments: list[str]
) -> None:
    assert json.loads(meshctl(*arguments).out)["peers"][0]["name"] == "a"


def test_dir_chooses_among_the_daemons_of_a_host(meshctl: Meshctl, served: Served, tmp_path: Path) -> None:
    assert meshctl("--dir", str(served.folder), "peers").code == 0
    assert meshctl("peers", "--dir", str(tmp_path / "other")).code == 3


def test_nobody_there_is_exit_3_and_says_how_to_start_one(meshctl: Meshctl, tmp_path: Path) -> None:
    (folder := tmp_path / "my mesh").mkdir()
    said = meshctl("peers", "--dir", str(folder))
    assert said.code == 3
    assert said.out == ""
    assert said.err.startswith(f"error[unreachable]: no daemon answers at {folder}")
    assert f"try: start one with: meshd start --dir '{folder}'\n" in said.err


def test_a_file_that_is_given_for_a_directory_is_called_none(meshctl: Meshctl, tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    for verb in ("peers", "doctor", "config"):
        for path in (tmp_path / "key", tmp_path / "key" / "below"):
            said = meshctl(verb, "--dir", str(path))
            assert (said.code, said.out) == (1, ""), verb
            assert said.err == f"error[directory]: {path}: is no directory\ntry: {CURE}\n"


def test_a_daemon_that_has_no_api_at_this_moment_is_waited_for(
    meshctl: Meshctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.client.silent", lambda directory: 4711)
    said = meshctl("peers", "--dir", str(tmp_path))
    assert said.code == 3
    cure = f"wait for it with: meshctl status --wait 30 --dir {tmp_path}\n"
    assert said.err.endswith(f"try: process 4711 starts, stops or begins anew there; {cure}")


def test_a_daemon_that_was_killed_is_exit_3(meshctl: Meshctl, tmp_path: Path) -> None:
    gone = tmp_path / "api.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(gone))
    left.close()
    (tmp_path / "api.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "token": "t", "socket": str(gone)}))
    said = meshctl("peers", "--dir", str(tmp_path))
    assert said.code == 3
    assert "Connection refused" in said.err


def test_without_a_directory_it_says_which_daemons_answer_on_this_host(
    meshctl: Meshctl, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    for name, value in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state"), ("HOME", "home")):
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.delenv("MESHD_DIR")
    gone = tmp_path / "gone"
    gone.mkdir()
    (gone / "api.json").write_text(json.dumps({"url": "", "token": "", "socket": str(gone / "api.sock")}))
    for path in (served.folder, gone):
        announce(path)
    said = meshctl("peers")
    assert said.code == 3
    assert (
        said.err.splitlines()[1] == f"try: choose a daemon with --dir or MESHD_DIR; on this host run: {served.folder}"
    )


@pytest.mark.parametrize("content", ["", "[]", '{"url": 1}', "\x00"])
def test_an_api_file_that_is_none_is_exit_3(meshctl: Meshctl, tmp_path: Path, content: str) -> None:
    (tmp_path / "api.json").write_text(content)
    said = meshctl("peers", "--dir", str(tmp_path))
    assert said.code == 3
    assert "not what a daemon writes" in said.err


def test_a_daemon_that_goes_away_mid_answer_is_exit_3(meshctl: Meshctl, tmp_path: Path) -> None:
    said = against(meshctl, tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    assert said.code == 3
    assert "error[cut_off]" in said.err
    assert said.err.endswith(f"try: look how it is with: meshctl status --dir {tmp_path}\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi",
        b'HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\n{"error": {}}',
    ],
)
def test_something_else_that_answers_is_told_from_a_daemon(meshctl: Meshctl, tmp_path: Path, answer: bytes) -> None:
    said = against(meshctl, tmp_path, answer)
    assert said.code == 3
    assert "something else does" in said.err


def test_a_daemon_that_is_stuck_is_exit_6(meshctl: Meshctl, tmp_path: Path) -> None:
    said = against(meshctl, tmp_path, b"", "--timeout", "0.1")
    assert said.code == 6
    assert "within 0.1 s" in said.err


def against(meshctl: Meshctl, folder: Path, answer: bytes, *options: str) -> Said:
    """`meshctl peers` against a socket that says `answer` and hangs up, or says nothing when it is empty."""
    path = folder / "api.sock"
    (folder / "api.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "token": "t", "socket": str(path)}))
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
                if not answer:
                    over.wait(WAIT_S)

        thread = threading.Thread(target=serve)
        thread.start()
        said = meshctl("peers", "--dir", str(folder), *options)
        over.set()
        thread.join(WAIT_S)
    return said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["peer"], "peer"),
        (["peers", "--colour"], "--colour"),
        (["peers", "show"], "NAME"),
        (["peers", "-o", "xml"], "xml"),
        (["status", "--wait", "0"], "0 is not a number of seconds above zero"),
        (["status", "--timeout", "nan"], "nan"),
        (["status", "--timeout", "1e12"], "1e12 is more than"),
        (["call", "a@1", "--input", "[1e999]"], "the number 1e999 is too large"),
        (["peers", "--node", "http://[::1"], "http://HOST:PORT"),
        (["call"], "CAPABILITY"),
        (["call", "a@1", "--input", "1", "-"], "once"),
        (["tasks", "submit", "a@1", "--priority", "10"], "10"),
        (["tasks", "--state", "lost"], "lost"),
        (["peers", "--node", "ftp://x"], "http://HOST:PORT"),
        (["peers", "--node", "http://user:secret@127.0.0.1:1"], "http://HOST:PORT"),
    ],
)
def test_bad_usage_is_exit_2_and_names_it(meshctl: Meshctl, arguments: list[str], says: str) -> None:
    said = meshctl(*arguments)
    assert said.code == 2
    assert said.err.startswith("error[bad_input]: ")
    assert says in said.err
    assert "\ntry: " in said.err


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_refusal_of_the_daemon_has_the_exit_code_of_the_table(
    meshctl: Meshctl, served: Served, backend: FakeBackend, code: str
) -> None:
    class AnyField(dict[str, object]):
        def __missing__(self, key: str) -> str:
            return "x"

    refused = MeshError.__new__(MeshError)
    row = ERRORS[code]
    refused.code, refused.fields, refused.status, refused.exit = code, {}, row.status, row.exit
    refused.message, refused.hint = row.message.format_map(AnyField()), row.hint.format_map(AnyField())
    backend.refuse = refused
    said = meshctl("peers")
    assert said.code == row.exit
    assert said.err == f"error[{code}]: {refused.message}, on a\ntry: {refused.hint}\n"


def test_with_json_an_error_is_json_too(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("tasks", "show", "none", "-o", "json")
    assert said.code == 7
    assert said.out == ""
    body = json.loads(said.err)["error"]
    assert (body["code"], body["node_name"]) == ("unknown_task", "a")


def test_over_tcp_the_token_of_the_directory_is_used(meshctl: Meshctl, served: Served) -> None:
    assert meshctl("peers", "--node", served.address.url).code == 0


def test_over_tcp_the_token_of_the_environment_is_used(
    meshctl: Meshctl, served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = ["--dir", str(tmp_path / "other"), "--node", served.address.url]
    assert meshctl("peers", *elsewhere).code == 4
    monkeypatch.setenv("MESHD_TOKEN", served.address.token)
    assert meshctl("peers", *elsewhere).code == 0


def test_verbose_says_what_was_asked(meshctl: Meshctl, served: Served) -> None:
    assert meshctl("peers", "-v").err.startswith(f"GET /v1/peers at {served.folder}: 200 in ")


def test_ctrl_c_is_exit_130_without_a_trace(served: Served) -> None:
    process = spawned("tasks", "watch", "-o", "jsonl")
    assert process.stdout is not None
    beat = threading.Event()

    def happen() -> None:  # again and again: the command may not listen yet
        while not beat.wait(0.02):
            served.happen(TaskSubmitted("t", "i", "g", "a@1", "operator"))

    thread = threading.Thread(target=happen)
    thread.start()
    assert json.loads(process.stdout.readline())["kind"] == "task_submitted"
    beat.set()
    thread.join(WAIT_S)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert "Traceback" not in err


ANSWERS = ["--help", "peers", "peers --help", "tasks --limit 1000", "version"]


@pytest.mark.parametrize("line", [*ANSWERS, "sim list"])
def test_a_reader_that_has_seen_enough_is_no_error(served: Served, backend: FakeBackend, line: str) -> None:
    backend.put(*(a_task(f"t{n:03d}") for n in range(500)))
    reading, writing = os.pipe()
    os.close(reading)
    process = spawned(*line.split(), stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, err) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device on this platform")
@pytest.mark.parametrize("line", ANSWERS)
def test_an_output_that_cannot_be_written_is_an_error(served: Served, backend: FakeBackend, line: str) -> None:
    backend.put(a_task("one"))
    with open("/dev/full", "w") as full:
        process = spawned(*line.split(), stdout=full)
        _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert err.splitlines() == [
        "error[directory]: standard output: cannot be written: No space left on device",
        "try: send it elsewhere",
    ]


def test_a_file_that_cannot_be_written_is_not_called_standard_output(
    meshctl: Meshctl, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/some/where")

    monkeypatch.setattr("cli.version.write", full)
    assert meshctl("version").err.splitlines()[0] == (
        "error[directory]: /some/where: cannot be written: No space left on device"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device on this platform")
def test_an_error_that_cannot_be_said_is_told_by_the_exit_code(served: Served) -> None:
    for line, code in (("peers show z", 7), ("peers --colour", 2), ("", 2), ("tasks", 0), ("peers -v", 0)):
        with open("/dev/full", "w") as full:
            process = spawned(*line.split(), stderr=full)
            process.communicate(timeout=WAIT_S)
        assert (line, process.returncode) == (line, code)


@pytest.mark.parametrize("line", ["--help", "peers", "version", "tasks"])
def test_outputs_that_are_closed_are_written_to_by_nobody(served: Served, line: str) -> None:
    for closed in (">&-", "2>&-"):
        command = f'exec "$0" -W error -c "from cli.meshctl import main; main()" {line} {closed}'
        environ = {**os.environ, **ENVIRON}
        ended = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, env=environ, timeout=WAIT_S)
        assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False)


def test_a_terminal_without_the_letters_gets_escapes(served: Served, backend: FakeBackend) -> None:
    backend.agents_ = [an_agent("scorer", purpose="caf\u00e9")]
    process = spawned("agents", "show", "scorer", env={**os.environ, **ENVIRON, "PYTHONIOENCODING": "ascii"})
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "caf\\xe9" in out


@pytest.mark.parametrize(("given", "meant"), [("peer", "peers"), ("task", "tasks"), ("statsu", "status")])
def test_a_slip_of_the_finger_is_told_what_was_meant(meshctl: Meshctl, given: str, meant: str) -> None:
    assert meshctl(given).err == f"error[bad_input]: no such command '{given}'\ntry: meshctl {meant}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["peers", "show", ""],
        ["call", "a@1", "--input", '"\\ud800"'],
        ["tasks", "submit", "a@1", "--key", "a\nb"],
        ["tasks", "submit", "a@1", "--key", "\u4e2d"],
        ["tasks", "submit", "\udcff@1"],
        ["tasks", "--gid", "g", "--cursor", "\udcff"],
    ],
)
def test_what_cannot_be_sent_is_exit_2(meshctl: Meshctl, served: Served, arguments: list[str]) -> None:
    said = meshctl(*arguments)
    assert said.code == 2
    assert said.err.startswith("error[")


@pytest.mark.parametrize("name", ["..", "a/b", "\udcff", "?x=1", "#", "%2e", "x" * 100])
def test_a_strange_name_is_looked_for_as_it_is(meshctl: Meshctl, served: Served, name: str) -> None:
    assert meshctl("peers", "show", name).code == 7


def test_version_answers_with_and_without_a_daemon(meshctl: Meshctl, served: Served, tmp_path: Path) -> None:
    assert "the daemon runs 0.1.0" in meshctl("version").out
    assert "no daemon answers" in meshctl("version", "--dir", str(tmp_path / "other")).out
    assert json.loads(meshctl("version", "-o", "json").out)["meshd"] == "0.1.0"


def test_an_invitation_can_be_piped(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("invite")
    assert said.out == meshctl("invite", "-o", "name").out == "mj1_token\n"
    assert "meshd start --join TOKEN" in said.err
    assert "this host only" in said.err
    assert meshctl("invite", "-q").err == ""


def test_a_node_is_pinged(meshctl: Meshctl, served: Served) -> None:
    assert meshctl("peers", "ping", "b").out == "b: 1.2 ms\n"
    assert json.loads(meshctl("peers", "ping", "b", "-o", "json").out)["id"] == B
    assert meshctl("peers", "ping", "z").code == 7


def test_a_stream_that_does_not_begin_is_waited_for_no_longer_than_told(meshctl: Meshctl, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(path)
        frozen.listen()
        (tmp_path / "api.json").write_text(f'{{"url": "", "token": "", "socket": "{path}"}}')
        said = meshctl("tasks", "watch", "--dir", str(tmp_path), "--timeout", "0.2")
    assert said.code == 6
    assert "did not answer within 0.2 s" in said.err
    assert "its log says what it is at" in said.err


def test_a_daemon_that_may_open_no_more_files_is_told_from_one_that_is_busy(
    meshctl: Meshctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "out_of_files", lambda directory: (41, 1_024))
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(path)
        full.listen()
        (tmp_path / "api.json").write_text(f'{{"url": "", "token": "", "socket": "{path}"}}')
        said = meshctl("status", "--dir", str(tmp_path), "--timeout", "0.2")
    assert said.code == 6
    assert said.err.splitlines() == [
        f"error[timed_out]: the daemon at {tmp_path}, which has all 1024 files open that it may, "
        "did not answer within 0.2 s",
        "try: raise ulimit -n, or LimitNOFILE=, for its next start; and now: prlimit --pid 41 --nofile=2048:",
    ]
