"""The command meshd: what it hands to the daemon, its exit codes, and what the parent of --detach says."""

import asyncio
import gc
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import meshd.app
import meshd.stopping
from cli.daemon import run
from meshd.app import Order
from meshd.running import announce
from meshd.statedir import StateDir
from meshd.where import CURE
from protocol.errors import MeshError
from tests.cli.conftest import ENVIRON, Said
from tests.waiting import until

WAIT_S = 60.0


@pytest.fixture
def meshd_(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Run a command line in this process; a daemon that it starts says its order and ends."""

    def daemon(order: Order, *, said: Callable[[str], None]) -> None:
        said(repr(order))

    monkeypatch.setattr(meshd.app, "run", daemon)

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        try:
            code = run(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Said(code, *capsys.readouterr())

    return command


# --- start


def test_every_flag_of_start_becomes_its_setting(meshd_: Callable[..., Said], tmp_path: Path) -> None:
    flags = ["--name", "a", "--listen", "h:1", "--nats-listen", "h:2", "--region", "r", "--domain", "d"]
    said = meshd_(
        "start", "--dir", str(tmp_path), *flags, "--join", "mj1_x", "--config", "x.toml", "--config", "y.toml"
    )
    settings = {
        "node.name": "a",
        "node.region": "r",
        "node.domain": "d",
        "api.listen": "h:1",
        "nats.listen": "h:2",
    }
    order = Order(dir=tmp_path, join="mj1_x", files=(Path("x.toml"), Path("y.toml")), flags=settings)
    assert said == Said(0, f"{order!r}\n", "")


def test_the_daemon_runs_with_the_collector_that_its_imports_went_without(
    meshd_: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(meshd.app, "run", lambda *_order, said: seen.append(gc.isenabled()))
    meshd_("start", "--dir", str(tmp_path))
    assert seen == [True]


def test_an_empty_invitation_founds_no_mesh(meshd_: Callable[..., Said], tmp_path: Path) -> None:
    said = meshd_("start", "--dir", str(tmp_path), "--join", " ")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error[bad_join]: this is no invitation: it is empty\n")


def test_an_invitation_is_read_from_a_file_or_from_stdin_so_that_no_list_of_processes_shows_it(
    meshd_: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "invitation").write_text("mj1_x\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"mj1_x\n")))
    order = Order(dir=tmp_path, join="mj1_x")
    for told in (f"@{tmp_path / 'invitation'}", "-"):
        assert meshd_("start", "--dir", str(tmp_path), "--join", told) == Said(0, f"{order!r}\n", "")


def test_an_invitation_in_a_file_may_have_a_mark_and_who_saved_it_as_utf_16_is_told_so(
    meshd_: Callable[..., Said], tmp_path: Path
) -> None:
    file, words = tmp_path / "invitation", ("start", "--dir", str(tmp_path), "--join", f"@{tmp_path / 'invitation'}")
    file.write_text("mj1_x\n", "utf-8-sig")
    assert meshd_(*words) == Said(0, f"{Order(dir=tmp_path, join='mj1_x')!r}\n", "")
    file.write_text("mj1_x\n", "utf-16")
    said = meshd_(*words)
    assert said.err.startswith(f"error[bad_join]: this is no invitation: {file} is UTF-16: save it as UTF-8\n")


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ("-", "stdin is empty"),
        ("@", "@ cannot be read: Is a directory"),
        ("@no-such-file", "no-such-file cannot be read: No such file or directory"),
        ("@/", "/ cannot be read: Is a directory"),
        ("@/dev/null", "/dev/null is empty"),
    ],
)
def test_an_invitation_that_cannot_be_read_founds_no_mesh(
    meshd_: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, problem: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    said = meshd_("start", "--dir", str(tmp_path), "--join", told)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"error[bad_join]: this is no invitation: {problem}\n")


def test_what_is_not_given_is_left_to_the_settings(
    meshd_: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHD_DIR", str(tmp_path / "here"))
    assert meshd_("start") == Said(0, f"{Order(dir=tmp_path / 'here')!r}\n", "")


def test_a_daemon_that_cannot_start_says_why_and_what_to_try(
    meshd_: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_order: Order, *, said: object) -> None:
        raise MeshError("port_taken", address="127.0.0.1:1", flag="--listen")

    monkeypatch.setattr(meshd.app, "run", refuse)
    said = meshd_("start")
    assert said.code == 1
    assert said.err == (
        "error[port_taken]: 127.0.0.1:1 is taken by another program\ntry: choose another with --listen HOST:PORT\n"
    )


def test_an_interrupted_start_is_exit_130(meshd_: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_order: Order, *, said: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(meshd.app, "run", interrupt)
    assert meshd_("start").code == 130


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["start", "--nonsense"], "meshd start --help"),
        (["start", "extra"], "meshd start --help"),
        (["start", "--name"], "meshd --help"),
        (["nonsense"], "meshd --help"),
        (["start", "--dir", ""], "meshd start --help"),
        (["stop", "--dir", ""], "meshd stop --help"),
        (["stop", "--timeout", "soon"], "meshd stop --help"),
        (["stop", "--timeout", "nan"], "meshd stop --help"),
        (["stop", "--timeout", "-1"], "meshd stop --help"),
        (["stop", "--timeout", "inf"], "meshd stop --help"),
    ],
)
def test_a_slip_of_the_finger_is_exit_2_and_one_sentence(
    meshd_: Callable[..., Said], arguments: list[str], hint: str
) -> None:
    said = meshd_(*arguments)
    assert (said.code, said.out) == (2, "")
    first, second = said.err.splitlines()
    assert first.startswith("error[bad_input]: ")
    assert second == f"try: {hint}"


def test_without_a_command_the_help_is_shown_as_an_error_and_with_help_it_is_none(meshd_: Callable[..., Said]) -> None:
    bare, asked = meshd_(), meshd_("--help")
    assert (bare.code, bare.out) == (2, "")
    assert (asked.code, asked.err) == (0, "")
    assert "Commands:" in bare.err
    assert "Commands:" in asked.out


def test_the_version_is_a_number(meshd_: Callable[..., Said]) -> None:
    said = meshd_("version")
    assert said.code == 0
    assert said.out[0].isdigit()


# --- stop


def test_stopping_where_nobody_runs_is_exit_3_and_names_the_directory(
    meshd_: Callable[..., Said], tmp_path: Path
) -> None:
    path = tmp_path / "no ne"
    said = meshd_("stop", "--dir", str(path))
    assert said.code == 3
    assert said.err.splitlines() == [
        f"error[unreachable]: no daemon answers at {path}",
        f"try: start one with: meshd start --dir '{path}'",
    ]
    assert not path.exists()


@pytest.mark.parametrize("words", [["start"], ["start", "--detach"], ["stop"]], ids=" ".join)
def test_a_file_that_is_given_for_a_directory_is_called_none(
    meshd_: Callable[..., Said], tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "key").touch()
    for path in (tmp_path / "key", tmp_path / "key" / "below"):
        said = meshd_(*words, "--dir", str(path))
        assert (said.code, said.out) == (1, "")
        assert said.err == f"error[directory]: {path}: is no directory\ntry: {CURE}\n"


def test_stopping_without_a_directory_says_which_daemons_run(
    meshd_: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    for name, value in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state"), ("HOME", "home")):
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.delenv("MESHD_DIR", raising=False)
    other, gone = StateDir.open(tmp_path / "other"), tmp_path / "gone"
    gone.mkdir()
    for path in (other.path, gone):
        (path / "api.json").touch()
        announce(path)
    said = meshd_("stop")
    other.close()
    assert said.code == 3
    assert said.err.splitlines()[1] == f"try: choose a daemon with --dir or MESHD_DIR; on this host run: {other.path}"
    assert "meshd start" in meshd_("stop").err, "nobody runs any more"


def test_a_daemon_that_goes_on_is_exit_6_and_says_what_is_left(
    meshd_: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(path: Path, *, within_s: float) -> str:
        assert within_s == 0.5
        raise TimeoutError(path)

    monkeypatch.setattr(meshd.stopping, "stop_daemon", endless)
    held = StateDir.open(tmp_path)
    said = meshd_("stop", "--dir", str(tmp_path), "--timeout", "0.5")
    held.close()
    assert said.code == 6
    assert said.err.splitlines() == [
        f"error[timed_out]: the daemon in {tmp_path} is still there after 0.5 s",
        f"try: run it again, for a second signal ends it at once; if it does not, kill -9 {os.getpid()} does",
    ]


# --- start --detach: the daemon is a few lines that stand in for the real one

PROGRAM = """
import os, signal, sys, time
import meshd.app, cli.daemon
from protocol.errors import MeshError

def daemon(order, *, said):
    (order.dir / "pid").write_text(str(os.getpid()))
{body}

meshd.app.run = daemon
cli.daemon.DETACH_S_MAX = {patience_s}
sys.exit(cli.daemon.run(["start", "--detach", "--dir", sys.argv[1]]))
"""


class Detached:
    """Runs `start --detach` with a daemon of these lines."""

    def __init__(self, folder: Path) -> None:
        self.dir = folder

    def start(self, *body: str, patience_s: float = WAIT_S) -> Said:
        lines = "\n".join(f"    {line}" for line in body)
        program = PROGRAM.format(body=lines, patience_s=patience_s)
        command = [sys.executable, "-c", program, str(self.dir)]
        environ = {**os.environ, **ENVIRON}
        ended = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=WAIT_S)
        return Said(ended.returncode, ended.stdout, ended.stderr)

    @property
    def log(self) -> str:
        return (self.dir / "meshd.log").read_text()

    @property
    def is_running(self) -> bool:
        try:
            state = Path(f"/proc/{int((self.dir / 'pid').read_text())}/stat").read_text()
        except (OSError, ValueError):
            return False
        return state.rpartition(")")[2].split()[0] != "Z"

    def end(self) -> None:
        if self.is_running:
            os.kill(int((self.dir / "pid").read_text()), signal.SIGKILL)
            asyncio.run(until(lambda: not self.is_running))


@pytest.fixture
def detached(tmp_path: Path) -> Iterator[Detached]:
    made = Detached(tmp_path / "n")
    yield made
    made.end()


def test_a_detached_daemon_goes_on_when_its_parent_has_said_that_it_is_ready(detached: Detached) -> None:
    body = ["said('n is ready')", "print('later words', flush=True)", "signal.sigwait([signal.SIGUSR1])"]
    assert detached.start(*body) == Said(0, "n is ready\n", "")
    assert detached.is_running
    asyncio.run(until(lambda: detached.log == "later words\n"))
    assert (detached.dir / "meshd.log").stat().st_mode & 0o777 == 0o600


def test_what_a_start_left_out_goes_to_stderr_with_the_line_on_stdout(detached: Detached) -> None:
    assert detached.start("said('n is ready', ['warning[x]: a', 'warning[x]: b'])") == Said(
        0, "n is ready\n", "warning[x]: a\nwarning[x]: b\n"
    )


def test_in_the_foreground_what_was_left_out_goes_to_stderr_too(
    meshd_: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def daemon(_order: Order, *, said: Callable[..., None]) -> None:
        said("n is ready", ["warning[x]: a"])

    monkeypatch.setattr(meshd.app, "run", daemon)
    assert meshd_("start") == Said(0, "n is ready\n", "warning[x]: a\n")


def test_a_detached_daemon_that_cannot_start_is_exit_1_and_the_reason(detached: Detached) -> None:
    said = detached.start("raise MeshError('port_taken', address='h:1', flag='--listen')")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "error[port_taken]: h:1 is taken by another program\ntry: choose another with --listen HOST:PORT\n"
    )
    assert not detached.is_running


def test_a_mistake_of_a_detached_daemon_names_the_log_that_shows_it(detached: Detached) -> None:
    said = detached.start("raise LookupError('a bug')")
    assert said.code == 1
    assert str(detached.dir / "meshd.log") in said.err
    assert "LookupError: a bug" in detached.log


def test_a_detached_daemon_that_is_stopped_before_it_is_ready_says_so(detached: Detached) -> None:
    said = detached.start("return")
    assert said.code == 1
    assert said.err.splitlines() == [
        f"error[cut_off]: the daemon at {detached.dir} went away before it had answered",
        "try: it was told to stop; start it again",
    ]


def test_a_detached_daemon_that_is_killed_before_it_is_ready_is_not_waited_for(detached: Detached) -> None:
    said = detached.start("os.kill(os.getpid(), signal.SIGKILL)")
    assert said.code == 1
    assert said.err.startswith("error[internal]: the daemon ended without a word")


def test_a_detached_daemon_that_is_never_ready_is_ended(detached: Detached) -> None:
    said = detached.start("time.sleep(600)", patience_s=0.2)
    assert said.code == 1
    assert said.err.startswith("error[timed_out]: the daemon was not ready within 0.2 s")
    assert not detached.is_running


def test_what_goes_wrong_later_is_written_into_no_other_file(detached: Detached) -> None:
    body = [
        "said('n is ready')",
        "opened = [open(order.dir / f'f{n}', 'w') for n in range(20)]",
        "said('once more')",
        "(order.dir / 'told').touch()",
        "raise MeshError('store', problem='is gone')",
    ]
    assert detached.start(*body).code == 0
    asyncio.run(until(lambda: (detached.dir / "told").exists() and not detached.is_running))
    assert {path.read_text() for path in detached.dir.glob("f*")} == {""}


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 300)
    said = Detached(path).start("return")
    assert said.code == 1
    assert said.err.startswith(f"error[directory]: {path}: cannot be used: File name too long\n")
