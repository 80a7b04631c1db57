"""`meshctl doctor`: how findings are printed, which exit code they make, and what is skipped."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cli import checks
from meshd.outlook import OUTLIVED
from meshd.running import standing_still
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import FakeBackend, Served
from tests.meshd.api.fake_upkeep import a_diagnosis
from tests.waiting import until


@pytest.fixture
def healthy(served: Served, backend: FakeBackend) -> Path:
    """A daemon whose own directory is looked into."""
    backend.upkeep.diagnosis = a_diagnosis(directory=str(served.folder))
    return served.folder


def test_where_all_is_well_every_check_is_fine_and_the_exit_code_is_0(meshctl: Meshctl, healthy: Path) -> None:
    said = meshctl("doctor")
    assert (said.code, said.err) == (0, "")
    names = ", ".join(check.__name__ for check in (*checks.MESH, *checks.HOST))
    assert said.out == f"fine: {names}\n"
    assert meshctl("doctor", "-q").out == ""


def test_a_finding_names_place_and_cure_and_the_exit_code_is_9(meshctl: Meshctl, healthy: Path) -> None:
    (healthy / "api.json").chmod(0o644)
    said = meshctl("doctor")
    assert said.code == 9
    path = healthy / "api.json"
    assert said.out.splitlines()[:2] == [
        f"error[files]: {path}: is open to others (mode 0644), and such a secret is for its owner alone",
        f"  try: chmod 600 {path}; and think about who may have read it",
    ]
    report = json.loads(meshctl("doctor", "-o", "json").out)
    assert [(each["severity"], each["check"]) for each in report["findings"]] == [("error", "files")]
    assert "files" not in report["passed"]
    assert meshctl("doctor", "-o", "name").out == "files\n"


def test_an_address_that_was_opened_on_purpose_is_a_note_and_nothing_to_mend(
    meshctl: Meshctl, healthy: Path, backend: FakeBackend
) -> None:
    backend.upkeep.diagnosis = a_diagnosis(directory=str(healthy), exposed=("0.0.0.0:4222",))
    said = meshctl("doctor")
    assert said.code == 0
    assert said.out.startswith("note[exposure]: 0.0.0.0:4222: other hosts reach this address")


def test_without_a_daemon_the_host_is_looked_at_and_the_rest_is_said_to_be_skipped(
    meshctl: Meshctl, tmp_path: Path
) -> None:
    said = meshctl("doctor", "--dir", str(tmp_path / "none"))
    assert said.code == 9
    lines = said.out.splitlines()
    assert lines[0].startswith("error[daemon]: ")
    assert lines[1] == f"  try: start one with: meshd start --dir {tmp_path / 'none'}"
    assert lines[2] == f"fine: {', '.join(check.__name__ for check in checks.HOST)}"
    assert lines[3].startswith(f"skipped: {', '.join(check.__name__ for check in checks.MESH)}, for no daemon answers")


def test_a_daemon_that_a_signal_has_stopped_is_named_at_once_with_what_lets_it_go_on(
    meshctl: Meshctl, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    with (tmp_path / "lock").open("w+") as lock:
        frozen = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], stdin=lock)
        lock.write(f"{frozen.pid}\n")
    try:
        frozen.send_signal(signal.SIGSTOP)
        asyncio.run(until(lambda: standing_still(tmp_path) == frozen.pid))
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(path)
            silent.listen()
            (tmp_path / "api.json").write_text(json.dumps({"url": "", "token": "", "socket": path}))
            status = meshctl("--dir", str(tmp_path), "status")
            doctor = meshctl("--dir", str(tmp_path), "doctor")
    finally:
        frozen.kill()
        frozen.wait()
    assert (status.code, doctor.code) == (3, 9)
    what = f"the daemon in {tmp_path} stands still: process {frozen.pid} is stopped (SIGSTOP)"
    assert status.err.splitlines()[0] == f"error[stands_still]: {what}"
    for line in (status.err.splitlines()[1], doctor.out.splitlines()[1].strip()):
        assert line.startswith(f"try: kill -CONT {frozen.pid}")


@pytest.mark.parametrize(
    ("state", "store_problem"), [("detached", ""), ("islanded", ""), ("starting", ""), ("joined", "gave no answer")]
)
def test_a_node_that_is_cut_off_itself_blames_no_peer(
    meshctl: Meshctl, healthy: Path, backend: FakeBackend, state: str, store_problem: str
) -> None:
    silent = msgspec.structs.replace(a_diagnosis().peers[0], answered=False, skew_ms=None)
    told = a_diagnosis(directory=str(healthy), lost=("c",), peers=(silent,))
    backend.upkeep.diagnosis = told
    assert "peers remove c" in meshctl("doctor").out
    backend.upkeep.diagnosis = msgspec.structs.replace(told, store_problem=store_problem)
    backend.status_ = msgspec.structs.replace(backend.status_, state=state)
    said = meshctl("doctor")
    assert said.code == 9
    assert "peers remove" not in said.out
    assert "error[server]" in said.out or "error[streams]" in said.out
    assert said.out.endswith("skipped: silence, views, for this node is cut off itself\n")


def test_a_daemon_that_its_twin_has_outlived_is_told_so_first_and_blames_no_peer(
    meshctl: Meshctl, healthy: Path, backend: FakeBackend
) -> None:
    (healthy / "api.json").chmod(0o644)
    silent = msgspec.structs.replace(a_diagnosis().peers[0], answered=False, skew_ms=None)
    backend.upkeep.diagnosis = a_diagnosis(directory=str(healthy), lost=("c",), peers=(silent,))
    backend.status_ = msgspec.structs.replace(backend.status_, outlived=True, attention=(OUTLIVED,))
    said = meshctl("doctor")
    assert said.code == 9
    first, cure, *others = said.out.splitlines()
    assert first == (
        f"error[twin]: {healthy}: a newer daemon runs with this node's key, and the mesh listens to that one alone"
    )
    assert cure.startswith("  try: stop the one whose directory is the copy")
    assert [line.split(":")[0] for line in others] == ["error[files]", "  try", "fine", "skipped"]
    assert others[-1] == "skipped: silence, views, for the mesh listens to the newer daemon with this node's key"


def test_the_files_of_a_daemon_elsewhere_are_not_looked_for_here(
    meshctl: Meshctl, healthy: Path, served: Served
) -> None:
    (healthy / "api.json").chmod(0o644)
    said = meshctl("doctor", "--node", served.address.url)
    assert said.code == 0
    skipped = "skipped: files, root, disk, manifests, program, settings"
    assert f"{skipped}, for they look at the daemon's own host" in said.out


def test_words_of_others_move_no_cursor(meshctl: Meshctl, healthy: Path, backend: FakeBackend) -> None:
    backend.upkeep.diagnosis = a_diagnosis(directory=str(healthy), store_problem="\x1b[2J gone", streams=())
    said = meshctl("doctor")
    assert said.code == 9
    assert "\x1b" not in said.out
