"""Signed frames: sealing what we say, opening what others said, and a value for every refusal.

    frame = magic(2) version(1) flags(1) header_bytes(2) header body signature(64)

Signed are the family's prefix, everything up to the body, and the body's digest. A frame is bound to
the subject it was sealed for; nothing is re-encoded to verify. Invariant: checks run cheapest
first, the signature before the body is decoded. Neighbours: `identity` (keys), `wire.kinds` (bodies).
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol, TypeAlias, cast

import msgspec
from msgspec import Struct

from protocol import limits
from protocol.clocks import Clocks
from protocol.errors import UNREADABLE
from protocol.identity import KEY_BYTES, SIGNATURE_BYTES, admitted_key, is_signed
from protocol.ids import node_id
from protocol.primitives import Instant, NodeId, WallMs
from protocol.subjects import Subjects, source
from protocol.wire.kinds import KINDS, AnyBody
from protocol.wire.task import TaskRecord

MAGIC = b"MD"
VERSION = 1
PREAMBLE_BYTES = 6
FRESH_MS = 30_000  # how long a message may take effect after it was sent
SELF_ADMITTING = ("alive", "left")  # facts that carry their source's admission
UNDATED = ("ping", "ack")  # bound to one life of the receiver, where each is heard once: they need no clock
KEPT_MS = 0  # a life without end: records in the bucket

REFUSALS: dict[str, str] = {
    "too_short": "the frame ends before its signature",
    "too_large": "the frame is larger than its kind may be",
    "bad_magic": "the bytes are no frame of this mesh's protocol",
    "bad_version": "the frame's version is not spoken here",
    "bad_header": "the header is no valid header",
    "unknown_kind": "the kind of message is not known here",
    "wrong_subject": "the frame was sealed for another subject",
    "wrong_family": "this kind of message may not travel on this subject",
    "wrong_signer": "the signer is not the source that the subject names",
    "not_admitted": "the signer was never admitted to this mesh",
    "expired": "the frame is older than its life, by its sender's clock as far as that is known",
    "from_future": "the frame is dated too far ahead of its sender's clock, as far as that is known",
    "old_life": "the sender has begun a newer life",
    "replayed": "the frame has taken effect before",
    "bad_signature": "the signature is not the signer's over these bytes",
    "bad_body": "the body is not what its kind says",
    "echo": "the frame is this node's own",
    "two_lives": "the sender goes on in a life after it began a newer one: its directory was copied, or its key stolen",
    "twin": "somebody with this node's own key has begun a newer life: its directory was copied, or its key stolen",
    "twin_left": "somebody with this node's own key had begun a newer life, and has left",
    "outdated": "the task has ended since, and its end is too large to be put back from memory",
    "too_often": "its source tells, accuses, compares, passes on or asks more often than any node has reason to",
    "not_known": "it is about a life that is not known here, or not any more",
    "unasked": "it says that nobody listens, to a message that waits for no such word",
}


class Header(Struct, frozen=True, array_like=True):
    """Routing fields of a frame. Fields are only added, at the end, with defaults."""

    key: bytes  # the signer's Ed25519 public key; its hash is the source
    subject: str  # the destination: where the frame may take effect, and nowhere else
    kind: str
    life: int  # of the source: start time in ms
    seq: int  # rises with every frame of a life
    sent_ms: WallMs
    ttl_ms: int
    iid: str = ""
    gid: str = ""
    cause: str = ""  # `src.life.seq` of the frame that led to this one


class Envelope(Struct, frozen=True, dict=True):
    """An opened frame: who says what, under which subject."""

    src: NodeId
    header: Header
    body: AnyBody
    frame: bytes

    @property
    def name(self) -> str:
        """What `cause` says in frames that follow from this one."""
        return f"{self.src}.{self.header.life}.{self.header.seq}"


class Refusal(Struct, frozen=True):
    """A frame that has no effect; `code` is a row of `REFUSALS`.

    `opened` is what it says, when nothing but its date is wrong, and that is worth asking its signer about. `life` is
    the newer one of a twin.
    """

    code: str
    src: str
    subject: str
    opened: Envelope | None = None
    life: int = 0


class Signer(Protocol):
    """A private key: `identity.Identity`, or a cheap stand-in inside the simulator."""

    public_key: bytes
    id: NodeId

    def sign(self, message: bytes) -> bytes:
        """A signature of 64 bytes."""
        ...


Verify: TypeAlias = Callable[[bytes, bytes, bytes], bool]  # public key, message, signature


def _ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return is_signed(public_key=public_key, message=message, signature=signature)


def _signed_bytes(*, family: str, head: bytes | memoryview, body: bytes | memoryview) -> bytes:
    digest = blake2b(body, digest_size=32).digest()  # signing 16 KB itself costs six times more
    return b"".join((b"meshd/env/v1/", family.encode(), b"\0", head, digest))


_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(Header)
_body_decoders = {tag: msgspec.msgpack.Decoder(kind.body) for tag, kind in KINDS.items()}


class Peeked(Struct, frozen=True):
    """A frame's header, unverified: who claims to say what, of which family, and where the body begins."""

    src: NodeId
    header: Header
    body_at: int
    family: str


