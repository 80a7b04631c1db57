"""The home's ledger: tasks from their submit to their end, and who is given each of them.

Invariant: nothing that depends on a write leaves before its outcome is in, and every change of a
record is one compare-and-set. A guardian runs the same code for the tasks of a home that is gone.
Neighbours: `intake` takes requests, `awards` decides what is next, `tasks` keeps them, `handover` follows
an award to its owner, `watch` asks owners and finds who lapsed (they share `owners`), `holder` is the
owner's side.
"""

from msgspec import structs

from protocol import awards, ids, limits, records
from protocol.awards import refused
from protocol.bids import Closed, Wanted
from protocol.effects import Effect, Emit, Read, Write
from protocol.events import TaskPutBack
from protocol.family import Family
from protocol.giving import Giving
from protocol.handover import Handover
from protocol.inputs import Cancel, Retry, Submit
from protocol.intake import Intake
from protocol.late import Late
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.primitives import Instant, Mono, NodeId, Rng
from protocol.records import Standing
from protocol.tasks import Tasks
from protocol.timers import Timers
from protocol.view import View
from protocol.watched import LOOKS_MAX, Phase, TaskSettings, Watched
from protocol.wire.auction import Taken
from protocol.wire.task import ENDED, Accept, Decline, Result, Running, Status, TaskRecord, TaskState

RETRY_WRITE_S = 1.0  # the lane was full
AT_ONCE = 64  # tasks looked at in one turn, however many are due: each may be a write, and its signature


