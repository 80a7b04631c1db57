"""What must always hold of tasks: their records, their results, what is said of them, who runs them.

Invariant: judged from the writes that the store took and the words that nodes said; nobody is asked.
Neighbour: `checks` lists these.
"""

from typing import ClassVar

from msgspec import structs

from protocol import ids
from protocol.effects import RunAgent
from protocol.events import TaskDone, TaskStarted, TaskSubmitted
from protocol.inputs import AgentFailed, AgentFinished, AgentStopped
from protocol.records import TRANSITIONS
from protocol.wire.task import ENDED, TaskRecord, TaskState
from simulations.agents import made_by
from simulations.host import Host
from simulations.seen import Answered, Handled, Happened, Seen, Span, Stored
from simulations.setting import Setting, Wanted
from simulations.timeline import ns

CLOCK_KNOWN_S = 5.0  # so long after it was set everybody knows a clock that is off
CLOCK_OFF_S = 6.0


class _PutBack:
    """Whose record somebody removed, and what stood there once: whoever knew that may write it again, once, or what
    follows from it; who knew less than others is put right by whoever saw how the task ended.
    """

    def __init__(self) -> None:
        self._stood: dict[str, list[TaskRecord]] = {}
        self._last: dict[str, TaskRecord] = {}
        self._removed: set[str] = set()
        self._older: set[str] = set()  # where another stands since than stood there last

    def purge(self) -> None:
        """All that stands may be gone by now."""
        self._removed = set(self._stood)

    def learn(self, key: str, record: TaskRecord) -> bool:
        """This stands now; is it for no other reason than that somebody removed what stood there?"""
        is_first = key in self._removed
        self._removed.discard(key)
        stood, last = self._stood.setdefault(key, []), self._last.get(key)
        self._last[key] = record
        has_stood = any(_is_same(record, each) for each in stood)
        if is_first and (has_stood or any(_moved(record, each) is None for each in stood)):
            self._older |= set() if last is not None and _is_same(record, last) else {key}
            return True
        if key in self._older and has_stood and record.state in ENDED:
            self._older.discard(key)
            return True
        stood.append(record)
        return False


class LawfulRecords:
    """A9, A13: a record moves along `TRANSITIONS` only, awards raise its epoch by one, its order never changes.

    A record that somebody removed may be put back as it stood once, or as it goes on from there.
    """

    wants: ClassVar[Wanted] = (Stored, Span)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._last: dict[str, TaskRecord] = {}
        self._put_back = _PutBack()
        self._revision = 0

    def on(self, seen: Seen) -> str | None:
        """Every write that the store took, and purges."""
        if isinstance(seen, Span) and seen.fault == "purge":
            self._put_back.purge()
            self._revision = 0
        if not isinstance(seen, Stored):
            return None
        former_revision, self._revision = self._revision, seen.revision
        if seen.revision <= former_revision:
            return f"revision {seen.revision} of {seen.key} follows {former_revision}"
        if seen.record is None or seen.is_renewed or not ids.is_task_key(seen.key):
            return None
        record, former = seen.record, self._last.get(seen.key)
        self._last[seen.key] = record
        if self._put_back.learn(seen.key, record):
            return None
        if former is None:
            is_first = record.state in (TaskState.OPEN, TaskState.AWARDED) and record.epoch in (0, 1)
            return None if is_first else f"{record.id} began as {_shown(record)}"
        return _moved(record, former)


def _moved(record: TaskRecord, former: TaskRecord) -> str | None:
    """What is wrong with a record that follows another."""
    if record.retries == former.retries + 1:  # who opens a task again is its home, and it gets its time anew
        former = structs.replace(former, home=record.home, deadline_ms=record.deadline_ms)
    if _order(record) != _order(former):
        return f"{record.id} became another task at {_shown(record)}"
    if record.state not in TRANSITIONS[former.state].values():
        return f"{record.id} went from {_shown(former)} to {_shown(record)}"
    step = 1 if record.state is TaskState.AWARDED else 0
    if record.epoch != former.epoch + step:
        return f"{record.id} went from {_shown(former)} to {_shown(record)}: the epoch must rise by {step}"
    return None


