"""The commands `grid` and `figures`: measure the cells of a study, print its table, keep it when asked.

Invariant: what is printed is a function of the samples, in the order of the table. Neighbours:
`simulations.command` adds these to its own; `samples` measures.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import structs

from simulations import outputs
from simulations.grids import goals, kinship, lifeguard, swim
from simulations.grids.measures import Sample
from simulations.grids.samples import Cell, code, measured
from simulations.grids.study import Study
from simulations.grids.tables import README, Table, find_place, kept, markdown, merged
from simulations.options import Adding
from simulations.progress import Progress
from simulations.running import PASSED
from simulations.scenario import ScenarioError
from simulations.written import written

STUDIES: Mapping[str, Study] = {study.name: study for study in (kinship.STUDY, swim.STUDY, lifeguard.STUDY)}
QUICK_SEEDS = 5
SEEDS_MAX = 1_000
JOBS_MAX = 64
CODE_SHOWN = 8  # of the sum over the code, so that a reader sees whether two tables are of the same


def add(command: Adding) -> None:
    """The commands of this package."""
    grid = command("grid", _grid, "run a published table again, and print it beside what was published")
    grid.add_argument("study", choices=sorted(STUDIES), metavar="STUDY", help=f"one of {', '.join(STUDIES)}")
    _choose(grid)
    figures = command("figures", _figures, "the goals of membership that a simulator can tell, each beside its aim")
    figures.add_argument("goals", nargs="*", metavar="GOAL", help="only these, as G2; all when omitted")
    _choose(figures)


def _choose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cells", default="*", metavar="PATTERN", help="only these, as '50-*-on'; several parted by commas"
    )
    parser.add_argument(
        "--seeds",
        type=_number(0, SEEDS_MAX),
        default=QUICK_SEEDS,
        metavar="N",
        help=f"a cell (default {QUICK_SEEDS}); 0: only what --keep has",
    )
    parser.add_argument(
        "--jobs", type=_number(1, JOBS_MAX), default=1, metavar="N", help="so many processes (default 1)"
    )
    parser.add_argument("--keep", type=Path, metavar="FILE", help="samples go there, and are not measured twice")
    parser.add_argument("--list", action="store_true", help="the cells, and nothing is run")
    parser.add_argument("--show", metavar="CELL", help="the scenario of one cell, to be run")
    parser.add_argument("--write", action="store_true", help="put the rows into simulations/README.md")


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or len(text) > len(str(most)) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return number


def _grid(asked: argparse.Namespace) -> int:
    return run(STUDIES[asked.study], asked, command=f"grid {asked.study}")


def _figures(asked: argparse.Namespace) -> int:
    known = sorted({figure.goal for figure in goals.figures()}, key=lambda goal: int(goal[1:]))
    for goal in asked.goals:
        if goal not in known:
            raise ScenarioError(f"there is no figure {goal!r}; there are {', '.join(known)}")
    if asked.goals:
        wanted = goals.goals_of(asked.goals)
        study = structs.replace(goals.STUDY, cells=lambda: tuple(each for each in goals.cells() if each.name in wanted))
        return run(study, asked, command="figures")
    return run(goals.STUDY, asked, command="figures")


def run(study: Study, asked: argparse.Namespace, *, command: str) -> int:
    """Measure what was asked for, and print it."""
    if asked.show is not None:
        print(written(chosen(study, asked.show)[0].scenario), end="")
        return PASSED
    cells = chosen(study, asked.cells)
    if asked.list:
        for cell in cells:
            print(f"{cell.name:<24} {cell.scenario.about}")
        return PASSED
    if asked.write:
        find_place(study.name)
    outputs.check(keep=asked.keep, read=[README] if asked.write else [])
    table = filled(study, cells, asked, command=command)
    print(markdown(table))
    if asked.write:
        kept(merged(table, study.keys()))
    return PASSED


def chosen(study: Study, pattern: str) -> list[Cell]:
    """The cells whose names match. Raises ScenarioError when none does."""
    wanted = pattern.split(",")
    cells = [cell for cell in study.cells() if any(fnmatchcase(cell.name, each.strip()) for each in wanted)]
    if not cells:
        some = ", ".join(cell.name for cell in study.cells()[:6])
        raise ScenarioError(f"{study.name} has no cell {pattern!r}; there are {some} … (--list shows all)")
    return cells


def filled(study: Study, cells: Sequence[Cell], asked: argparse.Namespace, *, command: str) -> Table:
    """The study's table, of these cells."""
    progress = Progress(len(cells) * asked.seeds)
    found: dict[str, dict[int, Sample]] = {}
    for name, seed, sample in measured(cells, seeds=asked.seeds, jobs=asked.jobs, keep=asked.keep, progress=progress):
        found.setdefault(name, {})[seed] = sample
    progress.clear()
    samples = {name: [some[seed] for seed in sorted(some)] for name, some in found.items()}
    said = f"`python -m simulations {command}`: {study.about}."
    return Table(study.name, said, code()[:CODE_SHOWN], study.columns, tuple(study.rows(samples)), study.notes)
