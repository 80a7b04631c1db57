"""What the API answers about why a task went where it went, and about all tasks of a goal; what a retry takes.

Invariant: as in `schemas`: field names are promised to scripts. Neighbours: `schemas` has the tasks;
`meshd.explained` makes these from records.
"""

from msgspec import Struct

from meshd.api.schemas import Seconds, Task


class CancelledTask(Task, frozen=True):
    """A task as its cancel left it; `with_it`: how many that it led to were cancelled with it.

    `missed`: why not all of those were found at once, if so; they end soon by themselves.
    """

    with_it: int = 0
    missed: str = ""


class RetryRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Open a task again. `deadline_s`: how long it has from now; as long as it had before when that is left out."""

    deadline_s: Seconds | None = None


class AnswerView(Struct, frozen=True):
    """One who was asked, and what came of it; the terms of a bid and its score, the lowest of which wins.

    `said` is bid, pass (with `reason`), silent, absent, late or unheard; times are milliseconds, `at_ms` those after
    the search began. `finish_ms` is queue delay, latency and one deviation; `success` the doubt that divides it.
    """

    node: str
    node_name: str
    said: str
    reason: str
    at_ms: int
    agent: str
    free: int
    queue_delay_ms: int
    latency_ms: int
    deviation_ms: int
    successes: float
    failures: float
    confidence: float
    price: float
    finish_ms: float
    success: float
    cost_ms: float
    lapses_ms: float
    score: float


class RoundView(Struct, frozen=True):
    """One search for an owner: by which gear and why, who was asked, what each said, and who was given the task."""

    epoch: int
    gear: str
    why: str
    at_ms: int
    took_ms: int
    asked: int
    answers: tuple[AnswerView, ...]
    owner: str
    owner_name: str
    strays: int


class Why(Struct, frozen=True):
    """All that decided about a task. `next_try_ms`: not before then is it given to somebody, or null.

    The last searches and the last awards are kept; `failures` counts those awards that count against the task.
    """

    task: Task
    rounds: tuple[RoundView, ...]
    failures: int
    next_try_ms: int | None


class GoalTask(Struct, frozen=True):
    """One task of a goal; `parent` submitted it, and is empty at the root or when its record is gone."""

    parent: str
    depth: int
    task: Task


class Goal(Struct, frozen=True):
    """The tasks of one goal, each behind its parent and before what came later; `is_cut`: there are more."""

    gid: str
    tasks: tuple[GoalTask, ...]
    is_cut: bool
