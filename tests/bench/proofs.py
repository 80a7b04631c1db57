"""The simulator's goals that are no times: one digest everywhere (S5), small failures (S6), mutants caught (S7).

Invariant: each runs the command that a user would, in processes of its own. Neighbour: `simulator` puts them
into its table.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tests import mutate

ROOT = Path(__file__).parents[2]
PYTHONS = tuple(f"python3.{minor}" for minor in range(11, 16))
HASH_SEEDS = ("0", "1", "7", "4242", "random")
ONE = ("run", "storm", "--once")
MANY = ("sweep", "swarm", "--swarm", "--seeds", "1:4", "--set", "nodes=8", "--set", "run_s=90")
NEEDS = "import sys, msgspec, msgpack, nacl; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
ACTIONS, ACTIONS_MAX, NODES_MAX, SHRUNK_S = 200, 6, 5, 60.0
CAUGHT_MIN = 0.95
_DIGEST = re.compile(r"digest ([0-9a-f]{16,})")
_CAUGHT = re.compile(r"(\d+) of (\d+) mutants were caught")


class Proof(Struct, frozen=True):
    """What was found, and whether it is what was wanted."""

    said: str
    is_met: bool


def sameness() -> Proof:
    """One world twice, and under five hash seeds on every interpreter; a sweep in one process and in two."""
    pythons = [path for path in map(_python, PYTHONS) if path is not None]
    ones = {_digest(path, *ONE, hash_seed=seed) for path in pythons for seed in HASH_SEEDS}
    twice = {_digest(sys.executable, *ONE, hash_seed="random") for _ in range(2)}
    many = {_digest(sys.executable, *MANY, "--jobs", jobs, hash_seed="random") for jobs in ("1", "2")}
    versions = ", ".join(Path(path).name.removeprefix("python") for path in pythons)
    said = (
        f"{len(ones | twice)} digest of {len(pythons) * len(HASH_SEEDS) + 2} runs: {len(HASH_SEEDS)} hash seeds, "
        f"CPython {versions}; {len(many)} of a sweep in 1 and in 2 processes"
    )
    return Proof(said, len(ones | twice) == len(many) == 1 and "" not in ones | many)


def _python(name: str) -> str | None:
    """Such an interpreter, if there really is one, with what the simulator needs."""
    here = str(Path(sys.executable).parent)
    path = shutil.which(name, path=os.pathsep.join((here, os.environ.get("PATH", ""))))
    if path is None:
        return None
    said = subprocess.run([path, "-c", NEEDS], capture_output=True, text=True, check=False)
    return path if said.returncode == 0 and said.stdout.split() == ["cpython", name.removeprefix("python")] else None


def _digest(python: str, *words: str, hash_seed: str) -> str:
    """What the command prints; empty when it prints none."""
    variables = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [python, "-m", "simulations", *words], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    found = _DIGEST.search(run.stdout)
    return found[1] if found else ""


class Small(Struct, frozen=True):
    """What `longplan` prints of one mutant."""

    rule: str
    actions: int
    nodes: int
    runs: int
    seconds: float


def smallness(names: Sequence[str]) -> Proof:
    """What becomes of two hundred actions in which a mutant shows, mutant by mutant."""
    small: list[Small] = []
    for mutant in (each for each in mutate.mutants() if each.name in names):
        with tempfile.TemporaryDirectory(prefix="longplan-") as folder:
            found = _shrunk_in(_copy(mutant, Path(folder)))
        print(f"    {mutant.name}: {found or 'does not show in two hundred actions'}", flush=True)
        if found is not None:
            small.append(found)
    if not small:
        return Proof("no plan failed", is_met=False)
    within = [
        each for each in small if each.actions <= ACTIONS_MAX and each.nodes <= NODES_MAX and each.seconds <= SHRUNK_S
    ]
    said = (
        f"{len(within)} of {len(small)} mutants; at most {max(each.actions for each in small)} actions, "
        f"{max(each.nodes for each in small)} nodes, {max(each.seconds for each in small):.0f} s"
    )
    return Proof(said, len(within) == len(small))


def _copy(mutant: mutate.Mutant, folder: Path) -> Path:
    """The code with the mutant in it."""
    for name in mutate.COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / mutant.file
    path.write_text(mutate.applied(mutant, path.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def _shrunk_in(copy: Path) -> Small | None:
    """The plan of two hundred actions there, made small; None: nothing is broken by it."""
    variables = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    program = str(Path(__file__).with_name("longplan.py"))
    run = subprocess.run(
        [sys.executable, program], cwd=copy, env=variables, capture_output=True, text=True, check=False
    )
    if run.returncode not in (0, 1) or run.stderr:
        raise RuntimeError(run.stderr[-2_000:])
    return msgspec.json.decode(run.stdout, type=Small) if run.returncode == 0 else None


def mutants() -> Proof:
    """How many of them are caught."""
    began_s = time.monotonic()
    run = subprocess.run(
        [sys.executable, "tests/mutate.py", "--briefly"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = _CAUGHT.search(run.stdout)
    if found is None:
        return Proof(f"no answer: {run.stderr[-200:]}", is_met=False)
    caught, of = int(found[1]), int(found[2])
    return Proof(f"{caught} of {of}, in {(time.monotonic() - began_s) / 60:.0f} min", caught >= CAUGHT_MIN * of)
