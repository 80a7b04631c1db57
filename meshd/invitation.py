"""How a mesh begins and how a node comes to belong to one: founding, inviting, accepting.

Invariant: `mesh.json` is written last, so a directory either belongs to a mesh with all that
this takes, or to none. An invitation is a secret until it expires. Neighbours: `statedir` keeps
the files; `protocol.identity` says what an admission proves.
"""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b

import msgspec
from msgspec import Struct

from meshd.settings import Url
from meshd.statedir import ADMISSION, Credential, Mesh, StateDir
from protocol.errors import MeshError
from protocol.identity import (
    KEY_BYTES,
    Identity,
    Warrant,
    admission,
    admitted_key,
    is_acceptable,
    warrant,
)
from protocol.ids import fingerprint, mesh_id, short
from protocol.primitives import Instant, NodeId, WallMs

VERSION = 1
TOKEN_CHARS_MAX = 4_096  # 16 long addresses and the keys
CHECKSUM_BYTES = 4  # tells a slip of the hand from a token; the keys inside are what is proved
VALID_S = 86_400.0  # a day: long enough to set up hosts, short enough to be forgotten safely
URLS_MAX = 16
USER = "mesh"

_TOKEN = re.compile(r"mj([0-9]{1,4})_(.*)", re.DOTALL)
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


class Invitation(Struct, frozen=True, array_like=True):
    """All that a host needs to join: where, to whose mesh, and the right to be admitted.

    `issuer_seed` is the key of this invitation alone, which the root warrants until `warrant.not_after_ms`.
    """

    root_key: bytes
    mesh_name: str
    founder: NodeId
    urls: tuple[Url, ...]
    credential: Credential
    warrant: Warrant
    issuer_seed: bytes

    @property
    def mesh(self) -> str:
        """The id of the mesh."""
        return mesh_id(self.root_key)

    @property
    def fingerprint(self) -> str:
        """What a person may compare on both sides before joining."""
        return fingerprint(self.root_key)

    @property
    def expires_ms(self) -> WallMs:
        """When it ends, in wall-clock milliseconds."""
        return self.warrant.not_after_ms

    def encode(self) -> str:
        """The token: `mj1_` and base64url of length (2 bytes), content (msgpack) and checksum."""
        content = msgspec.msgpack.encode(self)
        packed = len(content).to_bytes(2, "big") + content + _checksum(content)
        return f"mj{VERSION}_" + urlsafe_b64encode(packed).decode().rstrip("=")

    @staticmethod
    def decode(text: str, *, now: Instant) -> "Invitation":
        """Read a token; spaces and line breaks in it do not matter.

        Raises MeshError("bad_join") with a sentence of its own for each way it can be wrong.
        """
        invitation = _proved(_unpacked(_stripped(text)))
        if invitation.expires_ms <= now.wall_ms:
            raise _bad(f"it expired {_ago(now.wall_ms - invitation.expires_ms)} ago by the clock of this host")
        return invitation


def found_mesh(statedir: StateDir, *, now: Instant, name: str = "") -> Mesh:
    """Make a mesh of one in a new directory: its root key, this node's key and admission, a NATS credential.

    `name` is the mesh's name for people, its id when empty. A founding that was cut short is taken up again.
    """
    root, node = statedir.mint_root(), statedir.identity()
    own = warrant(root=root, issuer_key=root.public_key, not_after_ms=now.wall_ms)
    proof = admission(issuer=root, root_key=root.public_key, node_key=node.public_key, warrant=own)
    statedir.write(ADMISSION, proof)
    statedir.keep_credential(Credential(user=USER, password=secrets.token_urlsafe(32)))
    mesh = Mesh(root_key=root.public_key, name=name or mesh_id(root.public_key), founder=node.id)
    statedir.keep_mesh(mesh)
    return mesh


def make_invitation(
    statedir: StateDir,
    *,
    urls: Sequence[str],
    now: Instant,
    valid_s: float = VALID_S,
    credential: Credential | None = None,
) -> Invitation:
    """An invitation to the directory's mesh, for servers at `urls`, with `credential` instead of the mesh's own.

    Raises MeshError("denied") on a node that did not found the mesh: it has no root key.
    """
    mesh, root = statedir.mesh(), statedir.root()
    if mesh is None or root is None or root.public_key != mesh.root_key:
        founder = f"the founder, {short(mesh.founder)}," if mesh else "a founder"
        raise MeshError("denied", what=f"inviting from this node (only {founder} holds the key of the mesh)")
    if not 0 < len(urls) <= URLS_MAX:
        raise MeshError("bad_input", what=f"an invitation needs 1 to {URLS_MAX} addresses of servers, not {len(urls)}")
    issuer = secrets.token_bytes(KEY_BYTES)
    not_after_ms = now.wall_ms + int(valid_s * 1000)
    return Invitation(
        root_key=root.public_key,
        mesh_name=mesh.name,
        founder=mesh.founder,
        urls=tuple(urls),
        credential=credential or statedir.credential(),
        warrant=warrant(root=root, issuer_key=Identity(issuer).public_key, not_after_ms=not_after_ms),
        issuer_seed=issuer,
    )


