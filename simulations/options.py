"""Options that several commands take, and what their words come to.

Invariant: an option of these has one name, one help and one meaning. Neighbours: `command` and
`postmortem` say which commands take them.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TypeAlias

from simulations.reports import files
from simulations.running import Choice

Do: TypeAlias = Callable[[argparse.Namespace], int]
Adding: TypeAlias = Callable[[str, Do, str], argparse.ArgumentParser]


def add_choice(parser: argparse.ArgumentParser) -> None:
    """What is run: --set and --swarm."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key, as link.loss=0.05"
    )
    parser.add_argument("--swarm", action="store_true", help="let the seed draw what --set does not settle")


def add_report(parser: argparse.ArgumentParser) -> None:
    """Where its report goes."""
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="write a report: .html to look at, .md for a ticket, .json for programs; may be given several times",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """For people or for programs."""
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "json"),
        default="table",
        help="json: for programs; of a run what a .json report says, and what is told to people goes to stderr",
    )


@contextmanager
def teller(asked: argparse.Namespace) -> Iterator[files.Tell | None]:
    """Prints a report where a program reads stdout; all else that is printed meanwhile is for people."""
    if asked.output != "json":
        yield None
        return
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield lambda report: print(files.as_json(report), end="", file=stdout)


def choice_of(asked: argparse.Namespace, name: str) -> Choice:
    """What these words say is run, under that name."""
    return Choice(name, tuple(asked.set), asked.swarm)