class Frames:
    """What frames say, whoever reads them: nothing here is of one node, so that many in one process may share it."""

    def __init__(self, verify: Verify = _ed25519) -> None:
        self._verify = verify

    def make(self, header: Header, body: AnyBody, signer: Signer) -> bytes:
        """The frame of a header and a body. Raises ValueError when one of them is larger than may be."""
        encoded_header = _encoder.encode(header)
        if len(encoded_header) > limits.HEADER_BYTES_MAX:
            raise ValueError(f"the header of a frame of kind {header.kind} has {len(encoded_header)} bytes")
        head = b"".join((MAGIC, bytes((VERSION, 0)), len(encoded_header).to_bytes(2, "big"), encoded_header))
        encoded = _encoder.encode(body)
        frame_bytes = len(head) + len(encoded) + SIGNATURE_BYTES
        kind = KINDS[header.kind]
        if frame_bytes > kind.frame_bytes_max:
            raise ValueError(f"a frame of kind {header.kind} has {frame_bytes} bytes")
        signature = signer.sign(_signed_bytes(family=kind.family, head=head, body=encoded))
        return b"".join((head, encoded, signature))

    def peek(self, frame: bytes) -> Peeked | Refusal:
        """What the header claims; a refusal has no subject yet."""
        if len(frame) < PREAMBLE_BYTES + SIGNATURE_BYTES:
            return Refusal("too_short", "", "")
        if len(frame) > limits.FRAME_BYTES_MAX:
            return Refusal("too_large", "", "")
        if frame[:2] != MAGIC:
            return Refusal("bad_magic", "", "")
        if frame[2] != VERSION or frame[3] != 0:
            return Refusal("bad_version", "", "")
        body_at = PREAMBLE_BYTES + int.from_bytes(frame[4:6], "big")
        if body_at > PREAMBLE_BYTES + limits.HEADER_BYTES_MAX:
            return Refusal("bad_header", "", "")
        if body_at > len(frame) - SIGNATURE_BYTES:
            return Refusal("too_short", "", "")
        try:
            header = _header_decoder.decode(frame[PREAMBLE_BYTES:body_at])
        except UNREADABLE:
            return Refusal("bad_header", "", "")
        if len(header.key) != KEY_BYTES or not 0 < header.life <= limits.LIFE_MAX or header.seq <= 0:
            return Refusal("bad_header", "", "")
        src = node_id(header.key)
        kind = KINDS.get(header.kind)
        if kind is None:
            return Refusal("unknown_kind", src, "")
        if len(frame) > kind.frame_bytes_max:
            return Refusal("too_large", src, "")
        return Peeked(src, header, body_at, kind.family)

    def open(self, peeked: Peeked, frame: bytes, *, is_proven: bool = False) -> Envelope | Refusal:
        """Signature, then body; a refusal has no subject yet."""
        header, view = peeked.header, memoryview(frame)
        body = view[peeked.body_at : -SIGNATURE_BYTES]
        if not is_proven:
            message = _signed_bytes(family=peeked.family, head=view[: peeked.body_at], body=body)
            if not self._verify(header.key, message, frame[-SIGNATURE_BYTES:]):
                return Refusal("bad_signature", peeked.src, "")
        try:
            decoded = _body_decoders[header.kind].decode(body)
        except UNREADABLE:
            return Refusal("bad_body", peeked.src, "")
        return Envelope(peeked.src, header, cast(AnyBody, decoded), frame)


