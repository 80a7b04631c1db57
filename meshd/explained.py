"""A task's record told as the API shows it, as what decided about it, and a goal's tasks as a tree.

Invariant: pure; what is told stands in the records, nothing is guessed. Neighbours: `service` reads the records,
`api.task_schemas` has the shapes.
"""

from collections.abc import Callable, Sequence

from msgspec import structs

from meshd import values
from meshd.api.history import AttemptView, RefusedResult, RetryView
from meshd.api.schemas import Task, TaskError
from meshd.api.task_schemas import AnswerView, Goal, GoalTask, RoundView, Why
from meshd.waits import Waits
from protocol.errors import MeshError
from protocol.primitives import NodeId
from protocol.wire.auction import Answered, Attempt, Round
from protocol.wire.task import Retried, Status, TaskRecord, TaskState

NameOf = Callable[[NodeId], str]


def task(
    record: TaskRecord, line: Status | None, late: Sequence[TaskRecord], *, name_of: NameOf, waits_for: Waits | None
) -> Task:
    """One task, with what its home says beyond the record in `line`, and the results that came too `late`."""
    is_running = record.state is TaskState.AWARDED and line is not None and line.running
    started_ms = record.started_ms or (line.started_ms if line is not None else 0)
    return Task(
        id=record.id,
        iid=record.iid,
        gid=record.gid,
        capability=record.capability,
        state="running" if is_running else record.state.value,
        epoch=record.epoch,
        owner=record.owner,
        home=record.home,
        attempts=tuple(_attempt(each, name_of) for each in record.attempts),
        submitted_ms=record.submitted_ms,
        started_ms=started_ms or None,
        finished_ms=record.finished_ms or None,
        kept_until_ms=record.finished_ms + record.keep_ms if record.finished_ms and record.keep_ms else None,
        result=_value(record.result),
        error=None if record.failure is None else TaskError(record.failure.code, record.failure.message),
        owner_name=name_of(record.owner) if record.owner else "",
        home_name=name_of(record.home),
        awarded_ms=record.awarded_ms or None,
        deadline_ms=record.deadline_ms,
        priority=record.priority,
        exclusive=record.exclusive,
        submitter=record.submitter,
        key=record.key,
        parent_iid=record.parent_iid,
        route=record.route,
        progress=None if line is None else _value(line.progress),
        died=record.died,
        refused=tuple(_refused(each, name_of) for each in late),
        retries=record.retries,
        retried=tuple(_retried(each, name_of) for each in record.retried),
        waits_for=waits_for,
    )


def _attempt(past: Attempt, name_of: NameOf) -> AttemptView:
    return AttemptView(past.epoch, past.owner, name_of(past.owner), past.ended, past.at_ms, detail=past.detail)


def _refused(late: TaskRecord, name_of: NameOf) -> RefusedResult:
    return RefusedResult(late.epoch, late.owner, name_of(late.owner), late.finished_ms, _value(late.result))


def _retried(end: Retried, name_of: NameOf) -> RetryView:
    error = f"{end.code}: {end.message}" if end.code else ""
    owner_name = name_of(end.owner) if end.owner else ""
    return RetryView(end.at_ms, end.by, end.state.value, end.epoch, end.owner, owner_name, error)


def _value(encoded: bytes) -> object:
    """What an agent wrote; nothing when it is no value."""
    try:
        return values.unpacked(encoded)
    except MeshError:
        return None


def why(record: TaskRecord, task: Task, *, name_of: NameOf) -> Why:
    """Why the task is where it is; `task` is the same record as it is shown."""
    is_waiting = record.state is TaskState.OPEN and record.not_before_ms
    return Why(
        task=task,
        rounds=tuple(_round(each, name_of) for each in record.rounds),
        failures=record.failures,
        next_try_ms=record.not_before_ms if is_waiting else None,
    )


def _round(told: Round, name_of: NameOf) -> RoundView:
    fields = {name: getattr(told, name) for name in told.__struct_fields__ if name != "answers"}
    owner_name = name_of(told.owner) if told.owner else ""
    return RoundView(**fields, answers=tuple(_answer(each, name_of) for each in told.answers), owner_name=owner_name)


def _answer(told: Answered, name_of: NameOf) -> AnswerView:
    return AnswerView(**structs.asdict(told), node_name=name_of(told.node))


def goal(gid: str, tasks: Sequence[Task], *, is_cut: bool) -> Goal:
    """Depth first, the oldest first among those of one parent."""
    by_iid = {task.iid: task for task in tasks}
    children: dict[str, list[Task]] = {}
    roots: list[Task] = []
    for task in sorted(tasks, key=lambda task: (task.submitted_ms, task.id)):
        parent = by_iid.get(task.parent_iid)
        if parent is None or parent is task:
            roots.append(task)
        else:
            children.setdefault(parent.id, []).append(task)
    lines: list[GoalTask] = []
    waiting = [("", 0, root) for root in reversed(roots)]
    while waiting:
        parent_id, depth, task = waiting.pop()
        lines.append(GoalTask(parent_id, depth, task))
        waiting += [(task.id, depth + 1, child) for child in reversed(children.pop(task.id, []))]
    told = {line.task.id for line in lines}
    lines += [GoalTask("", 0, task) for task in tasks if task.id not in told]  # parents of each other: no node says so
    return Goal(gid, tuple(lines), is_cut)
