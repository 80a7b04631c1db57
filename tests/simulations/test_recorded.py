"""Traces in files: opened again, run again, explained and compared; and refused when they are not what they were."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulations.command import main
from simulations.recorded import Record, Recorded
from simulations.running import BAD_SCENARIO, NOT_DETERMINISTIC, PASSED, VIOLATED
from simulations.signing import identity_of

TINY = """
about = "three nodes, one crash"
nodes = 3
run_s = 6
work = { tasks = 2, from_s = 2, every_s = 0.5 }
[[fault]]
kind = "crash"
node = "n2"
at_s = 3
"""


@pytest.fixture(scope="module")
def trace(traced: Callable[[str, int], Path]) -> Path:
    return traced(TINY, 3)


def _records(path: Path) -> list[Record]:
    return [record for record in Recorded(path).records() if isinstance(record, Record)]


def test_every_line_has_a_cause_before_it_that_fits_its_kind(trace: Path) -> None:
    records = _records(trace)
    by_seq = {record.seq: record for record in records}
    kinds: dict[str, set[str]] = {}
    for record in records:
        cause = by_seq.get(record.cause)
        assert cause is None or (cause.seq < record.seq and cause.t <= record.t)
        kinds.setdefault(record.kind, set()).add("" if cause is None else cause.kind)
    assert kinds["message"] <= {"input", "life", "fault", "accuses"}, "a message comes of what its sender was told"
    assert {"message", "stored", "input", "run"} <= kinds["input"]
    assert kinds["run"] == {"input"}
    assert kinds["fault"] == {""}
    assert kinds["stored"] == {"input"}
    received = [record for record in records if record.what == "Received"]
    assert all(by_seq[record.cause].kind == "message" for record in received)


def test_a_replay_is_the_same_and_shows_one_node_up_to_a_time(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(trace)]) == PASSED
    assert "the same to 6 s, seed 3" in capsys.readouterr().out
    assert main(["replay", str(trace), "--until", "2.5s", "--node", "n1"]) == PASSED
    *lines, last = capsys.readouterr().out.splitlines()
    assert "the same to 2.5 s" in last
    assert lines
    assert all(line.split()[2] == "n1" and float(line.split()[1]) <= 2.5 for line in lines)
    assert main(["replay", str(trace), "--node", "n9"]) == BAD_SCENARIO


def _changed(trace: Path, to: Path, at: int, values: dict[str, Any], *, is_sealed: bool = False) -> Path:
    """The trace with other values in one of its lines; without the sum of its lines, unless sealed."""
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    lines[at] |= values
    if not is_sealed:
        del lines[-1]["lines"]
    to.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return to


def test_a_trace_whose_run_is_another_is_held_against_it_line_by_line(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _changed(trace, tmp_path / "edited.trace", 40, {"what": "Nothing"})
    assert main(["replay", str(other)]) == NOT_DETERMINISTIC
    said = capsys.readouterr().out
    assert "trace:       40 " in said
    assert "run:       40 " in said
    assert "they differ in what" in said


def test_what_differs_is_named_though_the_lines_read_the_same(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at, record = next((record.seq, record) for record in _records(trace) if record.kind == "message")
    changes: list[tuple[dict[str, Any], str]] = [
        ({"t": record.t + 1}, f"they differ in t ({record.t + 1} and {record.t} ns)\n"),
        ({"crc": record.crc ^ 1}, f"they differ in the bytes ({record.size} with sum"),
        ({"cause": record.cause - 1}, "they differ in cause\n"),
    ]
    for values, told in changes:
        assert main(["replay", str(_changed(trace, tmp_path / "other.trace", at, values))]) == NOT_DETERMINISTIC
        assert told in capsys.readouterr().out


@pytest.mark.parametrize(("at", "values"), [(0, {"seed": 4}), (40, {"what": "Nothing"}), (-1, {"digest": "0" * 32})])
def test_a_trace_that_was_changed_after_it_was_written_is_refused_and_not_called_another_run(
    at: int, values: dict[str, Any], trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(_changed(trace, tmp_path / "whole.trace", 0, {}, is_sealed=True))]) == PASSED
    capsys.readouterr()
    other = _changed(trace, tmp_path / "mine.trace", at, values, is_sealed=True)
    assert main(["replay", str(other)]) == BAD_SCENARIO
    caught = capsys.readouterr()
    assert "was changed after it was written" in caught.err
    assert "DETERMINISTIC" not in caught.out


@pytest.mark.parametrize(
    "words", [["explain", "MINE", "20"], ["explain", "MINE"], ["diff", "TRACE", "MINE"], ["shrink", "MINE"]]
)
@pytest.mark.parametrize(("at", "values"), [(20, {"what": "SomethingInvented"}), (0, {"seed": 4})])
def test_a_trace_that_was_changed_is_believed_by_no_command(
    at: int, values: dict[str, Any], words: list[str], trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _changed(trace, tmp_path / "mine.trace", at, values, is_sealed=True)
    files = {"TRACE": str(trace), "MINE": str(path)}
    assert main([files.get(word, word) for word in words]) == BAD_SCENARIO
    said = capsys.readouterr()
    assert said.err.startswith(f"error[bad_scenario]: {path} was changed after it was written")
    assert not said.out


def test_a_trace_without_its_check_sum_is_read_and_said_to_be_vouched_for_by_nothing(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, raw = tmp_path / "unsealed.trace", trace.read_bytes()
    path.write_bytes(re.sub(rb',"lines":"[0-9a-f]+"', b"", raw))
    assert path.stat().st_size < len(raw)
    for words in (["explain", str(path), "20"], ["explain", str(path), "n2"], ["diff", str(trace), str(path)]):
        assert main(words) == PASSED
        note = f"note: {path} has no check sum; so nothing says that it was not changed\n"
        assert capsys.readouterr().err == note
    assert main(["replay", str(path)]) == PASSED, "which finds out for itself"
    assert not capsys.readouterr().err


def test_a_trace_that_is_cut_is_good_up_to_there_and_said_to_be_cut(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, raw = tmp_path / "cut.trace", trace.read_bytes()
    path.write_bytes(raw[: raw.index(b"\n", len(raw) // 2) + 9])
    for words in (["replay", str(path), "--until", "1s"], ["explain", str(path), "20"]):
        assert main(words) == PASSED
        [note] = capsys.readouterr().err.splitlines()
        assert note.startswith(f"note: {path} is cut: it has no end, after line ")
        assert "its run was stopped or crashed" in note


def test_what_a_trace_or_a_scenario_says_does_not_steer_the_terminal(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "a\x1b[31m\nb\u202ec"
    path = _changed(trace, tmp_path / "evil.trace", 40, {"what": evil, "kind": evil})
    assert main(["diff", str(trace), str(path)]) == VIOLATED
    assert main(["replay", str(path)]) == NOT_DETERMINISTIC
    broken = [{"rule": evil, "at_s": 1, "what": evil, "ancestry": [40]}]
    path = _changed(path, tmp_path / "broken.trace", -1, {"broken": broken, "lines": ""})
    assert main(["explain", str(path)]) == PASSED
    (tmp_path / "evil.toml").write_text('about = "a\u202eb"\nnodes = 2\nrun_s = 4\n', encoding="utf-8")
    assert main(["show", str(tmp_path / "evil.toml")]) == PASSED
    path = _changed(trace, tmp_path / "evil.trace", 40, {"node": evil})
    assert main(["replay", str(path)]) == BAD_SCENARIO
    path = _changed(trace, tmp_path / "evil.trace", 40, {evil: 1})
    assert main(["replay", str(path)]) == BAD_SCENARIO
    caught = capsys.readouterr()
    assert caught.out.count("\\u001b[31m\\u000ab\\u202ec") >= 5
    assert 'about = "a\\u202eb"' in caught.out
    assert not {"\x1b", "\u202e"} & set(caught.out + caught.err)


def test_a_chain_is_told_backwards_with_how_one_led_to_the_other(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = next(record.seq for record in _records(trace) if record.what.startswith("TaskDone"))
    assert main(["explain", str(trace), str(done)]) == PASSED
    said = capsys.readouterr().out
    assert f"{done:>8} " in said.splitlines()[0]
    for words in ("Written", "the record had taken it", "AgentFinished", "the agent had begun", "Submit"):
        assert words in said
    assert "the scenario wanted it" in said.splitlines()[-1]
    assert main(["explain", str(trace), str(done), "--count", "2"]) == PASSED
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize("event", ["0", "-4", "99999999"])
def test_an_event_that_is_none_is_refused_with_those_there_are(
    trace: Path, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("--", event), ("--count", "3", event)):
        assert main(["explain", str(trace), *words]) == BAD_SCENARIO
        assert f"which has lines 1 to {len(_records(trace))}\n" in capsys.readouterr().err


def test_what_broke_a_run_is_explained_without_naming_an_event(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.trace"
    change = ["--set", "expect.eventually={tasks-done=0}"]
    assert main(["run", str(trace.with_suffix(".toml")), "--seed", "3", *change, "--trace", str(path)]) == VIOLATED
    said = capsys.readouterr().out
    assert "what led to it" in said
    assert "replay broken" not in said
    assert main(["explain", str(path)]) == PASSED
    assert "VIOLATED tasks-done" in capsys.readouterr().out
    assert main(["replay", str(path)]) == VIOLATED
    assert main(["explain", str(trace)]) == BAD_SCENARIO, "nothing is broken there"


ID_OF_N2 = identity_of("n2").id


def test_people_read_the_names_of_nodes_and_programs_their_ids(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.trace"
    never = ["--set", 'expect.never=["peer-suspect"]', "--once"]
    assert main(["run", str(trace.with_suffix(".toml")), "--seed", "3", *never, "--trace", str(path)]) == VIOLATED
    last = _records(path)[-1].seq
    other = _changed(path, tmp_path / "other.trace", last, {"size": 1})
    told = [capsys.readouterr().out]
    for command, *rest in (["explain"], ["explain", str(last)], ["replay", "--node", "n1"], ["diff", str(other)]):
        main([command, str(path), *rest])
        told.append(capsys.readouterr().out)
    assert [("peer='n2'" in each, ID_OF_N2 in each) for each in told] == [(True, False)] * 5
    assert main(["explain", str(path), "-o", "json"]) == PASSED
    assert ID_OF_N2 in capsys.readouterr().out


PROMISE, FIGURE = "expect.eventually={tasks-done=0}", "expect.figures={messages-node-s=0.1}"


@pytest.mark.parametrize(
    ("change", "until", "code"),
    [
        (PROMISE, "6", VIOLATED),
        (FIGURE, "6", VIOLATED),
        (FIGURE, "60", VIOLATED),
        (FIGURE, "5.99", PASSED),
        (PROMISE, "2", PASSED),
    ],
)
def test_what_is_broken_is_told_by_a_replay_to_the_very_end_and_of_a_part_nothing_that_is_not_due(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, until: str, code: int
) -> None:
    path = tmp_path / "broken.trace"
    main(["run", str(trace.with_suffix(".toml")), "--seed", "3", "--once", "--set", change, "--trace", str(path)])
    capsys.readouterr()
    assert main(["replay", str(path), "--until", until]) == code
    assert ("VIOLATED" in capsys.readouterr().out) is (code == VIOLATED)


def test_two_traces_part_where_the_runs_did_with_what_led_there(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(trace), str(trace)]) == PASSED
    other = tmp_path / "other.trace"
    change = ["--set", "fault.0.at_s=3.5", "--once"]
    main(["run", str(trace.with_suffix(".toml")), "--seed", "3", *change, "--trace", str(other)])
    capsys.readouterr()
    assert main(["diff", str(trace), str(other)]) == VIOLATED
    said = capsys.readouterr().out
    assert "they are of different scenarios" in said
    assert "fault     crash begins n2" in said
    assert "what led to the second" in said


SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is no trace: it is empty"),
    "junk": (lambda _: os.urandom(4_096), "is no trace"),
    "no text": (lambda _: b"\xff\xfe\n" * 9, "is no trace"),
    "another version": (lambda raw: raw.replace(b'{"trace":1', b'{"trace":2', 1), "a trace of version 2; this reads"),
    "no version": (lambda raw: raw.replace(b'{"trace":1,', b"{", 1), "is no trace"),
    "a list": (lambda raw: b"[1]\n" + raw, "is no trace"),
    "nested": (lambda raw: b"[" * 100_000 + b"\n" + raw, "is no trace"),
    "a header that says more": (lambda raw: raw.replace(b'{"trace":1', b'{"trace":1,"x":1', 1), "unknown field x"),
    "a scenario that is none": (lambda raw: raw.replace(b"nodes = 3", b"nodes = x", 1), "its scenario"),
    "a scenario of another kind": (lambda raw: raw.replace(b"nodes = 3", b"nodes = -3", 1), "nodes"),
    "cut in a line": (lambda raw: raw[: raw.index(b"\n", len(raw) // 2) + 9], "is cut: it has no end, after line "),
    "cut after a line": (lambda raw: raw[: raw.index(b"\n", len(raw) // 2) + 1], "is cut: it has no end, after line "),
    "cut after the header": (lambda raw: raw[: raw.index(b"\n") + 1], "is cut: it has no end, nor a line"),
    "a line twice": (lambda raw: raw.replace(b'{"seq":9,', b'{"seq":8,', 1), "line 8 of the trace stands where 9"),
    "a cause after it": (lambda raw: raw.replace(b'"cause":4,', b'"cause":9999,', 1), "does not stand before it"),
    "a negative cause": (lambda raw: raw.replace(b'"cause":4,', b'"cause":-8,', 1), "does not stand before it"),
    "a node that is none": (lambda raw: raw.replace(b'"node":"n1"', b'"node":"n9"', 1), "there is no node 'n9'"),
    "more after the end": (lambda raw: raw + b"{}\n", "something stands after the end"),
    "an endless line": (lambda raw: raw.split(b"\n")[0] + b"\n" + b" " * (3 << 20), "too long"),
    "a huge number": (lambda raw: raw.replace(b'{"seq":9,', b'{"seq":' + b"9" * 5_000 + b",", 1), "line 10"),
}


@pytest.mark.parametrize("how", SPOILED)
@pytest.mark.parametrize("command", [["replay"], ["explain"], ["diff"]])
def test_a_spoiled_trace_is_refused_in_one_sentence_that_says_where(
    how: str, command: list[str], trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, told = SPOILED[how]
    path = tmp_path / "spoiled.trace"
    path.write_bytes(spoil(trace.read_bytes()))
    words = [*command, str(path)] + ([str(path)] if command == ["diff"] else [])
    assert main(words) in (BAD_SCENARIO, NOT_DETERMINISTIC)
    caught = capsys.readouterr()
    if command != ["replay"] or caught.err:  # a replay may find the run different before it comes to that line
        assert caught.err.startswith(f"error[bad_scenario]: {path}")
        assert told in caught.err
        assert len(caught.err.splitlines()) == 2


def test_a_trace_that_is_not_there_is_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "none")]) == BAD_SCENARIO
    assert "cannot be read" in capsys.readouterr().err
    assert main(["diff", str(tmp_path), str(tmp_path)]) == BAD_SCENARIO