class Sealer:
    """Signs what one life of a node says."""

    def __init__(self, *, signer: Signer, life: int, frames: Frames | None = None) -> None:
        self._signer = signer
        self._frames = frames or Frames()
        self._life = life
        self._seq = 0
        self._kept: dict[bytes, None] = {}

    def seal(
        self,
        body: AnyBody,
        *,
        subject: str,
        now: Instant,
        ttl_ms: int = FRESH_MS,
        iid: str = "",
        gid: str = "",
        cause: str = "",
    ) -> bytes:
        """The frame that carries `body` to `subject`.

        Raises ValueError when it, or its header, is larger than may be: check sizes where values enter.
        """
        self._seq += 1
        kind = str(body.__struct_config__.tag)
        header = Header(
            self._signer.public_key, subject, kind, self._life, self._seq, now.wall_ms, ttl_ms, iid, gid, cause
        )
        frame = self._frames.make(header, body, self._signer)
        if KINDS[kind].family in ("fact", "record") and len(frame) <= limits.SEALED_BYTES_MAX:  # these come back to us
            self._kept[frame] = None
            if len(self._kept) > limits.SEALED_KEPT:
                self._kept.pop(next(iter(self._kept)))
        return frame

    def has_made(self, frame: bytes) -> bool:
        """True for one of the last facts and records sealed here: its signature needs no proof."""
        return frame in self._kept


class _Window:
    """Which of the last 1,024 sequence numbers of one life have been seen (RFC 4303, section 3.4.3)."""

    __slots__ = ("life", "newest", "seen")

    def __init__(self, life: int) -> None:
        self.life = life
        self.newest = 0
        self.seen = 0

    def is_new(self, seq: int) -> bool:
        behind = self.newest - seq
        if behind < 0:
            return True
        return behind < limits.REPLAY_WINDOW_BITS and not self.seen >> behind & 1

    def mark(self, seq: int) -> None:
        ahead = seq - self.newest
        if ahead > 0:
            kept = self.seen << ahead if ahead < limits.REPLAY_WINDOW_BITS else 0
            self.seen = (kept | 1) & ((1 << limits.REPLAY_WINDOW_BITS) - 1)
            self.newest = seq
        else:
            self.seen |= 1 << -ahead


