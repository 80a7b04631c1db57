"""Requests about tasks that are not watched here: they wait until the record has been read.

Invariant: every request is answered once, with the record or with why there is none. Pure leaf of `ledger`.
"""

from protocol import ids
from protocol.awards import refused, repeated
from protocol.effects import Effect, Read, Reply
from protocol.inputs import Cancel, Submit
from protocol.wire.task import ENDED, TaskRecord


class Lookups:
    """Submits that nobody can do now, and cancels, by task."""

    def __init__(self) -> None:
        self._submits: dict[str, list[Submit]] = {}
        self._cancels: dict[str, list[Cancel]] = {}

    def submit(self, task: str, order: Submit) -> list[Effect]:
        """Unless the task was submitted before, it is refused."""
        self._submits.setdefault(task, []).append(order)
        return [Read(ids.task_key(task))]

    def cancel(self, request: Cancel) -> list[Effect]:
        """Whoever watches it, it can be cancelled if it is there."""
        self._cancels.setdefault(request.task, []).append(request)
        return [Read(ids.task_key(request.task))]

    def found(self, task: str, record: TaskRecord | None, *, failed: str) -> tuple[list[Effect], list[Cancel]]:
        """Answers to the submits, and those who want it cancelled."""
        submits, cancels = self._submits.pop(task, []), self._cancels.pop(task, [])
        return [_known_before(order, record, failed=failed) for order in submits], cancels


def _known_before(order: Submit, record: TaskRecord | None, *, failed: str) -> Reply:
    """The answer to a submit that nobody can do: the task that it made before, or that there is no agent."""
    if failed:
        return refused(order.request, "store", problem=failed)
    if record is None:
        return refused(order.request, "no_agent", capability=order.capability)
    return repeated(order, record)


def not_to_cancel(orders: list[Cancel], record: TaskRecord | None, *, task: str, failed: str) -> list[Effect]:
    """The answers to those who want a task cancelled that cannot be; none when it can."""
    requests = [order.request for order in orders]
    if failed:
        return [refused(request, "store", problem=failed) for request in requests]
    if record is None:
        return [refused(request, "unknown_task", task=task) for request in requests]
    if record.state in ENDED:
        state = record.state.value
        return [refused(request, "already_ended", task=task, state=state) for request in requests]
    return []
