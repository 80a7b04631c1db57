"""All that can leave a node. The mirror of `inputs`.

Machines return these; `node.py` seals those that carry a body (it fills `subject` and `frame`)
and hands the list to the shell, which performs it in order.
"""

from typing import TypeAlias

from msgspec import Struct

from protocol.events import Event
from protocol.primitives import Mono, NodeId
from protocol.wire.gossip import Carried
from protocol.wire.kinds import Body, Fact, Record
from protocol.wire.lineage import Work
from protocol.wire.topic import Published


class Send(Struct, frozen=True):
    """One message to one life of a node. With `probe` the broker's "no responders" comes back as `Absent`."""

    to: NodeId
    life: int
    body: Body
    probe: int | None = None
    iid: str = ""
    gid: str = ""
    cause: str = ""
    subject: str = ""
    reply: str = ""
    frame: bytes = b""


class Spread(Struct, frozen=True):
    """One fact to the region. A fact of another node is passed on as it was sealed: `frame` is set by the machine."""

    body: Fact
    subject: str = ""
    frame: bytes = b""


class Announce(Struct, frozen=True):
    """What an agent published, to every node that listens to the topic; at most once."""

    body: Published
    subject: str
    iid: str = ""
    gid: str = ""
    frame: bytes = b""


class Listen(Struct, frozen=True):
    """Hear the events that come on these subjects, and on no others; replaces what was said before."""

    subjects: tuple[str, ...]


class Carry(Struct, frozen=True):
    """Facts of others to all of our own region: of other regions, by a bridge; the answer to what we accused."""

    body: Carried
    subject: str = ""
    frame: bytes = b""


class Tune(Struct, frozen=True):
    """Hear the facts that come on the subject `on`, and then no more those that come on `off` alone."""

    on: str
    off: str


class Write(Struct, frozen=True):
    """A compare-and-set of hard state: `expect` is the revision that must stand there, 0 for none.

    One write a key is under way at a time. With `keep_s` the key removes itself that many seconds
    later. With `urgent` (the end of a task in hand) it finds room even in a full lane.
    """

    key: str
    record: Record
    expect: int
    keep_s: float = 0.0
    urgent: bool = False
    frame: bytes = b""


class Read(Struct, frozen=True):
    """Read one key from its leader; comes back as `Found`."""

    key: str


class List(Struct, frozen=True):
    """Read all records of some partitions; comes back as `Listed`."""

    partitions: tuple[int, ...]


class RunAgent(Struct, frozen=True):
    """Give a task or call to a local agent; comes back as `AgentFinished`, `AgentFailed` or `AgentStopped`.

    `epoch` is the fencing token; a call has epoch 0. `input` is msgpack. `lease_s` > 0: exclusive, so it must
    end when the daemon stands still for that long. With `topic` it is an event: `input` is what `publisher`, an
    agent, said there; it takes no slot, and its end carries no result.
    """

    agent: str
    task: str
    epoch: int
    attempt: int
    capability: str
    input: bytes
    deadline_s: float
    iid: str
    gid: str
    hops: int
    ancestors: tuple[str, ...]
    lease_s: float = 0.0
    begin_by: Mono = 0  # of an exclusive one: later it may be another's, so it is not begun
    topic: str = ""
    publisher: str = ""
    lineage: tuple[Work, ...] = ()
    retries: int = 0  # of the task, so far
    by: str = ""  # who made this call,
    src: NodeId = ""  # and through which node


class Uttered(Struct, frozen=True):
    """The value of the reply to a `Publish`: what was said, whoever may hear it."""

    agent: str
    topic: str
    iid: str
    gid: str


class StopAgent(Struct, frozen=True):
    """Stop what an agent does for this task and epoch; comes back as `AgentStopped`, unless its end is on its way."""

    task: str
    epoch: int


class Reply(Struct, frozen=True):
    """The answer to a request of the shell: a value, or a code of the error table with its fields."""

    request: int
    value: object = None
    code: str = ""
    fields: dict[str, object] = {}


class Emit(Struct, frozen=True):
    """Something happened: said once, read by log, metrics, audit and the live stream."""

    event: Event


Effect: TypeAlias = (
    Send | Spread | Announce | Listen | Carry | Tune | Write | Read | List | RunAgent | StopAgent | Reply | Emit
)
