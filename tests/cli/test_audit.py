"""`meshctl audit`: what is shown, what is asked, and the verdict as an exit code."""

import json
from pathlib import Path

import msgspec
import pytest

from meshd.observe.segments import name_of
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_audits import RECORD
from tests.meshd.api.fake_backend import FakeBackend, Served
from tests.meshd.observe.test_verify import kept


def test_records_are_lines_with_who_did_what_to_what(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("audit")
    assert said.code == 0
    assert "2027-01-15 08:00:00.000Z" in said.out
    for word in ("operator", "task.submit", "task/tttttttt", "allow", "iiiiiiii", "capability=scoring@2"):
        assert word in said.out


def test_text_of_others_is_escaped(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.audits.records = (msgspec.structs.replace(RECORD, who="\x1b[2J\u202e", more={"detail": "\x07"}),)
    said = meshctl("audit", "tail")
    assert "\x1b" not in said.out
    assert "\\x1b[2J\\u202e" in said.out
    assert "\\x07" in said.out


def test_filters_are_passed_on_and_what_is_none_is_refused(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    assert meshctl("audit", "search", "what=task", "who=operator", "since=2026-01-31T00:00:00Z", "--here").code == 0
    asked = backend.audits.asked[-1]
    assert (asked.what, asked.who, asked.here, asked.since_ms) == ("task", "operator", True, 1_769_817_600_000)
    for wrong in ("colour=red", "what", "what=", "since=yesterday", "decision=perhaps"):
        said = meshctl("audit", "search", wrong)
        assert said.code == 2, wrong
        assert said.err.startswith("error[bad_input]")


def test_show_asks_for_an_id_and_says_when_there_is_nothing(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    said = meshctl("audit", "show", "iiii", "-o", "json")
    assert [each["seq"] for each in json.loads(said.out)["records"]] == [7]
    assert backend.audits.asked[-1].id == "iiii"
    assert meshctl("audit", "show", "ii").code == 2
    backend.audits.records = ()
    said = meshctl("audit", "show", "iiii")
    assert (said.code, "unknown_record" in said.err) == (7, True)


@pytest.mark.parametrize(
    ("counts", "witnessed", "deed", "code", "word"),
    [
        ((4,), 4, None, 0, "verified: 4 records"),
        ((4,), 2, None, 10, "up to 2"),
        ((2, 2, 2), 6, "drop", 20, "records 3 to 4 are missing"),
        ((2, 2, 2), 6, "flip", 40, "record 3"),
    ],
)
def test_the_verdict_is_the_exit_code_and_names_the_first_bad_record(
    meshctl: Meshctl, tmp_path: Path, counts: tuple[int, ...], witnessed: int, deed: str | None, code: int, word: str
) -> None:
    kept(tmp_path / "audit", *counts, witnessed=witnessed)
    segment = tmp_path / "audit" / name_of(3)
    if deed == "drop":
        segment.unlink()
    elif deed == "flip":
        segment.write_bytes(segment.read_bytes().replace(b"task/t", b"task/u", 1))
    said = meshctl("audit", "verify", str(tmp_path))
    assert said.code == code
    assert word in said.out
    as_json = meshctl("audit", "verify", str(tmp_path), "-o", "json")
    assert (as_json.code, json.loads(as_json.out)["ending"]) == (code, code)
    assert meshctl("audit", "verify", "--dir", str(tmp_path)).code == code


def test_an_export_is_verified_elsewhere_and_never_overwrites(meshctl: Meshctl, tmp_path: Path) -> None:
    kept(tmp_path / "audit", 3, 2)
    (tmp_path / "identity.key").write_bytes(b"\x02" * 32)  # ALICE's
    (tmp_path / "identity.key").chmod(0o600)
    path = tmp_path / "out.jsonl"
    said = meshctl("audit", "export", "--dir", str(tmp_path), "--to", str(path))
    assert (said.code, said.out) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert meshctl("audit", "verify", str(path)).code == 0
    assert meshctl("audit", "verify", str(path), "-o", "name").out == "verified\n"
    assert meshctl("audit", "export", "--dir", str(tmp_path), "--to", str(path)).code == 1
    unsigned = meshctl("audit", "export", "--dir", str(tmp_path), "--since", "2d")
    assert (unsigned.code, "of that time" in unsigned.err) == (2, True)
    (tmp_path / "identity.key").unlink()
    said = meshctl("audit", "export", "--dir", str(tmp_path), "--to", str(tmp_path / "unsigned.jsonl"))
    assert "nobody signed" in said.err
    said = meshctl("audit", "verify", str(tmp_path / "unsigned.jsonl"))
    assert (said.code, "nobody signed where this begins and ends" in said.out) == (10, True)
    for arguments in (("verify", str(tmp_path / "none")), ("export", "--dir", str(tmp_path / "none"))):
        said = meshctl("audit", *arguments)
        assert said.code in (1, 2)
        assert said.err.startswith("error[")


def test_a_damaged_chain_is_set_aside_for_a_reason_and_a_sound_one_stays(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    assert meshctl("audit", "restart").code == 2
    assert meshctl("audit", "restart", "--reason", "").code == 2
    said = meshctl("audit", "restart", "--reason", "a lost sector")
    assert (said.code, "audit_sound" in said.err) == (8, True)
    backend.audits.damage = "record 3 is not as it was written"
    said = meshctl("audit", "restart", "--reason", "a lost sector")
    assert said.code == 0
    assert said.out == "chain 4 of this node's audit goes on with record 7; the one before lies in /var/audit-1\n"
    assert backend.audits.restarts == [("a lost sector", "operator")]
    backend.audits.damage = "once more"
    said = meshctl("audit", "restart", "--reason", "again", "-o", "json")
    assert json.loads(said.out)["seq"] == 7


def test_the_stream_is_the_witness_when_it_is_asked(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path
) -> None:
    lines = kept(tmp_path / "audit", 3)
    records = tuple(
        msgspec.structs.replace(RECORD, seq=each["seq"], hash=each["hash"]) for each in map(json.loads, lines)
    )
    backend.audits.records = records
    said = meshctl("audit", "verify", str(tmp_path), "--stream")
    assert (said.code, "the stream holds the same: 3 records, 1 to 3" in said.out) == (0, True)
    assert backend.audits.asked[-1].node == json.loads(lines[0])["node"]
    backend.audits.left_out = 2
    said = meshctl("audit", "verify", str(tmp_path), "--stream")
    assert (said.code, "2 frames under this node's subject that it has not signed" in said.err) == (0, True)
    said = meshctl("audit", "verify", str(tmp_path), "--stream", "-o", "json")
    assert json.loads(said.out)["stream"]["left_out"] == 2
    backend.audits.left_out = 0
    backend.audits.records = (*records, records[1])
    said = meshctl("audit", "verify", str(tmp_path), "--stream")
    assert (said.code, "1 record of this node once more, the same: left out" in said.err) == (0, True)
    backend.audits.records = records[:2]
    said = meshctl("audit", "verify", str(tmp_path), "--stream")
    assert (said.code, "1 record more" in said.out) == (10, True)
    backend.audits.records = (records[0], msgspec.structs.replace(records[1], hash="0" * 64))
    said = meshctl("audit", "verify", str(tmp_path), "--stream")
    assert (said.code, "altered: the stream was given another record 2" in said.out) == (40, True)
