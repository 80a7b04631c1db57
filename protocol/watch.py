"""Asking owners what they hold: the lease, turned round, so that a busy owner need not beat.

Invariant: nobody is found silent while our own link or store is away, nor within one lease after
it came back. Neighbours: `owners` is shared with the ledger, which acts on every finding here.
"""

from typing import TypeAlias

from msgspec import Struct

from protocol import ids, limits
from protocol.effects import Read, Send
from protocol.owners import Owner, Owners
from protocol.primitives import Instant, Mono, NodeId
from protocol.watched import EXCLUSIVE_LEASES, TaskSettings
from protocol.wire.task import Answer, Ask, Held

ABSENCES_MAX = 2  # one may be a client that is just reconnecting, or a lie: its word is not signed
ASK_AGAIN_S = 0.5  # after the first: time for the owner to say, with its signature, that it is there
LOOK_LEASES = 1 / 3  # of silence: then the records of its exclusive tasks are read, to know the last write


class Lapse(Struct, frozen=True):
    """An owner has not kept its lease on a task. `evidence` is silent or absent."""

    task: str
    evidence: str
    silent_s: float


Findings: TypeAlias = tuple[list[Send | Read], list[Lapse]]


class Watch:
    """The rounds of asks to all owners."""

    def __init__(self, *, settings: TaskSettings, owners: Owners) -> None:
        self._settings = settings
        self._owners = owners
        self._round = 0
        self._next: Mono = 0  # whoever is asked about something is asked at once
        self._probe = 0
        self._asked: dict[int, tuple[Owner, int]] = {}  # probe → owner and round, of the last rounds
        self._is_usable = False
        self._patient_until: Mono = 0

    def on_link(self, *, is_usable: bool, now: Instant) -> None:
        """Our link or store went away or came back; each clock starts again."""
        self._is_usable = is_usable
        self._excuse(now)

    def on_lag(self, now: Instant) -> None:
        """We were stopped: what we did not hear meanwhile is our fault."""
        self._excuse(now)

    def _excuse(self, now: Instant) -> None:
        self._owners.forgive(now)
        self._patient_until = now.after(self._settings.lease_s)

    def on_answer(self, sender: NodeId, life: int, body: Answer, now: Instant) -> None:
        """An owner answered: its lease is good from now, and whoever says that it never got those asks is wrong."""
        owner = (sender, life)
        self._owners.heard(owner, now)
        refuted = [probe for probe, (to, round) in self._asked.items() if to == owner and round <= body.round]
        for probe in refuted:
            del self._asked[probe]

    def on_absent(self, probe: int, now: Instant) -> list[Lapse]:
        """The broker knows nobody who listens for the owner that was asked."""
        asked = self._asked.pop(probe, None)
        if asked is None or not self._may_judge(now):
            return []
        owner, round = asked
        if self._owners.absent(owner, round) < ABSENCES_MAX:
            self._next = min(self._next, now.after(ASK_AGAIN_S))
            return []
        silent_s = self._owners.silent_s(owner, now)
        return [
            Lapse(line.task, "absent", silent_s)
            for line in self._owners.held(owner)
            if not self._owners.lease_s(line.task)  # gone from the broker is not stopped
        ]

    def on_tick(self, now: Instant) -> Findings:
        """One round: who is silent for too long, and the next asks."""
        if now.mono_ns < self._next:
            return [], []
        owners = self._owners.all()
        self._next = now.after(self._settings.ask_interval_s)
        self._round += 1
        lapses: list[Lapse] = []
        asks: list[Send | Read] = []
        for owner in owners:
            if self._may_judge(now):
                lapses += self._silences(owner, now)
                if self._owners.silent_s(owner, now) >= LOOK_LEASES * self._settings.lease_s:
                    asks += [Read(ids.task_key(task)) for task in self._owners.to_look_up(owner)]
            held = self._owners.held(owner)
            for start in range(0, len(held), limits.TASKS_PER_ASK_MAX):
                asks.append(self._ask(owner, held[start : start + limits.TASKS_PER_ASK_MAX]))
        while len(self._asked) > 4 * max(len(owners), 1):  # two rounds and their pages
            self._asked.pop(next(iter(self._asked)))
        return asks, lapses

    def next_deadline(self) -> Mono | None:
        """When the next round is due, or None while nobody holds anything."""
        return self._next if len(self._owners) else None

    def _may_judge(self, now: Instant) -> bool:
        return self._is_usable and now.mono_ns >= self._patient_until

    def _silences(self, owner: Owner, now: Instant) -> list[Lapse]:
        silent_s = self._owners.silent_s(owner, now)
        if silent_s < self._settings.lease_s:
            return []
        return [
            Lapse(line.task, "silent", silent_s)
            for line in self._owners.held(owner)
            if silent_s >= EXCLUSIVE_LEASES * self._owners.lease_s(line.task)
        ]

    def _ask(self, owner: Owner, held: tuple[Held, ...]) -> Send:
        self._probe += 1
        self._asked[self._probe] = (owner, self._round)
        return Send(to=owner[0], life=owner[1], body=Ask(self._round, held), probe=self._probe)
