"""The audit: one record for every decision and change of state, chained by SHA-256 for each node.

    line = {"v":1,"node":…,"seq":…,…,"prev":"<hash of the record before>","hash":"<sha256 of all before it>"}

Invariant: a record is its exact bytes; nothing is encoded again to verify it. The chain of a node goes
on over its lives and begins with the hash of the node's id. A damaged one is set aside for the next, whose
first record says why; numbers go on. Neighbours: `audited` says what of an event is recorded; the daemon's
journal keeps the lines, and the stream `<mesh>-audit` is their witness.
"""

from collections.abc import Mapping
from enum import IntEnum
from hashlib import sha256
from typing import TypeAlias

import msgspec
from msgspec import Struct

from protocol import limits
from protocol.errors import UNREADABLE
from protocol.identity import is_signed
from protocol.ids import node_id
from protocol.primitives import NodeId, WallMs

VERSION = 1
HASH_CHARS = 64
PRUNED = "audit.prune"  # the record that says up to where older ones were removed
RESTARTED = "audit.restart"  # the first record of every chain but the first: which chain was set aside, why, by whom
SEEN_CHARS = 16
_SEAM, _END = b',"hash":"', b'"}'
_TAIL_BYTES = len(_SEAM) + HASH_CHARS + len(_END)

Detail: TypeAlias = str | int | float | bool


class Act(Struct, frozen=True):
    """What is to be recorded: the node's own words about one decision or change.

    `decision` is allow, deny or done; `who` is on whose behalf, empty for the node itself.
    """

    action: str
    resource: str
    decision: str
    who: str = ""
    iid: str = ""
    gid: str = ""
    parent: str = ""
    more: Mapping[str, Detail] = {}


class Record(Struct, frozen=True, kw_only=True):
    """One line, decoded. Fields are only added, with defaults, before `prev`."""

    v: int
    node: NodeId
    seq: int
    time_ms: WallMs
    life: int
    who: str
    action: str
    resource: str
    decision: str
    iid: str
    gid: str
    parent: str
    more: dict[str, Detail]
    chain: int = 1  # of this node; the ones before were set aside
    prev: str
    hash: str = ""


class Head(Struct, frozen=True):
    """Where a chain ends: the number and the hash of its last record; seq 0 before the first."""

    seq: int
    hash: str


class Witness(Struct, frozen=True):
    """A node's signed word that the stream acknowledged its records up to `seq`, at the stream's `stream_seq`."""

    node: NodeId
    seq: int
    hash: str
    stream: str
    stream_seq: int
    time_ms: WallMs
    key: str  # the node's Ed25519 public key, in hex
    signature: str = ""  # of everything above, in hex

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return b"meshd/witness/v1\0" + msgspec.json.encode(msgspec.structs.replace(self, signature=""))

    @property
    def is_genuine(self) -> bool:
        """True when the node whose chain this is has signed it."""
        return is_by(self.node, key=self.key, signature=self.signature, message=self.signed_bytes)


class Ending(IntEnum):
    """What a verification found; the exit code of `meshctl audit verify`."""

    VERIFIED = 0
    UNWITNESSED = 10
    GAP = 20
    FORKED = 30
    ALTERED = 40


class Finding(Struct, frozen=True):
    """The first bad record: its number, what kind of fault it is, and a sentence."""

    ending: Ending
    seq: int
    kind: str  # flipped | dropped | swapped | repeated | foreign | replaced | forked | cut | added | unreadable
    text: str


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def origin(node: NodeId, chain: int = 1) -> Head:
    """The head of a chain that has no record yet."""
    number = b"" if chain == 1 else b"\0%d" % chain
    return Head(0, sha256(b"meshd/audit/v1\0" + node.encode() + number).hexdigest())


def is_by(node: NodeId, *, key: str, signature: str, message: bytes) -> bool:
    """True when `key` is the node's and the signature its own; both in hex."""
    try:
        public_key, signed = bytes.fromhex(key), bytes.fromhex(signature)
    except ValueError:
        return False
    is_own = node_id(public_key) == node and signed.hex() == signature  # written in one way only
    return is_own and is_signed(public_key=public_key, message=message, signature=signed)


def read(line: bytes) -> Record | None:
    """A line's record; None when it is none. The hash is not checked: that is `Checker`'s."""
    if len(line) > limits.AUDIT_LINE_BYTES_MAX:
        return None
    try:
        return _decoder.decode(line)
    except UNREADABLE:
        return None


