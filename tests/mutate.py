"""Are the checkers awake? Each mutant breaks one line of the core in a private copy, and must be found out.

    python tests/mutate.py [NAME ...] [--jobs N] [--seeds N] [--briefly]

Invariant: the working tree is never written to. A mutant is caught by a scenario whose run breaks a
rule, never shows what it must, or never ends; or by the named test, where no scenario can tell.
Neighbours: `mutants.toml` lists them, `test_mutants.py` keeps the list true to the code.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec
from msgspec import Struct

ROOT = Path(__file__).parent.parent
COPIED = ("protocol", "simulations")
TESTED = ("tests", "pyproject.toml")
RUN_S_MAX = 120  # a run takes seconds; what takes so long does not end
VIOLATED, NEVER_SEEN = 1, 51
_RULE = re.compile(r"VIOLATED (\S+) at ([\d.]+) s")
_SIGHT = re.compile(r": (\S+) was never seen")


class Mutant(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the core, and what it becomes."""

    name: str
    file: str
    old: str
    new: str
    why: str  # what breaks
    tries: tuple[str, ...] = ()  # scenarios that are likely to tell, tried first
    test: str = ""  # the test that tells, where no scenario has an attacker for it


class Catch(Struct, frozen=True):
    """How a mutant was found out."""

    by: str
    where: str


def mutants() -> tuple[Mutant, ...]:
    """All of them."""
    listed = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
    return msgspec.convert(listed, tuple[Mutant, ...])


def applied(mutant: Mutant, text: str) -> str:
    """The file with the mutant in it. Raises ValueError unless the old line stands there exactly once."""
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: what it replaces stands {text.count(mutant.old)} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def hunt(mutant: Mutant, *, seeds: int, stock: bool) -> Catch | None:
    """Run what may tell, until something does; None when the mutant survives all of it."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in COPIED + TESTED * bool(mutant.test):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        path = copy / mutant.file
        path.write_text(applied(mutant, path.read_text(encoding="utf-8")), encoding="utf-8")
        if mutant.test:
            return _tested(mutant.test, copy)
        for scenario, seed in _runs(mutant, copy, seeds, stock=stock):
            catch = _simulated(scenario, seed, copy)
            if catch is not None:
                return catch
    return None


def _runs(mutant: Mutant, copy: Path, seeds: int, *, stock: bool) -> Iterator[tuple[str, int]]:
    """Where it is likely first, with some seeds; then everywhere else, if that is wanted."""
    for seed in range(1, seeds + 1):
        yield from ((scenario, seed) for scenario in mutant.tries)
    if stock:
        names = sorted(path.stem for path in (copy / "simulations" / "scenarios").glob("*.toml"))
        yield from ((scenario, 1) for scenario in names if scenario not in mutant.tries)


def _simulated(scenario: str, seed: int, copy: Path) -> Catch | None:
    where = f"{scenario}, seed {seed}"
    command = [sys.executable, "-m", "simulations", "run", scenario, "--seed", str(seed), "--once"]
    try:
        run = _run(command, copy)
    except subprocess.TimeoutExpired:
        return Catch("no-end", where)
    if run.returncode == VIOLATED and (found := _RULE.search(run.stdout)):
        return Catch(found[1], f"{where}, {float(found[2]):.1f} s")
    if run.returncode == NEVER_SEEN and (found := _SIGHT.search(run.stdout)):
        return Catch(f"never {found[1]}", where)
    if run.returncode:
        raise RuntimeError(f"{where}: exit {run.returncode}\n{run.stdout[-2_000:]}{run.stderr[-2_000:]}")
    return None


def _tested(test: str, copy: Path) -> Catch | None:
    run = _run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", test], copy)
    if run.returncode not in (0, 1):
        raise RuntimeError(f"{test}: exit {run.returncode}\n{run.stdout[-2_000:]}{run.stderr[-2_000:]}")
    return Catch("its test", test.rpartition("::")[2]) if run.returncode else None


def _run(command: list[str], copy: Path) -> subprocess.CompletedProcess[str]:
    variables = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PATH": ""}
    return subprocess.run(
        command, cwd=copy, env=variables, capture_output=True, text=True, check=False, timeout=RUN_S_MAX
    )


def main(arguments: list[str]) -> int:
    """0 when all were caught, 1 when some survived, 2 when one of them is none."""
    known = {mutant.name: mutant for mutant in mutants()}
    parser = argparse.ArgumentParser(
        prog="tests/mutate.py", allow_abbrev=False, description="Break the core a line at a time."
    )
    parser.add_argument("name", nargs="*", help="only these")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once (default 1)")
    parser.add_argument("--seeds", type=int, default=3, help="of each scenario that is likely to tell (default 3)")
    parser.add_argument("--briefly", action="store_true", help="leave out where it is not likely")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.name if name not in known]
    if unknown:
        print(f"there is no mutant {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in asked.name] or list(known.values())
    survived = 0
    with ThreadPoolExecutor(max_workers=max(1, asked.jobs)) as pool:
        hunts = {pool.submit(_timed, mutant, asked.seeds, stock=not asked.briefly): mutant for mutant in chosen}
        for done in as_completed(hunts):
            mutant, (catch, took_s) = hunts[done], done.result()
            survived += catch is None
            said = "SURVIVED" if catch is None else f"{catch.by:<26} {catch.where}"
            print(f"{mutant.name:<28} {took_s:>5.1f} s  {said}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutants were caught")
    return 1 if survived else 0


def _timed(mutant: Mutant, seeds: int, *, stock: bool) -> tuple[Catch | None, float]:
    began = time.perf_counter()
    return hunt(mutant, seeds=seeds, stock=stock), time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
