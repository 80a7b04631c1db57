"""The chain of one node: what was written verifies, and every change to it is found and named."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.audit import PRUNED, Act, Chain, Checker, Ending, Finding, Head, Witness, origin, read
from protocol.envelope import Envelope, Refusal
from protocol.identity import Identity
from protocol.wire.audit import AuditBatch
from tests.protocol.sealing import ALICE, BOB, MALLORY, NOW, SUBJECTS, opener, sealer

NODE = ALICE.id
ACT = Act("task.award", "task/t", "allow", iid="i", gid="g", more={"epoch": 1, "why": "gossip"})


def chain_of(count: int, *, node: str = NODE, mark: str = "") -> list[bytes]:
    chain = Chain(node)
    acts = (msgspec.structs.replace(ACT, resource=f"task/{number}{mark}") for number in range(count))
    return [chain.add(act, life=7, time_ms=1_000 + number) for number, act in enumerate(acts)]


def checked(lines: Sequence[bytes], *, witness: Witness | None = None, is_whole: bool = True) -> Finding | None:
    checker = Checker(witness=witness, is_whole=is_whole)
    found = next((finding for line in lines if (finding := checker.take(line)) is not None), None)
    return found or checker.end()


def witness_of(lines: Sequence[bytes], *, signer: Identity = ALICE, node: str = NODE) -> Witness:
    record = read(lines[-1])
    assert record is not None
    bare = Witness(node, record.seq, record.hash, "m-audit", 5, 9_000, signer.public_key.hex())
    return msgspec.structs.replace(bare, signature=signer.sign(bare.signed_bytes).hex())


def test_what_was_written_verifies() -> None:
    lines = chain_of(5)
    assert checked(lines) is None
    assert all(line.count(b"\n") == 0 for line in lines)


def test_a_line_is_json_that_any_reader_can_check_by_hand() -> None:
    first, second = chain_of(2)
    body, _, rest = second.partition(b',"hash":"')
    assert rest == sha256(body).hexdigest().encode() + b'"}'
    assert msgspec.json.decode(second)["prev"] == msgspec.json.decode(first)["hash"]
    assert msgspec.json.decode(first)["prev"] == sha256(b"meshd/audit/v1\0" + NODE.encode()).hexdigest()


def test_a_chain_goes_on_where_its_head_was() -> None:
    chain = Chain(NODE)
    first = chain.add(ACT, life=7, time_ms=1)
    again = Chain(NODE, chain.head)
    assert checked([first, again.add(ACT, life=8, time_ms=2)]) is None


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_at_every_byte_is_found_in_the_record_that_has_it(bit: int) -> None:
    lines = chain_of(3)
    for number, line in enumerate(lines):
        for place in range(len(line)):
            bent = bytearray(line)
            bent[place] ^= 1 << bit
            found = checked([*lines[:number], bytes(bent), *lines[number + 1 :]])
            assert found is not None
            assert (found.ending, found.seq) == (Ending.ALTERED, number + 1)


@given(st.integers(2, 12), st.data())
def test_one_that_is_left_out_is_a_gap_with_its_number(count: int, choice: st.DataObject) -> None:
    lines = chain_of(count)
    missing = choice.draw(st.integers(0, count - 2))
    found = checked(lines[:missing] + lines[missing + 1 :])
    assert found is not None
    assert (found.ending, found.seq) == (Ending.GAP, missing + 1)


@given(st.permutations(list(range(5))))
def test_another_order_is_never_taken_for_the_one_that_was_written(order: list[int]) -> None:
    lines = chain_of(5)
    found = checked([lines[place] for place in order])
    assert (found is None) == (order == sorted(order))


def test_two_that_changed_places_are_named_as_swapped() -> None:
    lines = chain_of(5)
    found = checked([lines[0], lines[2], lines[1], lines[3], lines[4]])
    assert found is not None
    assert (found.ending, found.kind, found.seq) == (Ending.ALTERED, "swapped", 2)


def test_one_that_stands_twice_is_named_as_repeated() -> None:
    lines = chain_of(3)
    found = checked([*lines[:2], lines[1], lines[2]])
    assert found is not None
    assert (found.ending, found.kind, found.seq) == (Ending.ALTERED, "repeated", 2)


def test_a_record_of_another_node_is_foreign() -> None:
    found = checked([*chain_of(3), chain_of(4, node=BOB.id)[3]])
    assert found is not None
    assert (found.ending, found.kind) == (Ending.ALTERED, "foreign")


def test_a_record_made_anew_with_its_hash_does_not_fit_the_next() -> None:
    lines = chain_of(4)
    head = read(lines[1])
    assert head is not None
    made_anew = Chain(NODE, Head(1, head.prev)).add(ACT, life=7, time_ms=1)
    found = checked([lines[0], made_anew, *lines[2:]])
    assert found is not None
    assert (found.ending, found.kind, found.seq) == (Ending.ALTERED, "replaced", 2)


def test_two_sound_records_of_one_number_are_a_fork() -> None:
    trunk = chain_of(3)
    head = read(trunk[0])
    assert head is not None
    branch = Chain(NODE, Head(1, head.hash)).add(ACT, life=9, time_ms=5)
    found = checked([*trunk, branch])
    assert found is not None
    assert (found.ending, found.kind, found.seq) == (Ending.FORKED, "forked", 2)


def test_a_cut_tail_is_found_by_what_the_stream_acknowledged() -> None:
    lines = chain_of(5)
    found = checked(lines[:3], witness=witness_of(lines[:4]))
    assert found is not None
    assert (found.ending, found.kind, found.seq) == (Ending.GAP, "cut", 4)
    assert checked(lines[:3], witness=witness_of(lines[:3])) is None


def test_a_whole_chain_that_was_written_anew_is_found_by_what_the_stream_acknowledged() -> None:
    found = checked(chain_of(5, mark="x"), witness=witness_of(chain_of(3)))
    assert found is not None
    assert (found.ending, found.seq) == (Ending.FORKED, 3)


def test_a_missing_beginning_is_a_gap_unless_the_chain_says_that_it_was_removed() -> None:
    chain = Chain(NODE)
    lines = [chain.add(ACT, life=7, time_ms=1) for _ in range(4)]
    pruned = [*lines, chain.add(Act(PRUNED, "journal", "done", more={"through": 2}), life=7, time_ms=2)]
    found = checked(lines[2:])
    assert found is not None
    assert (found.ending, found.kind) == (Ending.GAP, "cut")
    assert checked(pruned[2:]) is None
    assert checked(pruned[3:]) is not None
    assert checked(lines[2:], is_whole=False) is None


def test_only_the_node_itself_can_have_signed_its_witness() -> None:
    lines = chain_of(2)
    assert witness_of(lines).is_genuine
    assert not witness_of(lines, signer=MALLORY).is_genuine
    assert not msgspec.structs.replace(witness_of(lines), seq=1).is_genuine
    assert not msgspec.structs.replace(witness_of(lines), key="no hex").is_genuine


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[" * 30_000,
        b'{"more":' * 4_000,
        b"x" * (limits.AUDIT_LINE_BYTES_MAX + 1),
        b'\xff\xfe{"v":1}',
        b'{"v":1,"hash":"' + b"0" * 64 + b'"}',
    ],
    ids=["empty", "bare", "deep", "deep objects", "huge", "no text", "no fields"],
)
def test_what_is_no_record_is_said_to_be_none(line: bytes) -> None:
    assert read(line) is None
    found = checked([*chain_of(1), line])
    assert found is not None
    assert (found.ending, found.seq) == (Ending.ALTERED, 2)


@pytest.mark.parametrize("body", [b"{}", b"[" * 9_000, b'{"v":1,"node":"' + b"n" * 40_000, b'{"seq":1e999}'])
def test_what_has_the_right_hash_and_is_no_record_is_found_all_the_same(body: bytes) -> None:
    line = body + b',"hash":"' + sha256(body).hexdigest().encode() + b'"}'
    found = checked([*chain_of(1), line])
    assert found is not None
    assert (found.ending, found.seq) == (Ending.ALTERED, 2)


@given(st.text(), st.text(min_size=limits.AUDIT_TEXT_CHARS_MAX))
def test_any_text_of_others_fits_into_a_record_that_verifies(short: str, long: str) -> None:
    text = short.encode("utf-8", "replace").decode() + "\n\u2028\x00"
    chain = Chain(NODE)
    act = Act("task.fail", f"task/{text}", "done", who=long, more={str(number): "\x01" * 600 for number in range(8)})
    line = chain.add(act, life=7, time_ms=1)
    assert len(line) <= limits.AUDIT_LINE_BYTES_MAX
    assert b"\n" not in line
    assert checked([line]) is None


def test_numbers_rise_by_one_and_each_names_the_one_before() -> None:
    records = [record for line in chain_of(4) if (record := read(line)) is not None]
    assert [record.seq for record in records] == [1, 2, 3, 4]
    assert all(later.prev == earlier.hash for earlier, later in pairwise(records))
    assert records[0].prev == origin(NODE).hash


def test_a_frame_of_records_opens_under_the_subject_of_its_node_alone() -> None:
    subject = SUBJECTS.audit(src=NODE)
    frame = sealer().seal(AuditBatch(1, "\n{}\n"), subject=subject, now=NOW, ttl_ms=0)
    opened = opener().open_audit(subject, frame)
    assert isinstance(opened, Envelope)
    assert isinstance(opened.body, AuditBatch)
    assert opened.body.lines == ["{}"]
    for wrong, code in ((SUBJECTS.audit(src=BOB.id), "wrong_subject"), (SUBJECTS.facts(), "wrong_subject")):
        refused = opener().open_audit(wrong, frame)
        assert isinstance(refused, Refusal)
        assert refused.code == code
