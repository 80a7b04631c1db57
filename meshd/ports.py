"""What the daemon needs of the outside: a transport, a store, agents. One contract suite a port.

Invariant: foreign exceptions end here. An implementation maps them to `MeshError` or to an
outcome, once. Neighbours: `transport/`, `store/` and `agents/` implement; `engine` and `perform` use.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from meshd import clock
from protocol.inputs import Entry, Input, Lost, Unsent, Written
from protocol.wire.agents import Card

Sink: TypeAlias = Callable[[Input], None]  # where inputs go: the engine's inbox; never blocks

BEGUN_TOO_LATE = "this node stood still, or its disk did, until the lease of the exclusive task was over"


class Transport(Protocol):
    """Core messaging: at most once, and nothing is buffered while the link is down."""

    @property
    def is_up(self) -> bool:
        """True while a server is connected."""
        ...

    @property
    def server(self) -> str:
        """The address of the connected server, or the one that is tried."""
        ...

    async def open(self, sink: Sink) -> None:
        """Connect; then `Received`, `Absent` and `LinkChanged` go to `sink`.

        Keeps trying for ever once it was connected. Raises MeshError("broker") when the first
        connection cannot be made, with the reason (refused, credentials, timeout).
        """
        ...

    async def subscribe(self, subject: str) -> None:
        """Messages on `subject` (wildcards as in NATS) become `Received`; kept over reconnects.

        Returns when the server knows, if one is connected, or after 2 s.
        """
        ...

    async def unsubscribe(self, subject: str) -> None:
        """No more of what `subscribe` asked for; nothing happens when nobody did."""
        ...

    async def watch_absences(self, subject: str) -> None:
        """ "No responders" answers on `subject` (ends in `.*`) become `Absent(last token)`."""
        ...

    def publish(self, subject: str, frame: bytes, reply: str = "") -> bool:
        """Send now; False when it was dropped, because the link is down or the buffer is full."""
        ...

    async def flush(self) -> None:
        """Return when the server has taken everything published so far, or after 2 s."""
        ...

    async def close(self) -> None:
        """Flush and disconnect. Idempotent."""
        ...


class Stream(Struct, frozen=True):
    """One stream of the record, as its server tells. `problem` is empty unless it is missing or not as it must be."""

    name: str
    problem: str
    copies: int = 0  # that are whole and in reach
    copies_wanted: int = 0
    keys: int = 0
    bytes: int = 0
    bytes_max: int = 0  # 0: without a bound


class Inspection(Struct, frozen=True):
    """What a look at the server found."""

    server_version: str
    streams: tuple[Stream, ...]


class Changes(Struct, frozen=True):
    """What was written since a mark. `is_whole`: it is all that stands there, whatever was known before."""

    entries: tuple[Entry, ...]
    mark: str
    is_whole: bool


class Store(Protocol):
    """Hard state: one bucket of keys, changed by compare-and-set only. A key is like `p07.<id>`."""

    async def open(self) -> None:
        """Make the bucket if it is missing, check its settings if not. Raises MeshError("store")."""
        ...

    async def write(self, key: str, value: bytes, *, expect: int, keep_s: float = 0.0) -> Written | Lost | Unsent:
        """Compare-and-set: `expect` is the revision that must stand there, 0 for none.

        A time-out is no outcome: the identical write is repeated until it is acknowledged or
        refused, or until the caller cancels. A write of ours whose acknowledgement was lost comes
        back as `Written`. `Unsent`: a new key found no room; a change waits for it.
        `keep_s` > 0: the key removes itself that long after.
        """
        ...

    async def read(self, key: str) -> Entry | None:
        """The value as its leader knows it, or None. Raises MeshError("store") on a time-out."""
        ...

    async def scan(self, prefix: str) -> list[Entry]:
        """All keys under `prefix` (`p07`, `node`, a key), or every key for "", sorted by key.

        Raises MeshError("store").
        """
        ...

    async def changes(self, mark: str) -> Changes:
        """Keys written since `mark`, which an earlier answer gave; all of them for "", or when the bucket is another.

        Keys that removed themselves are not told of. Raises MeshError("store").
        """
        ...

    async def copies(self) -> tuple[int, str]:
        """How many copies of the record there are, and where: (1, "a")."""
        ...

    async def inspect(self) -> Inspection:
        """Look at the server and the streams. Raises MeshError("store") when it does not answer."""
        ...

    async def close(self) -> None:
        """Let go; writes under way are cancelled. Idempotent."""
        ...


class Kept(Struct, frozen=True):
    """One message of the archive: its place there, and the frame under its subject."""

    seq: int
    subject: str
    frame: bytes


class Span(Struct, frozen=True):
    """The first and the last place of the archive that are kept; both 0 in a fresh one."""

    first: int
    last: int


class Archive(Protocol):
    """A stream that only grows. Every method raises MeshError("store") when there is no answer within some seconds."""

    async def open(self) -> None:
        """Make the stream if it is missing, check its settings if not."""
        ...

    async def append(self, subject: str, frame: bytes, *, mark: str, expect: int) -> int | None:
        """Add a frame if `expect` is the place of the last one of its subject (0 for none), and say where it stands.

        None: another stands there. After an error it may have been added all the same: look at the last one.
        `mark` is the same whenever the same is sent.
        """
        ...

    async def last(self, subject: str) -> Kept | None:
        """The last frame of a subject."""
        ...

    async def next(self, subject: str, seq: int) -> Kept | None:
        """The first frame at `seq` or later of a subject, which may hold wildcards."""
        ...

    async def span(self) -> Span:
        """From where to where frames are kept."""
        ...

    async def close(self) -> None:
        """Let go. Idempotent."""
        ...


class Work(Struct, frozen=True):
    """One task or call as an agent is given it. `input` is a plain JSON-like value.

    `lease_s` > 0: it must not run twice at once, so it ends when the daemon stands still for that long, and is not
    begun after `begin_by_ns`, monotonic.
    """

    task: str
    capability: str
    input: object
    epoch: int
    attempt: int
    deadline_s: float
    iid: str
    gid: str
    lease_s: float = 0.0
    begin_by_ns: int = 0

    @property
    def is_late(self) -> bool:
        """True when it may be another's by now."""
        return 0 < self.begin_by_ns <= clock.monotonic_ns()


