"""Accusations as lines of the trace: said once, before what tells them, and what a death comes of."""

from simulations.accusations import ACCUSES
from simulations.scenario import parsed
from simulations.trace import Line
from simulations.world import World

CRASH = """
about = "one of five hangs for ever"
nodes = 5
run_s = 16
[[fault]]
kind = "crash"
node = "n5"
noticed_s = 60
at_s = 4
"""


def _lines() -> list[Line]:
    lines: list[Line] = []
    World(parsed(CRASH, origin="crash"), seed=3, write=lines.append).run()
    return lines


def test_an_accusation_is_one_line_and_every_message_that_tells_it_has_it_for_its_cause() -> None:
    lines = _lines()
    by_seq = {line.seq: line for line in lines}
    said = [line for line in lines if line.kind == ACCUSES]
    assert {line.what.split(", ")[1] for line in said} == {"timeout"}
    assert len({(line.node, line.what) for line in said}) == len(said), "what is repeated is no new accusation"
    for line in lines:
        if line.kind == "message" and line.what.split(" ")[0] in ("Suspect", "Confirm", "Dead"):
            cause = by_seq[line.cause]
            is_said_again = cause.kind == "input" and cause.what == "Tick"
            assert is_said_again or (cause.kind == ACCUSES and cause.node == line.what.split(" ")[-1])


def test_a_death_that_was_told_has_the_message_for_its_cause_and_one_that_was_found_out_the_accusers() -> None:
    lines = _lines()
    by_seq = {line.seq: line for line in lines}
    deaths = [line for line in lines if line.kind == "event" and line.what.startswith("PeerDead")]
    causes = {by_seq[death.cause].kind for death in deaths}
    assert causes == {ACCUSES, "input"}
    for death in deaths:
        if by_seq[death.cause].kind == "input":
            assert by_seq[death.cause].what == "Received"