def accept(invitation: Invitation, statedir: StateDir, *, now: Instant) -> Mesh:
    """Join: keep the mesh's key, servers and credential, and admit this node with the invitation's key.

    Accepting again renews servers and credential. Raises MeshError: "directory" when the
    directory belongs to another mesh, "bad_join" when the invitation has expired meanwhile.
    """
    if invitation.expires_ms <= now.wall_ms:
        raise _bad(f"it expired {_ago(now.wall_ms - invitation.expires_ms)} ago by the clock of this host")
    mesh = Mesh(invitation.root_key, invitation.mesh_name, invitation.founder, invitation.urls)
    former, node = statedir.mesh(), statedir.identity()
    if former is not None and former.root_key != mesh.root_key:
        raise MeshError(
            "directory",
            path=str(statedir.path),
            problem=f"belongs to the mesh {_called(former)}, and the invitation is to the mesh {_called(mesh)}",
            cure="join from a directory of its own with --dir, or start without --join",
        )
    if node.id == mesh.founder:
        problem = f"founded the mesh {_called(mesh)} itself"
        raise MeshError("directory", path=str(statedir.path), problem=problem, cure="start it without --join")
    issuer = Identity(invitation.issuer_seed)
    proof = admission(issuer=issuer, root_key=mesh.root_key, node_key=node.public_key, warrant=invitation.warrant)
    statedir.write(ADMISSION, proof)
    statedir.keep_credential(invitation.credential)
    statedir.keep_mesh(mesh)
    return mesh


def _called(mesh: Mesh) -> str:
    return mesh.id if mesh.name == mesh.id else f"{mesh.name} ({mesh.id})"


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=CHECKSUM_BYTES, person=b"meshd/join").digest()


def _stripped(text: str) -> str:
    """The base64 of a token of our version."""
    if len(text) > TOKEN_CHARS_MAX:
        raise _bad(f"it has {len(text)} characters, and none has more than {TOKEN_CHARS_MAX}")
    text = "".join(text.split())
    if text.startswith(("nats://", "tls://")):
        raise _bad("it is the address of a server, and joining takes a token, which carries the keys as well")
    if not text:
        raise _bad("it is empty")
    seen = _TOKEN.fullmatch(text)
    if seen is None:
        raise _bad(f"a token begins with mj{VERSION}_")
    if int(seen[1]) != VERSION:
        raise _bad(f"it is of version {int(seen[1])}, and this meshd reads version {VERSION}")
    return seen[2]


def _unpacked(encoded: str) -> bytes:
    plain = _ALPHABET.match(encoded)
    if plain is not None and plain.end() < len(encoded):
        raise _bad(f"it was altered: {encoded[plain.end()]!r} does not occur in a token")
    usable = len(encoded) - (len(encoded) % 4 == 1)  # one character over is no byte: the rest was cut off
    packed = urlsafe_b64decode(encoded[:usable] + "=" * (-usable % 4))
    length = int.from_bytes(packed[:2], "big")
    whole = 2 + length + CHECKSUM_BYTES
    if len(packed) < 2 or len(packed) < whole:
        raise _bad("its end is missing; copy it whole")
    content = packed[2 : 2 + length]
    if len(packed) > whole or packed[2 + length :] != _checksum(content):
        raise _bad("it was altered: its checksum is wrong")
    if urlsafe_b64encode(packed).decode().rstrip("=") != encoded:
        raise _bad("it was altered: it goes on behind its end")
    return content


def _proved(content: bytes) -> Invitation:
    """The invitation in `content`, if the mesh's root did warrant it."""
    try:
        invitation = msgspec.msgpack.decode(content, type=Invitation)
    except (ValueError, RecursionError):
        raise _bad("it was altered: it does not hold what an invitation holds") from None
    if len(invitation.issuer_seed) != KEY_BYTES or not is_acceptable(invitation.root_key):
        raise _bad("it was altered: its keys are no keys")
    if not 0 < len(invitation.urls) <= URLS_MAX:
        raise _bad("it was altered: it names no server, or too many")
    issuer = Identity(invitation.issuer_seed)
    root_key = invitation.root_key
    sample = admission(issuer=issuer, root_key=root_key, node_key=issuer.public_key, warrant=invitation.warrant)
    if admitted_key(root_key=root_key, proof=sample) is None:
        raise _bad("it was altered: the mesh it names did not make it")
    return invitation


def _ago(passed_ms: int) -> str:
    minutes = passed_ms // 60_000
    if minutes < 1:
        return "less than a minute"
    for unit, size in (("days", 1_440), ("hours", 60)):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit}"
    return f"{minutes} minute{'s' * (minutes != 1)}"


def _bad(problem: str) -> MeshError:
    return MeshError("bad_join", problem=problem)
