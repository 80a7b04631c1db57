"""A mesh of a few keys, for tests that seal and open frames with real signatures."""

from protocol.envelope import Opener, Sealer
from protocol.identity import Identity, admission, warrant
from protocol.ids import mesh_id
from protocol.primitives import Instant
from protocol.subjects import Subjects

LIFE = 1_800_000_000_000
NOW = Instant(mono_ns=5_000_000_000, wall_ms=LIFE + 60_000)

ROOT = Identity(b"\x01" * 32)
ALICE = Identity(b"\x02" * 32)
BOB = Identity(b"\x03" * 32)
MALLORY = Identity(b"\x04" * 32)  # never admitted
SUBJECTS = Subjects(mesh_id(ROOT.public_key))
TO_BOB = SUBJECTS.node(dst=BOB.id, life=LIFE, src=ALICE.id)
FROM_ALICE = SUBJECTS.fact(region="eu", src=ALICE.id)
CARRIED = SUBJECTS.carry(region="eu", src=ALICE.id)  # by Alice, into her region


def later(seconds: float) -> Instant:
    """The moment `seconds` after `NOW`, on both clocks."""
    return Instant(mono_ns=NOW.after(seconds), wall_ms=NOW.wall_ms + round(seconds * 1_000))


def proof_of(node: Identity, *, root: Identity = ROOT) -> bytes:
    """The admission of a node, by a root that is its own issuer."""
    granted = warrant(root=root, issuer_key=root.public_key, not_after_ms=NOW.wall_ms)
    return admission(issuer=root, root_key=root.public_key, node_key=node.public_key, warrant=granted)


def sealer(node: Identity = ALICE, *, life: int = LIFE) -> Sealer:
    """Signs for one life of a node."""
    return Sealer(signer=node, life=life)


def opener(*admitted: Identity) -> Opener:
    """Bob's, who knows Alice unless told whom else."""
    opened = Opener(me=BOB.id, subjects=SUBJECTS, root_key=ROOT.public_key)
    for node in admitted or (ALICE,):
        assert opened.admit(proof_of(node)) == node.id
    return opened
