"""What an operator sees of how an agent has done."""

import pytest

from meshd import clock
from meshd.tally import Ran, Tally


def test_ends_are_counted_and_the_latest_times_count_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall_ms", lambda: 7)
    tally = Tally()
    tally.done("a", took_ms=100.0)
    tally.done("a", took_ms=200.0)
    tally.failed("a", "agent_failed: no such customer")
    tally.fell("b", "ended with exit code 3")
    assert tally.of("a") == Ran(2, 1, 120.0, 0, "agent_failed: no such customer", 7)
    assert tally.of("b") == Ran(restarts=1, last_error="ended with exit code 3", last_error_ms=7)
    tally.forget("a")
    assert tally.of("a") == Ran()
