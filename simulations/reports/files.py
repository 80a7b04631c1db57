"""Writes a report to files, by what their names end in.

Invariant: the same report gives the same bytes. Neighbours: `outputs` refused before anything ran what cannot be
written; `running` and `sweep` save.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from simulations.reports.manypage import sweep_page
from simulations.reports.page import run_page
from simulations.reports.shapes import Report, RunReport
from simulations.reports.ticket import ticket
from simulations.scenario import ScenarioError
from simulations.wording import trouble_of

Tell: TypeAlias = Callable[[Report], None]


def page(report: Report) -> str:
    """HTML."""
    return run_page(report) if isinstance(report, RunReport) else sweep_page(report)


def as_json(report: Report) -> str:
    """JSON, a key a line."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


def schema() -> str:
    """What such JSON may say, as JSON Schema."""
    return msgspec.json.format(msgspec.json.encode(msgspec.json.schema(Report)), indent=1).decode() + "\n"


WRITERS: Mapping[str, Callable[[Report], str]] = {".html": page, ".md": ticket, ".json": as_json}


def save(report: Report, paths: Sequence[Path], tell: Tell | None = None) -> None:
    """Every file, and whoever wants to be told. Raises ScenarioError for a file that cannot be written."""
    if tell is not None:
        tell(report)
    for path in paths:
        try:
            path.write_text(WRITERS[path.suffix](report), encoding="utf-8", newline="\n")
        except OSError as error:
            raise ScenarioError(f"--report {path}: {trouble_of(error)}") from None
