"""The owner's side: what was awarded to this node, from the award to the commit of its end.

Invariant: a result is committed by compare-and-set on the revision of its award, so a lost lease cannot
commit. An exclusive task is begun, and goes on, within a lease of a write of ours by which it stood as ours.
Neighbours: `grants` remembers what is in hand and who watches it, `answering` speaks of it, `slots` is shared
with `calls`; `ledger` is the watcher's side.
"""

from collections.abc import Callable

from protocol import ids, limits, records
from protocol.answering import Answering
from protocol.bidding import answer_to
from protocol.effects import Effect, Emit, Read, Send, Write
from protocol.events import PeerMisbehaved, ResultRefused, TaskAwarded, TaskDone, TaskFailed, TaskPutBack, TaskStarted
from protocol.grants import Grant, Grants, order_of
from protocol.inputs import AgentFailed, AgentFinished, AgentProgress
from protocol.performance import BLAMELESS, Performance
from protocol.primitives import NS_PER_MS, Instant, Mono, NodeId
from protocol.records import Standing
from protocol.reservations import Reservations, Reserved, as_told
from protocol.slots import Slots
from protocol.watched import TaskSettings
from protocol.wire.auction import Offer, Reserve, Taken, Unreserve
from protocol.wire.task import (
    ENDED,
    Accept,
    Answer,
    Ask,
    Award,
    Decline,
    Failure,
    Result,
    TaskRecord,
    TaskState,
    Withdraw,
)

BUSY_RETRY_MS = 200  # by then the load that misled the watcher has been announced anew
COMMITS_MAX = 8  # of one end, against what stands there and is no later award
AGAIN_S = 1.0  # until what could not be read is looked at again
TELL_S = 1.0  # between two words of having taken a task


