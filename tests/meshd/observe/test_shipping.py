"""The journal reaches the stream once and in order, whatever is lost on the way; a fork is told and not hidden."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from meshd.observe import shipping as shipping_module
from meshd.observe.journal import Journal
from meshd.observe.shipping import WITNESS, Sending, Shipping, read_witness, write_witness
from meshd.ports import Kept, Span
from meshd.supervise import Supervisor
from protocol import limits
from protocol.audit import RESTARTED, Act, Checker
from protocol.envelope import Envelope, Sealer
from protocol.errors import MeshError
from protocol.wire.audit import AuditBatch
from tests.protocol.sealing import ALICE, BOB, LIFE, NOW, SUBJECTS, opener
from tests.waiting import until

SUBJECT = SUBJECTS.audit(src=ALICE.id)
ACT = Act("task.award", "task/t", "allow")


class MemoryArchive:
    """An archive whose acknowledgements can be lost, and that can be out of reach."""

    def __init__(self) -> None:
        self.frames: list[Kept] = []
        self.is_away = False
        self.loses_answers = 0
        self.opened = 0

    def _reach(self) -> None:
        if self.is_away:
            raise MeshError("store", problem="is away")

    async def open(self) -> None:
        self._reach()
        self.opened += 1

    async def append(self, subject: str, frame: bytes, *, mark: str, expect: int) -> int | None:
        self._reach()
        last = await self.last(subject)
        if (last.seq if last is not None else 0) != expect:
            return None
        self.frames.append(Kept(len(self.frames) + 1, subject, frame))
        if self.loses_answers:
            self.loses_answers -= 1
            raise MeshError("store", problem="lost its connection")
        return len(self.frames)

    async def last(self, subject: str) -> Kept | None:
        self._reach()
        return next((kept for kept in reversed(self.frames) if kept.subject == subject), None)

    async def next(self, subject: str, seq: int) -> Kept | None:
        return next((kept for kept in self.frames if kept.seq >= seq), None)

    async def span(self) -> Span:
        return Span(min(1, len(self.frames)), len(self.frames))

    async def close(self) -> None:
        pass

    def put(self, frame: bytes) -> None:
        """As anybody can who knows the subject."""
        self.frames.append(Kept(len(self.frames) + 1, SUBJECT, frame))

    def lines(self, frames: int | None = None) -> list[bytes]:
        found: list[bytes] = []
        for kept in self.frames[:frames]:
            opened = opener().open_audit(kept.subject, kept.frame)
            if not isinstance(opened, Envelope):
                continue
            assert isinstance(opened.body, AuditBatch)
            found += [line.encode() for line in opened.body.lines]
        return found


class Stage:
    def __init__(self, folder: Path, archive: MemoryArchive) -> None:
        self.failures: list[BaseException] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append(failure))
        self.journal = Journal(folder, node=ALICE.id, life=1)
        self.archive = archive
        sealer = Sealer(signer=ALICE, life=LIFE)
        sending = Sending(
            subject=SUBJECT,
            stream=SUBJECTS.audit_stream,
            signer=ALICE,
            seal=lambda body: sealer.seal(body, subject=SUBJECT, now=NOW, ttl_ms=0),
            open=lambda frame: opener().open_audit(SUBJECT, frame),
        )
        self.shipping = Shipping(self.journal, archive, sending)

    def start(self) -> None:
        self.supervisor.spawn("shipping", self.shipping.run())

    async def add(self, count: int) -> None:
        for _ in range(count):
            self.journal.add(ACT)
        await self.journal.settled()

    async def shipped(self, seq: int) -> None:
        await until(lambda: self.shipping.shipped == seq, what=f"record {seq} in the stream")

    async def witnessed(self, seq: int) -> None:
        """The next life knows that the stream has it, whatever stands behind it there."""
        noted = self.journal.folder
        await until(lambda: (found := read_witness(noted)) is not None and found.seq == seq, what=f"a witness of {seq}")

    async def end(self) -> None:
        await self.supervisor.close()
        await self.journal.close()
        assert self.failures == []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping_module, "AGAIN_S", 0.02)
    monkeypatch.setattr(shipping_module, "GATHER_S", 0.001)
    monkeypatch.setattr(limits, "AUDIT_BATCH_MAX", 8)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path / "audit", MemoryArchive())
    yield made
    await made.end()


def whole(lines: list[bytes]) -> int:
    """How many records there are, all of them sound and in order."""
    checker = Checker(is_whole=True)
    assert [finding for line in lines if (finding := checker.take(line)) is not None] == []
    assert checker.end() is None
    return checker.records


async def test_what_is_durable_is_in_the_stream_in_order_and_witnessed(stage: Stage) -> None:
    stage.start()
    await stage.add(50)
    await stage.shipped(50)
    assert whole(stage.archive.lines()) == 50
    await stage.witnessed(50)
    witness = read_witness(stage.journal.folder)
    assert witness is not None
    assert witness.is_genuine
    assert (witness.node, witness.hash) == (ALICE.id, stage.journal.head.hash)
    assert witness.stream_seq == len(stage.archive.frames)
    assert (stage.journal.folder / WITNESS).stat().st_mode & 0o777 == 0o600


async def test_what_came_while_cut_off_is_sent_once_and_in_order_afterwards(stage: Stage) -> None:
    stage.archive.is_away = True
    stage.start()
    await stage.add(30)
    await until(lambda: "is away" in stage.shipping.problem)
    assert stage.archive.frames == []
    stage.archive.is_away = False
    await stage.shipped(30)
    assert (whole(stage.archive.lines()), stage.shipping.problem) == (30, "")


async def test_a_lost_acknowledgement_repeats_nothing(stage: Stage) -> None:
    stage.archive.loses_answers = 3
    stage.start()
    await stage.add(60)
    await stage.shipped(60)
    assert whole(stage.archive.lines()) == 60


async def test_another_life_goes_on_where_the_stream_is(tmp_path: Path) -> None:
    archive = MemoryArchive()
    for life in range(1, 4):
        stage = Stage(tmp_path, archive)
        await stage.add(10)  # some of it before anything is sent
        stage.start()
        await stage.shipped(10 * life)
        await stage.end()
        if life == 2:
            (tmp_path / WITNESS).unlink()  # it is only a note
    assert whole(archive.lines()) == 30


async def test_a_stream_that_was_made_anew_gets_all_that_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        stage = Stage(tmp_path, MemoryArchive())
        stage.start()
        await stage.add(5)
        await stage.shipped(stage.journal.head.seq)
        await stage.end()
    assert whole(stage.archive.lines()) == 10


async def _sent(folder: Path, archive: MemoryArchive, count: int) -> None:
    """A node whose records are in the stream, and which is gone."""
    stage = Stage(folder, archive)
    stage.start()
    await stage.add(count)
    await stage.shipped(count)
    await stage.end()


async def test_an_older_copy_of_the_directory_is_told_as_a_fork_and_sends_nothing(tmp_path: Path) -> None:
    archive = MemoryArchive()
    await _sent(tmp_path / "a", archive, 9)
    for name, count in (("shorter", 3), ("other", 12)):
        stage = Stage(tmp_path / name, archive)
        stage.start()
        stage.journal.add(Act("node.start", "node", "done"))
        await stage.add(count)
        await until(lambda stage=stage: stage.shipping.is_forked)  # type: ignore[misc]  # binds the loop's variable
        assert "audit verify" in stage.shipping.problem
        async with asyncio.timeout(5):
            await stage.shipping.flush()
        await stage.end()
    assert whole(archive.lines()) == 9


@pytest.mark.parametrize("is_noted", [True, False])
async def test_what_this_node_has_not_signed_is_left_out_counted_once_and_told_with_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_noted: bool
) -> None:
    archive = MemoryArchive()
    archive.put(b"MD not ours")
    for life in range(1, 4):
        stage = Stage(tmp_path, archive)
        stage.start()
        await stage.add(5)
        await stage.shipped(10 * life - 5)
        archive.put(b"junk")
        archive.put(b"")
        await stage.add(5)
        await stage.shipped(10 * life)
        assert (stage.shipping.is_forked, stage.shipping.problem) == (False, "")
        assert (is_noted and life > 1) or stage.shipping.left_out >= 2
        assert f"from {len(archive.frames) - 2} to {len(archive.frames) - 1}" in caplog.text
        await stage.end()
        archive.put(b"junk")
        if not is_noted:
            (tmp_path / WITNESS).unlink()
    assert whole(archive.lines()) == 30


async def test_frames_of_this_node_that_somebody_sends_once_more_are_not_sent_on_from(tmp_path: Path) -> None:
    archive = MemoryArchive()
    for life in range(1, 4):
        stage = Stage(tmp_path, archive)
        stage.start()
        await stage.add(9)
        await stage.witnessed(9 * life)
        archive.put(archive.frames[0].frame)
        await stage.end()
    assert len(set(archive.lines())) == 27
    assert len(archive.lines()) == 27 + 3 * len(archive.lines(1))


async def test_after_a_fork_with_junk_behind_it_the_next_chain_is_sent(tmp_path: Path) -> None:
    archive = MemoryArchive()
    await _sent(tmp_path / "a", archive, 9)
    archive.put(b"junk")
    stage = Stage(tmp_path / "b", archive)
    await stage.add(4)
    stage.start()
    await until(lambda: stage.shipping.is_forked)
    assert stage.shipping.told is not None
    await stage.journal.restart(Act(RESTARTED, "journal", "allow"), chain=1, seq=stage.shipping.told.seq)
    await stage.add(2)
    await stage.shipped(12)
    assert (stage.shipping.is_forked, stage.shipping.problem) == (False, "")
    await stage.end()
    assert whole(archive.lines()[9:]) == 3


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 4_000, b"\xff", b'{"seq":"x"}'])
async def test_a_note_that_is_no_witness_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WITNESS).write_bytes(content)
    assert read_witness(tmp_path) is None


async def test_a_witness_of_another_node_is_not_believed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, MemoryArchive())
    stage.start()
    await stage.add(5)
    await stage.shipped(5)
    await stage.witnessed(5)
    await stage.end()
    witness = read_witness(tmp_path)
    assert witness is not None
    write_witness(tmp_path, msgspec.structs.replace(witness, node=BOB.id))
    again = Stage(tmp_path, MemoryArchive())
    assert again.shipping.shipped == 0
    await again.end()


async def test_after_a_fork_the_next_chain_is_sent_behind_what_the_stream_has(tmp_path: Path) -> None:
    archive = MemoryArchive()
    await _sent(tmp_path / "a", archive, 9)
    stage = Stage(tmp_path / "b", archive)
    await stage.add(4)
    stage.start()
    await until(lambda: stage.shipping.is_forked)
    assert (stage.shipping.stuck_s > 0, stage.shipping.told is not None) == (True, True)
    assert stage.shipping.told is not None
    await stage.journal.restart(Act(RESTARTED, "journal", "allow"), chain=1, seq=stage.shipping.told.seq)
    await stage.add(2)
    await stage.shipped(12)
    assert (stage.shipping.is_forked, stage.shipping.problem, stage.shipping.stuck_s) == (False, "", 0.0)
    await stage.end()
    lines = archive.lines()
    assert whole(lines[:9]) == 9
    assert whole(lines[9:]) == 3
    again = Stage(tmp_path / "b", archive)
    again.start()
    await again.add(1)
    await again.shipped(13)
    await again.end()


async def test_a_journal_of_an_earlier_chain_than_the_streams_is_a_fork(tmp_path: Path) -> None:
    archive = MemoryArchive()
    (tmp_path / "a").mkdir()
    first = Stage(tmp_path / "a" / "audit", archive)
    first.start()
    await first.add(2)
    await first.journal.restart(Act(RESTARTED, "journal", "allow"))
    await first.add(1)
    await first.shipped(4)
    await first.end()
    other = Stage(tmp_path / "b", archive)
    await other.add(9)
    other.start()
    await until(lambda: other.shipping.is_forked)
    assert "chain 2" in other.shipping.problem
    await other.end()


async def test_what_is_no_record_any_more_is_not_sent(stage: Stage) -> None:
    await stage.add(5)
    (path,) = stage.journal.folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"task/t", b"task/u", 1))
    stage.start()
    await until(lambda: stage.shipping.finding is not None)
    assert stage.archive.frames == []
    assert "nothing more is sent" in stage.shipping.problem
    await stage.journal.restart(Act(RESTARTED, "journal", "allow"))
    await stage.shipped(6)
    assert len(stage.archive.lines()) == 1
