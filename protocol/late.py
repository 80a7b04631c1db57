"""Tasks that wait reserved: four nodes are told of each, and the first of them with a free slot takes it.

Invariant: only a task that nobody has is reserved, open or lost by its owner, and should that one answer after
all, the reservations are taken back; the home keeps the task in its own backlog all the while. Of one capability
no more are reserved than could soon be taken: what lapses is said anew, which costs those who are busy already.
Pure leaf of `ledger`; `reservations` is the other side.
"""

from collections import deque

from protocol import ids, limits
from protocol.effects import Effect, Read, Send
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId, Rng, chosen
from protocol.routing import Candidate
from protocol.timers import Timers
from protocol.view import View
from protocol.watched import TaskSettings, Watched
from protocol.wire.auction import Reserve, Unreserve
from protocol.wire.task import TaskState

RESERVE_AFTER_S = 0.1  # short runs make room sooner than four nodes are told


RESERVED_PER_SLOT = 2  # one to take at once when it is free, and one behind it


class _Line:
    """The tasks of one capability that are reserved, and when others of them were taken."""

    def __init__(self) -> None:
        self.open: dict[str, None] = {}
        self.slots = 0  # of all who could do it
        self.taken: deque[Mono] = deque(maxlen=2 * limits.RESERVED_OPEN_MAX)

    def most(self, lease_s: float, now: Instant) -> int:
        """How many may be reserved now: as many as are taken in half a lease, and never fewer than two a slot."""
        while self.taken and self.taken[0] < now.mono_ns - int(lease_s * NS_PER_S):
            self.taken.popleft()
        return min(limits.RESERVED_OPEN_MAX, max(RESERVED_PER_SLOT * self.slots, len(self.taken) // 2))


class Late:
    """Which waiting tasks are reserved; each watched task knows where."""

    def __init__(self, *, settings: TaskSettings, view: View, timers: Timers[tuple[str, str]], rng: Rng) -> None:
        self._settings = settings
        self._view = view
        self._timers = timers
        self._rng = rng
        self._lines: dict[str, _Line] = {}  # by capability

    @staticmethod
    def takes(watched: Watched) -> bool:
        """True for a task that others may take: it need not stay here, nobody has it, and four copies are light."""
        record = watched.record
        is_free = record.state is TaskState.OPEN or watched.is_lost
        return record.route != "local" and is_free and len(watched.frame) <= limits.RESERVED_BYTES_MAX

    def others(self, watched: Watched, candidates: list[Candidate], now: Instant) -> list[Candidate]:
        """Candidates that the task is not reserved at: those take it by themselves, for a lease."""
        if now.mono_ns >= watched.late_until:
            return candidates
        return [each for each in candidates if each.node not in watched.late]

    def reserve(self, watched: Watched, candidates: list[Candidate], why: str, now: Instant) -> list[Effect]:
        """Tell four nodes of a task that has waited for a moment, and another four a lease later."""
        record = watched.record
        if now.mono_ns < watched.late_until or not self.takes(watched):
            return []
        nodes = list(dict.fromkeys(each.node for each in candidates if each.slots > 0))
        if not nodes and not watched.late:
            return []
        line = self._line(record.capability)
        line.slots = sum(each.slots for each in candidates)
        # One that lost its owner is older than most: those reserved before it must not keep it out.
        most = line.most(self._settings.lease_s, now) * (1 if record.state is TaskState.OPEN else 2)
        if len(line.open) - (record.id in line.open) >= most:
            line.open.pop(record.id, None)
            return []
        if not self._is_ripe(watched, now):
            self._timers.set(("late", record.id), watched.late_from)
            return []
        picked = [nodes.pop(chosen(self._rng, len(nodes))) for _ in range(min(limits.RESERVED_AT, len(nodes)))]
        # Somebody may have taken it and not been heard: before it is reserved anew, its record is looked at.
        effects: list[Effect] = [Read(ids.task_key(record.id))] if watched.late else []
        watched.late = {node: life for node in picked if (life := self._view.life_of(node)) is not None}
        if not watched.late:
            line.open.pop(record.id, None)
            return effects
        line.open[record.id] = None
        watched.late_until = now.after(self._settings.lease_s)
        self._timers.set(("late", record.id), watched.late_until)
        watched.reserve_at(tuple(watched.late), why, now)
        body = Reserve(record.id, watched.revision, watched.frame, len(watched.late), why, watched.unwritten)
        return effects + [
            Send(to=node, life=life, body=body, iid=record.iid, gid=record.gid) for node, life in watched.late.items()
        ]

    def _line(self, capability: str) -> _Line:
        if capability not in self._lines:
            self._lines = {name: line for name, line in self._lines.items() if line.open}
            self._lines[capability] = _Line()
        return self._lines[capability]

    @staticmethod
    def _is_ripe(watched: Watched, now: Instant) -> bool:
        record = watched.record
        if not watched.late_from:
            is_urgent = record.route == "late" or record.state is not TaskState.OPEN
            watched.late_from = now.mono_ns if is_urgent else now.after(RESERVE_AFTER_S)
        return now.mono_ns >= watched.late_from

    def drop(self, watched: Watched, now: Instant, but: str = "") -> list[Effect]:
        """Somebody has it, or nobody needs it any more: tell all but who took it."""
        watched.late_from = 0
        self._timers.cancel(("late", watched.record.id))
        if not watched.late:
            return []
        body = Unreserve(watched.record.id, watched.revision)
        told = [Send(to=node, life=life, body=body) for node, life in watched.late.items() if node != but]
        watched.late, watched.late_until = {}, 0
        line = self._line(watched.record.capability)
        line.open.pop(watched.record.id, None)
        self._timers.set(("more", watched.record.capability), now.mono_ns)
        return list(told)

    def took(self, watched: Watched, taker: NodeId, now: Instant) -> list[Effect]:
        """One of those that it is reserved at has it: tell the others."""
        self._line(watched.record.capability).taken.append(now.mono_ns)
        return self.drop(watched, now, but=taker)

    def room(self, capability: str, now: Instant) -> int:
        """How many more tasks of it could be reserved."""
        line = self._line(capability)
        return line.most(self._settings.lease_s, now) - len(line.open)

    def next(self, capability: str, waiting: int, now: Instant) -> int:
        """How many of those that wait to look at for the next to reserve: none before half of the last are gone."""
        line = self._line(capability)
        most = line.most(self._settings.lease_s, now)
        is_low = 2 * len(line.open) <= most and len(line.open) < waiting
        return most + limits.PASSED_OVER_MAX if is_low else 0

    def is_due(self, watched: Watched, now: Instant) -> bool:
        """True for a task that is not reserved, and need not wait a moment longer to be."""
        return watched.record.id not in self._line(watched.record.capability).open and watched.late_from <= now.mono_ns
