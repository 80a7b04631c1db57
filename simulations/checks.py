"""What must always hold: each check is one small class that is told everything that can be seen.

Invariant: a check remembers what it needs and asks nobody; it answers with one sentence when its
rule was broken, and costs a few steps a step. Neighbours: `world` tells, `ends` says what must
hold in the end, `sights` what must happen at least once.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol, TypeAlias

from protocol import ids
from protocol.events import (
    FrameRefused,
    PeerAlive,
    PeerDead,
    PeerLeft,
    PeerMisbehaved,
    PeerSuspect,
    TaskDone,
    TaskSubmitted,
)
from protocol.primitives import NodeId
from protocol.records import TRANSITIONS
from protocol.wire.task import ENDED, TaskRecord, TaskState
from simulations.host import Host
from simulations.network import Network
from simulations.seen import Answered, Broke, Handled, Happened, Said, Seen, Stored
from simulations.timeline import Timeline, ns

Wanted: TypeAlias = tuple[type, ...]

HONEST_REFUSALS = frozenset(
    {"not_admitted", "replayed", "old_life", "expired", "from_future", "echo"}
)  # faults explain
SAID_PER_S_MAX = 100  # awards, answers, results and up to eight words a waiting task, of the load that scenarios bring
SAID_PER_S_PER_NODE = 10  # a burst of digests, deltas and verifications when a view changes
CLOCK_KNOWN_S = 5.0  # so long after it was set everybody knows a clock that is off
CLOCK_OFF_S = 6.0
CLEAR_S = 8.0  # who was disturbed or cut off so shortly before may be found dead still


class Setting(Protocol):
    """What checks may look at besides what they are told: who is well, who reaches whom."""

    timeline: Timeline
    network: Network
    hosts: Mapping[str, Host]


class Check(Protocol):
    """One rule."""

    wants: ClassVar[Wanted]  # what it is told of

    def on(self, seen: Seen) -> str | None:
        """Why the rule is broken by now, or None."""
        ...


class NoException:
    """The core raises nothing and does not spin."""

    wants: ClassVar[Wanted] = (Broke,)

    def __init__(self, setting: Setting) -> None:
        del setting

    def on(self, seen: Seen) -> str | None:
        """A host says so itself."""
        return f"{seen.node} on {seen.kind}: {seen.error}" if isinstance(seen, Broke) else None


class LawfulRecords:
    """A record moves along `TRANSITIONS` only, awards raise its epoch by one, its order never changes."""

    wants: ClassVar[Wanted] = (Stored,)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._last: dict[str, TaskRecord] = {}
        self._revision = 0

    def on(self, seen: Seen) -> str | None:
        """Every write that the store took."""
        if not isinstance(seen, Stored):
            return None
        former_revision, self._revision = self._revision, seen.revision
        if seen.revision <= former_revision:
            return f"revision {seen.revision} of {seen.key} follows {former_revision}"
        if seen.record is None or not ids.is_task_key(seen.key):
            return None
        record, former = seen.record, self._last.get(seen.key)
        self._last[seen.key] = record
        if former is None:
            is_first = record.state in (TaskState.OPEN, TaskState.AWARDED) and record.epoch in (0, 1)
            return None if is_first else f"{record.id} began as {_shown(record)}"
        if _order(record) != _order(former):
            return f"{record.id} became another task at {_shown(record)}"
        if record.state not in TRANSITIONS[former.state].values():
            return f"{record.id} went from {_shown(former)} to {_shown(record)}"
        step = 1 if record.state is TaskState.AWARDED else 0
        if record.epoch != former.epoch + step:
            return f"{record.id} went from {_shown(former)} to {_shown(record)}: the epoch must rise by {step}"
        return None


class OneResult:
    """At most one result of a task is committed, and only what is committed is said to be done."""

    wants: ClassVar[Wanted] = (Stored, Happened)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._done: dict[str, TaskRecord] = {}
        self._said: dict[str, int] = {}

    def on(self, seen: Seen) -> str | None:
        """Commits and what owners say of them."""
        match seen:
            case Stored(record=TaskRecord() as record, key=key) if ids.is_task_key(key):
                if record.state is not TaskState.DONE:
                    return None
                if record.id in self._done:
                    return f"{record.id} was committed twice, the second time as {_shown(record)}"
                self._done[record.id] = record
            case Happened(event=TaskDone() as event):
                record_ = self._done.get(event.task)
                if record_ is None or (record_.epoch, record_.owner) != (event.epoch, event.owner):
                    return f"{seen.node} says that {event.task} is done in epoch {event.epoch}; the record does not"
                if event.task in self._said:
                    return f"{event.task} was said to be done twice"
                self._said[event.task] = event.epoch
            case _:
                pass
        return None


class NothingPromisedInVain:
    """What is said to be accepted stands in the record; nothing depends on a write that is not in."""

    wants: ClassVar[Wanted] = (Stored, Answered, Happened)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._stood: dict[str, int] = {}

    def on(self, seen: Seen) -> str | None:
        """Replies and events about tasks, against what the store took before."""
        match seen:
            case Stored(record=TaskRecord() as record, key=key) if ids.is_task_key(key):
                self._stood[record.id] = record.epoch
            case Answered(reply=reply) if isinstance(reply.value, TaskRecord):
                if reply.value.epoch > self._stood.get(reply.value.id, -1):
                    return f"{seen.node} answered with {_shown(reply.value)}, which the store never took"
            case Happened(event=TaskSubmitted() as event):
                if event.task not in self._stood:
                    return f"{seen.node} says that {event.task} was submitted; the store never took it"
            case _:
                pass
        return None


class OneAnswer:
    """A request is answered at most once."""

    wants: ClassVar[Wanted] = (Answered,)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._answered: set[tuple[str, int]] = set()

    def on(self, seen: Seen) -> str | None:
        """Every reply."""
        if not isinstance(seen, Answered):
            return None
        one = (seen.node, seen.reply.request)
        if one in self._answered:
            return f"{seen.node} answered request {seen.reply.request} twice"
        self._answered.add(one)
        return None


class NoFalseDeath:
    """Nobody is found dead who is well and was within reach of one of its accusers all along."""

    wants: ClassVar[Wanted] = (Happened,)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def on(self, seen: Seen) -> str | None:
        """Every death, as it is declared or believed."""
        if not isinstance(seen, Happened) or not isinstance(seen.event, PeerDead):
            return None
        setting, death = self._setting, seen.event
        names = {host.id: host for host in setting.hosts.values()}
        dead = names[death.peer]
        clear_ns = setting.timeline.now_ns - ns(CLEAR_S)
        if dead.life != death.life or dead.well_since_ns > clear_ns:
            return None
        for accuser in death.accusers:
            name = names[accuser].name
            if name != dead.name and setting.network.clear_since_ns(name, dead.name) <= clear_ns:
                accusers = ", ".join(names[each].name for each in death.accusers)
                return (
                    f"{seen.node} believes that {dead.name} is dead ({death.evidence}, accused by {accusers}), "
                    f"which was well and within reach of {name} for {CLEAR_S:g} s"
                )
        return None


class RisingNumbers:
    """Lives and incarnations never go down: a node's own, and of each node in the eyes of each other life."""

    wants: ClassVar[Wanted] = (Handled, Happened)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._own: dict[str, tuple[int, int]] = {}
        self._seen: dict[tuple[str, int, NodeId], tuple[int, int]] = {}

    def on(self, seen: Seen) -> str | None:
        """Every input handled, and every event about a peer."""
        if isinstance(seen, Handled):
            number, former = (seen.life, seen.incarnation), self._own.get(seen.node, (0, 0))
            self._own[seen.node] = number
            return f"{seen.node} went from life, incarnation {former} to {number}" if number < former else None
        if not isinstance(seen, Happened):
            return None
        event = seen.event
        if not isinstance(event, PeerAlive | PeerSuspect | PeerDead | PeerLeft):
            return None
        number = (event.life, event.incarnation if isinstance(event, PeerAlive) else 0)
        subject = (seen.node, seen.life, event.peer)
        former = self._seen.get(subject, (0, 0))
        if number[0] < former[0] or (isinstance(event, PeerAlive) and number < former):
            return f"{seen.node} saw {event.name} go from life, incarnation {former} to {number}"
        self._seen[subject] = max(former, number)
        return None


