"""Which processes are ever signalled."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.demo_mesh import until
from cli.demo_processes import Process, end, look, under

FOLDER = Path("/tmp/demo/c")


def seen(*rows: tuple[int, int, str]) -> list[Process]:
    return [Process(pid, parent, tuple(command.split(" "))) for pid, parent, command in rows]


def test_a_daemon_and_all_that_descends_from_it_is_chosen() -> None:
    rows = seen(
        (10, 1, "python /venv/bin/meshd start --dir /tmp/demo/c --name c"),
        (11, 10, "python -c worker"),
        (12, 11, "python -c package_audit"),
        (13, 1, "/venv/bin/nats-server -c /tmp/demo/c/nats/nats.conf"),
    )
    assert under(FOLDER, rows) == [10, 11, 12, 13]


@pytest.mark.parametrize(
    "command",
    [
        "python /venv/bin/meshd start --dir /tmp/demo/cc",
        "python /venv/bin/meshd start --dir /tmp/demo",
        "vim /tmp/demo/c/meshd.log",
        "timeout 60 meshctl --dir /tmp/demo/c peers",
        "/venv/bin/nats-server -c /etc/nats.conf",
    ],
)
def test_what_only_looks_alike_is_left_alone(command: str) -> None:
    assert under(FOLDER, seen((10, 1, command))) == []


def test_a_circle_of_parents_ends() -> None:
    assert under(FOLDER, seen((10, 11, "meshd start --dir /tmp/demo/c"), (11, 10, "sh"))) == [10, 11]


def test_a_real_process_is_found_and_ended(tmp_path: Path) -> None:
    program = tmp_path / "meshd"
    program.write_text("import sys\nsys.stdin.read()\n")
    folder = tmp_path / "a"
    with subprocess.Popen([sys.executable, program, "--dir", folder], stdin=subprocess.PIPE) as child:
        try:
            assert until(lambda: under(folder, look()) == [child.pid], 10.0)
            assert end(lambda: under(folder, look())) == [child.pid]
            assert child.wait(timeout=10.0) == -9
        finally:
            child.kill()
    assert under(folder, look()) == []


def test_a_process_that_is_gone_already_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait(timeout=30.0)
    assert end(lambda: [child.pid]) == []
