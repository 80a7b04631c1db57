"""Traces that a command is given, opened: whole, believed without being run again, or no further than they go.

Invariant: what nothing vouches for is said to be so, on stderr; what was changed is refused. Neighbours: `recorded`
reads the lines, `postmortem` asks.
"""

import sys
from pathlib import Path

from simulations.recorded import Recorded
from simulations.scenario import ScenarioError
from simulations.visible import visible

_CUT = "what there is can be replayed with --until, and explained by the number of a line"


def whole(path: Path) -> Recorded:
    """A trace that is as it was written, to its end. Raises ScenarioError."""
    trace = Recorded(path)
    if cut := trace.check():
        raise ScenarioError(f"{cut}; {_CUT}")
    return trace


def believed(path: Path) -> Recorded:
    """The same, to be believed and not run again: of one without a check sum it is said that nothing vouches for it."""
    trace = whole(path)
    if not trace.has_sum:
        _warn(f"{path} has no check sum")
    return trace


def begun(path: Path) -> Recorded:
    """A trace that is as it was written; of one that is cut it is said that nothing vouches for it."""
    trace = Recorded(path)
    cut = trace.check()
    if cut or not trace.has_sum:
        _warn(cut or f"{path} has no check sum")
    return trace


def _warn(what: str) -> None:
    print(f"note: {visible(what)}; so nothing says that it was not changed", file=sys.stderr)