class Honest:
    """Nobody here lies, so nobody is called a liar, and no frame is refused for what it is."""

    wants: ClassVar[Wanted] = (Happened,)

    def __init__(self, setting: Setting) -> None:
        del setting

    def on(self, seen: Seen) -> str | None:
        """Refusals and accusations."""
        if not isinstance(seen, Happened):
            return None
        event = seen.event
        if isinstance(event, PeerMisbehaved):
            return f"{seen.node} says that {event.peer} misbehaved: {event.code} {event.detail}"
        if isinstance(event, FrameRefused) and event.code not in HONEST_REFUSALS:
            return f"{seen.node} refused a frame of {event.src} on {event.subject}: {event.code}"
        return None


class RightClocks:
    """Nobody whose clock has been off for a while is given a task by another, or gives one out."""

    wants: ClassVar[Wanted] = (Stored,)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def on(self, seen: Seen) -> str | None:
        """Every award that the store took."""
        if not isinstance(seen, Stored) or seen.record is None or seen.record.state is not TaskState.AWARDED:
            return None
        names = {host.id: host for host in self._setting.hosts.values()}
        for host in (names[seen.record.owner], self._setting.hosts[seen.node]):
            is_known = self._setting.timeline.now_ns - host.clock_set_ns > ns(CLOCK_KNOWN_S)
            if is_known and abs(host.clock_ahead_s) > CLOCK_OFF_S:
                ahead = f"{host.clock_ahead_s:g} s ahead"
                return f"{seen.node} gives {seen.record.id} to {names[seen.record.owner].name}: {host.name} is {ahead}"
        return None


