"""Completion: bash itself runs it; values come from the daemon; a daemon that is away says nothing."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.completion import WITHIN_S
from tests.cli.conftest import ROOT, Meshctl
from tests.meshd.api.fake_backend import FakeBackend, Served, a_task

RUN_S = 30.0


def _bash(folder: Path, words: str, directory: Path) -> tuple[list[str], str]:
    """What bash offers at the end of these words, and what was said beside it."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    program = folder / "meshctl"
    program.write_text(f"#!{sys.executable}\nfrom cli.meshctl import main\nmain()\n")
    program.chmod(0o755)
    script = f"""
        source <(meshctl completion bash)
        COMP_WORDS=({words}); COMP_CWORD=$(({len(words.split())} - 1))
        [[ {words.endswith(" ")!s} == True ]] && COMP_WORDS+=("") && COMP_CWORD=$((COMP_CWORD + 1))
        _meshctl_completion meshctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environ["MESHD_DIR"] = str(directory)
    ended = subprocess.run([bash, "-c", script], capture_output=True, text=True, env=environ, timeout=RUN_S)
    return [line for line in ended.stdout.splitlines() if line], ended.stderr


def test_bash_completes_nouns_verbs_and_what_the_daemon_knows(
    tmp_path: Path, served: Served, backend: FakeBackend
) -> None:
    backend.put(a_task("abcd1"), a_task("abzz2"))
    assert _bash(tmp_path, "meshctl pe", served.folder) == (["peers"], "")
    assert "drain" in _bash(tmp_path, "meshctl peers ", served.folder)[0]
    assert _bash(tmp_path, "meshctl peers ping ", served.folder) == (["a", "b"], "")
    assert _bash(tmp_path, "meshctl tasks show abc", served.folder) == (["abcd1".ljust(26, "x")], "")
    assert _bash(tmp_path, "meshctl call sc", served.folder) == (["scoring@2"], "")
    assert _bash(tmp_path, "meshctl agents show ", served.folder) == (["scorer"], "")


def test_goals_what_the_audit_knows_and_what_can_be_set_are_completed(
    tmp_path: Path, served: Served, backend: FakeBackend
) -> None:
    backend.put(a_task("abcd1", gid="goal-1"), a_task("abzz2", gid="goal-1"))
    assert _bash(tmp_path, "meshctl tasks tree go", served.folder) == (["goal-1"], "")
    assert _bash(tmp_path, "meshctl audit show goal", served.folder) == (["goal-1"], "")
    assert _bash(tmp_path, "meshctl audit show abc", served.folder) == (["abcd1".ljust(26, "x")], "")
    assert _bash(tmp_path, "meshctl config set l", served.folder) == (["log.level"], "")
    assert _bash(tmp_path, "meshctl config set log.level d", served.folder) == (["debug"], "")


def test_only_what_can_be_opened_again_is_offered_for_a_retry(
    tmp_path: Path, served: Served, backend: FakeBackend
) -> None:
    backend.put(a_task("abcd1"), a_task("abzz2", state="failed"), a_task("abzz3", state="done"))
    assert _bash(tmp_path, "meshctl tasks retry ab", served.folder) == (["abzz2".ljust(26, "x")], "")
    assert "retry" in _bash(tmp_path, "meshctl tasks ", served.folder)[0]


def test_a_daemon_that_is_away_offers_nothing_and_says_nothing(tmp_path: Path) -> None:
    assert _bash(tmp_path, "meshctl tasks show ", tmp_path / "none") == ([], "")


def test_a_daemon_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    assert WITHIN_S <= 1.0
    directory = tmp_path / "d"
    directory.mkdir()
    path = str(directory / "s")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        (directory / "api.json").write_text(f'{{"url": "", "token": "", "socket": "{path}"}}')
        assert _bash(tmp_path, "meshctl tasks show ", directory) == ([], "")


def test_an_answer_that_is_none_of_ours_offers_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    path = str(directory / "s")
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(path)
        rude.listen()

        def answer() -> None:
            connection, _ = rude.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n[1,2,3]")

        thread = threading.Thread(target=answer)
        thread.start()
        (directory / "api.json").write_text(f'{{"url": "", "token": "", "socket": "{path}"}}')
        assert _bash(tmp_path, "meshctl tasks show ", directory) == ([], "")
        thread.join(timeout=5)


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete "), ("zsh", "compdef"), ("fish", "complete ")])
def test_every_shell_gets_its_script(meshctl: Meshctl, shell: str, word: str) -> None:
    said = meshctl("completion", shell)
    assert said.code == 0
    assert word in said.out
    assert "_MESHCTL_COMPLETE" in said.out


def test_a_shell_that_is_not_known_is_told_which_are(meshctl: Meshctl) -> None:
    said = meshctl("completion", "tcsh")
    assert said.code == 2
    assert "bash" in said.err
