"""Faults that wait for their moment: whoever plays a role is hit at the very instant of it."""

import pytest

from simulations.scenario import parsed
from simulations.trace import Line
from simulations.world import World

HEAD = """
about = "one fault"
nodes = 4
run_s = 14
agents = { runs_s = [0.5, 1], slots = 1 }
"""


def _lines(text: str, *, seed: int = 1) -> list[Line]:
    lines: list[Line] = []
    verdict = World(parsed(HEAD + text, origin="here"), seed=seed, write=lines.append).run()
    assert not verdict.violations, verdict.violations
    return lines


def _crash_of(lines: list[Line]) -> int:
    return next(at for at, line in enumerate(lines) if line.kind == "fault" and "crash begins" in line.what)


@pytest.mark.parametrize(
    ("role", "route", "before"),
    [("bidder", "bids", "AuctionClosed"), ("taker", "late", "stored")],
)
def test_a_fault_on_the_role_of_a_moment_comes_at_that_moment(role: str, route: str, before: str) -> None:
    work = f'work = {{ tasks = 6, from_s = 3, every_s = 0.1, route = "{route}" }}\n'
    lines = _lines(work + f'[[fault]]\nkind = "crash"\nnode = "{role}"\nat_s = 3\nfor_s = 2\n')
    at = _crash_of(lines)
    cause = next(line for line in reversed(lines[:at]) if before in (line.kind, line.what.split("(", 1)[0]))
    assert cause.at_ns == lines[at].at_ns, "the same instant"


def test_a_role_that_nobody_plays_is_a_fault_that_never_began() -> None:
    text = HEAD + '[[fault]]\nkind = "crash"\nnode = "taker"\nat_s = 3\nfor_s = 2\n'
    verdict = World(parsed(text, origin="here"), seed=1).run()
    assert [each.rule for each in verdict.violations] == ["faults-happen"]
