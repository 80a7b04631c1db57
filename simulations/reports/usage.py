"""What the mesh sent, and what became of the tasks: counts.

Invariant: two numbers a node and column of time for messages; of a task only which stages it
reached. Neighbours: `observer` tells it, `building` reads it.
"""

from typing import TypeAlias

from protocol.events import (
    AuctionOpened,
    AwardDeclined,
    BidReceived,
    Event,
    LeaseLapsed,
    ResultRefused,
    TaskAwarded,
    TaskCancelled,
    TaskDone,
    TaskFailed,
    TaskPoison,
    TaskRetried,
    TaskStarted,
    TaskSubmitted,
)
from simulations.reports.shapes import Kind, Stage, Traffic, Work
from simulations.reports.tally import Tally

TaskEvent: TypeAlias = (
    TaskSubmitted
    | AuctionOpened
    | BidReceived
    | TaskAwarded
    | TaskStarted
    | TaskDone
    | AwardDeclined
    | LeaseLapsed
    | ResultRefused
    | TaskRetried
    | TaskFailed
    | TaskCancelled
    | TaskPoison
)

STAGES: dict[type, tuple[str, str]] = {
    TaskSubmitted: ("submitted", "the first write of the record stands"),
    AuctionOpened: ("asked about", "offers: nodes that were asked whether they would do it"),
    BidReceived: ("bid for", "bids that came in time"),
    TaskAwarded: ("awarded", "writes that gave it to an owner"),
    TaskStarted: ("started", "runs that an agent began"),
    TaskDone: ("done", "results that were committed"),
}
# Only what stands in the record comes to these, also where its submitter never heard that it stands.
ON_RECORD = (TaskSubmitted, TaskAwarded, TaskStarted, TaskDone, TaskRetried, TaskFailed, TaskCancelled, TaskPoison)
SETBACKS: dict[type, tuple[str, str]] = {
    AwardDeclined: ("declined", "the owner said no, or gave it back"),
    LeaseLapsed: ("lease lapsed", "the owner was silent for too long, or gone"),
    ResultRefused: ("result refused", "a result of an award that no longer stood"),
    TaskRetried: ("opened again", "somebody asked for another try"),
    TaskFailed: ("failed", "it ended without a result"),
    TaskCancelled: ("cancelled", "somebody wanted it no more"),
    TaskPoison: ("poison", "too many nodes died of it"),
}


class Messages:
    """Messages and bytes that nodes handed to the broker."""

    def __init__(self, nodes: int, column_s: float, *, is_encoded: bool = True) -> None:
        self._column_s = column_s
        self._is_encoded = is_encoded  # or what stands for a frame has a size that says nothing
        self._nodes = nodes
        self._kinds: dict[str, tuple[int, int]] = {}
        self._messages, self._bytes = [0] * nodes, [0] * nodes
        self._columns: tuple[list[float], ...] = ([], [], [], [])
        self._node_s = 0.0  # nodes that were up times seconds

    def count(self, node: int, kind: str, size: int) -> None:
        """One message."""
        self._messages[node] += 1
        self._bytes[node] += size
        messages, total = self._kinds.get(kind, (0, 0))
        self._kinds[kind] = messages + 1, total + size

    def close_column(self, up: int, *, took_s: float) -> None:
        """A column of time has ended, of this length, with so many nodes up."""
        self._node_s += up * took_s
        for column, counted in zip((0, 2), (self._messages, self._bytes), strict=True):
            self._columns[column].append(round(sum(counted) / max(1, up) / took_s, 3))
            self._columns[column + 1].append(round(max(counted) / took_s, 3))
        self._messages, self._bytes = [0] * self._nodes, [0] * self._nodes

    def shown(self) -> Traffic:
        """All of it."""
        node_s = self._node_s or 1.0
        kinds = tuple(
            Kind(
                kind,
                messages,
                total if self._is_encoded else None,
                round(messages / node_s, 4),
                round(total / node_s, 2) if self._is_encoded else None,
            )
            for kind, (messages, total) in sorted(self._kinds.items(), key=self._rank)
        )
        messages, size = (sum(both[place] for both in self._kinds.values()) for place in (0, 1))
        rates, rates_max, *sized = (tuple(column) for column in self._columns)
        sizes, sizes_max = sized if self._is_encoded else ((), ())
        return Traffic(
            column_s=self._column_s,
            messages_node_s=rates,
            messages_node_s_max=rates_max,
            bytes_node_s=sizes,
            bytes_node_s_max=sizes_max,
            kinds=kinds,
            messages_node_s_mean=round(messages / node_s, 3),
            bytes_node_s_mean=round(size / node_s, 1) if self._is_encoded else None,
        )

    def _rank(self, row: tuple[str, tuple[int, int]]) -> tuple[int, str]:
        """What there is most of comes first."""
        kind, both = row
        return -both[1 if self._is_encoded else 0], kind


class Tasks:
    """The way of all tasks."""

    def __init__(self) -> None:
        self._counts: dict[type, int] = {}
        self._tasks: dict[type, set[str]] = {}
        self._waited, self._took = Tally(), Tally()
        self._reserved = 0
        self._on_record: set[str] = set()

    def on(self, event: Event) -> None:
        """Something happened to a task, perhaps."""
        if not isinstance(event, TaskEvent):
            return
        kind, task = type(event), event.task
        tasks = self._tasks.setdefault(kind, set())
        if isinstance(event, TaskDone) and task not in tasks:
            self._took.add(event.took_ms / 1_000)
            self._waited.add(event.waited_ms / 1_000)
        tasks.add(task)
        if isinstance(event, ON_RECORD):
            self._on_record.add(task)
        self._counts[kind] = self._counts.get(kind, 0) + (len(event.asked) if isinstance(event, AuctionOpened) else 1)

    def reserve(self) -> None:
        """Somebody was asked to take a task as soon as a slot is free."""
        self._reserved += 1

    def shown(self) -> Work | None:
        """All of it; None where there was no work."""
        if not self._counts:
            return None
        stages = [self._stage(kind, *said) for kind, said in STAGES.items()]
        stages[0] = Stage(*STAGES[TaskSubmitted], len(self._on_record), len(self._on_record))
        stages.insert(3, Stage("reserved", "messages that asked to take it when a slot is free", self._reserved))
        setbacks = [self._stage(kind, *said) for kind, said in SETBACKS.items()]
        times = (
            self._waited.shown("waited", "from the submit, or the retry, to the run that was committed"),
            self._took.shown("ran", "the run that was committed"),
        )
        return Work(tuple(stages), tuple(stage for stage in setbacks if stage.count), times)

    def _stage(self, kind: type, name: str, about: str) -> Stage:
        return Stage(name, about, self._counts.get(kind, 0), len(self._tasks.get(kind, ())))
