"""An export: what it says of itself is signed, so that whatever is done to it on the way is found and named."""

import gzip
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from meshd.observe.export import MANIFEST, export, manifest_of
from meshd.observe.segments import name_of
from meshd.observe.shipping import WITNESS
from meshd.observe.verify import Report, verify
from protocol.audit import RESTARTED, Act, Chain, Ending, Head, origin, read
from protocol.errors import MeshError
from protocol.identity import Identity
from tests.meshd.observe.test_verify import ACT, kept
from tests.protocol.sealing import ALICE, BOB

Lines = list[bytes]


def exported(folder: Path, *, signer: Identity | None = ALICE, since_ms: int = 0) -> Lines:
    return list(export(folder, signer=signer, since_ms=since_ms))


def judged(tmp_path: Path, lines: Lines) -> Report:
    path = tmp_path / "export.jsonl"
    path.write_bytes(b"".join(lines))
    return verify(path)


def found(report: Report) -> tuple[Ending, str, int]:
    verdict = max(report.chains, key=lambda each: each.ending)
    assert report.ending is verdict.ending
    return verdict.ending, "" if verdict.finding is None else verdict.finding.kind, (verdict.finding or verdict).seq


def saying(lines: Lines, *, signer: Identity = ALICE, **changes: object) -> Lines:
    """The same with another manifest, signed by `signer` as somebody with that key would."""
    manifest = manifest_of(lines[0].rstrip(b"\n"))
    assert manifest is not None
    bare = msgspec.structs.replace(manifest, key=signer.public_key.hex(), **changes)
    signed = msgspec.structs.replace(bare, signature=signer.sign(bare.signed_bytes).hex())
    return [b'{"export":' + msgspec.json.encode(signed) + b"}\n", *lines[1:]]


def made_anew(lines: Lines, by: Identity, place: int) -> Lines:
    """The records from `place` on written once more, chained and hashed as they should be."""
    record = read(lines[place].rstrip(b"\n"))
    assert record is not None
    chain = Chain(by.id, Head(record.seq - 1, record.prev))
    return [*lines[:place], *(chain.add(Act("x", "y", "done"), life=1, time_ms=1) + b"\n" for _ in lines[place:])]


def added(lines: Lines) -> Lines:
    last = read(lines[-1].rstrip(b"\n"))
    assert last is not None
    return [*lines, Chain(ALICE.id, Head(last.seq, last.hash)).add(ACT, life=1, time_ms=1) + b"\n"]


DEEDS: dict[str, tuple[Callable[[Lines], Lines], tuple[Ending, str, int]]] = {
    "nothing": (lambda lines: lines, (Ending.VERIFIED, "", 7)),
    "a byte flipped": (
        lambda lines: [*lines[:4], lines[4].replace(b"task/t", b"task/u"), *lines[5:]],
        (Ending.ALTERED, "flipped", 4),
    ),
    "a record dropped": (lambda lines: [*lines[:4], *lines[5:]], (Ending.GAP, "dropped", 4)),
    "two swapped": (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], (Ending.ALTERED, "swapped", 4)),
    "one repeated": (lambda lines: [*lines[:5], lines[4], *lines[5:]], (Ending.ALTERED, "repeated", 4)),
    "the head cut": (lambda lines: [lines[0], *lines[4:]], (Ending.GAP, "dropped", 1)),
    "the middle cut": (lambda lines: [*lines[:3], *lines[6:]], (Ending.GAP, "dropped", 3)),
    "the tail cut": (lambda lines: lines[:5], (Ending.GAP, "cut", 5)),
    "all but the manifest cut": (lambda lines: lines[:1], (Ending.GAP, "cut", 1)),
    "the head cut with the manifest": (lambda lines: lines[4:], (Ending.UNWITNESSED, "", 7)),
    "records added": (added, (Ending.ALTERED, "added", 8)),
    "another node's record added": (
        lambda lines: [*lines, Chain(BOB.id).add(ACT, life=1, time_ms=1) + b"\n"],
        (Ending.ALTERED, "foreign", 1),
    ),
    "the end made anew": (lambda lines: made_anew(lines, ALICE, 5), (Ending.ALTERED, "replaced", 7)),
    "all made anew by another node": (lambda lines: made_anew(lines, BOB, 1), (Ending.ALTERED, "foreign", 1)),
    "a manifest signed by another key": (
        lambda lines: saying(lines[:5], signer=BOB, last_seq=4),
        (Ending.ALTERED, "foreign", 1),
    ),
    "a manifest with another number": (
        lambda lines: [lines[0].replace(b'"first_seq":1', b'"first_seq":3'), *lines[3:]],
        (Ending.ALTERED, "foreign", 3),
    ),
    "a manifest of nonsense": (
        lambda lines: [MANIFEST + b"[" * 9_000 + b"\n", *lines[1:]],
        (Ending.ALTERED, "unreadable", 0),
    ),
    "a second manifest": (lambda lines: [lines[0], *lines], (Ending.ALTERED, "repeated", 0)),
    "a huge line": (lambda lines: [*lines[:3], b"x" * (4 << 20), *lines[3:]], (Ending.ALTERED, "unreadable", 3)),
}


