"""The chains on disk: how one ends, which were set aside, and what a kill leaves of setting one aside."""

import os
from pathlib import Path

import pytest

from meshd.observe.chains import aside, begin, take_up
from meshd.observe.segments import name_of, segments
from protocol import limits
from protocol.audit import RESTARTED, Act, Chain, Ending, Head, origin
from protocol.errors import MeshError

NODE = "n" * 32
ACT = Act("task.award", "task/t", "allow")


def written(folder: Path, count: int, *, number: int = 1) -> list[bytes]:
    folder.mkdir(exist_ok=True)
    chain = Chain(NODE, number=number)
    lines = [chain.add(Act(RESTARTED, "journal", "allow") if number > 1 else ACT, life=1, time_ms=1)]
    lines += [chain.add(ACT, life=1, time_ms=1) for _ in range(count - 1)]
    (folder / name_of(1)).write_bytes(b"".join(line + b"\n" for line in lines))
    return lines


def test_a_folder_that_is_not_there_is_made_and_begins_the_first_chain(tmp_path: Path) -> None:
    tail = take_up(tmp_path / "audit", NODE)
    assert (tail.head, tail.chain, tail.is_sound, tail.path) == (None, 1, True, None)
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700


def test_the_end_of_a_sound_journal_is_its_last_record(tmp_path: Path) -> None:
    written(tmp_path / "audit", 3, number=2)
    tail = take_up(tmp_path / "audit", NODE)
    assert tail.head is not None
    assert (tail.head.seq, tail.chain, tail.is_sound, tail.finding) == (3, 2, True, None)


def test_damage_before_a_sound_end_is_found_and_the_end_is_one(tmp_path: Path) -> None:
    lines = written(tmp_path / "audit", 9)
    bent = lines[4].replace(b"task/t", b"task/u")
    (tmp_path / "audit" / name_of(1)).write_bytes(b"\n".join([*lines[:4], bent, *lines[5:], b""]))
    tail = take_up(tmp_path / "audit", NODE)
    assert tail.finding is not None
    assert (tail.is_sound, tail.finding.ending, tail.finding.seq) == (True, Ending.ALTERED, 5)


def test_a_record_in_the_place_of_the_last_one_that_is_none_keeps_its_number(tmp_path: Path) -> None:
    lines = written(tmp_path / "audit", 3)
    (tmp_path / "audit" / name_of(1)).write_bytes(b"\n".join([*lines[:2], b"{}", b""]))
    tail = take_up(tmp_path / "audit", NODE)
    assert (tail.is_sound, tail.head, tail.chain) == (False, Head(3, ""), 1)


def test_chains_that_were_set_aside_are_listed_in_order_and_are_never_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    written(folder, 2)
    for number in range(1, 12):
        chain = Chain(NODE, Head(number, origin(NODE, number + 1).hash), number=number + 1)
        line = chain.add(Act(RESTARTED, "journal", "allow"), life=1, time_ms=1) + b"\n"
        os.close(begin(folder, former=number, name=name_of(chain.head.seq), line=line))
    assert [number for number, _ in aside(folder)] == list(range(1, 12))
    assert {path.stat().st_mode & 0o777 for _, kept in aside(folder) for path in segments(kept)} == {0o400}
    assert take_up(folder, NODE).chain == 12


def test_so_many_chains_as_are_no_accident_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUDIT_CHAINS_MAX", 1)
    folder = tmp_path / "audit"
    written(folder, 1)
    os.close(begin(folder, former=1, name=name_of(2), line=b"{}\n"))
    with pytest.raises(MeshError, match="one more than 1"):
        begin(folder, former=2, name=name_of(3), line=b"{}\n")
    assert segments(folder) == [folder / name_of(2)]


def test_a_chain_that_is_missing_while_others_lie_aside_is_followed_by_the_next_number(tmp_path: Path) -> None:
    (tmp_path / "audit-3").mkdir()
    assert take_up(tmp_path / "audit", NODE).chain == 4


def test_what_has_another_name_is_no_chain(tmp_path: Path) -> None:
    for name in ("audit-x", "audit-", "audit-1x", "my-audit-1", "audit-1234567"):
        (tmp_path / name).mkdir()
    assert aside(tmp_path / "audit") == []
