"""`meshctl doctor`: how findings are printed, which exit code they make, and what is skipped."""

import json
from pathlib import Path

import pytest

from cli import checks
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import FakeBackend, Served
from tests.meshd.api.fake_upkeep import a_diagnosis


@pytest.fixture
def healthy(served: Served, backend: FakeBackend) -> Path:
    """A daemon whose own directory is looked into."""
    backend.upkeep.diagnosis = a_diagnosis(directory=str(served.folder))
    return served.folder


def test_where_all_is_well_every_check_is_fine_and_the_exit_code_is_0(meshctl: Meshctl, healthy: Path) -> None:
    said = meshctl("doctor")
    assert (said.code, said.err) == (0, "")
    names = ", ".join(check.__name__ for check in (*checks.HOST, *checks.MESH))
    assert said.out == f"fine: {names}\n"
    assert meshctl("doctor", "-q").out == ""


def test_a_finding_names_place_and_cure_and_the_exit_code_is_9(meshctl: Meshctl, healthy: Path) -> None:
    (healthy / "api.json").chmod(0o644)
    said = meshctl("doctor")
    assert said.code == 9
    path = healthy / "api.json"
    assert said.out.splitlines()[:2] == [
        f"error[files]: {path}: api.json can be read by others (mode 0644)",
        f"  try: chmod 600 {path}; and renew it if others log in here",
    ]
    report = json.loads(meshctl("doctor", "-o", "json").out)
    assert [(each["severity"], each["check"]) for each in report["findings"]] == [("error", "files")]
    assert "files" not in report["passed"]
    assert meshctl("doctor", "-o", "name").out == "files\n"


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


def test_the_files_of_a_daemon_elsewhere_are_not_looked_for_here(
    meshctl: Meshctl, healthy: Path, served: Served
) -> None:
    (healthy / "api.json").chmod(0o644)
    said = meshctl("doctor", "--node", served.address.url)
    assert said.code == 0
    assert "skipped: files, disk, manifests, program, settings, for they look at the daemon's own host" in said.out


def test_words_of_others_move_no_cursor(meshctl: Meshctl, healthy: Path, backend: FakeBackend) -> None:
    backend.upkeep.diagnosis = a_diagnosis(directory=str(healthy), store_problem="\x1b[2J gone", streams=())
    said = meshctl("doctor")
    assert said.code == 9
    assert "\x1b" not in said.out
