"""What is in hand here, and what was lately: the owner's memory of its awards.

Invariant: a task is in hand once at most, and counts on a slot for as long as an agent is at it. Each book of what was
is bounded; what has fallen out of it is looked up in the record. Pure leaf of `holder`.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct, field, structs

from protocol import ids, limits, records
from protocol.effects import Effect, RunAgent, Send, StopAgent, Write
from protocol.leases import Lease, Stretch
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId
from protocol.slots import Slots
from protocol.watched import TaskSettings
from protocol.wire.task import Decline, TaskRecord

UNASKED_LEASES = 2  # without being asked: then an owner looks whether the task is still its own
QUIET_LEASES = 1 / 3  # without its watcher, two asks: then a guardian is believed as well
LIE_S = 20.0  # until the record is read once more: a store that was cut off may show for a while what stood before
CHECK_S = 2.0  # between two looks at the record of a task because of what others say, or leave out
STALE_S = 0.5  # a result that is already on its way is refused and kept, not thrown away with the run


class Doubt(Struct):
    """What somebody who need not know says of a task: that it is over. The record is read because of it. Mutable."""

    by: NodeId = ""
    said: Mono | None = None  # when that was said last
    look_again: Mono | None = None  # when to read the record once more, before that is called a lie
    has_looked_again: bool = False

    def raised(self, sender: NodeId, now: Instant) -> bool:
        """It is said again: true when the record is to be read because of it."""
        if self.said is not None and now.since_s(self.said) < CHECK_S:
            return False
        self.by, self.said = self.by or sender, now.mono_ns
        return True

    def is_due(self, now: Instant) -> bool:
        """True when the record is to be read once more."""
        return self.look_again is not None and now.mono_ns >= self.look_again

    def looked_again(self) -> None:
        """The record is being read once more."""
        self.look_again, self.has_looked_again = None, True

    def refuted(self, now: Instant) -> NodeId:
        """The record says that it is not over: who lied, when it says so for the second time; nobody at the first."""
        if self.has_looked_again:
            liar, self.by, self.has_looked_again = self.by, "", False
            return liar
        if self.by and self.look_again is None:
            self.look_again = now.after(LIE_S)
        return ""


class Grant(Struct):
    """One task in hand. Mutable; `record` is as awarded, `ending` what is being committed."""

    record: TaskRecord
    revision: int
    watcher: NodeId
    watcher_life: int
    started_ms: int
    asked: Mono
    asked_ms: int  # the same by the wall
    checked: Mono
    began: Mono
    lease: Lease  # for nothing, unless the task is exclusive
    doubt: Doubt = field(default_factory=Doubt)
    progress: bytes = b""
    ending: TaskRecord | None = None
    commits: int = 0
    again: Mono | None = None  # when to commit once more
    untold: Send | None = None  # the word that we took it, which its watcher may not have heard
    tell_at: Mono = 0
    stale_since: Mono | None = None  # when we heard that the task is not ours any more
    is_begun: bool = False  # an agent is at it
    is_stopping: bool = False  # the agent was told to stop, and is at it until it says so
    owed: Decline | None = None  # what is said then

    @property
    def is_open(self) -> bool:
        """True while it goes on, and its end is not on its way to the record."""
        return self.ending is None and not self.is_stopping

    def renew(self, wanted_s: float, now: Instant) -> list[Effect]:
        """Write the award of an exclusive task anew; whoever moves it on needs a revision that stood for two leases."""
        if self.lease.is_renewing:
            return []
        lease_ms = round(self.lease.renewing(wanted_s, now) * 1_000)
        award = structs.replace(self.record, lease_ms=lease_ms)
        return [Write(ids.task_key(self.record.id), award, expect=self.revision, urgent=True)]

    @property
    def lapses_at(self) -> Mono:
        """When an exclusive task is not surely ours any more; until it is begun it is only waited for."""
        lease = self.lease
        return lease.ends if self.is_begun or not lease.is_renewing else lease.hopeless_at

    def has_lapsed(self, now: Instant) -> bool:
        """True when nothing says any more that an exclusive task is ours."""
        return self.record.exclusive and now.mono_ns >= self.lapses_at

    def stands(self, record: TaskRecord, revision: int) -> None:
        """This write of the award took effect."""
        self.revision = revision
        if self.lease.is_renewing:
            self.record = record
            self.lease.renewed(record.lease_ms / 1_000)

    def named_by(self, watcher: NodeId, life: int, now: Instant) -> None:
        """This watcher asks about it: that one is told from now on."""
        self.watcher, self.watcher_life, self.asked = watcher, life, now.mono_ns
        self.checked, self.asked_ms, self.untold = now.mono_ns, now.wall_ms, None

    def look_up(self, now: Instant, *, look_s: float) -> bool:
        """True when the record is to be read: nobody has asked for so long, or somebody was doubted a while ago."""
        is_second = self.doubt.is_due(now)
        if not is_second and now.since_s(self.checked) < look_s:
            return False
        self.checked = now.mono_ns
        if is_second:
            self.doubt.looked_again()
        return True

    def is_stale(self, now: Instant) -> bool:
        """True when what is left of it has had its time."""
        return self.stale_since is not None and now.since_s(self.stale_since) >= STALE_S


def order_of(grant: Grant, agent: str, now: Instant) -> RunAgent:
    """What the agent is told of a task that was awarded."""
    record = grant.record
    return RunAgent(
        agent=agent,
        task=record.id,
        epoch=record.epoch,
        attempt=record.failures + 1,
        capability=record.capability,
        input=record.input,
        deadline_s=(record.deadline_ms - now.wall_ms) / 1_000,
        iid=record.iid,
        gid=record.gid,
        hops=record.hops,
        ancestors=record.ancestors,
        lineage=record.lineage,
        retries=record.retries,
        lease_s=grant.lease.least_s if record.exclusive else 0.0,
        begin_by=grant.lease.ends if record.exclusive else 0,
    )


class Grants:
    """Tasks in hand by id, and the last that were given back or ended."""

    def __init__(self, *, settings: TaskSettings, slots: Slots, guards: Callable[[NodeId, str], bool]) -> None:
        self._settings = settings
        self._slots = slots
        self._guards = guards  # whether a node may be a guardian of a task
        self._grants: dict[str, Grant] = {}
        self._past: dict[str, _Past] = {}
        self._stretch = Stretch()

    # --- in hand

    def begin(self, record: TaskRecord, revision: int, watcher: NodeId, watcher_life: int, now: Instant) -> Grant:
        """The task is in hand; its slot was taken before."""
        at_ms, at, lease_s = now.wall_ms, now.mono_ns, records.lease_s(record, self._settings.lease_s)
        grant = Grant(
            record,
            revision,
            watcher,
            watcher_life,
            at_ms,
            at,
            at_ms,
            checked=at,
            began=at,
            lease=Lease(lease_s, lease_s, sure=at),
        )
        self._grants[record.id] = grant
        return grant

    def get(self, task: str) -> Grant | None:
        """What is in hand of this task."""
        return self._grants.get(task)

    def of(self, write: Write) -> Grant | None:
        """The one that this write is of; None when it was of an earlier award, and what came of it says nothing."""
        record = write.record
        if not isinstance(record, TaskRecord):
            return None
        grant = self._grants.get(record.id)
        return grant if grant is not None and grant.record.epoch == record.epoch else None

    def is_watched_by(self, node: NodeId, grant: Grant, now: Instant) -> bool:
        """True for a task's home, for who awarded it or asked last, and for a guardian once those are silent."""
        if node in (grant.record.home, grant.watcher):
            return True
        is_quiet = now.since_s(grant.asked) >= QUIET_LEASES * self._settings.lease_s
        return is_quiet and self._guards(node, grant.record.id)

    def current(self, task: str, epoch: int) -> Grant | None:
        """The same, when it is this award and its end is not being committed."""
        grant = self._grants.get(task)
        is_current = grant is not None and grant.record.epoch == epoch and grant.is_open
        return grant if is_current else None

    def to_look_up(self, now: Instant) -> list[Grant]:
        """Those whose end may have come while we were out of reach, or is in doubt; each is given once."""
        look_s = UNASKED_LEASES * self._settings.lease_s
        return [grant for grant in self.open() if grant.look_up(now, look_s=look_s)]

    def renew(self, grant: Grant, now: Instant) -> list[Effect]:
        """Write the award of an exclusive task anew, with as long a lease as the store needs now."""
        return grant.renew(self._stretch.lease_s(grant.lease.least_s, now), now)

    def is_brief(self, grant: Grant, now: Instant) -> bool:
        """True for an exclusive task whose lease would be over before it is renewed, as the store is now."""
        return grant.record.exclusive and grant.lease.is_brief(self._stretch.lease_s(grant.lease.least_s, now))

    def is_hopeless(self, grant: Grant, now: Instant) -> bool:
        """True for an exclusive task whose lease will be over before another write like its last comes back."""
        return grant.record.exclusive and grant.lease.ends <= now.mono_ns + (now.mono_ns - grant.lease.sure)

    def took(self, since: Mono, now: Instant) -> None:
        """A write of an exclusive award left then, and stands."""
        self._stretch.took(now.since_s(since), now)

    def release(self, task: str) -> None:
        """It is in hand no more, and its slot is free; harmless when it was not."""
        if self._grants.pop(task, None) is not None:
            self._slots.give_back(task)

    def stopped(self, task: str) -> list[Effect]:
        """Stop the agent, unless the end is already on its way to the store: the fence judges that.

        An exclusive task is in hand until the agent has stopped: nobody is to begin it beside that one.
        """
        grant = self.get(task)
        if grant is None or not grant.is_open:
            return []
        if not grant.is_begun:
            self.release(task)
            return []
        grant.is_stopping = grant.record.exclusive
        if not grant.is_stopping:
            del self._grants[task]
        self._slots.wind_down(task, grant.record.epoch)
        return [StopAgent(task, grant.record.epoch)]

    def outdated(self, task: str, now: Instant) -> list[Effect]:
        """The task is not ours any more: stop it soon, or at once when it must not run twice."""
        grant = self.get(task)
        if grant is None or not grant.is_open:
            return []
        self.end(grant.record)  # who asks about it later reads the record
        if grant.record.exclusive:
            return self.stopped(task)
        if grant.stale_since is None:
            grant.stale_since = now.mono_ns
        return []

    def open(self) -> list[Grant]:
        """Those that an agent works on."""
        return [grant for grant in self._grants.values() if grant.is_open]

    def ending(self) -> list[Grant]:
        """Those whose end is on its way to the record."""
        return [grant for grant in self._grants.values() if grant.ending is not None]

    def __iter__(self) -> Iterator[Grant]:
        return iter(list(self._grants.values()))

    def __contains__(self, task: str) -> bool:
        return task in self._grants

    def __len__(self) -> int:
        return len(self._grants)

    def next_deadline(self) -> Mono | None:
        """When the first of them has to be stopped, told or committed again."""
        if not self._grants:
            return None
        lease_ns, stale_ns = int(self._settings.lease_s * NS_PER_S), int(STALE_S * NS_PER_S)
        open_grants = self.open()
        alone = [grant for grant in open_grants if grant.record.exclusive]
        ends = [grant.lapses_at for grant in alone]
        ends += [grant.lease.renew_at for grant in alone if not grant.lease.is_renewing]
        ends += [grant.stale_since + stale_ns for grant in open_grants if grant.stale_since is not None]
        ends += [grant.checked + UNASKED_LEASES * lease_ns for grant in open_grants]
        ends += [grant.doubt.look_again for grant in open_grants if grant.doubt.look_again is not None]
        ends += [grant.tell_at for grant in open_grants if grant.untold is not None]
        ends += [grant.again for grant in self._grants.values() if grant.again is not None]
        return min(ends, default=None)

    # --- what was

    def learn(self, record: TaskRecord) -> None:
        """This was read: what is remembered of other work under its id, whose record is gone, counts no more."""
        past = self._past.get(record.id)
        if past is not None and past.iid != record.iid:
            del self._past[record.id]

    def end(self, record: TaskRecord) -> None:
        """This award is over here: who still asks about it should read the record."""
        self._past_of(record).ended = record.epoch

    def has_ended(self, task: str, epoch: int) -> bool:
        """True when this award, or a later one, is over here."""
        past = self._past.get(task)
        return past is not None and past.ended >= epoch

    def had(self, task: str, epoch: int) -> bool:
        """True when this award, or a later one, was begun here, whatever became of it."""
        grant = self._grants.get(task)
        is_in_hand = grant is not None and grant.record.epoch >= epoch
        return is_in_hand or self.has_ended(task, epoch) or self.given_back(task, epoch) is not None

    def give_back(self, record: TaskRecord, decline: Decline) -> None:
        """This award was given back."""
        self._past_of(record).given_back = decline

    def given_back(self, task: str, epoch: int) -> Decline | None:
        """How this award was given back, if it was."""
        past = self._past.get(task)
        decline = None if past is None else past.given_back
        return decline if decline is not None and decline.epoch == epoch else None

    def _past_of(self, record: TaskRecord) -> "_Past":
        self.learn(record)
        past = self._past.get(record.id) or _Past(record.iid)
        self._past.pop(record.id, None)
        self._past[record.id] = past
        if len(self._past) > limits.TASKS_ENDED_KEPT:
            self._past.pop(next(iter(self._past)))
        return past


class _Past(Struct):
    """How the work with this iid went here. Mutable."""

    iid: str
    ended: int = -1  # epoch whose end we committed, or that was taken from us
    given_back: Decline | None = None
