"""Frames that the hosts of one process share: read once, believed by each for itself."""

import copy

from protocol.envelope import Envelope, Opener, Refusal, Sealer
from protocol.wire.gossip import Alive
from protocol.wire.swim import Ping
from protocol.wire.task import Presence
from simulations.frames import BareFrames, SharedFrames
from tests.protocol.sealing import ALICE, BOB, FROM_ALICE, LIFE, MALLORY, NOW, ROOT, SUBJECTS, TO_BOB, proof_of

KEY = f"node.{ALICE.id}"


class _Counting(SharedFrames):
    """Counts proofs."""

    def __init__(self) -> None:
        super().__init__(self._proves)
        self.proven = 0

    def _proves(self, key: bytes, message: bytes, signature: bytes) -> bool:
        del key, message, signature
        self.proven += 1
        return True


def _opener(frames: SharedFrames, *, root: bytes = ROOT.public_key) -> Opener:
    return Opener(me=BOB.id, subjects=SUBJECTS, root_key=root, frames=frames)


def _fact(frames: SharedFrames) -> bytes:
    alive = Alive(0, "alice", "eu", "", proof_of(ALICE))
    return Sealer(signer=ALICE, life=LIFE, frames=frames).seal(alive, subject=FROM_ALICE, now=NOW)


def test_a_fact_is_proven_once_however_many_read_it_and_however_it_came() -> None:
    frames = _Counting()
    fact = _fact(frames)
    first = _opener(frames).open(FROM_ALICE, fact, NOW)
    again = _opener(frames).open_relayed(bytes(bytearray(fact)))
    assert isinstance(first, Envelope)
    assert again is first
    assert frames.proven == 1


def test_a_record_is_proven_once_however_many_find_it() -> None:
    frames = _Counting()
    beat = Presence(LIFE, 1, "alice", proof_of(ALICE))
    frame = Sealer(signer=ALICE, life=LIFE, frames=frames).seal(beat, subject=SUBJECTS.record(KEY), now=NOW)
    first, again = (_opener(frames).open_record(KEY, bytes(bytearray(frame))) for _ in range(2))
    assert isinstance(first, Envelope)
    assert again is first
    assert frames.proven == 1


def test_whom_one_reader_believes_another_need_not() -> None:
    frames = _Counting()
    fact = _fact(frames)
    assert isinstance(_opener(frames).open(FROM_ALICE, fact, NOW), Envelope)
    stranger = _opener(frames, root=MALLORY.public_key).open(FROM_ALICE, fact, NOW)
    assert isinstance(stranger, Refusal)
    assert stranger.code == "not_admitted"


def test_a_message_to_one_node_is_not_kept_and_still_takes_effect_once() -> None:
    frames = _Counting()
    opener = _opener(frames)
    opener.admit(proof_of(ALICE))
    ping = Sealer(signer=ALICE, life=LIFE, frames=frames).seal(Ping(1), subject=TO_BOB, now=NOW)
    assert isinstance(opener.open(TO_BOB, ping, NOW), Envelope)
    again = opener.open(TO_BOB, ping, NOW)
    assert isinstance(again, Refusal)
    assert again.code == "replayed"


def test_a_copy_of_a_node_shares_what_was_read() -> None:
    frames = SharedFrames(lambda *_: True)
    assert copy.deepcopy(frames) is frames


def test_without_a_wire_a_frame_says_what_it_said_and_other_bytes_say_nothing() -> None:
    frames = BareFrames()
    opener = Opener(me=BOB.id, subjects=SUBJECTS, root_key=ROOT.public_key, frames=frames)
    body = Alive(0, "alice", "eu", "", proof_of(ALICE))
    fact = Sealer(signer=ALICE, life=LIFE, frames=frames).seal(body, subject=FROM_ALICE, now=NOW)
    opened = opener.open(FROM_ALICE, fact, NOW)
    assert isinstance(opened, Envelope)
    assert opened.body is body
    assert opener.open_relayed(fact) is opened
    for harmed in (bytes(fact), fact[:-1], fact + b"x"):
        refused = opener.open(FROM_ALICE, harmed, NOW)
        assert isinstance(refused, Refusal)
        assert refused.code == "bad_magic"
