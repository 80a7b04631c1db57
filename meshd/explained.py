"""A task's record told as what decided about it, and a goal's tasks as a tree.

Invariant: pure; what is told stands in the records, nothing is guessed. Neighbours: `service` reads the records,
`api.task_schemas` has the shapes.
"""

from collections.abc import Callable, Sequence

from msgspec import structs

from meshd.api.schemas import Task
from meshd.api.task_schemas import AnswerView, Goal, GoalTask, RoundView, Why
from protocol.primitives import NodeId
from protocol.wire.auction import Answered, Round
from protocol.wire.task import TaskRecord, TaskState

NameOf = Callable[[NodeId], str]


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
