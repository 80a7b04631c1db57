"""The files that a command is asked to write: refused before anything runs where one would cost somebody something.

Invariant: what stands there already is replaced only where the same command can make it again: a trace by a
trace, a report by a report, what was made small by that; samples are added to samples. Neighbours: `command`,
`grids.command` and `meshctl sim` ask before they run.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from simulations.scenario import TRACE, ScenarioError
from simulations.wording import trouble_of

SMALL = b'about = "made small of '  # how every scenario of `shrink` begins
SAMPLES = b'{"key":"'  # and every line of those that --keep has
LOOKED_AT = 1 << 16  # bytes at the beginning of a file that tell what it is
SCENARIOS = ("--out", "--save")  # options whose file is one
# What stands near the beginning of every report.
REPORTS = {".html": b"default-src 'none'; style-src", ".md": b"\n## Verdicts\n", ".json": b'{\n "report": "'}


def check(
    *,
    traces: Sequence[Path] = (),
    reports: Sequence[Path] = (),
    small: Path | None = None,
    save: Path | None = None,
    keep: Path | None = None,
    read: Iterable[Path] = (),
) -> None:
    """Raises ScenarioError for a file that cannot be written, that is one of `read`, or that two would write to."""
    asked = [("--trace", path) for path in traces] + [("--report", path) for path in reports]
    asked += [
        (option, path) for option, path in (("--out", small), ("--save", save), ("--keep", keep)) if path is not None
    ]
    taken = {_place(path): "what this command reads" for path in read}
    for option, path in asked:
        said = f"{option} {path}"
        if option == "--report" and path.suffix not in REPORTS:
            raise ScenarioError(f"{said}: a report ends in {', '.join(REPORTS)}")
        if problem := _folder(path):
            raise ScenarioError(f"{said}: {problem}")
        if not path.exists() or path.is_file():  # a pipe or a device takes whatever comes
            if _place(path) in taken:
                raise ScenarioError(f"{said}: that is {taken[_place(path)]}; name another file")
            taken[_place(path)] = f"the file of {option}, too"
            if path.exists() and (problem := _lost(option, path)):
                raise ScenarioError(f"{said}: {problem}; name another file, or remove that one first")
            if option in SCENARIOS and path.suffix != ".toml":
                raise ScenarioError(f"{said}: a scenario ends in .toml, or run does not take it")


def _place(path: Path) -> str:
    """One for each file, however it is named."""
    return os.path.realpath(path)


def _folder(path: Path) -> str:
    """What is wrong with where it is to stand."""
    try:
        if path.is_dir():
            return "that is a folder"
        return "" if path.parent.is_dir() else "there is no such folder"
    except OSError as error:  # a name that no file can have
        return trouble_of(error)


def _lost(option: str, path: Path) -> str:
    """What would be lost with a file that is there."""
    try:
        with path.open("rb") as file:
            begins = file.read(LOOKED_AT)
    except OSError as error:
        return f"that is there already, and {trouble_of(error)}"
    match option:
        case "--trace":
            is_own, noun = begins.startswith(TRACE), "is no trace"
        case "--report":
            is_own, noun = REPORTS[path.suffix] in begins, "is no report"
        case "--out":
            is_own, noun = begins.startswith(SMALL), "was not made small"
        case "--keep":
            is_own, noun = begins.startswith(SAMPLES), "has no samples"
        case _:
            is_own, noun = False, "is not replaced"
    return "" if is_own or not begins else f"that is there already, and {noun}"
