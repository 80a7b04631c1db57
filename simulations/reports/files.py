"""Writes a report to files, by what their names end in.

Invariant: a name that no report can have is refused before anything runs. Neighbours: `command`
checks and hands names over, `outputs` says which files may be written, `running` and `sweep` save.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from simulations.reports.manypage import sweep_page
from simulations.reports.page import run_page
from simulations.reports.shapes import Report, RunReport
from simulations.reports.ticket import ticket
from simulations.scenario import ScenarioError
from simulations.wording import trouble_of


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


def check(paths: Sequence[Path]) -> None:
    """Raises ScenarioError for an end that no report has; `outputs` says the rest."""
    for path in paths:
        if path.suffix not in WRITERS:
            raise ScenarioError(f"--report {path}: a report ends in {', '.join(WRITERS)}")


def save(report: Report, paths: Sequence[Path]) -> None:
    """Every file. Raises ScenarioError for one that cannot be written."""
    for path in paths:
        try:
            path.write_text(WRITERS[path.suffix](report), encoding="utf-8", newline="\n")
        except OSError as error:
            raise ScenarioError(f"--report {path}: {trouble_of(error)}") from None