@pytest.mark.parametrize("name", DEEDS)
def test_what_is_done_to_an_export_is_found_with_the_first_bad_record(tmp_path: Path, name: str) -> None:
    deed, wanted = DEEDS[name]
    kept(tmp_path / "audit", 3, 4)
    assert found(judged(tmp_path, deed(exported(tmp_path / "audit")))) == wanted


def test_a_flipped_bit_at_every_byte_of_the_manifest_is_found(tmp_path: Path) -> None:
    kept(tmp_path / "audit", 2)
    lines = exported(tmp_path / "audit")
    for place in range(len(lines[0]) - 1):
        bent = bytearray(lines[0])
        bent[place] ^= 1 << place % 7
        assert judged(tmp_path, [bytes(bent), *lines[1:]]).ending is not Ending.VERIFIED, place


def test_a_part_that_was_asked_for_says_that_it_is_one_and_a_whole_one_cannot_be_made_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    chain = Chain(ALICE.id)
    lines = [chain.add(ACT, life=1, time_ms=1_000 * number) + b"\n" for number in range(1, 10)]
    (folder / name_of(1)).write_bytes(b"".join(lines))
    part = exported(folder, since_ms=4_500)
    (verdict,) = judged(tmp_path, part).chains
    assert (verdict.first_seq, verdict.seq, verdict.since_ms, verdict.finding) == (5, 9, 4_500, None)
    assert found(judged(tmp_path, [part[0], *part[2:]])) == (Ending.GAP, "dropped", 5)
    assert found(judged(tmp_path, saying(part, since_ms=0))) == (Ending.GAP, "cut", 1)
    with pytest.raises(MeshError, match="of that time"):
        exported(folder, since_ms=1 << 50)


def test_without_the_nodes_key_an_export_is_as_good_as_its_records_alone(tmp_path: Path) -> None:
    kept(tmp_path / "audit", 3)
    for signer in (None, BOB):
        report = judged(tmp_path, exported(tmp_path / "audit", signer=signer))
        assert (report.ending, report.chains[0].is_bounded) == (Ending.UNWITNESSED, False)


def test_a_journal_whose_head_was_cut_is_not_made_whole_by_exporting_it(tmp_path: Path) -> None:
    kept(tmp_path / "audit", 3, 4)
    (tmp_path / "audit" / name_of(1)).unlink()
    assert found(judged(tmp_path, exported(tmp_path / "audit"))) == (Ending.GAP, "cut", 1)


