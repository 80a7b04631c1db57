"""Requests for tasks on their way into the ledger: from the asking until the first write stands, or is refused.

Invariant: every request is answered once; of what was refused nothing is watched and nothing was written.
Neighbours: `lookups` and `reopening` wait for records; `ledger` makes the writes and goes on from them.
"""

from protocol import awards, ids, records
from protocol.awards import refused
from protocol.effects import Effect
from protocol.inputs import BUCKET_FULL, Cancel, Submit
from protocol.lookups import Lookups, not_to_cancel
from protocol.primitives import Instant, NodeId, Rng
from protocol.records import Standing
from protocol.reopening import Reopening
from protocol.tasks import Tasks
from protocol.timers import Timers
from protocol.view import View
from protocol.watched import TaskSettings, Watched
from protocol.wire.task import ENDED


class Intake:
    """Submits, cancels and retries; what is to be advanced because of one comes back beside the answers."""

    def __init__(
        self,
        *,
        me: NodeId,
        mesh: str,
        settings: TaskSettings,
        keep_s: float,
        view: View,
        tasks: Tasks,
        timers: Timers[tuple[str, str]],
        rng: Rng,
    ) -> None:
        self._me = me
        self._mesh = mesh
        self._settings = settings
        self._keep_s = keep_s
        self._view = view
        self._tasks = tasks
        self._timers = timers
        self._rng = rng
        self._lookups = Lookups()
        self.reopening = Reopening(
            me=me, settings=settings, view=view, lookups=self._lookups, tasks=tasks, timers=timers
        )

    def submit(self, order: Submit, now: Instant) -> tuple[list[Effect], Watched | None]:
        """A durable task is wanted. The reply waits for the first write, `answer_s` at most."""
        problem = awards.problem_of(order, watched=len(self._tasks), watched_max=self._settings.watched_max)
        if problem is not None:
            return [problem], None
        task = ids.task_id(mesh=self._mesh, submitter=order.submitter, key=order.key)
        known = self._tasks.get(task)
        if known is not None:
            return self._repeated(order, known, now), None
        if not (self._view.candidates(order.capability, now) or self._view.can_wait(order.capability, now)):
            return self._lookups.submit(task, order), None
        iid, gid = order.iid or ids.minted(self._rng), order.gid or ids.minted(self._rng)
        record = records.opened(order, task=task, iid=iid, gid=gid, home=self._me, now=now, keep_s=self._keep_s)
        watched = self._tasks.watch(record, revision=0, frame=b"")
        watched.submits.append(order.request)
        self._timers.set(("answer", task), now.after(self._settings.answer_s))
        self._timers.set(("deadline", task), now.after(order.deadline_s))
        return [], watched

    def _repeated(self, order: Submit, known: Watched, now: Instant) -> list[Effect]:
        """The same key again: the same task when the work is the same, else a conflict."""
        answer = awards.repeated(order, known.record)
        if answer.code or known.is_known:
            return [answer]
        if not known.submits:  # the first was told that it is not settled
            self._timers.set(("answer", known.record.id), now.after(self._settings.answer_s))
        known.submits.append(order.request)
        return []

    def cancel(self, request: Cancel) -> tuple[list[Effect], Watched | None]:
        """End a task that has not ended; any node may, not only its home."""
        watched = self._tasks.get(request.task)
        if watched is None:
            return self._lookups.cancel(request), None
        watched.cancels.append(request)
        return [], watched

    def found(self, task: str, stands: Standing, failed: str, now: Instant) -> tuple[list[Effect], bool]:
        """The answer to a `Read`; and whether the task, watched by now, is to be cancelled because of it."""
        record = stands.record
        answers, orders = self._lookups.found(task, record, failed=failed)
        answers += self.reopening.found(task, stands, failed, now)
        watched = self._tasks.get(task)
        if watched is None:
            answers += not_to_cancel(orders, record, task=task, failed=failed)
            if record is None or record.state in ENDED or not orders:
                return answers, False
            watched = self._tasks.watch(record, revision=stands.revision, frame=stands.frame)
        watched.cancels += orders
        return answers, bool(orders)

    def taken(self, watched: Watched, stands: Standing, now: Instant) -> tuple[list[Effect], bool]:
        """Its first write is refused, for a task stands there: the same; and whether it is to be gone on with here."""
        ours, record = watched.record, stands.record
        if record is None:
            problem = f"does not give back the record of {ours.id}"
            return self._tasks.drop(watched, now, "store", problem=problem), False
        if record.digest != ours.digest:
            return self._tasks.drop(watched, now, "key_reused", key=ours.key, task=ours.id), False
        watched.learn(record, revision=stands.revision, frame=stands.frame, now=now)
        answers = self._tasks.answer_submits(watched)
        if record.home == self._me or record.state in ENDED or watched.cancels:
            return answers, True
        return answers + self._tasks.forget(watched, now), False  # submitted before, through a node that watches it

    def unsent(self, watched: Watched, reason: str, now: Instant) -> list[Effect]:
        """Its first write never left."""
        if reason == BUCKET_FULL:
            return self._tasks.drop(watched, now, "record_full")
        return self._tasks.drop(watched, now, "overloaded", what=reason, limit="nothing was written")

    def unanswered(self, watched: Watched) -> list[Effect]:
        """Its first write takes too long: whoever submitted it is told that it is not settled."""
        requests, watched.submits = watched.submits, []
        seconds = f"{self._settings.answer_s:g}"
        return [refused(request, "unsettled", task=watched.record.id, seconds=seconds) for request in requests]
