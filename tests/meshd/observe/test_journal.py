"""The journal: durable when it says so, whole after a kill at any byte, honest when the disk is not."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from meshd.observe import journal
from meshd.observe.journal import Journal
from meshd.observe.segments import lines_of, segments
from protocol import limits
from protocol.audit import PRUNED, RESTARTED, Act, Checker, Ending, Finding, read
from protocol.errors import MeshError
from tests.waiting import until

NODE = "n" * 32
ACT = Act("task.award", "task/t", "allow", iid="i")


class Disk:
    """Syncs for real, unless it is told to fail."""

    def __init__(self) -> None:
        self.syncs = 0
        self.fault = 0

    def __call__(self, fd: int) -> None:
        self.syncs += 1
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault))
        os.fdatasync(fd)


def taken_up(folder: Path, sync: Callable[[int], None] = os.fdatasync, **how: int) -> Journal:
    return Journal(folder, node=NODE, life=7, sync=sync, **how)


def found_in(folder: Path) -> tuple[int, Finding | None]:
    checker = Checker(is_whole=True)
    for path in segments(folder):
        for line in lines_of(path):
            if (finding := checker.take(line)) is not None:
                return checker.records, finding
    return checker.records, checker.end()


async def test_what_was_added_is_on_disk_in_order_and_verifies(tmp_path: Path) -> None:
    kept = taken_up(tmp_path / "audit")
    for _ in range(100):
        kept.add(ACT)
    await kept.settled()
    assert kept.durable == kept.head.seq == 100
    await kept.close()
    assert found_in(tmp_path / "audit") == (100, None)
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700
    assert segments(tmp_path / "audit")[0].stat().st_mode & 0o777 == 0o600


async def test_all_that_comes_during_a_sync_shares_the_next(tmp_path: Path) -> None:
    disk = Disk()
    kept = taken_up(tmp_path, disk)
    for _ in range(500):
        kept.add(ACT)
    await kept.settled()
    assert disk.syncs <= 2
    await kept.close()


async def test_what_nobody_waits_for_is_on_disk_a_moment_later_in_one_sync(tmp_path: Path) -> None:
    disk = Disk()
    kept = taken_up(tmp_path, disk)
    for _ in range(3):
        kept.add(ACT)
        await asyncio.sleep(0)
    assert (disk.syncs, kept.waiting) == (0, 3)
    await until(lambda: kept.durable == 3)
    assert disk.syncs == 1
    await kept.close()


async def test_who_waits_for_a_record_has_it_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "GATHER_S", 3_600.0)
    kept = taken_up(tmp_path)
    kept.hurry()
    kept.add(ACT)
    kept.hurry()
    await until(lambda: kept.durable == 1)
    kept.add(ACT)
    await kept.close()
    assert found_in(tmp_path) == (2, None)


async def test_a_disk_that_takes_nothing_is_tried_again_in_its_time_however_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "AGAIN_S", 3_600.0)
    disk = Disk()
    disk.fault = errno.EIO
    kept = taken_up(tmp_path, disk)
    kept.add(ACT)
    await kept.settled()
    assert kept.problem
    for _ in range(5):
        kept.add(ACT)
        kept.hurry()
        await asyncio.sleep(0)
    assert (disk.syncs, kept.waiting) == (1, 6)
    await kept.close()


async def test_what_is_added_after_the_end_is_written_nowhere(tmp_path: Path) -> None:
    kept = taken_up(tmp_path)
    kept.add(ACT)
    await kept.close()
    kept.add(ACT)
    kept.hurry()
    await kept.close()
    assert (kept.waiting, found_in(tmp_path)) == (1, (1, None))


async def test_another_life_goes_on_in_the_same_chain(tmp_path: Path) -> None:
    for _ in range(3):
        kept = taken_up(tmp_path)
        kept.add(ACT)
        await kept.close()
    assert found_in(tmp_path) == (3, None)


async def test_a_kill_at_any_byte_loses_no_record_that_was_whole(tmp_path: Path) -> None:
    kept = taken_up(tmp_path / "first")
    for _ in range(3):
        kept.add(ACT)
    await kept.close()
    whole = segments(tmp_path / "first")[0].read_bytes()
    for size in range(len(whole) + 1):
        folder = tmp_path / f"cut{size}"
        folder.mkdir()
        (folder / segments(tmp_path / "first")[0].name).write_bytes(whole[:size])
        again = taken_up(folder)
        survived = whole[:size].count(b"\n")
        assert again.head.seq == survived
        assert again.cut_bytes == size - (whole[:size].rfind(b"\n") + 1)
        again.add(ACT)
        await again.close()
        assert found_in(folder) == (survived + 1, None)


async def test_a_new_segment_begins_where_one_is_full_and_the_chain_goes_on(tmp_path: Path) -> None:
    kept = taken_up(tmp_path, segment_bytes=2_000)
    for _ in range(20):
        kept.add(ACT)
        await kept.settled()
    await kept.close()
    assert len(segments(tmp_path)) > 3
    assert found_in(tmp_path) == (20, None)
    (tmp_path / "000000000021.jsonl").touch()  # a kill right after it was made
    again = taken_up(tmp_path, segment_bytes=2_000)
    again.add(ACT)
    await again.close()
    assert found_in(tmp_path) == (21, None)


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
async def test_a_disk_that_takes_nothing_is_told_and_loses_nothing(
    tmp_path: Path, fault: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "AGAIN_S", 0.01)
    disk = Disk()
    kept = taken_up(tmp_path, disk)
    kept.add(ACT)
    await kept.settled()
    told: list[str] = []
    kept.watch(lambda: told.append(kept.problem))
    disk.fault = fault
    for _ in range(5):
        kept.add(ACT)
    await until(lambda: kept.problem)
    assert kept.problem == os.strerror(fault)
    assert (kept.durable, kept.head.seq) == (1, 6)
    disk.fault = 0
    await until(lambda: kept.durable == 6)
    assert (kept.problem, told[-1]) == ("", "")
    await kept.close()
    assert found_in(tmp_path) == (6, None)


async def test_what_found_no_room_while_the_disk_failed_is_counted_in_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "AGAIN_S", 0.01)
    monkeypatch.setattr(limits, "AUDIT_WAITING_MAX", 10)
    disk = Disk()
    disk.fault = errno.ENOSPC
    kept = taken_up(tmp_path, disk)
    for _ in range(15):
        kept.add(ACT)
    await until(lambda: kept.problem)
    assert (kept.left_out, kept.waiting) == (5, 10)
    disk.fault = 0
    await until(lambda: kept.durable == 11)  # also when nothing more happens
    kept.add(ACT)
    await kept.close()
    assert found_in(tmp_path) == (12, None)
    lines = [record for line in lines_of(segments(tmp_path)[0]) if (record := read(line)) is not None]
    assert (lines[10].action, lines[10].more) == ("audit.leave_out", {"records": 5})


async def test_old_segments_go_once_the_chain_says_so_and_never_unseen_by_the_stream(tmp_path: Path) -> None:
    kept = taken_up(tmp_path, segment_bytes=2_000)
    for _ in range(20):
        kept.add(ACT)
        await kept.settled()
    before = len(segments(tmp_path))
    kept.prune(before_ms=1 << 50, bytes_max=1 << 40, shipped=0)
    assert kept.head.seq == 20
    kept.prune(before_ms=0, bytes_max=1 << 40, shipped=20)
    assert kept.head.seq == 20
    kept.prune(before_ms=0, bytes_max=4_000, shipped=20)
    await until(lambda: len(segments(tmp_path)) < before)
    await kept.close()
    assert found_in(tmp_path)[1] is None
    actions = [record.action for line in lines_of(segments(tmp_path)[-1]) if (record := read(line)) is not None]
    assert actions[-1] == PRUNED


async def test_a_journal_whose_end_was_altered_or_is_foreign_takes_nothing_and_is_left_as_it_is(tmp_path: Path) -> None:
    kept = taken_up(tmp_path)
    kept.add(ACT)
    await kept.close()
    (path,) = segments(tmp_path)
    written = path.read_bytes()
    for content in (written.replace(b"task/t", b"task/u"), written.replace(b"n" * 32, b"m" * 32), b"{}\n", b"\n"):
        path.write_bytes(content)
        again = taken_up(tmp_path)
        assert "meshctl audit restart" in again.problem
        assert again.finding is not None
        assert again.finding.ending is Ending.ALTERED
        again.add(ACT)
        assert (again.waiting, again.durable) == (1, 1)
        await again.close()
        assert path.read_bytes() == content


@pytest.mark.parametrize("is_sound", [True, False])
async def test_a_chain_that_is_set_aside_is_kept_and_the_next_says_why_and_takes_what_waited(
    tmp_path: Path, is_sound: bool
) -> None:
    folder = tmp_path / "audit"
    kept = taken_up(folder)
    for _ in range(3):
        kept.add(ACT)
    await kept.close()
    (path,) = segments(folder)
    content = path.read_bytes()
    if not is_sound:
        content = content[:-90] + b"x" + content[-89:]
        path.write_bytes(content)
    again = taken_up(folder)
    again.add(ACT)
    restarting = asyncio.ensure_future(again.restart(Act(RESTARTED, "journal", "allow", "operator")))
    await asyncio.sleep(0)
    again.add(Act("task.submit", "task/u", "allow"))
    await restarting
    await again.close()
    assert (again.problem, again.waiting, again.chain) == ("", 0, 2)
    aside = tmp_path / "audit-1"
    assert (aside / path.name).read_bytes()[: len(content)] == content
    assert aside.stat().st_mode & 0o777 == 0o500
    assert (aside / path.name).stat().st_mode & 0o777 == 0o400
    assert found_in(aside)[1] is None if is_sound else found_in(aside)[1] is not None
    lines = [record for line in lines_of(segments(folder)[0]) if (record := read(line)) is not None]
    assert found_in(folder) == (len(lines), None)
    assert [each.chain for each in lines] == [2] * len(lines)
    assert (lines[0].action, lines[0].who, lines[0].more["former"]) == (RESTARTED, "operator", 1)
    assert lines[0].more["former_seq"] == lines[0].seq - 1 == (4 if is_sound else 3)
    assert lines[-1].action == "task.submit"
    third = taken_up(folder)
    assert (third.chain, third.head.seq) == (2, lines[-1].seq)
    await third.close()


async def test_a_kill_within_setting_aside_leaves_the_former_chain_or_the_next(tmp_path: Path) -> None:
    folder, fresh = tmp_path / "audit", tmp_path / "audit.next"
    kept = taken_up(folder)
    kept.add(ACT)
    await kept.close()
    fresh.mkdir()
    (fresh / "000000000002.jsonl").write_bytes(b'{"v":1')  # not yet whole: nobody was told of it
    again = taken_up(folder)
    assert (again.chain, again.head.seq, fresh.exists()) == (1, 1, False)
    await again.restart(Act(RESTARTED, "journal", "allow"))
    await again.close()
    folder.rename(fresh)  # between the two renamings
    last = taken_up(folder)
    assert (last.chain, last.head.seq, fresh.exists()) == (2, 2, False)
    await last.close()


async def test_what_cannot_be_set_aside_goes_on_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    kept = taken_up(folder)
    kept.add(ACT)
    (tmp_path / "audit-1").mkdir()
    restarting = asyncio.ensure_future(kept.restart(Act(RESTARTED, "journal", "allow")))
    await asyncio.sleep(0)
    kept.add(ACT)
    with pytest.raises(MeshError, match="audit-1"):
        await restarting
    await kept.close()
    assert found_in(folder) == (2, None)


async def test_a_link_in_the_place_of_a_segment_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    (tmp_path / "victim").write_text("precious\n")
    (folder / "000000000001.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(MeshError, match="symbolic link"):
        taken_up(folder)
    assert (tmp_path / "victim").read_text() == "precious\n"


async def test_closing_waits_for_what_was_added(tmp_path: Path) -> None:
    kept = taken_up(tmp_path)
    for _ in range(1_000):
        kept.add(ACT)
    async with asyncio.timeout(20):
        await kept.close()
    assert found_in(tmp_path) == (1_000, None)
