"""Frames: what opens, and for everything else the code that says why not."""

import itertools
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.envelope import (
    FRESH_MS,
    PREAMBLE_BYTES,
    REFUSALS,
    Envelope,
    Header,
    Opener,
    Refusal,
    Sealer,
    _signed_bytes,
    _Window,
)
from protocol.identity import SIGNATURE_BYTES, Identity
from protocol.wire import agents, gossip, ops, swim, task
from protocol.wire.kinds import KINDS
from tests.protocol.bodies import EXAMPLES, RECORD
from tests.protocol.sealing import (
    ALICE,
    BOB,
    CARRIED,
    FROM_ALICE,
    LIFE,
    MALLORY,
    NOW,
    ROOT,
    SUBJECTS,
    TO_BOB,
    later,
    opener,
    proof_of,
    sealer,
)

PING = swim.Ping(17)
SURVEY = ops.Survey(17)
BODIES = [
    msgspec.structs.replace(body, admission=proof_of(ALICE)) if isinstance(body, gossip.Alive) else body
    for body in EXAMPLES
]
FACTS = [body for body in BODIES if KINDS[str(body.__struct_config__.tag)].family == "fact"]
MESSAGES = [
    body for body in EXAMPLES if KINDS[str(body.__struct_config__.tag)].family in ("swim", "gossip", "task", "call")
]
RECORDS = [body for body in EXAMPLES if KINDS[str(body.__struct_config__.tag)].family == "record"]


def _code(opened: Envelope | Refusal) -> str:
    assert isinstance(opened, Refusal), opened
    assert opened.code in REFUSALS
    return opened.code


def _ping(*, subject: str = TO_BOB, seal: Sealer | None = None) -> bytes:
    return (seal or sealer()).seal(PING, subject=subject, now=NOW)


def _survey() -> bytes:
    return sealer().seal(SURVEY, subject=TO_BOB, now=NOW)


