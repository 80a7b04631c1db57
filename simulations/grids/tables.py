"""Tables as Markdown: for the terminal, and between marks in the README that keeps what was measured.

Invariant: between its marks a README has exactly what the command printed; all else stays as it is.
Neighbours: the studies fill tables, `command` shows and keeps them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from simulations.scenario import ScenarioError

README = Path(__file__).parent.parent / "README.md"


class Table(Struct, frozen=True):
    """What a study found. `measured` says how much of it there is, `notes` what differs in the set-up."""

    name: str
    measured: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: str


def markdown(table: Table) -> str:
    """The table with a sentence before it and one after."""
    lines = [table.measured, "", _row(table.columns), _row(["---"] * len(table.columns))]
    lines += [_row(row) for row in table.rows]
    return "\n".join([*lines, "", table.notes])


def kept(table: Table, path: Path = README) -> None:
    """Put it between its marks. Raises ScenarioError where there are none, or the file cannot be written."""
    try:
        text = path.read_text(encoding="utf-8")
        begin, end = marks(table.name)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ScenarioError(f"--write: {path.name} has no place for {table.name}: {begin} … {end}")
        before, rest = text.split(begin)
        path.write_text(f"{before}{begin}\n{markdown(table)}\n{end}{rest.split(end)[1]}", encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"--write: {error}") from None


def marks(name: str) -> tuple[str, str]:
    """What stands before and after it in the README."""
    return f"<!-- {name}: written by the command, begin -->", f"<!-- {name}: end -->"


def read(name: str, text: str) -> list[list[str]]:
    """The rows of a kept table, its columns the first; nothing when there is none. Raises ValueError without marks."""
    begin, end = marks(name)
    inside = text[text.index(begin) + len(begin) : text.index(end)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in inside.splitlines() if line[:1] == "|"]
    return [row for row in rows if not all(re.fullmatch("-+", cell) for cell in row)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
