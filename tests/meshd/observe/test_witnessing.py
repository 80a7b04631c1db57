"""The stream as witness: the same chain verifies, and what is otherwise there, or not here, is named by number."""

from pathlib import Path

import msgspec
import pytest

from meshd.observe.segments import name_of
from meshd.observe.verify import beside_stream, verify
from meshd.observe.witnessing import Mark
from protocol.audit import Act, Chain, Ending, read
from tests.meshd.observe.test_verify import kept
from tests.protocol.sealing import ALICE


def told(lines: list[bytes]) -> list[Mark]:
    """What the stream was given, as these."""
    records = [read(line) for line in lines]
    return [(each.seq, each.hash) for each in records if each is not None]


def test_a_journal_that_stands_in_the_stream_is_verified_whatever_was_noted_of_that(tmp_path: Path) -> None:
    every = told(kept(tmp_path / "audit", 3, 4, witnessed=0))
    assert verify(tmp_path).ending is Ending.UNWITNESSED
    report = beside_stream(verify(tmp_path), tmp_path, every)
    assert report.stream is not None
    assert (report.ending, report.stream.same, report.stream.first, report.stream.last) == (Ending.VERIFIED, 7, 1, 7)


@pytest.mark.parametrize(("some", "missing"), [(slice(3), 4), (slice(3, None), 3), (slice(0), 7)])
def test_what_the_stream_has_not_or_no_longer_is_not_witnessed(tmp_path: Path, some: slice, missing: int) -> None:
    every = told(kept(tmp_path / "audit", 7))
    report = beside_stream(verify(tmp_path), tmp_path, every[some])
    assert report.stream is not None
    assert (report.ending, report.stream.missing) == (Ending.UNWITNESSED, missing)


def test_a_chain_that_was_written_anew_with_the_node_s_key_is_not_what_the_stream_was_given(tmp_path: Path) -> None:
    true = told(kept(tmp_path / "true", 5))
    chain = Chain(ALICE.id)
    lies = [chain.add(Act("task.award", "task/other", "allow"), life=1, time_ms=1_000) for _ in range(5)]
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / name_of(1)).write_bytes(b"".join(line + b"\n" for line in lies))
    assert verify(tmp_path).ending is Ending.UNWITNESSED
    report = beside_stream(verify(tmp_path), tmp_path, true)
    assert report.stream is not None
    assert report.stream.finding is not None
    assert (report.ending, report.stream.finding.seq) == (Ending.ALTERED, 1)


def test_what_is_only_in_the_stream_was_cut_off_here_and_what_is_twice_there_forked(tmp_path: Path) -> None:
    every = told(kept(tmp_path / "audit", 5))
    more = [*every, (6, "f" * 64)]
    assert beside_stream(verify(tmp_path), tmp_path, more).ending is Ending.GAP
    twice = [*every, (3, "f" * 64)]
    assert beside_stream(verify(tmp_path), tmp_path, twice).ending is Ending.FORKED


def test_records_of_a_journal_that_goes_on_meanwhile_and_those_after_a_part_are_no_gap(tmp_path: Path) -> None:
    lines = kept(tmp_path / "audit", 5)
    report = verify(tmp_path)
    chain = Chain(ALICE.id)
    longer = [
        chain.add(Act("task.award", "task/t", "allow", iid="i", gid="g"), life=1, time_ms=1_000) for _ in range(6)
    ]
    assert longer[:5] == lines

    def meanwhile() -> list[Mark]:
        (tmp_path / "audit" / name_of(6)).write_bytes(longer[5] + b"\n")
        return told(longer)

    found = beside_stream(report, tmp_path, (mark for mark in meanwhile()))
    assert (found.ending, found.stream and found.stream.same) == (Ending.VERIFIED, 6)
    part = tmp_path / "part.jsonl"
    part.write_bytes(b"".join(line + b"\n" for line in lines))
    found = beside_stream(verify(part), part, told(longer))
    assert found.stream is not None
    assert (found.stream.ending, found.stream.same) == (Ending.VERIFIED, 5)
    assert found.ending is Ending.UNWITNESSED, "nobody signed where it ends"
    assert msgspec.json.encode(found)
