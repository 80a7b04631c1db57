"""Tasks and those that they led to: when one is cancelled, all that descends from it ends with it.

Invariant: after the first write of a child stands, the records of its ancestors are read, so that a cancel of one
is either found by that, or was written later and finds the child. Pure leaf of `ledger`, which ends what is bereft.
"""

from protocol import ids
from protocol.awards import refused
from protocol.effects import Effect, Read
from protocol.primitives import Instant
from protocol.records import Standing
from protocol.tasks import Tasks
from protocol.timers import Timers
from protocol.watched import Watched
from protocol.wire.task import ENDED, TaskRecord, TaskState

AGAIN_S = 1.0  # until an ancestor that could not be read is read again


class Family:
    """Which watched tasks have ancestors, and of which nobody knows yet whether they still stand."""

    def __init__(self, *, tasks: Tasks, timers: Timers[tuple[str, str]]) -> None:
        self._tasks = tasks
        self._timers = timers

    def accepted(self, watched: Watched) -> list[Effect]:
        """It is on record: who submitted it is told, once its ancestors are known to stand."""
        if watched.record.state in ENDED:
            return self._tasks.answer_submits(watched)
        if watched.unproven is None:
            watched.unproven = dict.fromkeys(task for task in watched.record.ancestors if ids.is_task(task))
            if watched.unproven:
                return self.again(watched)
        return [] if watched.unproven else self._tasks.answer_submits(watched)

    def again(self, watched: Watched) -> list[Effect]:
        """Read those ancestors that could not be read."""
        return [Read(ids.task_key(task)) for task in watched.unproven or ()]

    def found(self, task: str, stands: Standing, failed: str, now: Instant) -> tuple[list[Effect], list[Watched]]:
        """A record was read: answers to those who wait for it, and the tasks that it leaves bereft."""
        if not failed and stands.record is not None and stands.record.state is TaskState.CANCELLED:
            return self.bereave(stands.record)
        answers: list[Effect] = []
        asked: list[Effect] = [Read(ids.presence_key(stands.stranger))] if stands.stranger else []
        for watched in self._tasks.descendants(task):
            if not watched.unproven or task not in watched.unproven:
                continue
            if failed or (asked and watched.submits):  # of a node not known here yet: that may well be a cancel
                self._timers.set(("kin", watched.record.id), now.after(AGAIN_S))
                answers, asked = answers + asked, []
            else:
                del watched.unproven[task]
                answers += self.accepted(watched)
        return answers, []

    def bereave(self, cancelled: TaskRecord) -> tuple[list[Effect], list[Watched]]:
        """This one was cancelled: what descends from it and is watched here has to end; who submitted it is told."""
        answers: list[Effect] = []
        bereft = self._tasks.descendants(cancelled.id)
        for watched in bereft:
            watched.bereft_of = cancelled.id
            requests, watched.submits = watched.submits, []
            fields = {"task": watched.record.id, "parent": cancelled.id}
            answers += [refused(request, "parent_cancelled", **fields) for request in requests]
        return answers, bereft

    def on_elsewhere(self, record: TaskRecord) -> list[Effect]:
        """A listing brought a record that is not ours: when it was cancelled and left heirs here, it is looked at."""
        has_heirs = record.state is TaskState.CANCELLED and self._tasks.descendants(record.id)
        return [Read(ids.task_key(record.id))] if has_heirs else []
