"""What cells of the matrix noted is shown as one table, after all of them."""

import pytest

TITLES = ("fault", "load", "seen", "work", "mended s", "took s", "verdict")
WIDEST = 110


def _lines(rows: list[tuple[str, ...]]) -> list[str]:
    cut = [tuple(cell if number == len(row) - 1 else cell[:WIDEST] for number, cell in enumerate(row)) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cut, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cut]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One row for each cell that was to be played, those that could not be included."""
    reports = [
        report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "user_properties")
    ]
    rows = {cell[:2]: cell for report in reports for name, cell in report.user_properties if name == "cell"}
    if rows:
        terminalreporter.section("faults")
        for line in _lines([TITLES, *(tuple(str(each) for each in row) for row in rows.values())]):
            terminalreporter.write_line(line)
