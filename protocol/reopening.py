"""Tasks that ended without a result and are opened again, under the same id.

Invariant: an end is undone by one compare-and-set on its revision, so of many who ask one opens it; a done task
stays done. Whoever answers becomes the home, for nobody watches what has ended. Pure leaf of `ledger`.
"""

from protocol import ids, limits, records
from protocol.awards import refused, reopened
from protocol.effects import Effect, Read, Reply
from protocol.inputs import Retry
from protocol.lookups import Lookups
from protocol.primitives import Instant, NodeId
from protocol.records import Standing
from protocol.tasks import Tasks
from protocol.timers import Timers
from protocol.view import View
from protocol.watched import EXCLUSIVE_LEASES, TaskSettings, Watched
from protocol.wire.task import ENDED, TaskState


class Reopening:
    """Who wants which task opened again, until its record has been read; then the task is watched."""

    def __init__(
        self,
        *,
        me: NodeId,
        settings: TaskSettings,
        view: View,
        lookups: Lookups,
        tasks: Tasks,
        timers: Timers[tuple[str, str]],
    ) -> None:
        self._me = me
        self._settings = settings
        self._view = view
        self._lookups = lookups
        self._tasks = tasks
        self._timers = timers
        self._wanted: dict[str, list[Retry]] = {}

    def retry(self, request: Retry) -> list[Effect]:
        """Read what stands there; the rest follows."""
        if not 0 <= request.deadline_s <= limits.DEADLINE_S_MAX or len(request.by) > limits.TEXT_CHARS_MAX:
            what = f"a deadline is at most {limits.DEADLINE_S_MAX:g} s, a name {limits.TEXT_CHARS_MAX} characters"
            return [refused(request.request, "bad_input", what=what)]
        self._wanted.setdefault(request.task, []).append(request)
        return [Read(ids.task_key(request.task))]

    def found(self, task: str, stands: Standing, failed: str, now: Instant) -> list[Effect]:
        """The record has been read: the first who asked opens the task, if that can be."""
        requests = self._wanted.pop(task, [])
        if not requests:
            return []
        problem = self._problem(requests[0], stands, failed, now)
        if problem is not None:
            return [Reply(request.request, code=problem.code, fields=problem.fields) for request in requests]
        first, *others = requests
        told = [refused(each.request, "under_way", task=task, state=TaskState.OPEN.value) for each in others]
        return told + self._open(first, stands, now)

    def _problem(self, request: Retry, stands: Standing, failed: str, now: Instant) -> Reply | None:
        """Why the task cannot be opened again; None when it can."""
        number, task, record = request.request, request.task, stands.record
        watched = self._tasks.get(task)
        if watched is not None:
            return refused(number, "under_way", task=task, state=watched.record.state.value)
        if failed:
            return refused(number, "store", problem=failed)
        if record is None:
            return refused(number, "bad_record" if stands.revision else "unknown_task", task=task)
        if record.state is TaskState.DONE:
            return refused(number, "done_already", task=task)
        if record.state not in ENDED:
            return refused(number, "under_way", task=task, state=record.state.value)
        if not (self._view.candidates(record.capability, now) or self._view.can_wait(record.capability, now)):
            return refused(number, "no_agent", capability=record.capability)
        if len(self._tasks) >= self._settings.watched_max:
            limit = f"{self._settings.watched_max} unfinished tasks, tasks.watched_max"
            return refused(number, "overloaded", what="the ledger of this node", limit=limit)
        return None

    def _open(self, request: Retry, stands: Standing, now: Instant) -> list[Effect]:
        if stands.record is None:
            return []
        retried = records.retried(stands.record, by=request.by, home=self._me, deadline_s=request.deadline_s, now=now)
        watched = self._tasks.watch(stands.record, revision=stands.revision, frame=stands.frame)
        watched.reopening = request
        watched.submits.append(request.request)  # it waits for a first write, as those do
        self._timers.set(("answer", request.task), now.after(self._settings.answer_s))
        return self._tasks.write(watched, retried, now)

    def stands(self, watched: Watched, now: Instant) -> list[Effect]:
        """The write stands: the task is open, if it was this that was written."""
        if watched.reopening is None:
            return []
        watched.reopening = None
        left_s = (watched.record.deadline_ms - now.wall_ms) / 1_000
        self._timers.set(("deadline", watched.record.id), now.after(left_s))
        self.rest(watched, now)
        return [reopened(watched.record)]

    def rest(self, watched: Watched, now: Instant) -> None:
        """An exclusive task is not given out again before its last owner has surely stopped."""
        if records.may_run_still(watched.record):
            watched.rest(EXCLUSIVE_LEASES * records.lease_s(watched.record, self._settings.lease_s), now)

    def lost(self, watched: Watched, stands: Standing, now: Instant) -> list[Effect]:
        """Something else stands there: another opened it, or it removed itself, or its end was written anew."""
        request, is_awaited, cancels = watched.reopening, bool(watched.submits), watched.cancels
        told = self._tasks.forget(watched, now)
        for cancel in cancels:
            told += self._lookups.cancel(cancel)
        if request is None or not is_awaited:
            return told
        self._wanted.setdefault(request.task, []).insert(0, request)
        return told + self.found(request.task, stands, "", now)
