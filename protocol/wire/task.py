"""Family `task` and `record`: the durable record of a task, and what home, owner and watchers say about it.

Invariant: the record is the truth; every message here only speeds things up.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from protocol import limits
from protocol.primitives import WallMs
from protocol.wire.auction import Attempt, Rounds
from protocol.wire.bounds import Ability, Ancestors, Count, Hops, Input, Moment, NobodyOr, Output, Text, Token
from protocol.wire.lineage import Lineage


class TaskState(StrEnum):
    """What stands in the record. "Running" is what an owner answers, not a state."""

    OPEN = "open"
    AWARDED = "awarded"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    POISON = "poison"


ENDED = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED, TaskState.POISON})


class Failure(Struct, frozen=True, array_like=True):
    """Why a task failed: a code of the error table and a sentence."""

    code: Text
    message: Text


class Retried(Struct, frozen=True, array_like=True):
    """One end that was undone: somebody had the task opened again. The epoch and owner are those of its last award."""

    at_ms: Moment
    by: Text
    state: TaskState
    epoch: Count
    owner: NobodyOr
    code: Text = ""  # of the failure
    message: Text = ""


class TaskRecord(Struct, frozen=True, array_like=True, tag="record"):
    """One task, as it stands under its key in the bucket; every change is one compare-and-set.

    `input` and `result` are msgpack; times are wall-clock milliseconds.
    """

    id: Token
    iid: Text
    gid: Text
    parent_iid: Text
    capability: Ability
    submitter: Text
    key: Text  # idempotency key
    home: Token
    state: TaskState
    epoch: Count  # number of the award; 0 while it never was awarded
    owner: NobodyOr  # "" unless awarded
    owner_life: Count
    input: Input
    exclusive: bool
    priority: Annotated[int, Meta(ge=0, le=limits.PRIORITY_MAX)]
    submitted_ms: Moment
    deadline_ms: Moment
    hops: Hops
    ancestors: Ancestors  # ids of the tasks that led to this one, oldest first
    attempts: Annotated[tuple[Attempt, ...], Meta(max_length=limits.ATTEMPTS_KEPT)] = ()
    result: Output = b""
    failure: Failure | None = None
    awarded_ms: Moment = 0
    started_ms: Moment = 0
    finished_ms: Moment = 0
    failures: Count = 0  # attempts that count against the task itself
    died: Annotated[tuple[Token, ...], Meta(max_length=limits.ATTEMPTS_KEPT)] = ()  # lost while they held it, distinct
    digest: Annotated[bytes, Meta(max_length=64)] = b""  # of capability and input: tells a repeat from a reused key
    not_before_ms: Moment = 0  # backoff before the next award
    route: Text = "auto"
    rounds: Rounds = ()  # the last searches for an owner
    retries: Count = 0  # how often it was opened again after an end; of two records, the one with more is newer
    retried: Annotated[tuple[Retried, ...], Meta(max_length=limits.RETRIES_KEPT)] = ()  # the last of those ends
    lineage: Lineage = ()  # what its ancestors, tasks and calls, were to do
    keep_ms: Annotated[int, Meta(ge=0, le=limits.KEEP_MS_MAX)] = 0  # after its end, as its home wants it
    lease_ms: Annotated[int, Meta(ge=0, le=limits.LEASE_MS_MAX)] = 0  # of an exclusive award

    @property
    def opened_ms(self) -> WallMs:
        """Since when it waits for this end: its submit, or its last retry."""
        return self.retried[-1].at_ms if self.retried else self.submitted_ms

    @property
    def is_sound(self) -> bool:
        """True unless the fields, sound one by one, say together what no node writes: an award to nobody."""
        is_given = self.state in (TaskState.AWARDED, TaskState.DONE, TaskState.POISON)
        return bool(self.owner and self.epoch) or not is_given


class Presence(Struct, frozen=True, array_like=True, tag="presence"):
    """A node's own key, `node.<id>`: the canary that tells joined from islanded, and its admission on record."""

    life: int
    beat: int
    name: str
    admission: bytes = b""


class Award(Struct, frozen=True, array_like=True, tag="award"):
    """Watcher to owner: this is yours. `record` is the sealed record as it stands at `revision`."""

    task: str
    epoch: int
    revision: int
    record: bytes


class Accept(Struct, frozen=True, array_like=True, tag="accept"):
    """Owner to watcher: I hold it."""

    task: str
    epoch: int


class Decline(Struct, frozen=True, array_like=True, tag="decline"):
    """Owner to watcher: not me, or not any more. `reason` is a refusal, drained, unrenewed, or how the agent failed."""

    task: str
    epoch: int
    reason: str
    detail: str = ""
    retry_after_ms: int = 0
    counts: bool = False  # it counts against the task: the agent failed, not the place


class Held(Struct, frozen=True, array_like=True):
    """One line of an ask: what the watcher believes the owner holds."""

    task: Token
    epoch: Count
    revision: Count


class Ask(Struct, frozen=True, array_like=True, tag="ask"):
    """Watcher to owner, twice a second, about all its tasks in one message."""

    round: int
    held: Annotated[tuple[Held, ...], Meta(max_length=limits.TASKS_PER_ASK_MAX)]


class Running(Struct, frozen=True, array_like=True):
    """One line of an answer: it is held here; `progress` is msgpack, the agent's last word, or empty."""

    task: str
    epoch: int
    started_ms: WallMs
    progress: bytes = b""


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """Owner to watcher: what of the asked is held, what ended here, and what never arrived."""

    round: int
    running: tuple[Running, ...]
    ended: tuple[str, ...]
    unknown: tuple[str, ...]


class Result(Struct, frozen=True, array_like=True, tag="result"):
    """Owner to watcher, after its commit: the record has ended at `revision`. `record` is the sealed record."""

    task: str
    epoch: int
    revision: int
    record: bytes


class Withdraw(Struct, frozen=True, array_like=True, tag="withdraw"):
    """Watcher to owner: stop; the task was cancelled or given to another."""

    task: str
    epoch: int


class Inquire(Struct, frozen=True, array_like=True, tag="inquire"):
    """Any node to a home: is this running, and how far is it?"""

    request: int
    tasks: Annotated[tuple[Token, ...], Meta(max_length=limits.INQUIRED_MAX)]


class Status(Struct, frozen=True, array_like=True):
    """One line of an account: what only the home knows of a task."""

    task: str
    running: bool
    started_ms: WallMs
    progress: bytes = b""
    waits: bool = False  # nobody has it
    rests_until_ms: WallMs = 0  # not to be given to anybody before


class Account(Struct, frozen=True, array_like=True, tag="account"):
    """A home's answer to an inquiry; tasks it does not watch are left out."""

    request: int
    tasks: tuple[Status, ...]
