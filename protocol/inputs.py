"""All that can enter a node. The mirror of `effects`.

Invariant: an input is a plain value; whoever makes it has already done the waiting.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from protocol.wire.agents import Card
from protocol.wire.lineage import Work
from protocol.wire.ops import AnyOrder, Shape

Cause: TypeAlias = Literal["operator", "audit", "leaving"]  # why a node takes no new work


class Received(Struct, frozen=True):
    """A frame arrived on a subject; it is opened, verified and dated inside the node."""

    subject: str
    frame: bytes


class Absent(Struct, frozen=True):
    """The broker said "no responders" to the message that was sent with this probe number."""

    probe: int


class LinkChanged(Struct, frozen=True):
    """The connection to the server came up or went away."""

    up: bool


class Lagged(Struct, frozen=True):
    """For `late_ms` the engine heard nobody, or not all that was said: we are slow, not the others."""

    late_ms: int


class Written(Struct, frozen=True):
    """A write stands: the key's new revision."""

    key: str
    revision: int


class Lost(Struct, frozen=True):
    """A write was refused: another stands there. `frame` is empty when the key is gone."""

    key: str
    revision: int
    frame: bytes


BUCKET_FULL = "the bucket of the record"  # a reason of `Unsent`


class Unsent(Struct, frozen=True):
    """A write did not happen: the lane or the bucket is full, or the daemon is stopping."""

    key: str
    reason: str


class Found(Struct, frozen=True):
    """What a `Read` found; `revision` 0 and an empty frame when there is nothing.

    `failed` says why it could not be read, else it is empty.
    """

    key: str
    revision: int
    frame: bytes
    failed: str = ""


class Entry(Struct, frozen=True):
    """One key of the bucket with its value and revision."""

    key: str
    revision: int
    frame: bytes


class Listed(Struct, frozen=True):
    """What a `List` found. `failed` says why the listing could not be made, else it is empty."""

    partitions: tuple[int, ...]
    entries: tuple[Entry, ...]
    failed: str = ""


class Submit(Struct, frozen=True):
    """A durable task is wanted; answered by `Reply(request, …)`. `input` is msgpack."""

    request: int
    capability: str
    input: bytes
    submitter: str
    key: str  # idempotency key, never empty
    gid: str = ""  # inherited, or minted when empty
    parent_iid: str = ""
    priority: int = 5
    deadline_s: float = 86_400.0
    exclusive: bool = False
    hops: int = 0
    ancestors: tuple[str, ...] = ()
    route: str = "auto"
    iid: str = ""  # minted when empty; whoever gives one sees by it whether this submit made the task
    lineage: tuple[Work, ...] = ()

    @property
    def is_for_task(self) -> bool:
        """True when a task that is in hand asks for it."""
        return bool(self.ancestors)


class Cancel(Struct, frozen=True):
    """End a task that has not ended; answered by `Reply`. `parent` was cancelled, and led to it; `by` asked."""

    request: int
    task: str
    by: str = ""
    parent: str = ""


class Retry(Struct, frozen=True):
    """Open a task again that ended without a result; answered by `Reply` with its record."""

    request: int
    task: str
    by: str  # who asks; it stands in the record
    deadline_s: float = 0.0  # from now; 0 for as long as it had
    is_for_task: bool = False  # a task that is in hand asks for it


class MakeCall(Struct, frozen=True):
    """Request and reply to an agent somewhere; answered by `Reply`. `input` is msgpack."""

    request: int
    capability: str
    input: bytes
    timeout_s: float = 30.0
    hops: int = 0
    ancestors: tuple[str, ...] = ()
    agent: str = ""
    iid: str = ""
    gid: str = ""
    lineage: tuple[Work, ...] = ()
    by: str = ""  # who asks


class Publish(Struct, frozen=True):
    """An agent of this node says something to whoever listens; answered by `Reply`. `value` is msgpack."""

    request: int
    agent: str
    topic: str
    value: bytes
    visibility: str = "mesh"  # as the agent's: private is heard on this node alone
    hops: int = 0
    iid: str = ""
    gid: str = ""


class Await(Struct, frozen=True):
    """Reply with the record when this task, watched here, has ended; refused when it is watched elsewhere."""

    request: int
    task: str


class Inquiry(Struct, frozen=True):
    """How do these tasks run, as their home tells? Answered by `Reply` with `Account`'s lines."""

    request: int
    home: str
    tasks: tuple[str, ...]


class Operate(Struct, frozen=True):
    """What an operator asks of a node, this one or another; answered by `Reply` with its `Report` or `Description`."""

    request: int
    node: str
    body: AnyOrder  # its own number is filled in when it travels


class Advertise(Struct, frozen=True):
    """The agents that are ready on this node, all of them; replaces what was said before."""

    cards: tuple[Card, ...]
    shapes: tuple[Shape, ...] = ()  # what they declare to take and give, told to who asks


class AgentProgress(Struct, frozen=True):
    """An agent's last word on how far it is, as msgpack."""

    task: str
    epoch: int
    progress: bytes


class AgentFinished(Struct, frozen=True):
    """An agent is done with a task or call; `result` is msgpack."""

    task: str
    epoch: int
    result: bytes


class AgentFailed(Struct, frozen=True):
    """An agent could not: a code of the error table, a sentence, and whether another try may help.

    Codes: agent_failed (it said so), agent_crashed, agent_timeout, agent_output (too large or no
    value), agent_unavailable (it was not there to take the task), bad_input (the submitter's fault).
    """

    task: str
    epoch: int
    code: str
    message: str
    retry: bool


class AgentStopped(Struct, frozen=True):
    """An agent has ended what it was told to stop, or was ended for not doing so."""

    task: str
    epoch: int


class Drain(Struct, frozen=True):
    """Take no new work, for a cause; `undrain` is `Drain(on=False)`, and other causes go on."""

    on: bool
    cause: Cause = "operator"


class Leave(Struct, frozen=True):
    """Say goodbye: the node is about to stop."""


class Tick(Struct, frozen=True):
    """Time has passed; every machine looks at its own deadlines."""


Input: TypeAlias = (
    Received
    | Absent
    | LinkChanged
    | Lagged
    | Written
    | Lost
    | Unsent
    | Found
    | Listed
    | Submit
    | Cancel
    | Retry
    | Await
    | MakeCall
    | Publish
    | Inquiry
    | Operate
    | Advertise
    | AgentProgress
    | AgentFinished
    | AgentFailed
    | AgentStopped
    | Drain
    | Leave
    | Tick
)