class Opener:
    """Opens frames for one node. Remembers who was admitted and what has been seen."""

    def __init__(
        self,
        *,
        me: NodeId,
        subjects: Subjects,
        root_key: bytes,
        own: Sealer | None = None,
        frames: Frames | None = None,
    ) -> None:
        self.clocks = Clocks()
        self._me = me
        self._life = limits.LIFE_MAX
        self._own = own
        self._subjects = subjects
        self._root_key = root_key
        self._frames = frames or Frames()
        self._admitted: dict[NodeId, bool] = {}
        self._windows: dict[str, _Window] = {}
        self._fact_prefix = f"mesh.{subjects.mesh}.fact."
        self._node_prefix = f"mesh.{subjects.mesh}.node."
        self._carry_prefix = f"mesh.{subjects.mesh}.carry."
        self._prefixes = {"fact": self._fact_prefix, "carry": self._carry_prefix, "topic": subjects.topic("")}
        self._own_prefixes = {self._node_prefix: f"{self._node_prefix}{me}."}

    def begin(self, life: int, region: str) -> None:
        """From now on only what was sent to this life, or carried into its region, is taken."""
        self._life = life
        self._own_prefixes = {
            self._node_prefix: f"{self._node_prefix}{self._me}.{life}.",
            self._carry_prefix: f"{self._carry_prefix}{region}.",
        }

    def admit(self, proof: bytes) -> NodeId | None:
        """Take in a node by its admission; its id, or None when the proof proves nothing."""
        key = admitted_key(root_key=self._root_key, proof=proof)
        if key is None:
            return None
        src = node_id(key)
        if src not in self._admitted and len(self._admitted) >= 2 * limits.PEERS_MAX:
            self._admitted.pop(next(iter(self._admitted)))
        self._admitted[src] = True
        return src

    def open(self, subject: str, frame: bytes, now: Instant) -> Envelope | Refusal:
        """A message as it arrived on `subject`: all checks, in the order of their price."""
        peeked = self._peek(frame, subject)
        if isinstance(peeked, Refusal):
            return peeked
        src, header, family = peeked.src, peeked.header, peeked.family
        prefix = self._prefixes.get(family, self._node_prefix)
        if family in ("record", "audit") or not subject.startswith(prefix):
            return Refusal("wrong_family", src, subject)
        if not subject.startswith(self._own_prefixes.get(prefix, prefix)):
            return Refusal("wrong_subject", src, subject)  # for another node, whoever delivered it here
        if family != "topic" and source(subject) != src:  # a topic is everybody's: who signed is the source
            return Refusal("wrong_signer", src, subject)
        if src == self._me:
            return self._of_own_key(peeked, frame, subject)
        if src not in self._admitted and header.kind not in SELF_ADMITTING:
            return Refusal("not_admitted", src, subject)
        misdated = "" if header.kind in UNDATED else self._misdated(src, header, now)
        if misdated and not self.clocks.may_ask(src, now):
            return Refusal(misdated, src, subject)
        stale = "" if family == "fact" else self._staleness(src, header, family)
        if stale and (misdated or stale != "old_life" or not self._goes_on(src, header)):
            return Refusal(misdated or stale, src, subject)
        opened = self._finish(peeked, frame, subject)
        if stale:
            return Refusal("two_lives", src, subject) if isinstance(opened, Envelope) else opened
        if misdated:
            return Refusal(misdated, src, subject, opened) if isinstance(opened, Envelope) else opened
        if isinstance(opened, Envelope):
            self._remember(src, header, family)
        return opened

    def open_relayed(self, frame: bytes, *, is_own: bool = False) -> Envelope | Refusal:
        """A fact that somebody passed on: bound to the subject it was sealed for, however old it is."""
        peeked = self._frames.peek(frame)
        if isinstance(peeked, Refusal):
            return peeked
        src, header = peeked.src, peeked.header
        if peeked.family != "fact" or not header.subject.startswith(self._fact_prefix):
            return Refusal("wrong_family", src, header.subject)
        if source(header.subject) != src:
            return Refusal("wrong_signer", src, header.subject)
        if src == self._me and not is_own:
            return self._of_own_key(peeked, frame, header.subject)
        if src not in self._admitted and header.kind not in SELF_ADMITTING and not is_own:
            return Refusal("not_admitted", src, header.subject)
        opened = self._finish(peeked, frame, header.subject)
        if isinstance(opened, Envelope):
            self._remember(src, header, peeked.family)
        return opened

    def open_record(self, key: str, frame: bytes) -> Envelope | Refusal:
        """A value of the bucket: bound to its key, without end, written by anyone who was admitted."""
        subject = self._subjects.record(key)
        if len(frame) > limits.RECORD_READ_BYTES_MAX:
            return Refusal("too_large", "", subject)
        peeked = self._peek(frame, subject)
        if isinstance(peeked, Refusal):
            return peeked
        src, header = peeked.src, peeked.header
        if peeked.family != "record":
            return Refusal("wrong_family", src, subject)
        if src != self._me and src not in self._admitted and header.kind != "presence":
            return Refusal("not_admitted", src, subject)
        opened = self._finish(peeked, frame, subject)
        if isinstance(opened, Envelope) and isinstance(opened.body, TaskRecord) and not opened.body.is_sound:
            return Refusal("bad_body", src, subject)
        return opened

    def glance(self, key: str, frame: bytes) -> TaskRecord | None:
        """What a value of the bucket claims, unproven: enough to search by, never to be shown or acted on."""
        peeked = self._peek(frame, self._subjects.record(key))
        if isinstance(peeked, Refusal) or peeked.family != "record":
            return None
        opened = self._frames.open(peeked, frame, is_proven=True)
        body = opened.body if isinstance(opened, Envelope) else None
        return body if isinstance(body, TaskRecord) and body.is_sound else None

    def open_audit(self, subject: str, frame: bytes) -> Envelope | Refusal:
        """Some records of a node, as its subject of the audit brings or the stream keeps them: without end."""
        peeked = self._peek(frame, subject)
        if isinstance(peeked, Refusal):
            return peeked
        src = peeked.src
        if peeked.family != "audit":
            return Refusal("wrong_family", src, subject)
        if source(subject) != src:
            return Refusal("wrong_signer", src, subject)
        if src != self._me and src not in self._admitted:
            return Refusal("not_admitted", src, subject)
        return self._finish(peeked, frame, subject)

    def _peek(self, frame: bytes, subject: str) -> Peeked | Refusal:
        """The header of a frame that arrived on `subject`."""
        peeked = self._frames.peek(frame)
        if isinstance(peeked, Refusal):
            return Refusal(peeked.code, peeked.src, subject)
        return peeked if peeked.header.subject == subject else Refusal("wrong_subject", peeked.src, subject)

    def _of_own_key(self, peeked: Peeked, frame: bytes, subject: str) -> Refusal:
        """A frame that says it is our own: a newer life with our key is somebody else."""
        header = peeked.header
        if header.life <= self._life or not isinstance(self._frames.open(peeked, frame), Envelope):
            return Refusal("echo", self._me, subject)
        return Refusal("twin_left" if header.kind == "left" else "twin", self._me, subject, life=header.life)

    def _staleness(self, src: NodeId, header: Header, family: str) -> str:
        """Why a message is of the past, or nothing. Facts carry versions of their own instead."""
        window = self._windows.get(_window_of(src, family))
        if window is None or header.life > window.life:
            return ""
        if header.life < window.life:
            return "old_life"
        return "" if window.is_new(header.seq) else "replayed"

    def _goes_on(self, src: NodeId, header: Header) -> bool:
        """Does it say that it was sent well after its sender's newer life began?"""
        window = self._windows.get(src)
        return window is not None and goes_on(header.life, header.sent_ms, newer=window.life)

    def _remember(self, src: NodeId, header: Header, family: str) -> None:
        """What it says of the past: of a fact the life alone, since facts are heard again and out of order."""
        name = _window_of(src, family)
        window = self._windows.pop(name, None)
        if window is None or header.life > window.life:
            window = _Window(header.life)
            if len(self._windows) >= limits.LIVES_TRACKED_MAX:
                self._windows.pop(next(iter(self._windows)))
        if family != "fact":
            window.mark(header.seq)
        self._windows[name] = window  # last in the order: most recently used

    def _misdated(self, src: NodeId, header: Header, now: Instant) -> str:
        """Why a frame's date does not fit its sender's clock, or nothing."""
        age_ms = self.clocks.time_of(src, now) - header.sent_ms
        if age_ms > min(header.ttl_ms, FRESH_MS) + limits.CLOCK_SKEW_MS_MAX:
            return "expired"
        return "from_future" if age_ms < -limits.CLOCK_SKEW_MS_MAX else ""

    def _finish(self, peeked: Peeked, frame: bytes, subject: str) -> Envelope | Refusal:
        """The whole of it; an alive fact or a presence also brings its sender's admission."""
        is_proven = self._own is not None and self._own.has_made(frame)
        opened, src = self._frames.open(peeked, frame, is_proven=is_proven), peeked.src
        if isinstance(opened, Refusal):
            return Refusal(opened.code, src, subject)
        is_due = src != self._me and (src not in self._admitted or peeked.header.kind == "alive")
        if is_due and self.admit(getattr(opened.body, "admission", b"")) != src:  # a newcomer would refuse it, too
            return Refusal("not_admitted", src, subject)
        return opened


def goes_on(life: int, sent_ms: WallMs, *, newer: int) -> bool:
    """Was this said in a life so long after a newer one of the same key began that it was not on its way then?

    A life is the time of its beginning, by the clock that dates frames.
    """
    return life < newer and sent_ms >= newer + limits.TWIN_MS


def _window_of(src: NodeId, family: str) -> str:
    """Events have a window of their own: a flood of them, heard first, must not make messages look replayed."""
    return f"{src} {family}" if family == "topic" else src
