"""Why a node was declared dead: one answer, with its accusers and what each of them had heard."""

from collections.abc import Callable
from pathlib import Path

import pytest

from simulations.command import main
from simulations.deaths import DEATHS_SHOWN, Death, _fate, _Reading, deaths, told
from simulations.recorded import Record, Recorded
from simulations.running import BAD_SCENARIO, PASSED

STOPPED = """
about = "one of four is stopped, and is declared dead; a second one dies and the broker says so"
nodes = 4
run_s = 22
[[fault]]
kind = "pause"
node = "n4"
at_s = 4
for_s = 9
[[fault]]
kind = "crash"
node = "n2"
at_s = 16
"""

FLAPPING = """
about = "one of five is cut off four times, and is declared dead by all the others each time, in one life"
nodes = 5
run_s = 60
wire = "none"
[[fault]]
kind = "partition"
groups = [["n1", "n2", "n3", "n4"], ["n5"]]
at_s = 4
for_s = 9
every_s = 14
times = 4
"""


@pytest.fixture(scope="module")
def trace(traced: Callable[[str, int], Path]) -> Path:
    return traced(STOPPED, 2)


@pytest.fixture(scope="module")
def flapping(traced: Callable[[str, int], Path]) -> Path:
    return traced(FLAPPING, 1)


def _records(path: Path) -> dict[int, Record]:
    return {record.seq: record for record in Recorded(path).records() if isinstance(record, Record)}


def test_the_chain_of_a_death_that_a_timer_declared_leads_to_the_last_accusation_and_not_to_the_timer(
    trace: Path,
) -> None:
    (death,) = deaths(Recorded(trace), "n4")
    records = _records(trace)
    said = records[death.line.cause]
    assert (said.kind, said.what.split(",")[0]) == ("accuses", "n4 dead")
    last = records[said.cause]
    assert (last.kind, last.what.split(" ")[:2]) == ("accuses", ["n4", "suspect"])
    assert last.node in death.accusers
    assert last.seq == max(each.line.seq for each in death.accusations.values())


def test_a_death_names_every_accuser_with_its_line_and_what_it_had_heard_until_then(trace: Path) -> None:
    (death,) = deaths(Recorded(trace), "n4")
    records = _records(trace)
    assert len(death.accusers) >= 2
    for accuser in death.accusers:
        line = records[death.accusations[accuser].line.seq]
        assert (line.node, line.kind) == (accuser, "accuses")
    text = "\n".join(told(death, "n4"))
    assert "what was done: pause begins n4, at 4.000 s" in text
    assert "it did not answer; it heard of it last at 3." in text
    assert " to n4 came there unread" in text
    assert "; 2 more believed it by" in text


def test_who_asks_why_a_node_was_declared_dead_is_told_by_its_name(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(trace), "n2"]) == PASSED
    said = capsys.readouterr().out
    assert "n2 was declared dead by" in said
    assert "the broker said that nobody listens there" in said
    command = said.splitlines()[-1].partition(": python -m simulations ")[2].split()
    assert main(command) == PASSED
    by_line = capsys.readouterr().out
    assert "enough accused it, and its time was up" in by_line
    assert "n2 was declared dead by" in by_line
    assert main(["explain", str(trace), "n1"]) == PASSED
    assert capsys.readouterr().out == "n1 was never declared dead\n"


def test_what_is_neither_a_line_nor_a_node_is_refused(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for asked in ("n9", "why", ""):
        assert main(["explain", "--", str(trace), asked]) == BAD_SCENARIO
        assert f"there is no line {asked!r}" in capsys.readouterr().err


def test_where_the_dead_was_never_suspect_no_time_is_made_up(trace: Path) -> None:
    (death,) = deaths(Recorded(trace), "n4")
    assert f"{death.after_s:g} s after it was suspected there" in told(death, "n4")[0]
    death.after_s = None
    assert ", unsuspected there" in told(death, "n4")[0]


def test_each_death_of_one_life_is_told_for_itself_and_believed_by_no_more_than_there_are(flapping: Path) -> None:
    found = deaths(Recorded(flapping), "n5")
    assert [death.believers for death in found] == [4, 4, 4, 4]
    assert [int(death.line.t // 14e9) for death in found] == [0, 1, 2, 3], "one in each cut"
    for death in found:
        assert set(death.accusations) == set(death.accusers), "each with what it had heard before this one"
        assert all(death.line.t - 9e9 < each.line.t <= death.line.t for each in death.accusations.values())
        assert "; 3 more believed it by" in told(death, "n5")[0]


def test_a_death_of_who_is_damped_is_one_too_and_has_its_accusers_for_a_cause(flapping: Path) -> None:
    *_, death = deaths(Recorded(flapping), "n5")
    assert death.line.what.startswith("PeerDamped(")
    assert "death 4 of it there, where it was damped for dying so often" in told(death, "n5")[0]
    assert _records(flapping)[death.line.cause].kind == "accuses"


def test_who_died_often_is_told_so_and_the_last_deaths_alone(
    flapping: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(flapping), "n5"]) == PASSED
    said = capsys.readouterr().out
    assert said.startswith("n5 was declared dead 4 times; the last 3:\n")
    assert said.count("; 3 more believed it by") == DEATHS_SHOWN
    assert "what was done: partition begins, at 18.000 s" in said


def test_a_death_that_some_still_learn_of_while_others_have_it_back_is_no_second_one(flapping: Path) -> None:
    reading = _Reading(Recorded(flapping).scenario, "n5")
    found: list[Death] = []
    dead, alive = "PeerDead(name='n5', life=7, accusers=(), after_s=5.0)", "PeerAlive(name='n5', life=7)"
    said = (("n1", dead), ("n2", dead), ("n1", alive), ("n4", alive), ("n3", dead), ("n2", alive), ("n2", dead))
    for seq, (node, what) in enumerate(said, start=1):
        line = Record(seq, seq, node, "event", 0, what)
        reading._befell(line, _fate(line), found)
    assert [sorted(death.believed.items()) for death in found] == [[(1, "n1"), (2, "n2"), (5, "n3")], [(7, "n2")]]