class EndsAbsorb:
    """A13: after its end a record is written again by a retry alone, and what was undone never comes back, unless
    somebody removed the record: then who knows of no end puts back what it knows.
    """

    wants: ClassVar[Wanted] = (Stored, Span)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._ended: set[str] = set()
        self._retries: dict[str, int] = {}
        self._put_back = _PutBack()

    def on(self, seen: Seen) -> str | None:
        """Every write that the store took, and purges."""
        if isinstance(seen, Span) and seen.fault == "purge":
            self._put_back.purge()
        if not isinstance(seen, Stored) or seen.record is None or not ids.is_task_key(seen.key):
            return None
        record, known = seen.record, self._retries.get(seen.key, 0)
        self._retries[seen.key] = record.retries
        if self._put_back.learn(seen.key, record):
            known = record.retries
            self._ended.discard(seen.key)
        if record.retries < known:
            return f"{record.id} was opened again, and what was before came back as {_shown(record)}"
        if seen.key in self._ended and record.retries == known:
            return f"{record.id} had ended and was written again as {_shown(record)}"
        self._ended.discard(seen.key)
        if record.state in ENDED:
            self._ended.add(seen.key)
        return None


class OneResult:
    """A10: at most one result of a task is committed, that of the run for its last award, and only what is committed
    is said to be done; of a record that somebody removed nobody can know that it had a result.
    """

    wants: ClassVar[Wanted] = (Stored, Happened, Span)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._done: dict[str, TaskRecord] = {}
        self._said: dict[str, int] = {}
        self._put_back = _PutBack()

    def on(self, seen: Seen) -> str | None:
        """Commits, what owners say of them, and purges."""
        match seen:
            case Span(fault="purge"):
                self._put_back.purge()
            case Stored(record=TaskRecord() as record, key=key) if ids.is_task_key(key):
                if self._put_back.learn(key, record):
                    self._done.pop(record.id, None)
                    self._said.pop(record.id, None)
                if record.state is not TaskState.DONE:
                    return None
                if not made_by(record.result, record.id, record.epoch):
                    return f"{record.id} was committed with what no run in epoch {record.epoch} made of it"
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
    """A12, A19: what is said to be accepted, or to have ended, stands in the record; nothing depends on a write that
    is not in.
    """

    wants: ClassVar[Wanted] = (Stored, Answered, Happened)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._stood: dict[str, int] = {}
        self._ends: set[tuple[str, int, TaskState]] = set()  # which task, opened how often before, and how

    def on(self, seen: Seen) -> str | None:
        """Replies and events about tasks, against what the store took before."""
        match seen:
            case Stored(record=TaskRecord() as record, key=key) if ids.is_task_key(key):
                self._stood[record.id] = record.epoch
                self._ends |= {_end(record)} if record.state in ENDED else set()
            case Answered(reply=reply) if isinstance(reply.value, TaskRecord):
                if reply.value.epoch > self._stood.get(reply.value.id, -1):
                    return f"{seen.node} answered with {_shown(reply.value)}, which the store never took"
                if reply.value.state in ENDED and _end(reply.value) not in self._ends:
                    return f"{seen.node} answered that {reply.value.id} is {_shown(reply.value)}, which it never was"
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


