"""What must hold in every world, whatever is chosen: the promises about one task, checked as it goes.

Invariant: a judge only looks; it is told what the store took, what nodes said, and who was in trouble.
"""

from msgspec import structs

from protocol import events
from protocol.effects import Reply
from protocol.events import Event
from protocol.records import TRANSITIONS
from protocol.wire.task import ENDED, TaskRecord, TaskState

LONG_AGO_MS = -(10**9)


class Violation(AssertionError):
    """Something that must never be."""


class Judge:
    """The history of one task, and what is wrong with it."""

    def __init__(self, *, lease_ms: int, margin_ms: int, is_exclusive: bool) -> None:
        self._lease_ms = lease_ms
        self._margin_ms = margin_ms
        self._is_exclusive = is_exclusive
        self.now_ms = 0
        self.faults: dict[int, int] = {}  # host → when anything of it last went wrong, ms
        self.outages: dict[int, int] = {}  # host → when it last came back, ms
        self._lives: dict[int, int] = {}
        self._robbers: dict[int, str] = {}  # epoch → why nobody should have been given it
        self._running: dict[tuple[int, int, int], None] = {}  # host, life, epoch
        self.history: list[TaskRecord] = []
        self.done: list[int] = []  # epochs whose owner said that it committed
        self.refused: list[int] = []  # epochs whose result came too late
        self.replies: dict[int, list[str]] = {}

    @property
    def ended(self) -> TaskRecord | None:
        """The record of the task, when it has ended."""
        return self.history[-1] if self.history and self.history[-1].state in ENDED else None

    def began(self, host: int, life: int) -> None:
        """A node started."""
        self._lives[host] = life

    def gone(self, host: int) -> None:
        """Its process is gone, and its agents with it."""
        del self._lives[host]
        self.halted(host)

    def halted(self, host: int) -> None:
        """Its agents are gone."""
        self._running = {each: None for each in self._running if each[0] != host}

    def wants(self, record: TaskRecord, *, by: int) -> None:
        """A node is about to write this. Is it fair to the owner that it takes the task from?"""
        if record.state is not TaskState.AWARDED or record.epoch < 2 or not self.history:
            return
        former = self.history[-1]
        ended = record.attempts[-1].ended if record.attempts else ""
        if (
            former.state is not TaskState.AWARDED
            or former.epoch != record.epoch - 1
            or ended not in ("silent", "absent")
        ):
            return
        apart_ms = self.now_ms - self.outages.get(by, LONG_AGO_MS)
        if apart_ms < self._lease_ms:
            self._robbers[record.epoch] = f"host {by} gives it to another {apart_ms} ms after its own outage"
        since_ms = self.now_ms - self.faults.get(by, LONG_AGO_MS)
        owner = next((host for host, life in self._lives.items() if life == former.owner_life and host != by), None)
        owner_ms = self.now_ms - self.faults.get(-1 if owner is None else owner, LONG_AGO_MS)
        if owner is not None and min(since_ms, owner_ms) > self._lease_ms + self._margin_ms:
            self._robbers[record.epoch] = f"host {owner} was well, and host {by} took its task away"

    def wrote(self, former: TaskRecord | None, record: TaskRecord, *, by: int, life: int) -> None:
        """The store took this record."""
        self.history.append(record)
        before = TaskState.OPEN if former is None else former.state
        is_award = record.state is TaskState.AWARDED
        if self._is_renewal(former, record, by=by, life=life):
            return
        if record.state not in TRANSITIONS[before].values() and not (former is None and record.state is before):
            raise Violation(f"{before.value} became {record.state.value}")
        if record.epoch != (0 if former is None else former.epoch) + is_award:
            raise Violation(f"epoch {record.epoch} follows {former.epoch if former else 0}")
        if sum(each.state in ENDED for each in self.history if each.retries == record.retries) > 1:
            raise Violation("the task ended twice")
        if record.state is TaskState.DONE and (record.owner_life != life):
            raise Violation(f"host {by} committed a result that was another's to commit")
        if record.retries != (0 if former is None else former.retries + (before in ENDED)):
            raise Violation(f"retry {record.retries} follows {former.retries if former else 0}")
        if is_award and record.epoch in self._robbers:
            raise Violation(f"robbed: {self._robbers[record.epoch]}")

    def _is_renewal(self, former: TaskRecord | None, record: TaskRecord, *, by: int, life: int) -> bool:
        """Who holds an exclusive task writes the same again, but for the lease."""
        is_own = self._is_exclusive and record.owner_life == life == self._lives.get(by)
        if not is_own or former is None or record.state is not TaskState.AWARDED:
            return False
        return structs.replace(record, lease_ms=former.lease_ms) == former

    def ran(self, host: int, life: int, epoch: int) -> None:
        """An agent began."""
        if self._is_exclusive and self._running:
            raise Violation(f"an exclusive task runs twice at once: {[*self._running, (host, life, epoch)]}")
        self._running[host, life, epoch] = None

    def stopped(self, host: int, life: int, epoch: int) -> None:
        """An agent ended or was stopped."""
        self._running.pop((host, life, epoch), None)

    def happened(self, host: int, event: Event) -> None:
        """What a node says has happened."""
        match event:
            case events.TaskDone():
                self.done.append(event.epoch)
                if len(self.done) > 1:
                    raise Violation(f"done was said of epochs {self.done}")
            case events.ResultRefused():
                self.refused.append(event.epoch)
            case events.PeerMisbehaved() | events.FrameRefused(code="bad_body"):
                raise Violation(f"host {host} says {event}")

    def replied(self, reply: Reply) -> None:
        """A request was answered."""
        self.replies.setdefault(reply.request, []).append(reply.code or "ok")

    def closes(self) -> None:
        """Trouble is over and time has passed: the task must have ended, once, if it was ever accepted."""
        if not self.history and "ok" not in self.replies.get(1, []):
            return
        if self.ended is None:
            stands = self.history[-1] if self.history else None
            raise Violation(f"stuck: {stands and (stands.state.value, stands.epoch)}")
        if self.ended.state is TaskState.DONE and self.done not in ([self.ended.epoch], []):
            raise Violation(f"epoch {self.ended.epoch} was committed, and {self.done} said so")
        if set(self.refused) & set(self.done):
            raise Violation(f"refused and done at once: {self.refused}, {self.done}")
