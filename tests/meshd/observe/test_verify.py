"""Verification of files: what was written passes, and everything done to it is found, by name and place."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from meshd.observe.export import export
from meshd.observe.segments import name_of
from meshd.observe.shipping import WITNESS, write_witness
from meshd.observe.verify import Report, Verdict
from meshd.observe.verify import verify as verified
from protocol.audit import Act, Chain, Ending, Witness, read
from protocol.errors import MeshError
from tests.protocol.sealing import ALICE, BOB

ACT = Act("task.award", "task/t", "allow", iid="i", gid="g")


def verify(path: Path) -> Verdict:
    """The verdict of the only chain."""
    report = verified(path)
    (verdict,) = report.chains
    assert report == Report(verdict.ending, (verdict,))
    return verdict


Deed = Callable[[Path], object]


def kept(folder: Path, *counts: int, witnessed: int | None = None) -> list[bytes]:
    """A journal of so many records in each segment, acknowledged up to `witnessed` (all of it unless told)."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = Chain(ALICE.id)
    every: list[bytes] = []
    for count in counts:
        lines = [chain.add(ACT, life=1, time_ms=1_000) for _ in range(count)]
        (folder / name_of(len(every) + 1)).write_bytes(b"".join(line + b"\n" for line in lines))
        every += lines
    seq = len(every) if witnessed is None else witnessed
    record = read(every[seq - 1]) if seq else None
    if record is not None:
        bare = Witness(ALICE.id, seq, record.hash, "m-audit", 3, 1_000, ALICE.public_key.hex())
        write_witness(folder, msgspec.structs.replace(bare, signature=ALICE.sign(bare.signed_bytes).hex()))
    return every


def found(verdict: Verdict) -> tuple[Ending, str, int]:
    assert verdict.finding is not None
    return verdict.ending, verdict.finding.kind, verdict.finding.seq


def test_a_whole_journal_verifies_by_its_folder_and_by_the_state_directory(tmp_path: Path) -> None:
    kept(tmp_path / "audit", 3, 4)
    for path in (tmp_path, tmp_path / "audit"):
        verdict = verify(path)
        assert (verdict.ending, verdict.records, verdict.seq, verdict.node) == (Ending.VERIFIED, 7, 7, ALICE.id)


def test_what_the_stream_has_not_acknowledged_is_sound_but_not_witnessed(tmp_path: Path) -> None:
    kept(tmp_path, 5, witnessed=3)
    verdict = verify(tmp_path)
    assert (verdict.ending, verdict.witnessed, verdict.seq, verdict.finding) == (Ending.UNWITNESSED, 3, 5, None)
    (tmp_path / WITNESS).unlink()
    assert verify(tmp_path).ending is Ending.UNWITNESSED


def test_an_export_verifies_on_another_host_without_anything_else(tmp_path: Path) -> None:
    kept(tmp_path / "audit", 3, 4)
    exported = tmp_path / "a.jsonl"
    exported.write_bytes(b"".join(export(tmp_path / "audit", signer=ALICE)))
    verdict = verify(exported)
    assert (verdict.ending, verdict.records) == (Ending.VERIFIED, 7)
    lines = exported.read_bytes().splitlines(keepends=True)
    exported.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    assert found(verify(exported)) == (Ending.GAP, "dropped", 3)
    exported.write_bytes(b"".join(lines[:5]))
    assert found(verify(exported)) == (Ending.GAP, "cut", 5)
    assert verify(exported).file == str(exported)


def test_one_segment_verifies_by_itself(tmp_path: Path) -> None:
    kept(tmp_path, 3, 4)
    verdict = verify(tmp_path / name_of(4))
    assert (verdict.ending, verdict.first_seq, verdict.seq) == (Ending.UNWITNESSED, 4, 7)