class Event(Work, frozen=True):
    """What an agent hears: `input` was said by `publisher`, an agent. It takes no slot, and its result is nobody's."""

    topic: str = ""
    publisher: str = ""


class Finished(Struct, frozen=True):
    """The agent's result, a plain JSON-like value."""

    output: object


class Failed(Struct, frozen=True):
    """The agent's failure. `code` as in `protocol.inputs.AgentFailed`; `retry`: another try may help."""

    code: str
    message: str
    retry: bool


Outcome: TypeAlias = Finished | Failed


class Schema(Struct, frozen=True):
    """What one capability takes and gives, as JSON Schemas; True is anything."""

    takes: dict[str, Any] | bool = True
    gives: dict[str, Any] | bool = True


class Desk(Protocol):
    """What an agent may ask of its daemon while it works on one task."""

    def progress(self, value: object) -> None:
        """How far it is; the last word is shown."""
        ...

    async def call(self, capability: str, input: object, timeout_s: float, *, agent: str = "") -> object:
        """Call another agent, the one of that name if one is given. Raises MeshError."""
        ...

    async def publish(self, topic: str, value: object) -> None:
        """Say something to whoever listens; at most once. Raises MeshError."""
        ...

    async def submit(self, capability: str, input: object, *, key: str, is_awaited: bool) -> object:
        """Submit a child task: its id, or with `is_awaited` its result. Raises MeshError.

        `key` is the idempotency key, or "" for the default: the parent's id and the call's index.
        """
        ...


class Agent(Protocol):
    """One adapter for one agent, whatever its kind."""

    @property
    def card(self) -> Card:
        """What is announced."""
        ...

    @property
    def state(self) -> str:
        """starting, ready, restarting, failed (given up), stopped, or elsewhere: not to run in this region."""
        ...

    @property
    def detail(self) -> str:
        """Why it is in that state, one sentence or nothing."""
        ...

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """What its capabilities take and give, as far as it is known; to be shown, the adapter checks itself."""
        ...

    async def start(self) -> None:
        """Bring it up and return when it is ready. Raises MeshError("manifest") when it never can be."""
        ...

    async def run(self, work: Work, desk: Desk) -> Outcome:
        """Do one task. Cancelling this call stops the work: the agent is told, then made to.

        Never raises for the agent's own fault: a crash, a hang past the limit, too much output
        or nonsense is `Failed`.
        """
        ...

    async def stop(self) -> None:
        """End it and everything it started. Idempotent."""
        ...

    @property
    def logged(self) -> int:
        """How many lines it ever wrote; `log` has the last of them."""
        ...

    def log(self) -> list[str]:
        """Its last lines of stderr, oldest first."""
        ...


AgentWatcher: TypeAlias = Callable[[str, str, str], None]  # agent, state, detail: told of every change