class Holder:
    """Tasks in hand by id, and the last that were given back or ended."""

    def __init__(
        self,
        *,
        me: NodeId,
        life: int,
        settings: TaskSettings,
        keep_s: float,
        slots: Slots,
        guards: Callable[[NodeId, str], bool],
    ) -> None:
        self._me = me
        self._life = life
        self._settings = settings
        self._keep_s = keep_s
        self._slots = slots
        self._seen = Performance()
        self._late = Reservations(lease_s=settings.lease_s)
        self._grants = Grants(settings=settings, slots=slots, guards=guards)
        self._answering = Answering(self._grants)
        self._closed_by = ""  # why nothing new is taken; empty while it is

    # --- what watchers say

    def on_award(
        self, sender: NodeId, life: int, body: Award | Reserve, record: TaskRecord, now: Instant
    ) -> list[Effect]:
        """Take the task or say no; one that waits, later. `record` was opened and is bound to its key."""
        if isinstance(body, Reserve):
            return self.on_reserve(sender, life, body, record, now)
        if record.state in ENDED and record.id == body.task:  # the award is of a record from before the end we saw
            return [_to(sender, life, Answer(0, (), (record.id,), ()), record), Read(ids.task_key(record.id))]
        is_mine = record.state is TaskState.AWARDED and record.owner == self._me and record.owner_life == self._life
        if not is_mine or record.id != body.task or record.epoch != body.epoch:
            return []
        grant = self._grants.get(record.id)
        if grant is not None and grant.record.epoch >= record.epoch:
            is_held = grant.record.epoch == record.epoch and not grant.is_stopping
            return [_to(sender, life, Accept(record.id, record.epoch), record)] * is_held
        self._grants.learn(record)
        if self._grants.has_ended(record.id, record.epoch):
            return [_to(sender, life, Answer(0, (), (record.id,), ()), record)]
        given_back = self._grants.given_back(record.id, record.epoch)
        if given_back is not None:
            return [_to(sender, life, given_back, record)]
        if grant is not None and not self._grants.is_watched_by(sender, grant, now):
            return self._answering.doubted(grant, sender, now)  # it will be sent again, once the record has said so
        if grant is not None:
            self._grants.end(grant.record)
        self._late.discard(record.id)
        effects = self._grants.stopped(record.id)
        refusal = self._refusal(record, now)
        if refusal is not None:
            return [*effects, _to(sender, life, refusal, record)]
        is_ending = record.id in self._grants  # of an earlier award the end is on its way to be refused, or the run
        agent = None if is_ending else self._slots.take(record.id, record.capability)
        if agent is None:
            busy = Decline(record.id, record.epoch, "busy", retry_after_ms=BUSY_RETRY_MS)
            return [*effects, _to(sender, life, busy, record)]
        grant = self._grants.begin(record, body.revision, sender, life, now)
        effects.append(_to(sender, life, Accept(record.id, record.epoch), record))
        if record.exclusive:  # the award may have been on its way for long: a write says whether it stands still
            return [*effects, *self._grants.renew(grant, now)]
        return [*effects, *self._begun(grant, agent, now)]

    def _begun(self, grant: Grant, agent: str, now: Instant) -> list[Effect]:
        record, grant.is_begun = grant.record, True
        return [
            Emit(TaskStarted(record.id, record.iid, record.epoch, agent, record.submitter, *_kin(record))),
            order_of(grant, agent, now),
        ]

    def _refusal(self, record: TaskRecord, now: Instant) -> Decline | None:
        if self._closed_by:
            return Decline(record.id, record.epoch, "draining", retry_after_ms=60_000)
        if not self._slots.has(record.capability):
            return Decline(record.id, record.epoch, "no_agent", f"no agent here has {record.capability}")
        if record.deadline_ms <= now.wall_ms:
            return Decline(record.id, record.epoch, "deadline", "the deadline has passed", retry_after_ms=60_000)
        return None

    def on_ask(self, sender: NodeId, life: int, body: Ask, now: Instant) -> list[Effect]:
        """Say what of this is in hand; stop what the ask shows as stale."""
        return self._answering.on_ask(sender, life, body, now)

    def on_withdraw(self, sender: NodeId, body: Withdraw | Unreserve, now: Instant) -> list[Effect]:
        """The task was cancelled or given to another, says a node: its watcher, or who had it cancelled elsewhere."""
        if isinstance(body, Unreserve):
            self._late.take_back(body.task, watcher=sender, revision=body.revision)
            return []
        grant = self._grants.get(body.task)
        is_of_this = grant is not None and grant.record.epoch <= body.epoch
        return self._answering.told_over(body.task, sender, now) if is_of_this else []

    def on_offer(self, sender: NodeId, life: int, body: Offer, now: Instant) -> list[Effect]:
        """Somebody asks whether a task could be done here, and how well."""
        self._late.expire(now)
        waiting = self._late.count(body.capability)
        answer = answer_to(
            body, slots=self._slots, seen=self._seen, is_open=not self._closed_by, waiting=waiting, now=now
        )
        return [Send(to=sender, life=life, body=answer)]

    def on_reserve(self, sender: NodeId, life: int, body: Reserve, record: TaskRecord, now: Instant) -> list[Effect]:
        """A task waits for whoever has a slot first."""
        self._grants.learn(record)
        told, is_open = as_told(body, record), record.state is TaskState.OPEN  # perhaps again, after an award here
        is_over = told is None or told.id in self._grants or self._grants.has_ended(told.id, told.epoch + is_open)
        if told is not None and not is_over and self._refusal(told, now) is None:
            self._late.add(Reserved(told, body.revision, sender, life, body.asked, body.why, now))
        return self.on_room(now)

    def on_room(self, now: Instant) -> list[Effect]:
        """Take what waits here, as far as there are slots."""
        effects: list[Effect] = []
        self._late.expire(now)
        while (reserved := self._late.first(lambda name: self._slots.best(name) is not None)) is not None:
            if self._refusal(reserved.record, now) is not None:
                self._late.discard(reserved.record.id)
                continue
            self._slots.take(reserved.record.id, reserved.record.capability)
            effects.append(self._late.take(reserved, owner=self._me, owner_life=self._life, now=now))
        return effects

    def _on_taken(
        self, reserved: Reserved, record: TaskRecord, revision: int, frame: bytes, now: Instant
    ) -> list[Effect]:
        """Our write stands: the task is ours. Its watcher is told, until it asks."""
        watcher, life = reserved.watcher, reserved.watcher_life
        told = _to(watcher, life, Taken(record.id, record.epoch, revision, frame), record)
        former, kin = reserved.record.owner, _kin(record)
        awarded = TaskAwarded(record.id, record.iid, record.epoch, self._me, "late", former, *kin)
        if self._grants.had(record.id, record.epoch):
            return [Emit(awarded)]  # its watcher read our write before we heard of it, and gave us the task by it
        grant = self._grants.begin(record, revision, watcher, life, now)
        grant.untold, grant.tell_at = told, now.after(TELL_S)
        grant.lease.sure = reserved.tried
        self._grants.took(reserved.tried, now)
        return [Emit(awarded), told, *self._begun_if_kept(grant, now)]

    def _begun_if_kept(self, grant: Grant, now: Instant) -> list[Effect]:
        """Give it to its agent, if it will stay ours for as long as a write takes."""
        if not self._closed_by and self._grants.is_brief(grant, now):
            return self._grants.renew(grant, now)
        if why := self._why_not_begun(grant, now):
            return self._give_back(grant, *why, counts=False)
        return self._begun(grant, self._slots.agent_of(grant.record.id), now)

    def _why_not_begun(self, grant: Grant, now: Instant) -> tuple[str, str] | None:
        """Reason and detail, when what is ours by now comes too late."""
        if self._closed_by:
            return "drained", f"the node takes no new work: {self._closed_by}"
        if grant.has_lapsed(now):
            return "unrenewed", "the store was away for a lease"
        if self._grants.is_hopeless(grant, now):
            return "unrenewed", "a write takes so long that no lease would be renewed in time"
        return None

    # --- what agents say

    def on_progress(self, report: AgentProgress) -> list[Effect]:
        """Kept for the next ask."""
        grant = self._grants.get(report.task)
        if grant is not None and grant.record.epoch == report.epoch:
            grant.progress = report.progress
        return []

    def on_finished(self, report: AgentFinished, now: Instant) -> list[Effect]:
        """Commit the result, if the award still stands."""
        told, grant = self.on_stopped(report.task, report.epoch), self._grants.current(report.task, report.epoch)
        if grant is None:
            return told
        took_ms = (now.mono_ns - grant.began) / NS_PER_MS
        self._seen.succeeded((self._slots.agent_of(report.task), grant.record.capability), took_ms=took_ms, now=now)
        done = records.done(grant.record, result=report.result, started_ms=grant.started_ms, now=now)
        return self._commit(grant, done)

    def on_failed(self, report: AgentFailed, now: Instant) -> list[Effect]:
        """Another try may help: give it back. Otherwise the failure is the task's end."""
        told, grant = self.on_stopped(report.task, report.epoch), self._grants.current(report.task, report.epoch)
        if grant is None:
            return told
        grant.is_begun = False
        if report.code not in BLAMELESS:
            self._seen.failed((self._slots.agent_of(report.task), grant.record.capability), now)
        if report.retry:
            counts = report.code != "agent_unavailable"
            return self._give_back(grant, report.code, report.message, counts=counts)
        failure = Failure(report.code, report.message[: limits.TEXT_CHARS_MAX])
        failed = records.failed(grant.record, failure=failure, now=now, started_ms=grant.started_ms)
        return self._commit(grant, failed)

    def on_stopped(self, task: str, epoch: int) -> list[Effect]:
        """A run that was told to stop is over: now the task may be begun elsewhere, and its watcher is told so."""
        grant = self._grants.get(task)
        if grant is None or not grant.is_stopping or grant.record.epoch != epoch:
            return []
        self._grants.release(task)
        return [] if grant.owed is None else [self._given_back(grant, grant.owed)]

    def _commit(self, grant: Grant, ending: TaskRecord) -> list[Effect]:
        grant.ending, grant.again = ending, None
        if grant.lease.is_renewing:
            return []  # after that, by the revision which it brings
        grant.commits += 1
        if len(self._grants.ending()) <= limits.ENDS_WAITING_MAX:
            self._slots.give_back(ending.id)  # the agent has finished, however long the store takes
        key = ids.task_key(ending.id)
        keep_s = records.keep_s(ending, self._keep_s)
        return [Write(key, ending, expect=grant.revision, keep_s=keep_s, urgent=True)]

    # --- outcomes of the store

    def on_written(self, write: Write, record: TaskRecord, revision: int, now: Instant) -> list[Effect]:
        """The end stands: say so to whoever watches the task. Or the award stands again."""
        reserved = self._late.taken(record)
        if reserved is not None:
            return self._on_taken(reserved, record, revision, write.frame, now)
        grant = self._grants.of(write)
        if grant is None:
            return []
        if record.state is TaskState.AWARDED:
            return self._renewed(grant, record, revision, now, is_put_back=not write.expect)
        if grant.ending is None:
            return []
        self._grants.end(record)
        self._grants.release(record.id)
        event: Effect
        if record.state is TaskState.DONE:
            began_ms = record.started_ms or record.opened_ms
            took_ms, waited_ms = record.finished_ms - began_ms, began_ms - record.opened_ms
            event = Emit(TaskDone(record.id, record.iid, record.epoch, self._me, took_ms, *_kin(record), waited_ms))
        else:
            failure = record.failure or Failure("agent_failed", "")
            event = Emit(TaskFailed(record.id, record.iid, record.epoch, failure.code, failure.message, *_kin(record)))
        body = Result(record.id, record.epoch, revision, write.frame)
        return [event, _to(grant.watcher, grant.watcher_life, body, record)]

    def _renewed(
        self, grant: Grant, record: TaskRecord, revision: int, now: Instant, *, is_put_back: bool
    ) -> list[Effect]:
        """The award stands, says a write of ours: go on with it."""
        was_renewing = grant.lease.is_renewing
        if grant.lease.tried is not None:
            self._grants.took(grant.lease.tried, now)
        grant.stands(record, revision)
        put_back = Emit(TaskPutBack(record.id, record.iid, record.epoch, "missing", record.gid))
        effects: list[Effect] = [put_back] if is_put_back else []
        if grant.ending is not None:
            return [*effects, *(self._commit(grant, grant.ending) if was_renewing else [])]
        return effects if grant.is_begun else [*effects, *self._begun_if_kept(grant, now)]

    def _not_renewed(self, grant: Grant, stands: Standing, now: Instant) -> list[Effect]:
        """Another write than we know of stands: ours is tried again, unless the task has moved on."""
        grant.lease.not_renewed()
        if grant.ending is not None:
            return self._commit(grant, grant.ending)
        if stands.stranger:
            return [Read(ids.presence_key(stands.stranger))]
        if not self._is_damaged(grant, stands, now):
            return self._grants.outdated(grant.record.id, now)
        grant.revision = stands.revision
        return []

    def on_lost(self, write: Write, stands: Standing, now: Instant) -> list[Effect]:
        """The award does not stand any more: the result is refused, and shown. If it only was damaged, it is kept."""
        if self._is_not_taken(write):
            return []  # somebody was before us
        grant = self._grants.of(write)
        if grant is not None and grant.lease.is_renewing:
            return self._not_renewed(grant, stands, now)
        if grant is None or grant.ending is None or grant.again is not None:
            return []
        ours = grant.ending
        if grant.commits < COMMITS_MAX:
            if stands.stranger:  # nobody knows yet whether a node of ours wrote what stands there
                grant.again = now.after(AGAIN_S)
                return [Read(ids.presence_key(stands.stranger))]
            if self._is_damaged(grant, stands, now):
                grant.revision = stands.revision
                return self._commit(grant, ours)
        self._grants.release(ours.id)
        self._grants.end(ours)  # who still asks about that award has missed the next
        epoch = 0 if stands.record is None else stands.record.epoch
        state = "gone" if stands.record is None else stands.record.state.value
        refused = Emit(ResultRefused(ours.id, ours.iid, ours.epoch, self._me, epoch, state, ours.gid))
        return [
            refused,
            Write(ids.late_key(ours.id, ours.epoch), ours, expect=0, keep_s=records.keep_s(ours, self._keep_s)),
        ]

    def _is_not_taken(self, write: Write) -> bool:
        """True when the write that failed was to take a task that waited here; its slot is free again."""
        record = write.record
        if not isinstance(record, TaskRecord) or self._late.taken(record) is None:
            return False
        if record.id not in self._grants:
            self._slots.give_back(record.id)
        return True

    def _is_damaged(self, grant: Grant, stands: Standing, now: Instant) -> bool:
        """True when nothing that stands there can have followed our award."""
        record = stands.record
        if record is not None:
            is_award = record.state is TaskState.AWARDED and record.epoch == grant.record.epoch
            is_ours = is_award and (record.owner, record.owner_life) == (self._me, self._life)
            return is_ours or records.is_older(record, grant.record)
        # The record of a task that ended removes itself, but not this soon after its watcher last asked for it.
        return stands.revision > 0 or now.wall_ms - grant.asked_ms < records.keep_s(grant.record, self._keep_s) * 1_000

    def on_record_lost(self, now: Instant) -> list[Effect]:
        """The bucket came back empty, or older: the awards that are in hand are written again."""
        effects: list[Effect] = []
        for grant in self._grants.open():
            grant.revision = 0
            if grant.record.exclusive:
                effects += self._grants.renew(grant, now)
            else:
                effects.append(Write(ids.task_key(grant.record.id), grant.record, expect=0, urgent=True))
        return effects

    def on_unsent(self, write: Write, reason: str, now: Instant) -> list[Effect]:
        """Ends always find room, so the daemon is stopping: the next owner will do it again."""
        del reason, now
        if self._is_not_taken(write):
            return []
        grant = self._grants.of(write)
        if grant is not None:
            grant.lease.not_renewed()
        if grant is not None and grant.ending is not None:
            self._grants.release(grant.record.id)
        return []

    def on_found(self, record: TaskRecord | None, key: str, now: Instant) -> list[Effect]:
        """The record of a task that its watcher did not name."""
        if record is None:
            return []
        self._grants.learn(record)
        grant = self._grants.get(ids.task_of(key))
        if grant is None or grant.ending is not None:
            return []
        # A lower one was read before our award.
        is_over = record.state in ENDED or (record.retries, record.epoch) > (grant.record.retries, grant.record.epoch)
        if is_over:
            return self._grants.outdated(grant.record.id, now)
        liar = grant.doubt.refuted(now) if record.epoch == grant.record.epoch else ""
        return [Emit(PeerMisbehaved(liar, "not_its_watcher", record.id))] if liar else []

    # --- time and leaving

    def on_tick(self, now: Instant) -> list[Effect]:
        """Stop what is not ours any more; an exclusive task may not be, once its award was not renewed for a lease."""
        effects: list[Effect] = [Read(ids.task_key(grant.record.id)) for grant in self._grants.to_look_up(now)]
        for grant in self._grants:
            if grant.is_stopping:
                continue
            if grant.is_stale(now):
                effects += self._grants.stopped(grant.record.id)
                continue
            if grant.again is not None and grant.ending is not None and now.mono_ns >= grant.again:
                effects += self._commit(grant, grant.ending)
            if grant.untold is not None and now.mono_ns >= grant.tell_at:
                grant.tell_at = now.after(TELL_S)
                effects.append(grant.untold)
            if grant.record.exclusive and grant.ending is None:
                effects += self._kept(grant, now)
        return effects

    def _kept(self, grant: Grant, now: Instant) -> list[Effect]:
        """An exclusive task stays ours for a lease from every write by which it stood as ours."""
        if grant.has_lapsed(now):
            return self._give_back(grant, "unrenewed", "its award was not renewed for a lease", counts=False)
        return self._grants.renew(grant, now) if now.mono_ns >= grant.lease.renew_at else []

    def next_deadline(self) -> Mono | None:
        """When the first task has to be stopped."""
        return self._grants.next_deadline()

    def on_lag(self) -> None:
        """We were stopped: what waited here may be another's by now."""
        self._late.clear()

    def close(self, why: str) -> None:
        """Take nothing more; what is in hand goes on."""
        self._closed_by = why
        self._late.clear()

    def reopen(self) -> None:
        """Take work again."""
        self._closed_by = ""

    def give_all_back(self) -> list[Effect]:
        """The node leaves: whatever is in hand and not being committed goes back."""
        effects: list[Effect] = []
        for grant in self._grants.open():
            effects += self._give_back(grant, "drained", "the node is leaving", counts=False)
        return effects

    @property
    def in_hand(self) -> int:
        """How many tasks this node holds."""
        return len(self._grants)

    def unwritten(self) -> tuple[str, ...]:
        """Tasks that have ended here, and whose end is not in the record yet."""
        return tuple(grant.record.id for grant in self._grants.ending())

    # --- keeping book

    def _give_back(self, grant: Grant, reason: str, detail: str, *, counts: bool) -> list[Effect]:
        record = grant.record
        text = detail[: limits.TEXT_CHARS_MAX]
        decline = Decline(record.id, record.epoch, reason, text, counts=counts)
        effects = self._grants.stopped(record.id)
        if grant.is_stopping:
            grant.owed = decline
            return effects
        return [*effects, self._given_back(grant, decline)]

    def _given_back(self, grant: Grant, decline: Decline) -> Send:
        self._grants.give_back(grant.record, decline)
        return _to(grant.watcher, grant.watcher_life, decline, grant.record)


def _to(node: NodeId, life: int, body: Accept | Answer | Decline | Result | Taken, record: TaskRecord) -> Send:
    return Send(to=node, life=life, body=body, iid=record.iid, gid=record.gid)


def _kin(record: TaskRecord) -> tuple[str, str]:
    """Which goal it is of, and which interaction it came from."""
    return record.gid, record.parent_iid