class Chain:
    """The end of one node's chain, where records are added."""

    def __init__(self, node: NodeId, head: Head | None = None, *, number: int = 1) -> None:
        self._node = node
        self.number = number
        self.head = head or origin(node, number)

    def add(self, act: Act, *, life: int, time_ms: WallMs) -> bytes:
        """The line, without its line end, of the next record. Long texts are cut off."""
        record = Record(
            v=VERSION,
            node=self._node,
            seq=self.head.seq + 1,
            time_ms=time_ms,
            life=life,
            who=_short(act.who),
            action=act.action,
            resource=_short(act.resource),
            decision=act.decision,
            iid=_short(act.iid),
            gid=_short(act.gid),
            parent=_short(act.parent),
            more={name: _short(value) if isinstance(value, str) else value for name, value in act.more.items()},
            chain=self.number,
            prev=self.head.hash,
        )
        encoded = _encoder.encode(record)
        open_end = encoded[: -len(_SEAM) - len(_END)]  # `hash` is empty so far
        digest = sha256(open_end).hexdigest()
        self.head = Head(record.seq, digest)
        return b"".join((open_end, _SEAM, digest.encode(), _END))


def _short(text: str) -> str:
    return text if len(text) <= limits.AUDIT_TEXT_CHARS_MAX else f"{text[: limits.AUDIT_TEXT_CHARS_MAX - 1]}…"


