"""Frames of several lives of one key: what a newer one ends, and how two daemons with one key are told apart."""

import pytest

from protocol import limits
from protocol.envelope import Envelope, Refusal, Sealer
from protocol.wire import gossip, swim
from tests.protocol.sealing import ALICE, BOB, LIFE, NOW, SUBJECTS, TO_BOB, later, opener, proof_of, sealer

PING = swim.Ping(17)
BEGUN = later(LIFE / 1_000 - NOW.wall_ms / 1_000)  # when the lives here began


def _code(opened: Envelope | Refusal) -> str:
    assert isinstance(opened, Refusal), opened
    return opened.code


def _ping(seal: Sealer) -> bytes:
    return seal.seal(PING, subject=TO_BOB, now=NOW)


def test_a_newer_life_with_our_own_key_is_a_twin_when_it_is_really_signed() -> None:
    bob, subject = opener(), SUBJECTS.fact(region="r1", src=BOB.id)
    bob.begin(LIFE, "r1")
    lives = (LIFE - 1, LIFE, LIFE + 1)
    frames = [sealer(BOB, life=life).seal(gossip.Load(1, (), 0, 0), subject=subject, now=NOW) for life in lives]
    assert [_code(bob.open(subject, frame, NOW)) for frame in frames] == ["echo", "echo", "twin"]
    assert [_code(bob.open_relayed(frame)) for frame in frames] == ["echo", "echo", "twin"]
    forged = frames[2][:-1] + bytes((frames[2][-1] ^ 1,))
    assert _code(bob.open(subject, forged, NOW)) == _code(bob.open_relayed(forged)) == "echo"


def test_a_twin_that_leaves_is_told_with_its_life() -> None:
    bob, subject = opener(), SUBJECTS.fact(region="r1", src=BOB.id)
    bob.begin(LIFE, "r1")
    frame = sealer(BOB, life=LIFE + 1).seal(gossip.Left(0, proof_of(BOB)), subject=subject, now=NOW)
    assert bob.open(subject, frame, NOW) == Refusal("twin_left", BOB.id, subject, life=LIFE + 1)
    assert _code(bob.open_relayed(frame)) == "twin_left"


def test_a_new_life_ends_the_one_before() -> None:
    bob, former = opener(), sealer()
    first, second = _ping(former), former.seal(PING, subject=TO_BOB, now=BEGUN)
    assert isinstance(bob.open(TO_BOB, first, NOW), Envelope)
    assert isinstance(bob.open(TO_BOB, _ping(sealer(life=LIFE + 1)), NOW), Envelope)
    assert _code(bob.open(TO_BOB, second, NOW)) == "old_life"


@pytest.mark.parametrize("how", ["as its owner said it", "passed on"])
def test_a_new_life_that_only_a_fact_has_told_ends_the_one_before(how: str) -> None:
    bob, subject = opener(), SUBJECTS.fact(region="r1", src=ALICE.id)
    frame = sealer(life=LIFE + 1).seal(gossip.Load(1, (), 0, 0), subject=subject, now=NOW)
    heard = bob.open_relayed(frame) if how == "passed on" else bob.open(subject, frame, NOW)
    assert isinstance(heard, Envelope)
    assert _code(bob.open(TO_BOB, sealer().seal(PING, subject=TO_BOB, now=BEGUN), NOW)) == "old_life"
    assert isinstance(bob.open(TO_BOB, _ping(sealer(life=LIFE + 1)), NOW), Envelope)


def test_a_fact_of_a_former_life_that_is_passed_on_late_ends_nothing_and_forgets_no_message() -> None:
    bob, subject, new = opener(), SUBJECTS.fact(region="r1", src=ALICE.id), sealer(life=LIFE + 1)
    said = _ping(new)
    assert isinstance(bob.open(TO_BOB, said, NOW), Envelope)
    assert isinstance(bob.open_relayed(sealer().seal(gossip.Load(1, (), 0, 0), subject=subject, now=NOW)), Envelope)
    assert _code(bob.open(TO_BOB, said, NOW)) == "replayed"
    assert isinstance(bob.open(TO_BOB, _ping(new), NOW), Envelope)


def test_a_life_that_goes_on_after_a_newer_one_began_is_told_from_what_was_on_its_way_when_it_is_really_signed() -> (
    None
):
    bob, former, begun_s = opener(), sealer(), (limits.TWIN_MS + LIFE - NOW.wall_ms) / 1_000
    assert isinstance(bob.open(TO_BOB, _ping(sealer(life=LIFE + 1)), NOW), Envelope)
    for seconds, code in ((begun_s, "old_life"), (begun_s + 0.001, "two_lives")):
        frame = former.seal(PING, subject=TO_BOB, now=later(seconds))
        assert _code(bob.open(TO_BOB, frame, later(seconds))) == code
    forged = frame[:-1] + bytes((frame[-1] ^ 1,))
    assert _code(bob.open(TO_BOB, forged, later(seconds))) == "bad_signature"