def _forged(
    body: bytes,
    *,
    kind: str = "ping",
    family: str = "",
    subject: str = TO_BOB,
    node: Identity = ALICE,
    life: int = LIFE,
    seq: int = 1,
    sent_ms: int = NOW.wall_ms,
    head: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """A frame put together by hand, as somebody with a key and bad manners would."""
    header = msgspec.msgpack.encode(Header(node.public_key, subject, kind, life, seq, sent_ms, FRESH_MS))
    start = head(b"MD\x01\x00" + len(header).to_bytes(2, "big") + header)
    known = KINDS.get(kind)
    signed = _signed_bytes(family=family or (known.family if known else "task"), head=start, body=body)
    return start + body + node.sign(signed)


# --- what opens


@pytest.mark.parametrize("body", MESSAGES, ids=lambda body: type(body).__name__)
def test_a_message_opens_as_what_was_sealed(body: swim.Ping) -> None:
    frame = sealer().seal(body, subject=TO_BOB, now=NOW, iid="an iid", gid="a gid", cause="a cause")
    opened = opener().open(TO_BOB, frame, NOW)
    assert isinstance(opened, Envelope)
    assert (opened.src, opened.body, opened.frame) == (ALICE.id, body, frame)
    assert (opened.header.iid, opened.header.gid, opened.header.cause) == ("an iid", "a gid", "a cause")
    assert opened.name == f"{ALICE.id}.{LIFE}.1"


@pytest.mark.parametrize("body", FACTS, ids=lambda body: type(body).__name__)
def test_a_fact_opens_for_who_hears_it_and_for_whom_it_is_relayed_to(body: gossip.Load) -> None:
    frame = sealer().seal(body, subject=FROM_ALICE, now=NOW)
    for opened in (opener().open(FROM_ALICE, frame, NOW), opener().open_relayed(frame)):
        assert isinstance(opened, Envelope)
        assert opened.body == body


@pytest.mark.parametrize("body", RECORDS, ids=lambda body: type(body).__name__)
def test_a_record_opens_under_its_key_however_old_it_is(body: task.Presence) -> None:
    frame = sealer().seal(body, subject=SUBJECTS.record("p07.key"), now=NOW, ttl_ms=0)
    opened = opener().open_record("p07.key", frame)
    assert isinstance(opened, Envelope)
    assert opened.body == body


@pytest.mark.parametrize("body", [gossip.Alive(1, "m", "eu", "", b""), gossip.Left(1)], ids=["alive", "left"])
def test_a_fact_that_carries_its_admission_opens_for_who_never_heard_of_the_node(body: gossip.Left) -> None:
    admitted = msgspec.structs.replace(body, admission=proof_of(MALLORY))
    subject = SUBJECTS.fact(region="eu", src=MALLORY.id)
    bob = opener()
    assert isinstance(bob.open(subject, sealer(MALLORY).seal(admitted, subject=subject, now=NOW), NOW), Envelope)
    load = sealer(MALLORY).seal(gossip.Load(1, (), 0, 0), subject=subject, now=NOW)
    assert isinstance(bob.open(subject, load, NOW), Envelope), "from now on it is known"


# --- what does not: one row a code


def _too_large_for_its_kind() -> bytes:
    return _forged(msgspec.msgpack.encode(PING) + b"\0" * limits.SWIM_BYTES_MAX)


REFUSED: list[tuple[str, str, Callable[[], bytes]]] = [
    ("too_short", TO_BOB, lambda: b""),
    ("too_short", TO_BOB, lambda: _ping()[: PREAMBLE_BYTES + SIGNATURE_BYTES - 1]),
    ("too_short", TO_BOB, lambda: _ping()[: PREAMBLE_BYTES + SIGNATURE_BYTES + 20]),
    ("too_large", TO_BOB, lambda: b"MD" + b"\0" * limits.FRAME_BYTES_MAX),
    ("too_large", TO_BOB, _too_large_for_its_kind),
    ("bad_magic", TO_BOB, lambda: b"HI" + _ping()[2:]),
    ("bad_version", TO_BOB, lambda: b"MD\x02" + _ping()[3:]),
    ("bad_version", TO_BOB, lambda: b"MD\x01\x80" + _ping()[4:]),
    ("bad_header", TO_BOB, lambda: _forged(b"\x92\xa4ping\x01", head=lambda head: head[:6] + b"\xc1" + head[7:])),
    ("bad_header", TO_BOB, lambda: _forged(b"", head=lambda head: head[:4] + b"\xff\xff" + bytes(70_000))),
    ("bad_header", TO_BOB, lambda: _forged(b"", life=0)),
    ("bad_header", TO_BOB, lambda: _forged(b"", life=-1)),
    ("bad_header", TO_BOB, lambda: _forged(b"", seq=0)),
    ("bad_header", TO_BOB, lambda: _headed(b"\x97" + b"\xc4\x1f" + b"k" * 31 + b"\xa0\xa0\x01\x01\x01\x01")),
    ("bad_header", TO_BOB, lambda: _headed(b"\x91" * 1_000)),
    ("bad_header", TO_BOB, lambda: _headed(b"\x97\xc4\x20" + b"k" * 32 + b"\xa1\xff\xa0\x01\x01\x01\x01")),
    ("unknown_kind", TO_BOB, lambda: _forged(b"\x91\xa6gossip", kind="gossip")),
    ("wrong_subject", TO_BOB, lambda: _ping(subject=SUBJECTS.node(dst=MALLORY.id, life=LIFE, src=ALICE.id))),
    ("wrong_subject", TO_BOB, lambda: _ping(subject=SUBJECTS.node(dst=BOB.id, life=LIFE - 1, src=ALICE.id))),
    ("wrong_subject", TO_BOB, lambda: _ping(subject=TO_BOB.replace(SUBJECTS.mesh, "othermesh"))),
    ("wrong_family", FROM_ALICE, lambda: _ping(subject=FROM_ALICE)),
    ("wrong_family", TO_BOB, lambda: sealer().seal(gossip.Left(1), subject=TO_BOB, now=NOW)),
    ("wrong_family", TO_BOB, lambda: sealer().seal(RECORD, subject=TO_BOB, now=NOW)),
    ("wrong_signer", TO_BOB, lambda: _ping(seal=sealer(MALLORY))),
    ("bad_body", TO_BOB, lambda: _forged(b"\x92\xa3ack\x01")),
    ("bad_body", TO_BOB, lambda: _forged(b"\x91\xa4ping")),
    ("bad_body", TO_BOB, lambda: _forged(b"\x92\xa4ping\xa1x")),
    ("bad_body", TO_BOB, lambda: _forged(b"")),
    ("bad_body", TO_BOB, lambda: _forged(msgspec.msgpack.encode(PING) + b"\0")),
    ("bad_signature", TO_BOB, lambda: _ping()[:-1] + bytes((_ping()[-1] ^ 1,))),
]


def _headed(header: bytes) -> bytes:
    return b"MD\x01\x00" + len(header).to_bytes(2, "big") + header + b"body" + b"s" * SIGNATURE_BYTES


@pytest.mark.parametrize(("code", "subject", "frame"), REFUSED, ids=[f"{n}-{row[0]}" for n, row in enumerate(REFUSED)])
def test_a_frame_that_breaks_a_rule_is_refused_by_that_rule(
    code: str, subject: str, frame: Callable[[], bytes]
) -> None:
    assert _code(opener().open(subject, frame(), NOW)) == code


def test_a_node_that_was_never_admitted_is_refused() -> None:
    subject = SUBJECTS.node(dst=BOB.id, life=LIFE, src=MALLORY.id)
    assert _code(opener().open(subject, _ping(subject=subject, seal=sealer(MALLORY)), NOW)) == "not_admitted"


@pytest.mark.parametrize("proof", [b"", b"\x93junk", proof_of(ALICE), proof_of(MALLORY, root=MALLORY)])
def test_an_alive_fact_admits_nobody_whom_its_proof_does_not_name(proof: bytes) -> None:
    subject = SUBJECTS.fact(region="eu", src=MALLORY.id)
    body = gossip.Alive(1, "m", "eu", "", proof)
    frame = sealer(MALLORY).seal(body, subject=subject, now=NOW)
    assert _code(opener().open(subject, frame, NOW)) == "not_admitted"
    assert _code(opener().open_relayed(frame)) == "not_admitted"


@pytest.mark.parametrize("proof", [b"", b"\x93junk", proof_of(BOB)], ids=["none", "junk", "another's"])
def test_an_alive_fact_whose_proof_names_another_is_refused_of_a_known_node_too_for_newcomers_would(
    proof: bytes,
) -> None:
    frame = sealer().seal(gossip.Alive(1, "m", "eu", "", proof), subject=FROM_ALICE, now=NOW)
    assert _code(opener().open(FROM_ALICE, frame, NOW)) == "not_admitted"
    assert _code(opener().open_relayed(frame)) == "not_admitted"


def test_a_frame_of_its_own_node_is_an_echo() -> None:
    subject = SUBJECTS.fact(region="eu", src=BOB.id)
    frame = sealer(BOB).seal(gossip.Load(1, (), 0, 0), subject=subject, now=NOW)
    assert _code(opener().open(subject, frame, NOW)) == "echo"
    assert _code(opener().open_relayed(frame)) == "echo"
    assert isinstance(opener().open_relayed(frame, is_own=True), Envelope)


def test_a_message_to_another_node_is_refused_on_whatever_subject_it_comes() -> None:
    to_alice = SUBJECTS.node(dst=ALICE.id, life=LIFE, src=MALLORY.id)
    frame = sealer(MALLORY).seal(PING, subject=to_alice, now=NOW)
    assert _code(opener(MALLORY).open(to_alice, frame, NOW)) == "wrong_subject"


def test_a_message_may_take_effect_for_its_life_and_the_skew_of_clocks() -> None:
    end_s = (FRESH_MS + limits.CLOCK_SKEW_MS_MAX) / 1_000
    assert isinstance(opener().open(TO_BOB, _survey(), later(end_s)), Envelope)
    assert _code(opener().open(TO_BOB, _survey(), later(end_s + 0.001))) == "expired"


def test_a_sender_cannot_make_its_message_live_longer() -> None:
    frame = sealer().seal(SURVEY, subject=TO_BOB, now=NOW, ttl_ms=1 << 60)
    assert _code(opener().open(TO_BOB, frame, later(120))) == "expired"


def test_a_frame_from_the_future_is_refused() -> None:
    skew_s = limits.CLOCK_SKEW_MS_MAX / 1_000
    assert isinstance(opener().open(TO_BOB, _survey(), later(-skew_s)), Envelope)
    assert _code(opener().open(TO_BOB, _survey(), later(-skew_s - 0.001))) == "from_future"


@pytest.mark.parametrize("ahead_s", [-3 * 3_600.0, 3 * 3_600.0])
def test_a_frame_is_dated_by_its_senders_clock_once_that_was_measured(ahead_s: float) -> None:
    bob, seal, now = opener(), sealer(), later(-ahead_s)  # Alice's clock stands at NOW then
    bob.clocks.measure(ALICE.id, NOW.wall_ms, asked=now.mono_ns, now=now)
    frames = [seal.seal(SURVEY, subject=TO_BOB, now=NOW) for _ in range(3)]
    assert isinstance(bob.open(TO_BOB, frames[0], now), Envelope)
    assert _code(bob.open(TO_BOB, frames[1], later(61 - ahead_s))) == "expired"
    assert _code(bob.open(TO_BOB, frames[2], later(-31 - ahead_s))) == "from_future"


@pytest.mark.parametrize("body", [PING, swim.Ack(17, 0)], ids=["ping", "ack"])
def test_a_probe_and_its_answer_need_no_clock_and_are_heard_once(body: swim.Ping | swim.Ack) -> None:
    frame = sealer().seal(body, subject=TO_BOB, now=NOW)
    for now in (later(-86_400.0), later(86_400.0)):
        bob = opener()
        assert isinstance(bob.open(TO_BOB, frame, now), Envelope)
        assert _code(bob.open(TO_BOB, frame, now)) == "replayed"


def test_what_a_misdated_frame_says_is_shown_when_it_is_signed_and_new_and_not_at_once_again() -> None:
    bob, frame, now = opener(), _survey(), later(3_600.0)
    forged = bob.open(TO_BOB, frame[:-1] + bytes((frame[-1] ^ 1,)), now)
    assert _code(forged) == "bad_signature"
    shown = [bob.open(TO_BOB, frame, later(3_600.0 + seconds)) for seconds in (0.3, 0.4, 0.7)]
    assert [_code(each) for each in shown] == ["expired"] * 3
    assert [isinstance(each, Refusal) and each.opened is not None for each in shown] == [True, False, True]


def test_a_life_that_lies_far_ahead_is_its_own_affair_and_a_number_beyond_reason_is_none() -> None:
    year = sealer(life=NOW.wall_ms + 365 * 86_400_000)
    assert isinstance(opener().open(TO_BOB, _ping(seal=year), NOW), Envelope)
    assert _code(opener().open(TO_BOB, _ping(seal=sealer(life=limits.LIFE_MAX + 1)), NOW)) == "bad_header"


def test_a_frame_takes_effect_once() -> None:
    bob, frame = opener(), _ping()
    assert isinstance(bob.open(TO_BOB, frame, NOW), Envelope)
    assert _code(bob.open(TO_BOB, frame, NOW)) == "replayed"


def test_a_refused_frame_does_not_use_up_its_number_nor_begin_a_life() -> None:
    bob, frame = opener(), _ping()
    assert _code(bob.open(TO_BOB, frame[:-1] + bytes((frame[-1] ^ 1,)), NOW)) == "bad_signature"
    newer = _ping(seal=sealer(life=LIFE + 9))
    assert _code(bob.open(TO_BOB, newer[:-1] + bytes((newer[-1] ^ 1,)), NOW)) == "bad_signature"
    assert isinstance(bob.open(TO_BOB, frame, NOW), Envelope)


def test_relayed_facts_and_records_are_bound_to_where_they_were_sealed_for() -> None:
    bob = opener(ALICE, MALLORY)
    load = gossip.Load(1, (), 0, 0)
    elsewhere = sealer().seal(load, subject=FROM_ALICE.replace(SUBJECTS.mesh, "othermesh"), now=NOW)
    assert _code(bob.open_relayed(elsewhere)) == "wrong_family"
    in_her_name = sealer(MALLORY).seal(load, subject=FROM_ALICE, now=NOW)
    assert _code(bob.open_relayed(in_her_name)) == "wrong_signer"
    assert _code(bob.open_relayed(_ping())) == "wrong_family"
    record = sealer().seal(RECORD, subject=SUBJECTS.record("p07.key"), now=NOW)
    assert _code(bob.open_record("p07.another", record)) == "wrong_subject"
    assert _code(bob.open_record("p07.key", _ping(subject=SUBJECTS.record("p07.key")))) == "wrong_family"


def test_a_record_of_a_stranger_is_refused_and_its_presence_proves_it() -> None:
    bob, seal = opener(), sealer(MALLORY)
    record = seal.seal(RECORD, subject=SUBJECTS.record("p07.key"), now=NOW)
    assert _code(bob.open_record("p07.key", record)) == "not_admitted"
    presence = task.Presence(LIFE, 1, "m", proof_of(MALLORY))
    subject = SUBJECTS.record(f"node.{MALLORY.id}")
    assert isinstance(bob.open_record(f"node.{MALLORY.id}", seal.seal(presence, subject=subject, now=NOW)), Envelope)
    assert isinstance(bob.open_record("p07.key", record), Envelope)


def test_every_code_of_refusal_is_reached_here() -> None:
    by_name = {"unasked", "not_admitted", "echo", "twin", "expired", "from_future", "replayed", "old_life"}
    by_name |= {"wrong_subject", "two_lives", "twin_left"}
    elsewhere = {"outdated", "not_known", "too_often"}  # said by the reader of records, and of facts
    assert {code for code, _, _ in REFUSED} | by_name | elsewhere == set(REFUSALS)


# --- families


def test_a_signature_of_one_family_opens_as_no_other() -> None:
    families = sorted({kind.family for kind in KINDS.values()})
    body = msgspec.msgpack.encode(PING)
    for signed, number in zip(families, itertools.count(1), strict=False):
        opened = opener().open(TO_BOB, _forged(body, family=signed, seq=number), NOW)
        if signed == "swim":
            assert isinstance(opened, Envelope)
        else:
            assert _code(opened) == "bad_signature"


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_no_kind_may_travel_where_another_family_belongs(body: gossip.Load) -> None:
    family = KINDS[str(body.__struct_config__.tag)].family
    bob, key = opener(), "p07.key"
    on_node = bob.open(TO_BOB, sealer().seal(body, subject=TO_BOB, now=NOW), NOW)
    on_fact = bob.open_relayed(sealer().seal(body, subject=FROM_ALICE, now=NOW))
    in_store = bob.open_record(key, sealer().seal(body, subject=SUBJECTS.record(key), now=NOW))
    subject = SUBJECTS.audit(src=ALICE.id)
    in_audit = bob.open_audit(subject, sealer().seal(body, subject=subject, now=NOW))
    subject = SUBJECTS.topic("sales.all")
    on_topic = bob.open(subject, sealer().seal(body, subject=subject, now=NOW), NOW)
    carried = bob.open(CARRIED, sealer().seal(body, subject=CARRIED, now=NOW), NOW)
    assert isinstance(carried, Envelope) == (family == "carry")
    assert isinstance(on_node, Envelope) == (family not in ("fact", "carry", "record", "audit", "topic"))
    assert isinstance(on_topic, Envelope) == (family == "topic")
    assert isinstance(on_fact, Envelope) == (family == "fact")
    assert isinstance(in_store, Envelope) == (family == "record")
    assert isinstance(in_audit, Envelope) == (family == "audit")
    opened = (on_node, on_topic, on_fact, in_store, in_audit)
    assert {"wrong_family"} == {each.code for each in opened if isinstance(each, Refusal)}


# --- tampering

_frames = [
    sealer().seal(PING, subject=TO_BOB, now=NOW),
    sealer().seal(task.Ask(1, (task.Held("t" * 26, 1, 7),)), subject=TO_BOB, now=NOW, iid="i" * 26),
    Sealer(signer=ALICE, life=LIFE).seal(task.Result("t" * 26, 1, 7, bytes(300)), subject=TO_BOB, now=NOW),
]


@given(frame=st.sampled_from(_frames), bit=st.integers(min_value=0), also=st.integers(min_value=0))
def test_a_frame_with_any_bits_flipped_never_opens(frame: bytes, bit: int, also: int) -> None:
    changed = bytearray(frame)
    for each in {bit % (8 * len(frame)), also % (8 * len(frame))}:
        changed[each // 8] ^= 1 << each % 8
    assert isinstance(opener().open(TO_BOB, bytes(changed), NOW), Refusal)


@given(frame=st.sampled_from(_frames), start=st.integers(min_value=0), end=st.integers(min_value=0))
def test_a_frame_that_is_cut_anywhere_never_opens(frame: bytes, start: int, end: int) -> None:
    cut = frame[: start % (len(frame) + 1)] + frame[len(frame) - end % (len(frame) + 1) :]
    assert cut == frame or isinstance(opener().open(TO_BOB, cut, NOW), Refusal)


@given(one=st.sampled_from(_frames), other=st.sampled_from(_frames), at=st.integers(min_value=0))
def test_two_frames_spliced_together_never_open(one: bytes, other: bytes, at: int) -> None:
    spliced = one[: at % len(one)] + other[at % len(other) :]
    assert spliced in (one, other) or isinstance(opener().open(TO_BOB, spliced, NOW), Refusal)


@given(noise=st.binary(max_size=600))
def test_noise_never_opens_whatever_follows_the_magic(noise: bytes) -> None:
    for frame in (noise, b"MD\x01\x00" + noise):
        assert isinstance(opener().open(TO_BOB, frame, NOW), Refusal)
        assert isinstance(opener().open_relayed(frame), Refusal)
        assert isinstance(opener().open_record("p07.key", frame), Refusal)


@given(body=st.binary(max_size=200), kind=st.sampled_from(sorted(KINDS)))
def test_an_admitted_node_that_signs_noise_is_refused_and_raises_nothing(body: bytes, kind: str) -> None:
    audited, family = SUBJECTS.audit(src=ALICE.id), KINDS[kind].family
    topic, record = SUBJECTS.topic("sales.all"), SUBJECTS.record("p07.key")
    subjects = {"fact": FROM_ALICE, "carry": CARRIED, "record": record, "audit": audited, "topic": topic}
    subject = subjects.get(family, TO_BOB)
    frame = _forged(body, kind=kind, subject=subject)
    bob = opener()
    match family:
        case "record":
            opened = bob.open_record("p07.key", frame)
        case "audit":
            opened = bob.open_audit(subject, frame)
        case _:
            opened = bob.open(subject, frame, NOW)
    assert isinstance(opened, Envelope) or opened.code == "bad_body"


# --- bombs

BOMBS = {
    "nested a hundred thousand deep": b"\x94\xa5delta\x01\x90" + b"\x91" * 60_000,
    "an array said to hold four thousand million values": b"\x93\xa5delta\x01\xdd\xff\xff\xff\xff",
    "bytes said to be four gigabytes": b"\x93\xa5delta\x01\x91\xc6\xff\xff\xff\xff",
    "a map said to hold four thousand million pairs": b"\x94\xa5delta\x01\x90\xdf\xff\xff\xff\xff",
    "text that is no UTF-8": b"\x95\xa7suspect\xa1\xff\x01\x01\xa1x",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_of_an_admitted_node_is_a_bad_body(bomb: bytes) -> None:
    kind = "suspect" if b"suspect" in bomb else "delta"
    subject = FROM_ALICE if kind == "suspect" else TO_BOB
    assert _code(opener().open(subject, _forged(bomb, kind=kind, subject=subject), NOW)) == "bad_body"


def test_a_bomb_a_hundred_thousand_deep_is_refused_where_frames_may_be_that_long() -> None:
    bomb = b"\x95\xa6result\xa1t\x01\x01" + b"\x91" * 100_000
    assert _code(opener().open(TO_BOB, _forged(bomb, kind="result"), NOW)) == "bad_body"


def test_a_frame_that_is_too_large_for_its_kind_is_never_sealed() -> None:
    card = agents.Card("n", ("c@1",), 1, purpose="x" * limits.GOSSIP_BYTES_MAX)
    with pytest.raises(ValueError, match="a frame of kind capabilities has"):
        sealer().seal(gossip.Capabilities(1, (card,)), subject=FROM_ALICE, now=NOW)


def test_a_header_that_nobody_would_take_is_never_sealed() -> None:
    with pytest.raises(ValueError, match="header"):
        sealer().seal(PING, subject=TO_BOB, now=NOW, iid="x" * limits.HEADER_BYTES_MAX)


# --- replay


class _Seen:
    """What a window should be: everything is remembered, and what lies too far back is not new."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def is_new(self, seq: int) -> bool:
        is_too_old = bool(self.seen) and seq <= max(self.seen) - limits.REPLAY_WINDOW_BITS
        return seq not in self.seen and not is_too_old


@given(
    st.lists(
        st.one_of(st.integers(1, 40), st.integers(1, 3 * limits.REPLAY_WINDOW_BITS), st.integers(1, 1 << 62)),
        max_size=60,
    )
)
def test_the_replay_window_is_a_memory_of_the_last_thousand(numbers: list[int]) -> None:
    window, model = _Window(1), _Seen()
    for seq in numbers:
        assert window.is_new(seq) == model.is_new(seq)
        if model.is_new(seq):
            window.mark(seq)
            model.seen.add(seq)


def test_windows_are_bounded_and_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIVES_TRACKED_MAX", 2)
    nodes = [Identity(bytes((seed,)) * 32) for seed in (10, 11, 12)]
    bob = opener(*nodes)
    frames = []
    for node in nodes:
        subject = SUBJECTS.node(dst=BOB.id, life=LIFE, src=node.id)
        frames.append((subject, _ping(subject=subject, seal=sealer(node))))
        assert isinstance(bob.open(*frames[-1], NOW), Envelope)
    assert [type(bob.open(*frame, NOW)) for frame in frames[1:]] == [Refusal, Refusal]
    assert isinstance(bob.open(*frames[0], NOW), Envelope), "it was forgotten"


def test_admissions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEERS_MAX", 1)
    bob = Opener(me=BOB.id, subjects=SUBJECTS, root_key=ROOT.public_key)
    for seed in (10, 11, 12):
        bob.admit(proof_of(Identity(bytes((seed,)) * 32)))
    first = Identity(bytes((10,)) * 32)
    subject = SUBJECTS.node(dst=BOB.id, life=LIFE, src=first.id)
    assert _code(bob.open(subject, _ping(subject=subject, seal=sealer(first)), NOW)) == "not_admitted"
