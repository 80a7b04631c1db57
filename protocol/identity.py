"""Keys: Ed25519 identities, what makes a public key acceptable, and the admission of a node to a mesh.

Invariant: the only module that imports the crypto library. A key is checked when it is taken
in, not when it is used. Neighbours: `envelope` signs and verifies frames with these.
"""

from functools import lru_cache

import msgspec
from msgspec import Struct
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey

from protocol import limits
from protocol.errors import UNREADABLE
from protocol.ids import node_id
from protocol.primitives import NodeId, WallMs

KEY_BYTES = 32
SIGNATURE_BYTES = 64


def is_acceptable(public_key: bytes) -> bool:
    """True for a canonical Ed25519 point of the main subgroup.

    Small-order and non-canonical keys are refused: under them anybody's forgery verifies.
    """
    return len(public_key) == KEY_BYTES and _is_valid_point(public_key)


@lru_cache(maxsize=8_192)
def _is_valid_point(public_key: bytes) -> bool:
    return bool(crypto_core_ed25519_is_valid_point(public_key))


class Identity:
    """A private key and what follows from it. `seed` is 32 secret bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public_key = bytes(self._key.verify_key)
        self.id: NodeId = node_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature (RFC 8032)."""
        return self._key.sign(message).signature


def is_signed(*, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """True when `signature` is the key's over exactly these bytes."""
    if len(signature) != SIGNATURE_BYTES or not is_acceptable(public_key):
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except (CryptoError, ValueError):
        return False
    return True


class Warrant(Struct, frozen=True, array_like=True):
    """The root's word that an issuer may admit nodes until `not_after_ms`."""

    issuer_key: bytes
    not_after_ms: WallMs
    signature: bytes


class Admission(Struct, frozen=True, array_like=True):
    """Proof that a node's key belongs to a mesh: root → issuer → node, checked offline."""

    node_key: bytes
    warrant: Warrant
    signature: bytes


def _warrant_bytes(*, root_key: bytes, issuer_key: bytes, not_after_ms: WallMs) -> bytes:
    return b"meshd/warrant/v1\0" + root_key + issuer_key + not_after_ms.to_bytes(8, "big")


def _admission_bytes(*, root_key: bytes, node_key: bytes) -> bytes:
    return b"meshd/admission/v1\0" + root_key + node_key


def warrant(*, root: Identity, issuer_key: bytes, not_after_ms: WallMs) -> Warrant:
    """The root admits an issuer."""
    message = _warrant_bytes(root_key=root.public_key, issuer_key=issuer_key, not_after_ms=not_after_ms)
    return Warrant(issuer_key, not_after_ms, root.sign(message))


def admission(*, issuer: Identity, root_key: bytes, node_key: bytes, warrant: Warrant) -> bytes:
    """An issuer admits a node; the encoded `Admission`, which the node shows in its alive facts."""
    message = _admission_bytes(root_key=root_key, node_key=node_key)
    return msgspec.msgpack.encode(Admission(node_key, warrant, issuer.sign(message)))


_admission_decoder = msgspec.msgpack.Decoder(Admission)


def admitted_key(*, root_key: bytes, proof: bytes) -> bytes | None:
    """The node key that `proof` admits to the mesh of `root_key`, or None.

    The warrant's end limits when nodes may be admitted with it, not how long they stay, so
    it is not compared with the clock here.
    """
    return _proven_key(root_key, proof) if len(proof) <= limits.ADMISSION_BYTES_MAX else None


@lru_cache(maxsize=8_192)
def _proven_key(root_key: bytes, proof: bytes) -> bytes | None:
    try:
        seen = _admission_decoder.decode(proof)
    except UNREADABLE:
        return None
    keys = (seen.node_key, seen.warrant.issuer_key)
    if not all(is_acceptable(key) for key in keys) or not 0 <= seen.warrant.not_after_ms < 1 << 63:
        return None
    warranted = _warrant_bytes(
        root_key=root_key, issuer_key=seen.warrant.issuer_key, not_after_ms=seen.warrant.not_after_ms
    )
    if not is_signed(public_key=root_key, message=warranted, signature=seen.warrant.signature):
        return None
    admitted = _admission_bytes(root_key=root_key, node_key=seen.node_key)
    if not is_signed(public_key=seen.warrant.issuer_key, message=admitted, signature=seen.signature):
        return None
    return seen.node_key
