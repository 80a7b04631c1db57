"""The audit of a node as one file: for each chain a manifest, which says where it begins and ends, then its records.

Invariant: the manifest is signed with the node's key, so that nothing can be cut off at an end, or added there,
without being found; a part that somebody asked for says so. Neighbours: `verify` reads it anywhere.
"""

from collections.abc import Iterator
from itertools import chain as joined
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from meshd import clock
from meshd.observe.chains import aside
from meshd.observe.segments import lines_of, segments, whole_bytes
from meshd.observe.shipping import read_witness
from protocol import limits
from protocol.audit import Witness, is_by, read
from protocol.errors import UNREADABLE, MeshError
from protocol.identity import Identity
from protocol.primitives import NodeId, WallMs

MANIFEST = b'{"export":'


class Manifest(Struct, frozen=True):
    """What an export holds of one chain: from record `first_seq`, chained to `before`, to `last_seq` with this `hash`.

    `chains` are all that are in the file, in order; `since_ms` > 0: only what is younger was asked for.
    """

    node: NodeId
    chain: int
    chains: tuple[int, ...]
    first_seq: int
    before: str
    last_seq: int
    hash: str
    records: int
    since_ms: WallMs
    made_ms: WallMs
    witness: Witness | None
    key: str = ""  # the node's Ed25519 public key, in hex; nothing when whoever made this had no key
    signature: str = ""  # of everything above, in hex

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return b"meshd/export/v1\\0" + msgspec.json.encode(msgspec.structs.replace(self, signature=""))

    @property
    def is_genuine(self) -> bool:
        """True when the node whose chain this is has signed it."""
        return is_by(self.node, key=self.key, signature=self.signature, message=self.signed_bytes)

    @property
    def is_unsigned(self) -> bool:
        """True when nobody claims to have signed it."""
        return not self.key and not self.signature


class _Line(Struct, frozen=True):
    export: Manifest


class _Extent(Struct, frozen=True):
    """What of a folder is exported: so many lines after so many, and what the first and last of them say."""

    folder: Path
    skipped: int
    lines: int
    node: NodeId
    chain: int
    first_seq: int
    before: str
    last_seq: int
    hash: str


def export(folder: Path, *, signer: Identity | None = None, since_ms: WallMs = 0) -> Iterator[bytes]:
    """Every chain of a journal: those that were set aside, and the one that goes on. Raises MeshError."""
    folders = [*(kept for _, kept in aside(folder)), folder]
    extents = [extent for each in folders if (extent := _extent(each, since_ms)) is not None]
    if not extents:
        raise MeshError("bad_input", what=f"{folder} holds no audit{' of that time' if since_ms else ''}")
    chains = tuple(extent.chain for extent in extents)
    for extent in extents:
        yield msgspec.json.encode(_Line(_manifest(extent, chains, signer, since_ms))) + b"\n"
        for line in islice(_lines(extent.folder), extent.skipped, extent.skipped + extent.lines):
            yield line + b"\n"


def manifest_of(line: bytes) -> Manifest | None:
    """What a line that begins with `MANIFEST` says; None when it is none."""
    if len(line) > limits.AUDIT_LINE_BYTES_MAX:
        return None
    try:
        return msgspec.json.decode(line, type=_Line).export
    except UNREADABLE:
        return None


def _manifest(extent: _Extent, chains: tuple[int, ...], signer: Identity | None, since_ms: WallMs) -> Manifest:
    is_own = signer is not None and signer.id == extent.node
    bare = Manifest(
        node=extent.node,
        chain=extent.chain,
        chains=chains,
        first_seq=extent.first_seq,
        before=extent.before,
        last_seq=extent.last_seq,
        hash=extent.hash,
        records=extent.lines,
        since_ms=since_ms,
        made_ms=clock.wall_ms(),
        witness=read_witness(extent.folder),
        key=signer.public_key.hex() if signer is not None and is_own else "",
    )
    if signer is None or not is_own:
        return bare
    return msgspec.structs.replace(bare, signature=signer.sign(bare.signed_bytes).hex())


def _extent(folder: Path, since_ms: WallMs) -> _Extent | None:
    """Where the records begin and end, damaged or not; None when there is none."""
    first = last = None
    skipped = lines = 0
    for line in _lines(folder):
        record = read(line)
        if first is None and record is not None and record.time_ms >= since_ms:
            first = record
            skipped, lines = (lines, 0) if since_ms else (0, lines)
        last = record or last
        lines += 1
    if first is None or last is None:
        return None
    return _Extent(folder, skipped, lines, first.node, first.chain, first.seq, first.prev, last.seq, last.hash)


def _lines(folder: Path) -> Iterator[bytes]:
    return joined.from_iterable(lines_of(path, until=whole_bytes(path)) for path in segments(folder))