class Ledger:
    """All tasks that this node watches, by id."""

    def __init__(
        self,
        *,
        me: NodeId,
        mesh: str,
        settings: TaskSettings,
        keep_s: float,
        owners: Owners,
        lapses: Lapses,
        view: View,
        rng: Rng,
    ) -> None:
        self._me = me
        self._settings = settings
        self._keep_s = keep_s
        self._view = view
        self._timers: Timers[tuple[str, str]] = Timers()
        self._handover = Handover(
            settings=settings, owners=owners, lapses=lapses, view=view, timers=self._timers, rng=rng
        )
        self._late = Late(settings=settings, view=view, timers=self._timers, rng=rng)
        self.tasks = Tasks(owners=owners, handover=self._handover, late=self._late, timers=self._timers, keep_s=keep_s)
        self._intake = Intake(
            me=me,
            mesh=mesh,
            settings=settings,
            keep_s=keep_s,
            view=view,
            tasks=self.tasks,
            timers=self._timers,
            rng=rng,
        )
        self._reopening = self._intake.reopening
        self._family = Family(tasks=self.tasks, timers=self._timers)
        self._giving = Giving(settings=settings, view=view, handover=self._handover, late=self._late)
        self._may_award = False
        self._patient_until: Mono = 0  # after an outage of our own nobody loses a task, for a lease

    # --- requests

    def submit(self, order: Submit, now: Instant) -> list[Effect]:
        """A durable task is wanted. The reply waits for the first write, `answer_s` at most."""
        answers, watched = self._intake.submit(order, now)
        return answers if watched is None else answers + self._advance(watched, now)

    def cancel(self, request: Cancel, now: Instant) -> list[Effect]:
        """End a task that has not ended; any node may, not only its home."""
        answers, watched = self._intake.cancel(request)
        return answers if watched is None or watched.phase is Phase.WRITING else self._advance(watched, now)

    def retry(self, request: Retry) -> list[Effect]:
        """Open a task again that ended without a result; this node becomes its home."""
        return self._reopening.retry(request)

    def wait(self, request: int, task: str) -> list[Effect]:
        """Reply with the record when the task has ended; refuse at once when it is not watched here."""
        watched = self.tasks.get(task)
        if watched is None:
            return [refused(request, "unknown_task", task=task)]
        watched.waits.append(request)  # one at a time: the engine asks once a task, however many wait there
        return []

    def status(self, tasks: tuple[str, ...]) -> tuple[Status, ...]:
        """What only the watcher knows of tasks: whether they run, since when, how far they are."""
        return self.tasks.status(tasks)

    # --- outcomes of the store

    def on_written(self, write: Write, record: TaskRecord, revision: int, now: Instant) -> list[Effect]:
        """A write of ours stands."""
        watched = self.tasks.get(record.id)
        if watched is None:
            return []
        effects: list[Effect] = []
        if not watched.is_known:
            effects.append(awards.begun(record))
        former = watched.record
        if watched.amiss:
            effects.append(Emit(TaskPutBack(record.id, record.iid, record.epoch, watched.amiss, record.gid)))
            if (record.epoch, record.state) == (former.epoch, former.state):
                return effects + self._take_up(watched, record, revision, write.frame, now)
        watched.learn(record, revision=revision, frame=write.frame, now=now, is_own=True)
        effects += self._reopening.stands(watched, now) + self._family.accepted(watched) + self._late.drop(watched, now)
        has_moved = (former.owner, former.owner_life) != watched.owner
        if has_moved or record.state is TaskState.CANCELLED:
            effects += awards.withdrawn(former)
        if record.state in ENDED:
            home_life = None if record.home == self._me else self._view.life_of(record.home)
            told = awards.told_home(record, revision=revision, frame=write.frame, life=home_life)
            return [*effects, *awards.end_events(watched), *told, *self._settle(watched, now)]
        if record.state is TaskState.AWARDED:
            said = awards.awarded(record, why=watched.why, former=former.owner)
            effects += [said, self._handover.offer(watched, now)]
            return effects + self._advance(watched, now) if watched.is_unwanted else effects
        watched.phase = Phase.WAITING
        return effects + self._advance(watched, now)

    def on_lost(self, write: Write, stands: Standing, now: Instant) -> list[Effect]:
        """Another write stands, or nothing."""
        watched = self.tasks.get(ids.task_of(write.key))
        if watched is None:
            return []
        self._handover.unreserve(watched, now)
        if watched.reopening is not None:
            return self._reopening.lost(watched, stands, now)
        if watched.is_known:
            return self._judge(watched, stands, now)
        answers, is_ours = self._intake.taken(watched, stands, now)
        if stands.record is None or not is_ours:
            return answers
        return answers + self._take_up(watched, stands.record, stands.revision, stands.frame, now)

    def on_unsent(self, write: Write, reason: str, now: Instant) -> list[Effect]:
        """A write never left."""
        watched = self.tasks.get(ids.task_of(write.key))
        if watched is None:
            return []
        if not watched.is_known or watched.reopening is not None:
            return self._intake.unsent(watched, reason, now)
        self._handover.unreserve(watched, now)
        self.tasks.stand_by(watched, now)
        self._timers.set(("retry", watched.record.id), now.after(RETRY_WRITE_S))
        return []

    def on_found(self, key: str, stands: Standing, failed: str, now: Instant) -> list[Effect]:
        """The answer to a `Read`: news of a task, or of one that is to be cancelled, or was submitted before."""
        task = ids.task_of(key)
        answers, is_unwanted = self._intake.found(task, stands, failed, now)
        answers += self._bereft(*self._family.found(task, stands, failed, now), now)
        watched = self.tasks.get(task)
        if watched is None or watched.phase is Phase.WRITING:
            return answers
        if not failed and watched.is_news(stands):
            return answers + self._judge(watched, stands, now)
        return answers + (self._advance(watched, now) if is_unwanted else [])

    def adopt(self, record: TaskRecord, revision: int, frame: bytes, now: Instant) -> list[Effect]:
        """Watch a task found in a listing: our own after a restart, or one whose home is gone."""
        watched = self.tasks.get(record.id)
        self._timers.set(("deadline", record.id), now.after(awards.left_s(record, now)))  # a clock may have stepped
        if watched is not None and (watched.phase is Phase.WRITING or revision <= watched.revision):
            watched.confirmed_ms = now.wall_ms
            return []
        proofs: list[Effect] = []
        if watched is None:
            watched = self.tasks.watch(record, revision=revision, frame=frame)
            proofs = self._family.accepted(watched)
        return proofs + self._judge(watched, Standing(record, revision, frame), now)

    def on_record_lost(self, now: Instant) -> list[Effect]:
        """The bucket came back empty, or older: what is known here stands there no more."""
        known = [each for each in self.tasks if each.is_known and each.phase is not Phase.WRITING]
        for watched in known:
            watched.mistrust(Standing(None, 0, b""))
        for watched in known[AT_ONCE:]:
            self._timers.set(("retry", watched.record.id), now.mono_ns)
        return [effect for watched in known[:AT_ONCE] for effect in self._advance(watched, now)]

    @property
    def waiting(self) -> int:
        """How many tasks wait for somebody to do them."""
        return len(self.tasks.backlog)

    @property
    def watched(self) -> int:
        """How many tasks this node watches."""
        return len(self.tasks)

    def watches(self, task: str) -> bool:
        """True while this node watches the task."""
        return task in self.tasks

    def confirm(self, task: str, now: Instant) -> TaskRecord | None:
        """A listing shows a watched task just as it is known."""
        watched = self.tasks.get(task)
        if watched is None:
            return None
        watched.confirmed_ms = now.wall_ms
        self._timers.set(("deadline", task), now.after(awards.left_s(watched.record, now)))  # a clock may have stepped
        return watched.record

    # --- messages

    def on_accept(self, sender: NodeId, body: Accept, said: int, now: Instant) -> list[Effect]:
        """The owner has it; `said` is the number of its frame, for the count of its slots."""
        watched = self.tasks.awarded_to(sender, body.task, body.epoch)
        if watched is not None:
            self.tasks.backlog.discard(body.task)
            self._handover.held(watched, started_ms=now.wall_ms, said=said, now=now)
            return self._late.drop(watched, now)
        return []

    def on_decline(self, sender: NodeId, body: Decline, now: Instant) -> list[Effect]:
        """The owner said no, or gives it back; when its agent failed, that counts against the task."""
        watched = self.tasks.awarded_to(sender, body.task, body.epoch)
        return [] if watched is None else [self._giving.declined(watched, body, now), *self._advance(watched, now)]

    def on_taken(self, sender: NodeId, body: Taken, record: TaskRecord, now: Instant) -> list[Effect]:
        """Somebody whom a waiting task was reserved at has taken it; anybody else's word is looked up."""
        watched = self.tasks.get(record.id)
        if watched is None or watched.phase is Phase.WRITING or body.revision <= watched.revision:
            return []  # a write of ours that is under way will lose, and bring the same news
        is_next = record.state is TaskState.AWARDED and record.epoch == watched.record.epoch + 1
        if not is_next or sender not in watched.late:
            return self.on_ended(record.id)
        self.tasks.backlog.discard(record.id)
        told = [*self._late.took(watched, sender, now), *awards.withdrawn(watched.record)]
        return [*told, *self._take_up(watched, record, body.revision, body.record, now)]

    def on_result(self, body: Result, record: TaskRecord, said: int, now: Instant) -> list[Effect]:
        """The owner committed an end, or whoever cancelled the task tells us."""
        watched = self.tasks.get(record.id)
        if watched is None or watched.phase is Phase.WRITING or body.revision <= watched.revision:
            return []  # a write of ours that is under way will lose, and bring the same news
        if record.state not in ENDED or not watched.is_awarded_to(record.owner, record.epoch):
            return self.on_ended(record.id)  # not from who would know, or of an award that we missed: look it up
        self._handover.unreserve(watched, now, said)
        return self._take_up(watched, record, body.revision, body.record, now)

    def on_running(self, sender: NodeId, line: Running, said: int, now: Instant) -> list[Effect]:
        """A line of an answer: the owner has it."""
        watched = self.tasks.awarded_to(sender, line.task, line.epoch)
        if watched is not None:
            self.tasks.backlog.discard(line.task)
            self._handover.held(watched, started_ms=line.started_ms, said=said, now=now)
            watched.progress = line.progress
            return self._late.drop(watched, now)
        return []

    def on_ended(self, task: str) -> list[Effect]:
        """A line of an answer: the owner says that the record has ended, or that it knows a newer one."""
        return [Read(ids.task_key(task))] if task in self.tasks else []

    def on_unknown(self, sender: NodeId, task: str, now: Instant) -> list[Effect]:
        """A line of an answer: the award never arrived there. It is sent again, unless that word is an old one."""
        watched = self.tasks.get(task)
        if watched is None or watched.phase is Phase.OFFERED or not watched.is_awarded_to(sender, watched.record.epoch):
            return []
        if now.mono_ns < watched.fenced_until(self._settings.lease_s):
            return []
        self.tasks.backlog.discard(task)
        return [*self._late.drop(watched, now), self._handover.offer(watched, now)]

    # --- leases

    def on_lapsed(self, task: str, *, evidence: str, silent_s: float, now: Instant) -> list[Effect]:
        """Its owner was silent for a lease, nobody listens there, or it began a new life: `evidence` says which."""
        watched = self.tasks.get(task)
        if watched is None or watched.record.state is not TaskState.AWARDED or watched.phase is Phase.WRITING:
            return []
        record = watched.record
        if watched.lapsed_epoch == record.epoch:
            return self._advance(watched, now)
        is_ours = now.since_s(self._patient_until) < self._settings.lease_s
        lapsed = self._handover.lapsed(watched, evidence=evidence, silent_s=silent_s, is_ours=is_ours, now=now)
        return [lapsed, *self._advance(watched, now)]

    def on_absent(self, offer: int, now: Instant) -> list[Effect]:
        """The broker says that nobody listens where this award was sent."""
        return self.on_offer_unheard(*self._handover.absent(offer), evidence="absent", now=now)

    def on_offer_unheard(self, task: str, epoch: int, *, evidence: str, now: Instant) -> list[Effect]:
        """The award was not answered in time, or nobody listens there: on to the next."""
        watched = self.tasks.get(task)
        if watched is None or watched.phase is not Phase.OFFERED or watched.record.epoch != epoch:
            return []
        unheard = self._handover.unheard(watched, evidence=evidence, now=now)
        effects = self._advance(watched, now)
        if not effects:
            self._handover.keep_asking(watched, now)
        return [unheard, *effects]

    def on_link(self, *, is_usable: bool, now: Instant) -> list[Effect]:
        """The store can be written again, or not. What fell silent meanwhile is not to blame."""
        self._may_award = is_usable
        self._patient_until = now.after(self._settings.lease_s)
        return self.on_capacity(now)

    def on_lag(self, now: Instant) -> None:
        """We were stopped: what fell silent meanwhile is not to blame."""
        self._patient_until = now.after(self._settings.lease_s)

    # --- time

    def on_tick(self, now: Instant) -> list[Effect]:
        """Deadlines of tasks, awards and pauses."""
        effects: list[Effect] = []
        for purpose, task in self._timers.due(now.mono_ns, most=AT_ONCE):
            if purpose == "leave":
                effects += self.tasks.leave((), now)
            if purpose == "more":
                for each in self.tasks.to_reserve(task, now):
                    effects += self._advance(each, now)
            watched = self.tasks.get(task)
            if watched is None:
                continue
            if purpose == "award":
                epoch = watched.record.epoch
                effects += self.on_offer_unheard(task, epoch, evidence="silent", now=now)
            elif purpose == "kin":
                effects += self._family.again(watched)
            elif purpose == "look":
                effects.append(Read(ids.task_key(task)))
            elif purpose == "answer":
                effects += self._intake.unanswered(watched)
            elif purpose == "deadline" and (watched.phase is Phase.WRITING or awards.is_early(watched.record, now)):
                self._timers.set((purpose, task), now.after(awards.left_s(watched.record, now)))
            elif watched.phase is not Phase.WRITING:
                effects += self._advance(watched, now)
        return effects

    def next_deadline(self) -> Mono | None:
        """The earliest of all deadlines, monotonic nanoseconds."""
        return self._timers.next()

    # --- giving work out

    def on_capacity(self, now: Instant) -> list[Effect]:
        """Somebody may have room: give out what waits, the most urgent first."""
        effects: list[Effect] = []
        for capability in self.tasks.backlog.capabilities() if self._may_award else ():
            room = sum(candidate.free for candidate in self._view.candidates(capability, now))
            given = self._give_out(capability, min(room, limits.INBOX_BATCH_MAX), now)
            effects += given if len(given) >= room else given + self._give_out(capability, limits.PASSED_OVER_MAX, now)
        return effects

    def _give_out(self, capability: str, count: int, now: Instant) -> list[Effect]:
        return [effect for each in self.tasks.first(capability, count) for effect in self._advance(each, now)]

    def _advance(self, watched: Watched, now: Instant) -> list[Effect]:
        """The next write of a task: its end, an award, what should stand there and does not, or none yet."""
        record = watched.record
        if watched.amiss and now.mono_ns < watched.quiet_until:
            self._timers.set(("retry", record.id), watched.quiet_until)
            return []
        ended = awards.ending(watched, settings=self._settings, now=now)
        known = watched.as_known(self._settings.lease_s) if watched.amiss else record
        if ended is not None:
            return self.tasks.write(watched, structs.replace(ended, lease_ms=known.lease_ms), now, urgent=True)
        if watched.amiss:
            return self.tasks.write(watched, known, now, urgent=True)
        if watched.phase is not Phase.WAITING:
            return []
        resting_until = max(watched.resting_until(self._patient_until), watched.fenced_until(self._settings.lease_s))
        if now.mono_ns < resting_until:
            self._timers.set(("retry", record.id), resting_until)
            return []
        self._handover.unreserve(watched, now)  # the slot of the award before: it must not stand in its own way
        given = self._giving.next(watched, now, may_award=self._may_award)
        if isinstance(given, TaskRecord):
            return self.tasks.write(watched, given, now)
        if watched.is_asking:
            self.tasks.backlog.discard(record.id)
        else:
            self.tasks.backlog.push(record)
        return given

    def take_wanted(self) -> list[Wanted]:
        """The tasks that bids are to be asked for, once."""
        return self._giving.take_wanted()

    def on_closed(self, closed: Closed, now: Instant) -> list[Effect]:
        """The bids for a task are in."""
        watched = self.tasks.get(closed.task)
        if watched is None or not watched.is_asking or watched.record.epoch + 1 != closed.epoch:
            return []
        watched.hear(closed, now)
        return self._advance(watched, now)

    def on_late(self, sender: NodeId, task: str) -> None:
        """A bid came after its round: the record's next write says so."""
        watched = self.tasks.get(task)
        if watched is not None and watched.phase is not Phase.WRITING:
            watched.hear_late(sender)

    # --- what is known

    def _judge(self, watched: Watched, stands: Standing, now: Instant) -> list[Effect]:
        """What stands there is the truth, unless it is older than what we know, or no record: then that is put back."""
        if stands.record is not None and not records.is_older(stands.record, watched.record):
            return self._take_up(watched, stands.record, stands.revision, stands.frame, now)
        self.tasks.stand_by(watched, now)
        if stands.stranger and watched.looks < LOOKS_MAX:  # perhaps a node whose admission has not come here yet
            self._timers.set(("look", watched.record.id), now.after(2.0**watched.looks))
            watched.looks += 1
            return [Read(ids.presence_key(stands.stranger))]
        if (
            stands.revision == 0
            and now.wall_ms - watched.confirmed_ms >= records.keep_s(watched.record, self._keep_s) * 1_000
        ):
            # It ended, and has removed itself.
            return self.tasks.drop(watched, now, "unknown_task", task=watched.record.id)
        watched.mistrust(stands)
        return self._advance(watched, now)

    def _take_up(self, watched: Watched, record: TaskRecord, revision: int, frame: bytes, now: Instant) -> list[Effect]:
        """Go on from a record that another wrote: settle it, ask its owner, or give it out."""
        if watched.is_renewed(record, revision):
            watched.renewed(record, revision, frame, now)
            self.tasks.stand_by(watched, now)
            return [*self._late.drop(watched, now), *self._advance(watched, now)]
        is_ours = record.retries == watched.record.retries or record.home == self._me
        watched.learn(record, revision=revision, frame=frame, now=now)
        self._reopening.rest(watched, now)
        if record.state in ENDED:
            return self._settle(watched, now)
        if not (is_ours or watched.cancels) and self._view.life_of(record.home) is not None:
            return self.tasks.forget(watched, now)  # opened again by another node, which watches it
        self.tasks.stand_by(watched, now)
        if watched.phase is Phase.HELD and awards.has_restarted(record, self._view.life_of(record.owner)):
            return self.on_lapsed(record.id, evidence="node_restarted", silent_s=0.0, now=now)
        return self._advance(watched, now)

    def _settle(self, watched: Watched, now: Instant) -> list[Effect]:
        """The task has ended: answer everyone who waits for it, and let its slot be used."""
        self._giving.learn(watched.record, now)
        answers = [*self.tasks.answer_submits(watched), *awards.settled(watched), *self._late.drop(watched, now)]
        if watched.record.state is TaskState.CANCELLED:
            answers += self._bereft(*self._family.bereave(watched.record), now)
        return answers + self.tasks.forget(watched, now) + self.on_capacity(now)

    def _bereft(self, answers: list[Effect], bereft: list[Watched], now: Instant) -> list[Effect]:
        """These lost an ancestor to a cancel, and end with it."""
        ends = [self._advance(each, now) for each in bereft if each.phase is not Phase.WRITING]
        return [*answers, *(effect for end in ends for effect in end)]

    def on_elsewhere(self, record: TaskRecord) -> list[Effect]:
        """A listing brought a record that nobody watches here."""
        return self._family.on_elsewhere(record)
