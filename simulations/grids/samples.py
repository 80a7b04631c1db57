"""One cell with one seed, and many of them: in several processes, and kept in a file when asked.

Invariant: a sample is a function of scenario, seed and the code of this project; what another code
or another scenario gave is not taken from the file. Neighbours: the studies name cells and what to
measure; `tables` shows.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import cache
from hashlib import blake2b
from importlib import resources
from itertools import count
from math import ceil
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from protocol.errors import UNREADABLE
from simulations.grids.measures import Sample
from simulations.progress import Progress
from simulations.scenario import Scenario, ScenarioError
from simulations.wording import trouble_of
from simulations.workers import workers

Measure: TypeAlias = Callable[[Scenario, int], Sample]
Samples: TypeAlias = Mapping[str, Sequence[Sample]]  # by cell


_MEASURING = ("diary", "measures")


class Cell(Struct, frozen=True):
    """One world to measure: its name in the table, what it is, and how."""

    name: str
    scenario: Scenario
    measure: Measure


class Kept(Struct, frozen=True):
    """A line of the file."""

    key: str
    sample: Sample


def measured(
    cells: Sequence[Cell], *, seeds: int, jobs: int = 1, keep: Path | None = None, progress: Progress | None = None
) -> Iterator[tuple[str, int, Sample]]:
    """Every cell with the seeds from 1 on, seeds first, so that a part of the work is a smaller table.

    What the file has beyond the seeds that were asked for counts as well, up to the first gap. Of one cell they come
    in any order.
    """
    known = {} if keep is None else _read(keep)
    waiting: list[tuple[Cell, int]] = []
    for seed in range(1, seeds + 1):
        for cell in cells:
            sample = known.get(_key(cell, seed))
            if sample is None:
                waiting.append((cell, seed))
            else:
                yield cell.name, seed, sample
    for cell in cells:
        for seed in count(seeds + 1):
            sample = known.get(_key(cell, seed))
            if sample is None:
                break
            yield cell.name, seed, sample
    for done, (cell, seed, sample) in enumerate(_all(waiting, jobs), start=1):
        if progress is not None:
            progress.at(done + seeds * len(cells) - len(waiting), cell.name)
        if keep is not None:
            _append(keep, Kept(_key(cell, seed), {name: [*map(float, values)] for name, values in sample.items()}))
        yield cell.name, seed, sample


def quantile(values: Iterable[float], share: float) -> float:
    """Nearest rank; Raises ValueError when there are none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("of nothing there is no quantile")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def together(samples: Sequence[Sample], name: str) -> list[float]:
    """All values of one name."""
    return [value for sample in samples for value in sample.get(name, ())]


@cache
def code() -> str:
    """A sum over all code that a sample depends on."""
    core, world = (Path(str(resources.files(package))) for package in ("protocol", "simulations"))
    files = [*core.rglob("*.py"), *world.glob("*.py"), *(world / "grids" / f"{name}.py" for name in _MEASURING)]
    whole = blake2b(digest_size=8)
    for file in sorted(files):
        whole.update(f"{file.name}\n".encode() + file.read_bytes())
    return whole.hexdigest()


# --- many


def _all(waiting: Sequence[tuple[Cell, int]], jobs: int) -> Iterator[tuple[Cell, int, Sample]]:
    if jobs == 1 or len(waiting) < 2:
        for cell, seed in waiting:
            yield cell, seed, cell.measure(cell.scenario, seed)
        return
    with workers(min(jobs, len(waiting))) as pool:
        open_: dict[Future[Sample], tuple[Cell, int]] = {}
        for cell, seed in waiting:
            open_[pool.submit(cell.measure, cell.scenario, seed)] = cell, seed
        while open_:
            for future in wait(open_, return_when=FIRST_COMPLETED).done:
                cell, seed = open_.pop(future)
                yield cell, seed, future.result()


# --- the file


def _key(cell: Cell, seed: int) -> str:
    """Of one sample: code, what is measured, the world, its seed."""
    world = blake2b(msgspec.json.encode(cell.scenario), digest_size=8).hexdigest()
    return f"{code()} {cell.measure.__name__} {world} {seed}"


def _read(path: Path) -> dict[str, Sample]:
    """What the file has; a last line that was cut, as whoever wrote it was killed, is taken out of it."""
    known: dict[str, Sample] = {}
    try:
        whole = path.read_bytes() if path.exists() else b""
        *lines, cut = whole.split(b"\n")
        for line in lines:
            kept = msgspec.json.decode(line, type=Kept)
            known[kept.key] = kept.sample
        if cut:
            os.truncate(path, len(whole) - len(cut))
    except OSError as error:
        raise ScenarioError(f"--keep: {path}: {trouble_of(error)}") from None
    except UNREADABLE as error:
        raise ScenarioError(f"--keep: {path}, line {1 + lines.index(line)}: {error}") from None
    return known


def _append(path: Path, kept: Kept) -> None:
    try:
        with path.open("ab") as file:
            file.write(msgspec.json.encode(kept) + b"\n")
    except OSError as error:
        raise ScenarioError(f"--keep: {path}: {trouble_of(error)}") from None
