"""What leaves a node is sealed here, and what comes back of it finds who sent it.

Invariant: frames carry the date of this host's clock, right or wrong, so that others can tell; outcomes
of writes to one key come back in the order of the writes; a probe number is
used once, and drawn: absences have no signer, so nobody else may know it.
Neighbours: `node` is the only caller; `envelope` seals.
"""

from collections import deque
from typing import Generic, TypeVar

from msgspec import structs

from protocol.clocks import Clocks
from protocol.effects import Announce, Carry, Emit, Send, Spread, Write
from protocol.envelope import KEPT_MS, Sealer
from protocol.errors import LocalError
from protocol.events import FrameRefused
from protocol.primitives import Instant, NodeId, Rng
from protocol.subjects import Subjects

PROBE_BITS = 62  # not to be guessed, and a positive number of 64 bits anywhere
PROBES_KEPT = 8_192  # messages whose "no responders" is still expected; what is older was received

ID_CHARS_MAX = 64  # of an IID or GID that others made: a header has its bound, and they do not fill it

Origin = TypeVar("Origin")


class Post(Generic[Origin]):
    """Seals for one life of a node and remembers which machine each thing came from."""

    def __init__(
        self, *, me: NodeId, region: str, subjects: Subjects, sealer: Sealer, clocks: Clocks, rng: Rng
    ) -> None:
        self._me = me
        self._clocks = clocks
        self._region = region
        self._subjects = subjects
        self._sealer = sealer
        self._rng = rng
        self._probes: dict[int, tuple[Origin, int]] = {}
        self._writes: dict[str, deque[tuple[Origin, Write]]] = {}

    def send(self, origin: Origin, message: Send, now: Instant) -> Send | Emit:
        """The message with subject, reply subject and frame; one too large for its kind is counted and not sent."""
        subject = self._subjects.node(dst=message.to, life=message.life, src=self._me)
        iid, gid = message.iid[:ID_CHARS_MAX], message.gid[:ID_CHARS_MAX]
        try:
            at = self._clocks.host(now)
            frame = self._sealer.seal(message.body, subject=subject, now=at, iid=iid, gid=gid, cause=message.cause)
        except ValueError:  # every list that others fill has its bound: this is the net below them
            return Emit(FrameRefused("too_large", self._me, subject))
        reply = ""
        if message.probe is not None:
            probe = self._rng.getrandbits(PROBE_BITS)
            self._probes[probe] = (origin, message.probe)
            if len(self._probes) > PROBES_KEPT:
                self._probes.pop(next(iter(self._probes)))
            reply = self._subjects.absent(src=self._me, probe=probe)
        return structs.replace(message, subject=subject, reply=reply, frame=frame)

    def spread(self, fact: Spread, now: Instant) -> Spread:
        """The fact with subject and frame; one that is relayed keeps its own."""
        if fact.frame:
            return fact
        subject = self._subjects.fact(region=self._region, src=self._me)
        frame = self._sealer.seal(fact.body, subject=subject, now=self._clocks.host(now))
        return structs.replace(fact, subject=subject, frame=frame)

    def carry(self, load: Carry, now: Instant) -> Carry:
        """The facts of others with subject and frame."""
        subject = self._subjects.carry(region=self._region, src=self._me)
        frame = self._sealer.seal(load.body, subject=subject, now=self._clocks.host(now))
        return structs.replace(load, subject=subject, frame=frame)

    def announce(self, event: Announce, now: Instant) -> Announce:
        """The event with its frame."""
        iid, gid = event.iid[:ID_CHARS_MAX], event.gid[:ID_CHARS_MAX]
        at = self._clocks.host(now)
        frame = self._sealer.seal(event.body, subject=event.subject, now=at, iid=iid, gid=gid)
        return structs.replace(event, frame=frame)

    def write(self, origin: Origin, change: Write, now: Instant) -> Write:
        """The write with its frame, whose outcome `origin` will get."""
        subject = self._subjects.record(change.key)
        frame = self._sealer.seal(change.record, subject=subject, now=self._clocks.host(now), ttl_ms=KEPT_MS)
        sealed = structs.replace(change, frame=frame)
        self._writes.setdefault(change.key, deque()).append((origin, sealed))
        return sealed

    def absent(self, probe: int) -> tuple[Origin, int] | None:
        """Whose message found no receiver, and the number it was sent with there."""
        return self._probes.pop(probe, None)

    def outcome(self, key: str) -> tuple[Origin, Write]:
        """The oldest write of this key without an outcome, and who wants to know.

        Raises LocalError when there is none: the shell invented an outcome.
        """
        waiting = self._writes.get(key)
        if not waiting:
            raise LocalError(f"an outcome for {key}, which was not being written")
        oldest = waiting.popleft()
        if not waiting:
            del self._writes[key]
        return oldest
