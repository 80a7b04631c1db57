"""Own facts and records come back without a second look at their signature; nothing else does."""

import pytest

from protocol import ids, limits
from protocol.envelope import KEPT_MS, Envelope, Frames, Opener, Refusal, Sealer
from protocol.wire.task import Presence
from tests.protocol.sealing import ALICE, LIFE, NOW, ROOT, SUBJECTS, proof_of

KEY = ids.presence_key(ALICE.id)


class Stage:
    """Alice, who counts how often she proves a signature."""

    def __init__(self) -> None:
        self.proofs = 0
        self.sealer = Sealer(signer=ALICE, life=LIFE)
        root_key = ROOT.public_key
        self.opener = Opener(
            me=ALICE.id, subjects=SUBJECTS, root_key=root_key, frames=Frames(self._proves), own=self.sealer
        )
        self.opener.admit(proof_of(ALICE))

    def _proves(self, _key: bytes, _message: bytes, _signature: bytes) -> bool:
        self.proofs += 1
        return False

    def record(self, beat: int, seal: Sealer | None = None, name: str = "a") -> bytes:
        subject = SUBJECTS.record(KEY)
        presence = Presence(LIFE, beat, name, proof_of(ALICE))
        return (seal or self.sealer).seal(presence, subject=subject, now=NOW, ttl_ms=KEPT_MS)


def test_an_own_record_is_opened_without_proof() -> None:
    stage = Stage()
    opened = stage.opener.open_record(KEY, stage.record(1))
    assert isinstance(opened, Envelope)
    assert opened.body == Presence(LIFE, 1, "a", proof_of(ALICE))
    assert stage.proofs == 0


def test_an_own_record_still_opens_under_its_own_key_only() -> None:
    stage = Stage()
    opened = stage.opener.open_record("node.other", stage.record(1))
    assert isinstance(opened, Refusal)
    assert opened.code == "wrong_subject"


def test_one_changed_byte_is_proved_and_refused() -> None:
    stage = Stage()
    frame = stage.record(1)
    opened = stage.opener.open_record(KEY, frame[:-1] + bytes((frame[-1] ^ 1,)))
    assert isinstance(opened, Refusal)
    assert (opened.code, stage.proofs) == ("bad_signature", 1)


def test_what_an_earlier_life_sealed_is_proved() -> None:
    stage = Stage()
    stage.opener.open_record(KEY, stage.record(1, Sealer(signer=ALICE, life=LIFE - 1)))
    assert stage.proofs == 1


def test_few_and_small_frames_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEALED_KEPT", 2)
    stage = Stage()
    frames = [stage.record(beat) for beat in range(1, 4)]
    assert [stage.sealer.has_made(frame) for frame in frames] == [False, True, True]
    monkeypatch.setattr(limits, "SEALED_BYTES_MAX", len(frames[0]))
    assert not stage.sealer.has_made(stage.record(4, name="a" * 100))