def test_a_compressed_export_is_read_and_one_that_is_cut_or_damaged_is_named(tmp_path: Path) -> None:
    kept(tmp_path / "audit", 40)
    path = tmp_path / "a.jsonl.gz"
    packed = gzip.compress(b"".join(exported(tmp_path / "audit")))
    path.write_bytes(packed)
    assert verify(path).ending is Ending.VERIFIED
    path.write_bytes(packed[: len(packed) // 2])
    ending, kind, seq = found(verify(path))
    assert (ending, kind, seq > 1) == (Ending.GAP, "cut", True)
    for size in (2, 5, 15):
        path.write_bytes(packed[:size])
        assert found(verify(path)) == (Ending.GAP, "cut", 1)
    path.write_bytes(packed[:-4])
    assert found(verify(path))[0] is Ending.GAP
    path.write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    assert found(verify(path))[0] is Ending.ALTERED
    path.write_bytes(gzip.compress(b"x" * (64 << 20)))
    assert found(verify(path))[0] is Ending.ALTERED


def two_chains(folder: Path, **more: object) -> None:
    """A chain that was set aside with 7 records, and the next with 3."""
    kept(folder, 3, 4)
    folder.rename(folder.with_name(f"{folder.name}-1"))
    end = read((folder.with_name(f"{folder.name}-1") / name_of(4)).read_bytes().splitlines()[-1])
    assert end is not None
    named = {"former": 1, "former_seq": 7, "former_hash": end.hash, "reason": "an old copy", **more}
    chain = Chain(ALICE.id, Head(7, origin(ALICE.id, 2).hash), number=2)
    first = chain.add(Act(RESTARTED, "journal", "allow", "operator", more=named), life=1, time_ms=9)  # type: ignore[arg-type]  # as it stands
    lines = [first, *(chain.add(ACT, life=1, time_ms=9) for _ in range(2))]
    folder.mkdir()
    (folder / name_of(8)).write_bytes(b"".join(line + b"\n" for line in lines))


@pytest.mark.parametrize("is_file", [False, True], ids=["directory", "export"])
def test_both_chains_are_verified_and_the_second_says_what_became_of_the_first(tmp_path: Path, is_file: bool) -> None:
    def report() -> Report:
        return judged(tmp_path, exported(tmp_path / "audit")) if is_file else verify(tmp_path)

    two_chains(tmp_path / "audit")
    first, second = report().chains
    assert (first.chain, first.ending, first.seq) == (1, Ending.VERIFIED, 7)
    assert (second.chain, second.ending, second.first_seq, second.seq) == (2, Ending.UNWITNESSED, 8, 10)
    assert second.begun is not None
    assert (second.begun.who, second.begun.former, second.begun.reason) == ("operator", 1, "an old copy")
    segment = tmp_path / "audit-1" / name_of(4)
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b"task/t", b"task/u", 1))
    assert found(report()) == (Ending.ALTERED, "flipped", 4)
    assert report().chains[1].finding is None
    (tmp_path / "audit-1" / WITNESS).unlink()
    segment.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    if not is_file:
        assert found(report()) == (Ending.GAP, "cut", 6)


def test_a_chain_that_was_set_aside_and_is_gone_is_a_gap(tmp_path: Path) -> None:
    two_chains(tmp_path / "audit")
    lines = exported(tmp_path / "audit")
    second = next(place for place, line in enumerate(lines[1:], 1) if line.startswith(MANIFEST))
    assert found(judged(tmp_path, lines[second:])) == (Ending.GAP, "cut", 0)
    assert found(judged(tmp_path, lines[:second])) == (Ending.GAP, "cut", 0)
    for path in (tmp_path / "audit-1").iterdir():
        path.unlink()
    (tmp_path / "audit-1").rmdir()
    assert found(verify(tmp_path)) == (Ending.GAP, "cut", 7)


def test_what_was_found_when_a_chain_was_set_aside_is_its_verdict(tmp_path: Path) -> None:
    told = {"finding": "forked", "finding_seq": 9, "text": "the stream has this node's audit up to record 9"}
    two_chains(tmp_path / "audit", **told)
    report = verify(tmp_path)
    assert (report.ending, report.chains[0].ending, report.chains[0].records) == (Ending.FORKED, Ending.FORKED, 7)
    assert report.chains[0].finding is not None
    assert "so says chain 2" in report.chains[0].finding.text


def test_a_line_that_is_no_manifest_is_none() -> None:
    for rest in (b"", b"{}}", b"1" * 9_000 + b"}", b"\xff" * 50, b" " * 40_000 + b"{}}", b"[" * 9_000):
        assert manifest_of(MANIFEST + rest) is None