class EndsAbsorb:
    """A record that has ended is never written again."""

    wants: ClassVar[Wanted] = (Stored,)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._ended: set[str] = set()

    def on(self, seen: Seen) -> str | None:
        """Every write that the store took."""
        if isinstance(seen, Stored) and seen.record is not None and ids.is_task_key(seen.key):
            if seen.key in self._ended:
                return f"{seen.record.id} had ended and was written again as {_shown(seen.record)}"
            if seen.record.state in ENDED:
                self._ended.add(seen.key)
        return None


class Calm:
    """No node floods the mesh: its messages within one second stay below a bound."""

    wants: ClassVar[Wanted] = (Said,)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._said: dict[str, tuple[int, int]] = {}  # node → the second, and its messages in it

    def on(self, seen: Seen) -> str | None:
        """Every message that is handed to the broker."""
        if not isinstance(seen, Said):
            return None
        second = int(self._setting.timeline.now_s)
        former, count = self._said.get(seen.node, (second, 0))
        count = count + 1 if former == second else 1
        self._said[seen.node] = (second, count)
        most = SAID_PER_S_MAX + SAID_PER_S_PER_NODE * len(self._setting.hosts)
        return f"{seen.node} said {count} things within a second, the last a {seen.kind}" if count > most else None


CHECKS: Mapping[str, Callable[[Setting], Check]] = {
    "no-exception": NoException,
    "lawful-records": LawfulRecords,
    "ends-absorb": EndsAbsorb,
    "one-result": OneResult,
    "nothing-promised-in-vain": NothingPromisedInVain,
    "one-answer": OneAnswer,
    "no-false-death": NoFalseDeath,
    "rising-numbers": RisingNumbers,
    "honest": Honest,
    "right-clocks": RightClocks,
    "calm": Calm,
}


def _order(record: TaskRecord) -> tuple[object, ...]:
    """What of a record is settled by its submit."""
    return (
        record.id,
        record.iid,
        record.gid,
        record.capability,
        record.input,
        record.digest,
        record.submitter,
        record.key,
        record.home,
        record.submitted_ms,
        record.deadline_ms,
        record.exclusive,
    )


def _shown(record: TaskRecord) -> str:
    return f"{record.state.value} (epoch {record.epoch})"