class OneAtATime:
    """A11: a task that must not run twice at once does not, whoever stands still or is cut off."""

    wants: ClassVar[Wanted] = (Handled, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._runs: dict[str, dict[str, int]] = {}  # exclusive task → who runs it, and for which award

    def on(self, seen: Seen) -> str | None:
        """Runs as they begin and end; a crash ends all of a host's."""
        if isinstance(seen, Span) and seen.is_on and seen.fault == "crash":
            for runs in self._runs.values():
                for name in seen.nodes:
                    runs.pop(name, None)
        if not isinstance(seen, Handled):
            return None
        if isinstance(seen.input, AgentFinished | AgentFailed | AgentStopped):
            self._runs.get(seen.input.task, {}).pop(seen.node, None)
        for effect in seen.effects:
            if isinstance(effect, RunAgent) and effect.lease_s:
                runs = self._runs.setdefault(effect.task, {})
                runs[seen.node] = effect.epoch
                others = [self._setting.hosts[name] for name in runs if name != seen.node]
                for other in others:
                    if other.is_up and effect.task in other.running():
                        return f"{seen.node} begins {effect.task}, which {other.name} is at still"
        return None


class RightClocks:
    """Nobody whose clock has been off for a while is given a task by one that hears it, or gives one out while it
    hears most others.
    """

    wants: ClassVar[Wanted] = (Stored,)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def on(self, seen: Seen) -> str | None:
        """Every award that the store took."""
        if not isinstance(seen, Stored) or seen.record is None or seen.record.state is not TaskState.AWARDED:
            return None
        if seen.is_renewed:
            return None
        names = {host.id: host for host in self._setting.hosts.values()}
        both = owner, giver = names[seen.record.owner], self._setting.hosts[seen.node]
        clear_ns = self._setting.network.clear_since_ns  # clocks are known by messages alone: our own by most others
        others = sorted(clear_ns(giver.name, name) for name in self._setting.hosts)
        for host, heard_ns in ((owner, clear_ns(giver.name, owner.name)), (giver, others[len(others) // 2])):
            since_ns = max(host.clock.set_ns, host.well_since_ns, heard_ns)  # who has just begun has measured nobody
            is_known = self._setting.timeline.now_ns - since_ns > ns(CLOCK_KNOWN_S)
            if is_known and self._is_off(host, both):
                ahead = f"{host.clock.ahead_s:g} s ahead"
                return f"{seen.node} gives {seen.record.id} to {names[seen.record.owner].name}: {host.name} is {ahead}"
        return None

    def _is_off(self, host: Host, both: tuple[Host, Host]) -> bool:
        """Is its clock wrong, and another than that of most? Of what all have wrong nobody can know, nor which half
        of all is right; but of two of these that differ each takes the other's for wrong.
        """
        hosts = [*self._setting.hosts.values()]
        apart = [other for other in hosts if abs(host.clock.ahead_s - other.clock.ahead_s) > CLOCK_OFF_S]
        is_of_fewer = 2 * len(apart) > len(hosts) or (
            2 * len(apart) == len(hosts) and any(one in apart for one in both)
        )
        return abs(host.clock.ahead_s) > CLOCK_OFF_S and is_of_fewer


class OneStart:
    """A11: a run begins once an award, at whom the record names, in the life that it names."""

    wants: ClassVar[Wanted] = (Stored, Happened)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._awards: dict[tuple[str, int], tuple[str, int]] = {}  # task and epoch → owner and its life
        self._started: set[tuple[str, int]] = set()

    def on(self, seen: Seen) -> str | None:
        """Awards, and what owners say that they begin."""
        match seen:
            case Stored(record=TaskRecord(state=TaskState.AWARDED) as record, key=key) if ids.is_task_key(key):
                self._awards[(record.id, record.epoch)] = record.owner, record.owner_life
            case Happened(node=node, life=life, event=TaskStarted() as event):
                award = event.task, event.epoch
                owner = self._setting.hosts[node].id if node in self._setting.hosts else node
                if self._awards.get(award) != (owner, life):
                    return f"{node} began {event.task} in epoch {event.epoch}, which the record never gave to it"
                if award in self._started:
                    return f"{node} began {event.task} in epoch {event.epoch} twice"
                self._started.add(award)
            case _:
                pass
        return None


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


def _is_same(one: TaskRecord, other: TaskRecord) -> bool:
    """Do both say the same of a task, but for how it came to that?"""
    said = [
        (*_order(each), each.state, each.epoch, each.owner, each.owner_life, each.retries, each.result)
        for each in (one, other)
    ]
    return said[0] == said[1]


def _end(record: TaskRecord) -> tuple[str, int, TaskState]:
    return record.id, record.retries, record.state


def _shown(record: TaskRecord) -> str:
    return f"{record.state.value} (epoch {record.epoch})"