def test_a_flipped_bit_at_every_byte_of_a_journal_is_found(tmp_path: Path) -> None:
    kept(tmp_path, 2, 2)
    for path in (tmp_path / name_of(1), tmp_path / name_of(3), tmp_path / WITNESS):
        whole = path.read_bytes()
        for place in range(len(whole) - (path.name == WITNESS)):  # all but the line end after the note
            bent = bytearray(whole)
            bent[place] ^= 1 << place % 8
            path.write_bytes(bent)
            assert verify(tmp_path).ending is not Ending.VERIFIED, (path.name, place)
        path.write_bytes(whole)
    assert verify(tmp_path).ending is Ending.VERIFIED


def test_a_cut_at_every_byte_of_the_last_segment_is_found(tmp_path: Path) -> None:
    kept(tmp_path, 2, 2)
    path = tmp_path / name_of(3)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        verdict = verify(tmp_path)
        assert verdict.ending is Ending.GAP, size
        assert verdict.torn_bytes == size - (whole[:size].rfind(b"\n") + 1)


def _rename(folder: Path) -> None:
    (folder / name_of(3)).rename(folder / "spare")
    (folder / name_of(5)).rename(folder / name_of(3))
    (folder / "spare").rename(folder / name_of(5))


def _foreign(folder: Path) -> None:
    chain = Chain(BOB.id)
    (folder / name_of(7)).write_bytes(chain.add(ACT, life=1, time_ms=1) + b"\n")


def _empty(folder: Path) -> None:
    for path in folder.glob("*.jsonl"):
        path.unlink()


DEEDS: dict[str, tuple[Deed, Ending]] = {
    "a segment removed": (lambda folder: (folder / name_of(3)).unlink(), Ending.GAP),
    "the first segment removed": (lambda folder: (folder / name_of(1)).unlink(), Ending.GAP),
    "the last segment removed": (lambda folder: (folder / name_of(5)).unlink(), Ending.GAP),
    "everything removed but the note": (_empty, Ending.GAP),
    "two segments swapped": (_rename, Ending.ALTERED),
    "a segment of another node": (_foreign, Ending.ALTERED),
    "a huge line": (lambda folder: (folder / name_of(3)).write_bytes(b"x" * (8 << 20)), Ending.ALTERED),
    "deep JSON": (lambda folder: (folder / name_of(3)).write_bytes(b"[" * 30_000 + b"\n"), Ending.ALTERED),
    "no text": (lambda folder: (folder / name_of(3)).write_bytes(bytes(range(256)) * 9 + b"\n"), Ending.ALTERED),
    "blank lines": (lambda folder: (folder / name_of(3)).write_bytes(b"\n\n\n"), Ending.ALTERED),
    "a note of nonsense": (lambda folder: (folder / WITNESS).write_bytes(b"[" * 9_000), Ending.ALTERED),
}


@pytest.mark.parametrize("name", DEEDS)
def test_what_is_done_to_a_journal_is_found(tmp_path: Path, name: str) -> None:
    deed, ending = DEEDS[name]
    kept(tmp_path, 2, 2, 2)
    deed(tmp_path)
    verdict = verify(tmp_path)
    assert verdict.ending is ending
    assert verdict.finding is not None
    assert len(verdict.finding.text) < 200


def test_a_last_line_that_is_being_written_is_said_and_is_no_fault(tmp_path: Path) -> None:
    kept(tmp_path, 3)
    with (tmp_path / name_of(1)).open("ab") as file:
        file.write(b'{"v":1,"node":"')
    verdict = verify(tmp_path)
    assert (verdict.ending, verdict.finding, verdict.torn_bytes) == (Ending.UNWITNESSED, None, 15)


def test_what_cannot_be_read_is_an_error_with_the_path(tmp_path: Path) -> None:
    kept(tmp_path / "audit", 2)
    (tmp_path / "link").symlink_to(tmp_path / "audit" / name_of(1))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "none").mkdir()
    for name in ("link", "pipe", "empty", "none", "missing"):
        with pytest.raises(MeshError) as refused:
            verify(tmp_path / name)
        assert str(tmp_path / name) in refused.value.message
    (tmp_path / "audit" / name_of(3)).symlink_to("/dev/zero")
    with pytest.raises(MeshError, match="symbolic link"):
        verify(tmp_path)