class Checker:
    """Reads the lines of one chain in order and finds the first that is not what was written.

    `witness` is checked on the way. With `is_whole` the chain must begin with its first record, or
    say itself that older ones were removed. `after` and `until`, of the chain `chain` of `node`, are where
    it must begin and end; without `until` it may end anywhere.
    """

    def __init__(
        self,
        *,
        node: NodeId = "",
        chain: int = 0,
        witness: Witness | None = None,
        is_whole: bool = False,
        after: Head | None = None,
        until: Head | None = None,
    ) -> None:
        self.node = node
        self.chain = chain
        self.first_seq = 0 if after is None else after.seq + 1
        self.seq = 0 if after is None else after.seq
        self.records = 0
        self.hash = "" if after is None else after.hash
        self.first: Record | None = None  # when it begins the chain
        self._is_begun = after is not None
        self._until = until
        self._witness = witness
        self._witness_seq = 0 if witness is None else witness.seq
        self._is_whole = is_whole
        self._pruned_to = 0
        self._seen_from = self.first_seq
        self._seen = bytearray()  # the beginning of each record's hash: tells a second record from the same once more
        self._hole: Finding | None = None  # something is missing, or only stands further down

    def take(self, line: bytes) -> Finding | None:
        """Look at the next line, without its line end. After a finding there is nothing more to ask."""
        seam = len(line) - _TAIL_BYTES
        stated = line[seam + len(_SEAM) : -len(_END)]
        digest = sha256(line[: max(seam, 0)]).hexdigest()
        if seam <= 0 or digest.encode() != stated or line[seam : seam + len(_SEAM)] != _SEAM or line[-2:] != _END:
            return self._hole or self._flipped(line)
        record = read(line)
        if record is None:
            return self._hole or self._found(Ending.ALTERED, "unreadable", "is no record of an audit")
        if self._hole is not None:
            return self._displaced(record)
        is_ours = record.node == self.node and record.chain == self.chain
        if is_ours and record.seq == self.seq + 1 and record.prev == self.hash:
            return self._next(record, digest)
        if not self._is_begun:
            return self._begin(record, digest)
        return self._misplaced(record, digest)

    def end(self) -> Finding | None:
        """No more lines: what is missing at the ends, or nothing."""
        if self._hole is not None:
            return self._hole
        if self._witness is not None and self.node in ("", self._witness.node) and self.seq < self._witness.seq:
            what = f"ends at record {self.seq}, and the stream acknowledged it up to record {self._witness.seq}"
            return Finding(Ending.GAP, self.seq + 1, "cut", f"the chain {what}")
        if self._until is not None and self.seq < self._until.seq:
            what = f"ends at record {self.seq}, and its node signed that it goes to record {self._until.seq}"
            return Finding(Ending.GAP, self.seq + 1, "cut", f"the chain {what}")
        if self._is_whole and self.first is None and self.first_seq > self._pruned_to + 1:
            what = f"begins with record {self.first_seq}, and no record says that those before were removed"
            return Finding(Ending.GAP, 1, "cut", f"the chain {what}")
        return None

    def forget(self) -> None:
        """Free what was kept of each record. One that stands once more further on is then only told to be misplaced."""
        self._seen_from = self.seq + 1
        self._seen.clear()

    @property
    def is_witnessed(self) -> bool:
        """True when the stream acknowledged everything that was read."""
        return self._witness is not None and self.seq <= self._witness.seq

    def _begin(self, record: Record, digest: str) -> Finding | None:
        if self.node not in ("", record.node) or self.chain not in (0, record.chain):
            return self._foreign(record)
        if self._witness is not None and self._witness.node != record.node:
            return self._foreign(record)
        if record.seq < 1 or record.chain < 1:
            return Finding(Ending.ALTERED, record.seq, "unreadable", f"record {record.seq} cannot be: they begin at 1")
        is_from_origin = record.prev == origin(record.node, record.chain).hash
        is_first = is_from_origin and (record.seq == 1 if record.chain == 1 else record.action == RESTARTED)
        if not is_first and (is_from_origin or record.seq == 1 or record.action == RESTARTED):
            text = f"record {record.seq} does not begin the chain of its node"
            return Finding(Ending.ALTERED, record.seq, "replaced", text)
        self.node, self.chain, self.first_seq, self._seen_from = record.node, record.chain, record.seq, record.seq
        self._is_begun = True
        return self._next(record, digest)

    def _next(self, record: Record, digest: str) -> Finding | None:
        self.seq, self.hash = record.seq, digest
        self.records += 1
        if self.records == 1 and record.prev == origin(record.node, record.chain).hash:
            self.first = record
        self._seen += digest[:SEEN_CHARS].encode()
        if record.action == PRUNED:
            self._note_pruned(record)
        if self._until is not None and record.seq >= self._until.seq and (found := self._ended(self._until)):
            return found
        return self._witnessed() if record.seq == self._witness_seq else None

    def _misplaced(self, record: Record, digest: str) -> Finding | None:
        if record.node != self.node or record.chain != self.chain:
            return self._foreign(record)
        seq = record.seq
        if seq > self.seq + 1:
            missing = f"record {self.seq + 1} is" if seq == self.seq + 2 else f"records {self.seq + 1} to {seq - 1} are"
            text = f"{missing} missing between record {self.seq} and record {seq}"
            self._hole = Finding(Ending.GAP, self.seq + 1, "dropped", text)
            return None
        if seq == self.seq + 1:
            text = f"record {self.seq} is not the one that record {seq} was chained to: one of them was replaced"
            return Finding(Ending.ALTERED, max(self.seq, self.first_seq), "replaced", text)
        if seq < self._seen_from:
            return self._swapped(seq)
        place = (seq - self._seen_from) * SEEN_CHARS
        if digest[:SEEN_CHARS].encode() != self._seen[place : place + SEEN_CHARS]:
            text = f"there are two records {seq}, each sound by itself: the chain was forked"
            return Finding(Ending.FORKED, seq, "forked", text)
        return Finding(Ending.ALTERED, seq, "repeated", f"record {seq} stands once more after record {self.seq}")

    def _displaced(self, record: Record) -> Finding | None:
        """A record is missing: does it stand further down?"""
        if self._hole is None or record.node != self.node or record.seq != self._hole.seq:
            return None
        return self._swapped(record.seq)

    def _swapped(self, seq: int) -> Finding:
        return Finding(Ending.ALTERED, seq, "swapped", f"record {seq} stands behind later ones: the order was changed")

    def _flipped(self, line: bytes) -> Finding:
        if len(line) > limits.AUDIT_LINE_BYTES_MAX:
            return self._found(Ending.ALTERED, "unreadable", f"has {len(line)} bytes or more, which none has")
        return self._found(Ending.ALTERED, "flipped", "is not as it was written: its hash does not fit its bytes")

    def _found(self, ending: Ending, kind: str, text: str) -> Finding:
        where = f"record {self.seq + 1}" if self.records else "the first record"
        return Finding(ending, self.seq + 1, kind, f"{where} {text}")

    def _foreign(self, record: Record) -> Finding:
        if record.node == self.node:
            text = f"record {record.seq} is of chain {record.chain} of its node, and stands in chain {self.chain}"
            return Finding(Ending.ALTERED, record.seq, "foreign", text)
        expected = self.node or (self._witness.node if self._witness is not None else "")
        text = f"record {record.seq} is of the node {record.node[:8]}, and the chain is of {expected[:8]}"
        return Finding(Ending.ALTERED, record.seq, "foreign", text)

    def _ended(self, until: Head) -> Finding | None:
        if self.seq > until.seq:
            text = f"record {self.seq} stands behind record {until.seq}, where its node signed that this ends"
            return Finding(Ending.ALTERED, self.seq, "added", text)
        if self.hash == until.hash:
            return None
        text = f"record {self.seq} is another than the one that its node signed"
        return Finding(Ending.ALTERED, self.seq, "replaced", text)

    def _witnessed(self) -> Finding | None:
        if self._witness is None or self._witness.hash == self.hash:
            return None
        text = f"record {self.seq} is another than the one that the stream was given: the chain was forked"
        return Finding(Ending.FORKED, self.seq, "forked", text)

    def _note_pruned(self, record: Record) -> None:
        through = record.more.get("through", 0)
        if isinstance(through, int):
            self._pruned_to = max(self._pruned_to, through)
