"""Tables as Markdown: for the terminal, and between marks in the README that keeps what was measured.

Invariant: between its marks a README has what commands printed; a row that the last one did not measure says
that it is an older one's. All else stays as it is.
Neighbours: the studies fill tables, `command` shows and keeps them.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, structs

from simulations.scenario import ScenarioError

OLDER = "*"  # behind the number of worlds of a row that another code gave
README = Path(__file__).parent.parent / "README.md"


class Table(Struct, frozen=True):
    """What a study found. `measured` says how to get it, of which `code`, `notes` what differs in the set-up."""

    name: str
    measured: str
    code: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: str


def markdown(table: Table) -> str:
    """The table with a sentence before it and one after."""
    lines = [
        f"{table.measured} Code `{table.code}`." if table.code else table.measured,
        "",
        _row(table.columns),
        _row(["---"] * len(table.columns)),
    ]
    lines += [_row(row) for row in table.rows]
    return "\n".join([*lines, "", table.notes])


def merged(table: Table, keys: Sequence[tuple[str, ...]], *, path: Path = README) -> Table:
    """With the rows that the README has and this one lacks, each in its place; marked, if they are of another code."""
    text = _text(table.name, path)
    old = [tuple(row) for row in read(table.name, text)[1:]]
    is_same = f"`{table.code}`" in _inside(table.name, text)
    rows: list[tuple[str, ...]] = []
    width = len(keys[0])  # the number of worlds comes behind it
    for key in keys:
        theirs = [row for row in old if row[:width] == key and len(row) == len(table.columns)]
        rows += [row for row in table.rows if row[:width] == key] or [
            row if is_same else (*key, f"{row[width].removesuffix(OLDER).strip()} {OLDER}", *row[width + 1 :])
            for row in theirs
        ]
    is_mixed = any(row[width].endswith(OLDER) for row in rows)
    notes = f"{table.notes} What bears a {OLDER} is of an earlier code." if is_mixed else table.notes
    return structs.replace(table, rows=tuple(rows), notes=notes)


def kept(table: Table, path: Path = README) -> None:
    """Put it between its marks. Raises ScenarioError where there are none, or the file cannot be written."""
    text = _text(table.name, path)
    begin, end = marks(table.name)
    before, rest = text.split(begin)
    try:
        path.write_text(f"{before}{begin}\n{markdown(table)}\n{end}{rest.split(end)[1]}", encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"--write: {error}") from None


def find_place(name: str, path: Path = README) -> None:
    """Raises ScenarioError where the table of this name has no place, or the file cannot be written."""
    _text(name, path)
    if not os.access(path, os.W_OK):
        raise ScenarioError(f"--write: {path.name} cannot be written here")


def marks(name: str) -> tuple[str, str]:
    """What stands before and after it in the README."""
    return f"<!-- {name}: written by the command, begin -->", f"<!-- {name}: end -->"


def read(name: str, text: str) -> list[list[str]]:
    """The rows of a kept table, its columns the first; nothing when there is none. Raises ValueError without marks."""
    lines = [line for line in _inside(name, text).splitlines() if line[:1] == "|"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if not all(re.fullmatch("-+", cell) for cell in row)]


def _text(name: str, path: Path) -> str:
    """What has a place for that table. Raises ScenarioError when it has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"--write: {error}") from None
    begin, end = marks(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ScenarioError(f"--write: {path.name} has no place for {name}: {begin} … {end}")
    return text


def _inside(name: str, text: str) -> str:
    """What stands between its marks. Raises ValueError without them."""
    begin, end = marks(name)
    return text[text.index(begin) + len(begin) : text.index(end)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
