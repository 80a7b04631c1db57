"""Why a node was declared dead: one answer, with its accusers and what each of them had heard."""

from pathlib import Path

import pytest

from simulations.command import main
from simulations.deaths import deaths, told
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


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deaths")
    (folder / "stopped.toml").write_text(STOPPED)
    path = folder / "stopped.trace"
    assert main(["run", str(folder / "stopped.toml"), "--seed", "2", "--once", "--trace", str(path)]) == PASSED
    return path


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
