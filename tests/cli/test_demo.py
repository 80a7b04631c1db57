"""`meshctl demo` as a user runs it: real nodes, real kills, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import demo_processes
from cli.demo_mesh import NAMES, Mesh, environment, until
from protocol.errors import FAILED, INTERRUPTED, OK, USAGE, MeshError

MESHCTL = Path(sys.executable).with_name("meshctl")
BOUND_S = 180.0
PIECES = 24


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the nodes live: short, because a unix socket's path has to fit."""
    with tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as made:
        folder = Path(made) / "mesh"
        yield folder
        demo_processes.end(lambda: left_behind(folder))


def left_behind(folder: Path) -> list[int]:
    seen = demo_processes.look()
    return [pid for name in NAMES for pid in demo_processes.under(folder / name, seen)]


def run(folder: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(MESHCTL), "demo", "--dir", str(folder), "--out", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, env=environment(), check=False)


@pytest.mark.live
def test_a_node_is_killed_and_the_record_of_another_proves_that_nothing_was_lost(folder: Path, tmp_path: Path) -> None:
    ran = run(folder, tmp_path, "--pieces", str(PIECES), "-o", "json")
    assert ran.returncode == OK, ran.stderr
    proof = json.loads(ran.stdout)["proof"]
    assert (proof["submitted"], proof["done"], proof["lost"], proof["committed_twice"]) == (
        PIECES + 1,
        PIECES + 1,
        [],
        [],
    )
    assert (proof["read_from"], proof["copies"], proof["kept_on"]) == ("b", 1, "a")
    assert {move["former"] for move in proof["moved"]} <= {"c"}
    assert " c    kill -9 in the middle of its work" in ran.stderr
    assert " c    declared dead " in ran.stderr
    assert json.loads((tmp_path / "meshd-audit.json").read_text()) == json.loads(ran.stdout)
    assert "| submitted | 25 | one goal and 24 pieces |" in (tmp_path / "meshd-audit.md").read_text()
    assert not folder.exists()
    assert left_behind(folder) == []


@pytest.mark.live
def test_the_host_of_the_record_is_killed_and_comes_back_and_nobody_is_declared_dead(
    folder: Path, tmp_path: Path
) -> None:
    ran = run(folder, tmp_path, "--pieces", str(PIECES), "--kill", "a")
    assert ran.returncode == OK, ran.stdout + ran.stderr
    assert " a    kill -9 in the middle of its work, nats-server too: " in ran.stdout
    assert "declared dead meanwhile: nobody" in ran.stdout
    assert "  b    joined again" in ran.stdout
    assert "  c    joined again" in ran.stdout
    assert ran.stdout.endswith("Nothing was lost, nothing was committed twice.\n\n")
    assert "\x1b" not in ran.stdout
    assert left_behind(folder) == []


@pytest.mark.live
@pytest.mark.parametrize("seen", ["hosts the nats-server", "takes the task"])
def test_ctrl_c_leaves_nothing_behind(folder: Path, tmp_path: Path, seen: str) -> None:
    command = [str(MESHCTL), "demo", "--dir", str(folder), "--out", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    ) as demo:
        assert demo.stdout is not None
        assert any(seen in line for line in demo.stdout)
        assert left_behind(folder) != []
        os.kill(demo.pid, signal.SIGINT)
        rest = demo.stdout.read()
        assert demo.wait(timeout=BOUND_S) == INTERRUPTED
    assert "interrupted while " in rest
    assert "Traceback" not in rest
    assert left_behind(folder) == []
    assert not folder.exists()


@pytest.mark.live
def test_a_node_that_ends_by_itself_ends_the_demo_with_the_last_lines_of_its_log(folder: Path, tmp_path: Path) -> None:
    command = [str(MESHCTL), "demo", "--dir", str(folder), "--out", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        assert any("takes the task" in line for line in demo.stdout)
        os.kill(int((folder / "b" / "lock").read_text()), signal.SIGKILL)
        said = demo.stderr.read()
        assert demo.wait(timeout=BOUND_S) == FAILED
    assert "error[demo]: the demo failed while working: node b ended, and nobody killed it" in said
    assert "node b: " in said
    assert left_behind(folder) == []


def test_a_folder_that_is_in_use_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("keep me")
    ran = run(tmp_path, tmp_path / "out")
    assert ran.returncode == FAILED
    assert ran.stderr.startswith(f"error[directory]: {tmp_path}: is not empty\ntry: ")
    assert (tmp_path / "letter").read_text() == "keep me"


def test_a_node_that_the_demo_does_not_have_cannot_be_killed(tmp_path: Path) -> None:
    ran = run(tmp_path, tmp_path / "out", "--kill", "d")
    assert ran.returncode == USAGE
    assert "'d' is not one of 'a', 'b', 'c'" in ran.stderr


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshError, match="Not a directory"):
        Mesh(tmp_path / "file" / "mesh")


def test_waiting_gives_up_at_its_deadline() -> None:
    assert not until(lambda: False, 0.0)
    assert until(lambda: True, 0.0)
