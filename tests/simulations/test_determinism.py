"""One scenario and one seed are one digest: twice, whatever strings hash to, on every interpreter that runs here."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from simulations.scenario import parsed
from simulations.world import World

ROOT = Path(__file__).parents[2]
SMALL = """
about = "four nodes, a little of everything"
nodes = 4
run_s = 15
link = { loss = 0.05, duplicate = 0.02, reorder = 0.02 }
work = { tasks = 8, from_s = 2, every_s = 0.5 }
fault = [
 { kind = "crash", node = "n2", at_s = 4, for_s = 3 },
 { kind = "partition", groups = [["n1", "n3"], ["n4"]], record = "n1", at_s = 8, for_s = 2 },
]
"""
PROGRAM = (
    "from simulations.scenario import parsed; from simulations.world import World; import sys;"
    "print(World(parsed(sys.argv[1], origin='small'), seed=7).run().digest)"
)
PYTHONS = tuple(f"python3.{minor}" for minor in range(11, 16))


@cache
def _digest() -> str:
    return World(parsed(SMALL, origin="small"), seed=7).run().digest


def _run(python: str, program: str, *words: str, hash_seed: str = "random") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", program, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def _found(python: str) -> str | None:
    """Such an interpreter, if there really is one, with what `protocol` needs."""
    here = str(Path(sys.executable).parent)
    path = shutil.which(python, path=os.pathsep.join((here, os.environ.get("PATH", ""))))
    if path is None:
        return None
    said = _run(path, "import sys, msgspec, nacl; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])")
    is_it = said.returncode == 0 and said.stdout.split() == ["cpython", python.removeprefix("python")]
    return path if is_it else None


def test_the_same_seed_twice_is_the_same_run() -> None:
    assert World(parsed(SMALL, origin="small"), seed=7).run().digest == _digest()
    assert World(parsed(SMALL, origin="small"), seed=8).run().digest != _digest()


@pytest.mark.parametrize("hash_seed", ["0", "1", "7", "4242", "random"])
def test_the_digest_does_not_depend_on_how_strings_are_hashed(hash_seed: str) -> None:
    said = _run(sys.executable, PROGRAM, SMALL, hash_seed=hash_seed)
    assert said.stdout.strip() == _digest(), said.stderr


@pytest.mark.parametrize("python", PYTHONS)
def test_the_digest_does_not_depend_on_the_version_of_python(python: str) -> None:
    path = _found(python)
    if path is None:
        pytest.skip(f"{python} does not run here with msgspec and nacl")
    said = _run(path, PROGRAM, SMALL, hash_seed="3")
    assert said.stdout.strip() == _digest(), said.stderr
