"""Who holds what, as its watcher believes, and how long each owner has been silent.

Invariant: a task is held by at most one owner here; an owner's clock starts when it first gets
something from us. Pure leaf: the ledger says who holds what, `watch` asks and listens.
"""

from typing import TypeAlias

from protocol.primitives import Instant, Mono, NodeId
from protocol.wire.task import Held

Owner: TypeAlias = tuple[NodeId, int]  # a node and its life


class _Clock:
    __slots__ = ("absences", "absent_in", "exclusive", "heard", "held", "is_looked_up")

    def __init__(self, heard: Mono) -> None:
        self.heard = heard
        self.absences = 0
        self.absent_in = 0
        self.held: dict[str, Held] = {}
        self.exclusive: dict[str, float] = {}  # task → the lease of its award, seconds
        self.is_looked_up = False  # since it fell silent


class Owners:
    """One clock an owner, and what it holds."""

    def __init__(self) -> None:
        self._clocks: dict[Owner, _Clock] = {}
        self._owner_of: dict[str, Owner] = {}

    def hold(self, owner: Owner, line: Held, *, lease_s: float = 0.0, now: Instant) -> None:
        """From now on `owner` is asked about this task; an exclusive one has a lease of its own."""
        if self._owner_of.get(line.task) != owner:
            self.release(line.task)
        clock = self._clocks.get(owner)
        if clock is None:
            clock = self._clocks[owner] = _Clock(now.mono_ns)
        clock.held[line.task] = line
        if lease_s:
            clock.exclusive[line.task] = lease_s
        self._owner_of[line.task] = owner

    def release(self, task: str) -> None:
        """Nobody is asked about this task any more; harmless when nobody was."""
        owner = self._owner_of.pop(task, None)
        if owner is None:
            return
        clock = self._clocks[owner]
        del clock.held[task]
        clock.exclusive.pop(task, None)
        if not clock.held:
            del self._clocks[owner]

    def heard(self, owner: Owner, now: Instant) -> None:
        """The owner answered."""
        clock = self._clocks.get(owner)
        if clock is not None:
            clock.heard = now.mono_ns
            clock.absences = 0
            clock.is_looked_up = False

    def to_look_up(self, owner: Owner) -> list[str]:
        """The exclusive tasks of an owner that has fallen silent, once: it may have renewed them since it was heard."""
        clock = self._clocks[owner]
        tasks = [] if clock.is_looked_up else sorted(clock.exclusive)
        clock.is_looked_up = True
        return tasks

    def absent(self, owner: Owner, round: int) -> int:
        """The broker knows nobody who listens for this owner: in how many rounds of asks by now."""
        clock = self._clocks.get(owner)
        if clock is None:
            return 0
        if clock.absent_in != round:  # a round may have several pages
            clock.absent_in = round
            clock.absences += 1
        return clock.absences

    def forgive(self, now: Instant) -> None:
        """The outage was ours: every clock starts again."""
        for clock in self._clocks.values():
            clock.heard = now.mono_ns
            clock.absences = 0

    def silent_s(self, owner: Owner, now: Instant) -> float:
        """Seconds since the owner was last heard."""
        clock = self._clocks.get(owner)
        return 0.0 if clock is None else now.since_s(clock.heard)

    def held(self, owner: Owner) -> tuple[Held, ...]:
        """What this owner is asked about."""
        clock = self._clocks.get(owner)
        return () if clock is None else tuple(clock.held.values())

    def lease_s(self, task: str) -> float:
        """The lease of a held task that must not run twice at once; 0 for any other."""
        owner = self._owner_of.get(task)
        return 0.0 if owner is None else self._clocks[owner].exclusive.get(task, 0.0)

    def __len__(self) -> int:
        return len(self._clocks)

    def all(self) -> tuple[Owner, ...]:
        """Every owner that is asked, in the order they came."""
        return tuple(self._clocks)
