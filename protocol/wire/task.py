"""Family `task` and `record`: the durable record of a task, and what home, owner and watchers say about it.

Invariant: the record is the truth; every message here only speeds things up.
"""

from enum import StrEnum

from msgspec import Struct

from protocol.primitives import NodeId, WallMs


class TaskState(StrEnum):
    """What stands in the record. "Running" is what an owner answers, not a state."""

    OPEN = "open"
    AWARDED = "awarded"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    POISON = "poison"


ENDED = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED, TaskState.POISON})


class Attempt(Struct, frozen=True, array_like=True):
    """One award that ended without an end of the task: who held it, and why it moved on."""

    epoch: int
    owner: NodeId
    ended: str  # silent | absent | node_restarted | the `reason` of a decline
    at_ms: WallMs
    detail: str = ""


class Failure(Struct, frozen=True, array_like=True):
    """Why a task failed: a code of the error table and a sentence."""

    code: str
    message: str


class TaskRecord(Struct, frozen=True, array_like=True, tag="record"):
    """One task, as it stands under its key in the bucket; every change is one compare-and-set.

    `input` and `result` are msgpack; times are wall-clock milliseconds.
    """

    id: str
    iid: str
    gid: str
    parent_iid: str
    capability: str
    submitter: str
    key: str  # idempotency key
    home: NodeId
    state: TaskState
    epoch: int  # number of the award; 0 while it never was awarded
    owner: NodeId  # "" unless awarded
    owner_life: int
    input: bytes
    exclusive: bool
    priority: int
    submitted_ms: WallMs
    deadline_ms: WallMs
    hops: int
    ancestors: tuple[str, ...]  # ids of the tasks that led to this one, oldest first
    attempts: tuple[Attempt, ...] = ()
    result: bytes = b""
    failure: Failure | None = None
    awarded_ms: WallMs = 0
    started_ms: WallMs = 0
    finished_ms: WallMs = 0
    failures: int = 0  # attempts that count against the task itself
    died: tuple[NodeId, ...] = ()  # distinct nodes that were lost while they held it
    digest: bytes = b""  # of capability and input: tells a repeated submit from a reused key
    not_before_ms: WallMs = 0  # backoff before the next award
    route: str = "auto"


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
    """Owner to watcher: not me, or not any more. `reason` is a refusal, drained, unasked, or how the agent failed."""

    task: str
    epoch: int
    reason: str
    detail: str = ""
    retry_after_ms: int = 0
    counts: bool = False  # it counts against the task: the agent failed, not the place


class Held(Struct, frozen=True, array_like=True):
    """One line of an ask: what the watcher believes the owner holds."""

    task: str
    epoch: int
    revision: int


class Ask(Struct, frozen=True, array_like=True, tag="ask"):
    """Watcher to owner, twice a second, about all its tasks in one message."""

    round: int
    held: tuple[Held, ...]


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
    tasks: tuple[str, ...]


class Status(Struct, frozen=True, array_like=True):
    """One line of an account: what only the home knows of a task."""

    task: str
    running: bool
    started_ms: WallMs
    progress: bytes = b""


class Account(Struct, frozen=True, array_like=True, tag="account"):
    """A home's answer to an inquiry; tasks it does not watch are left out."""

    request: int
    tasks: tuple[Status, ...]
