"""What `make` says on a machine where something is missing, and that it does nothing twice."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("cat", "cksum", "cut", "dirname", "echo", "grep", "rm", "sed", "sh", "tail")
TOO_OLD = "#!/bin/sh\nexit 1\n"
BARE = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a checkout"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "install", folder / ".ci")
    (folder / "pyproject.toml").write_text("[project]\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    return folder


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _install(checkout: Path, want: str = "dev") -> subprocess.CompletedProcess[str]:
    environ = {"PATH": str(checkout.parent / "tools")}
    command = ["/bin/sh", ".ci/install", want]
    return subprocess.run(command, cwd=checkout, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_machine_without_python_is_told_in_one_sentence(checkout: Path) -> None:
    done = _install(checkout)
    assert done.returncode == 1
    assert done.stderr == (
        "meshd: Python 3.11 or later is needed, and none is on PATH; "
        "install one or name it: make PYTHON=/path/to/python3.12\n"
    )


def test_a_python_that_is_too_old_is_named(checkout: Path) -> None:
    _program(checkout.parent / "tools" / "python3", TOO_OLD)
    done = _install(checkout)
    assert done.returncode == 1
    assert "Python 3.11 or later is needed, and python3 is older" in done.stderr


def test_a_python_without_venv_is_named_with_the_cure(checkout: Path) -> None:
    _program(checkout.parent / "tools" / "python3", BARE)
    done = _install(checkout)
    assert done.returncode == 1
    assert done.stderr == (
        "meshd: python3 lacks the modules venv and ensurepip; on Debian and Ubuntu: apt install python3-venv\n"
    )


def test_an_older_python_that_comes_first_does_not_hide_a_newer_one(checkout: Path) -> None:
    _program(checkout.parent / "tools" / "python3", TOO_OLD)
    _program(
        checkout.parent / "tools" / "python3.12", '#!/bin/sh\n[ "$2" != venv ] || { echo no venv today; exit 1; }\n'
    )
    done = _install(checkout)
    assert done.returncode == 1
    assert done.stderr.endswith("meshd: python3.12 cannot make a virtual environment: no venv today\n")


def _installed(checkout: Path, want: str) -> None:
    """Leave behind what an installation leaves, with an interpreter that does nothing."""
    (checkout / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    _program(checkout / ".venv" / "bin" / "python", "#!/bin/sh\n")
    content = (checkout / "pyproject.toml").read_bytes()
    stamp = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout.decode()
    (checkout / ".venv" / f"installed-{want}").write_text(f"{stamp}{checkout}\n")


@pytest.mark.parametrize(("installed", "wanted"), [("dev", "dev"), ("dev", "run"), ("run", "run")])
def test_what_is_installed_already_is_not_installed_again(checkout: Path, installed: str, wanted: str) -> None:
    _installed(checkout, installed)
    done = _install(checkout, wanted)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_tools_of_the_tests_are_installed_on_top_of_what_a_run_needs(checkout: Path) -> None:
    _installed(checkout, "run")
    assert "and none is on PATH" in _install(checkout, "dev").stderr


def test_other_requirements_and_another_folder_are_installed_anew(checkout: Path) -> None:
    _installed(checkout, "dev")
    (checkout / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert _install(checkout).returncode == 1
    _installed(checkout, "dev")
    moved = checkout.rename(checkout.parent / "moved")
    assert _install(moved).returncode == 1


def test_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE)) - {"help"}
    assert targets == set(re.findall(r'@echo "make ([a-z]+) ', makefile))
    assert targets <= set(re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[0].split())
