"""How frames are signed in the world: really, or by a keyed hash that costs a hundredth.

Invariant: keys and admissions are real in both, so only the signature of each frame is stood in
for. Neighbour: `protocol.envelope` takes a `Signer` and a `Verify`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, TypeAlias

from protocol.envelope import Signer, Verify
from protocol.identity import SIGNATURE_BYTES, Identity, admission, is_signed, warrant
from protocol.primitives import NodeId

Wire: TypeAlias = Literal["none", "mac", "ed25519"]

_ID = re.compile(r"\b[a-z2-7]{32}\b")  # of a node
WARRANT_END_MS = 1 << 62  # the root of the world never tires


class MacSigner:
    """Signs with a hash keyed by the public key: anybody could, but nobody here does."""

    def __init__(self, identity: Identity) -> None:
        self.public_key = identity.public_key
        self.id: NodeId = identity.id

    def sign(self, message: bytes) -> bytes:
        """64 bytes that only these bytes and this key give."""
        return blake2b(message, key=self.public_key, digest_size=SIGNATURE_BYTES).digest()


def is_maced(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """The stand-in's check."""
    return blake2b(message, key=public_key, digest_size=SIGNATURE_BYTES).digest() == signature


def is_really_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """The real check."""
    return is_signed(public_key=public_key, message=message, signature=signature)


def verify_of(wire: Wire) -> Verify:
    """How frames are checked on this wire."""
    return is_really_signed if wire == "ed25519" else is_maced


class Keys:
    """The mesh's root, and one key for each name; the same for every seed."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._root = identity_of("root")
        self.root_key = self._root.public_key

    def signer(self, name: str) -> Signer:
        """The key of the node with this name."""
        identity = identity_of(name)
        return identity if self._wire == "ed25519" else MacSigner(identity)

    def admission(self, name: str) -> bytes:
        """The root's proof that it belongs here."""
        granted = warrant(root=self._root, issuer_key=self.root_key, not_after_ms=WARRANT_END_MS)
        node_key = identity_of(name).public_key
        return admission(issuer=self._root, root_key=self.root_key, node_key=node_key, warrant=granted)


def identity_of(name: str) -> Identity:
    """A real key, made from a name."""
    return Identity(blake2b(b"simulations/" + name.encode(), digest_size=32).digest())


def by_name(text: str, names: tuple[str, ...]) -> str:
    """The same with these names of nodes in the place of their ids."""
    return _ID.sub(lambda found: _names_of(names).get(found[0], found[0]), text)


@lru_cache(maxsize=2)
def _names_of(names: tuple[str, ...]) -> Mapping[str, str]:
    return {identity_of(name).id: name for name in names}
