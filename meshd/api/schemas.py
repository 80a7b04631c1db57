"""Every JSON value that the API answers or takes, one Struct each.

Invariant: field names are promised to scripts: they are added, never renamed or removed. Times are
wall-clock milliseconds; ids of nodes stand beside the names that people read. Neighbours:
`routes` says which path answers which of these, `openapi` publishes them.
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from meshd.api.agent_schemas import HearingView, RunsView
from meshd.api.history import AttemptView, RefusedResult, RetryView
from meshd.api.view_schemas import Agreement, FoundDead, StoryLine
from meshd.waits import Waits
from protocol import limits
from protocol.events import Event
from protocol.gears import ROUTES

TaskStateName: TypeAlias = Literal["open", "awarded", "running", "done", "failed", "cancelled", "poison"]
NodeStateName: TypeAlias = Literal["starting", "joined", "detached", "islanded", "draining"]
PeerStateName: TypeAlias = Literal["alive", "damped", "suspect", "unreachable", "dead", "left"]

ENDED_STATES: frozenset[str] = frozenset({"done", "failed", "cancelled", "poison"})
WAIT_S_MAX = 60.0  # one long poll; the client asks again
PAGE_MAX = 1_000
PAGE_DEFAULT = 100


class Record(Struct, frozen=True):
    """Where the record of tasks is kept: how many copies, and on which nodes (a sentence part)."""

    copies: int
    where: str


class Status(Struct, frozen=True):
    """This node and how it stands. `attention` is what somebody should see to; `notes` are only worth knowing.

    `reason` says why the state is not joined; `held_by` what keeps it from new work: operator, audit or leaving.
    `other_regions`: in how many more somebody lives; `bridge`: it hears these, and carries what they say into its own.
    `outlived`: a newer daemon runs with its key, and the mesh listens to that one; `twin_silent_s`: not heard for so
    long, or 0. `peers_unreachable`: suspects, when they are so many that this node may be at fault.
    """

    node: str
    name: str
    mesh: str
    life: int
    state: NodeStateName
    peers_alive: int
    tasks_running: int
    nats: str
    version: str
    region: str
    domain: str
    record: Record
    reason: str = ""
    tasks_waiting: int = 0
    attention: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()
    peers_suspect: int = 0
    agreement: Agreement = Agreement()
    other_regions: int = 0
    bridge: bool = False
    outlived: bool = False
    peers_unreachable: int = 0
    twin_silent_s: float = 0.0
    found_dead: FoundDead = FoundDead()


class PeerLoad(Struct, frozen=True):
    """How busy a node says it is: said when it changes, `age_s` seconds ago; None: never, or it is this node."""

    running: int = 0
    waiting: int = 0
    slots: int = 0
    free: int = 0
    draining: bool = False
    age_s: float | None = None


class Peer(Struct, frozen=True):
    """One node as this one sees it. `here` is true for the node that answers; `since` is when the state began.

    `clock_ahead_ms` is how far its clock is ahead of most others, or of ours; 0 unless it is off by seconds.
    `accusers` say that it is gone, on `evidence`. `damped`: why it is back and gets no work yet. `story`, what befell
    it last, is told where one is asked for.
    `bridge`: it is one of those that its region and the others hear of each other by. `twin`: that two daemons have its
    key, when both are heard.
    """

    name: str
    id: str
    life: int
    state: PeerStateName
    incarnation: int
    region: str
    since: int
    agents: tuple[str, ...]
    load: PeerLoad
    domain: str = ""
    version: str = ""
    here: bool = False
    clock_ahead_ms: int = 0
    evidence: str = ""
    accusers: tuple[str, ...] = ()
    story: tuple[StoryLine, ...] = ()
    bridge: bool = False
    damped: str = ""
    twin: str = ""


class Peers(Struct, frozen=True):
    """The nodes this one knows of, by name; `next` is the cursor of the page after this one."""

    peers: tuple[Peer, ...]
    next: str | None = None


class Pong(Struct, frozen=True):
    """A probe was answered after `rtt_ms`."""

    name: str
    id: str
    rtt_ms: float


class AgentView(Struct, frozen=True):
    """One agent on one node. Latency and cost are what its manifest claims.

    `state`, `detail`, `running`, `hearing`, `runs` and `file` (its manifest) are known for the node that answers;
    elsewhere an announced agent is `ready`. `schemas`, by capability, are told where one agent is asked for.
    """

    name: str
    node: str
    node_name: str
    capabilities: tuple[str, ...]
    kind: str
    slots: int
    free: int
    state: str
    detail: str = ""
    domain: str = ""
    version: str = ""
    purpose: str = ""
    owner_team: str = ""
    latency_ms: int = 0
    cost_per_call: float = 0.0
    confidence: float = 0.0
    visibility: str = "mesh"
    here: bool = False
    running: int | None = None
    file: str = ""
    topics: tuple[str, ...] = ()
    hearing: HearingView | None = None
    runs: RunsView | None = None
    schemas: "dict[str, SchemaView] | None" = None


class Agents(Struct, frozen=True):
    """Agents of the whole mesh, or of what was asked for, by name and node."""

    agents: tuple[AgentView, ...]
    next: str | None = None


class Provider(Struct, frozen=True):
    """Who can do a capability."""

    agent: str
    node: str
    node_name: str
    slots: int
    free: int
    purpose: str = ""


class SchemaView(Struct, frozen=True):
    """What a capability takes and gives at one agent, as JSON Schemas; `true` is anything."""

    agent: str
    takes: dict[str, Any] | bool
    gives: dict[str, Any] | bool
    node: str = ""
    node_name: str = ""


class CapabilityView(Struct, frozen=True):
    """One capability and everybody who can do it; where one is asked for, the schemas that their nodes told."""

    name: str
    slots: int
    free: int
    providers: tuple[Provider, ...]
    schemas: tuple[SchemaView, ...] = ()
    untold: tuple[str, ...] = ()


class Capabilities(Struct, frozen=True):
    """What can be done in the mesh, by name."""

    capabilities: tuple[CapabilityView, ...]
    next: str | None = None


class TaskError(Struct, frozen=True):
    """Why a task has no result: a code and a sentence."""

    code: str
    message: str


class Task(Struct, frozen=True):
    """One task. `running` is known through its home; `owner` is empty until it was awarded.

    `kept_until_ms` goes by `results.keep_s` of its home when it was accepted.
    """

    id: str
    iid: str
    gid: str
    capability: str
    state: TaskStateName
    epoch: int
    owner: str
    home: str
    attempts: tuple[AttemptView, ...]
    submitted_ms: int
    started_ms: int | None
    finished_ms: int | None
    result: Any
    error: TaskError | None
    owner_name: str = ""
    home_name: str = ""
    awarded_ms: int | None = None
    deadline_ms: int = 0
    priority: int = 5
    exclusive: bool = False
    submitter: str = ""
    key: str = ""
    parent_iid: str = ""
    route: str = "auto"
    progress: Any = None
    died: tuple[str, ...] = ()
    refused: tuple[RefusedResult, ...] = ()
    kept_until_ms: int | None = None
    retries: int = 0
    retried: tuple[RetryView, ...] = ()
    waits_for: Waits | None = None


class TaskPage(Struct, frozen=True):
    """Tasks, newest first. `next` is the cursor of the page after this one, or null at the end."""

    tasks: tuple[Task, ...]
    next: str | None


class CallAnswer(Struct, frozen=True):
    """What an agent answered to a call, and which agent that was."""

    result: Any
    capability: str
    node: str
    node_name: str
    took_ms: float
    agent: str = ""
    iid: str = ""
    gid: str = ""


class Invitation(Struct, frozen=True):
    """What `meshd start --join` takes. `reach` says which hosts can use it; the token is a secret."""

    token: str
    mesh: str
    fingerprint: str
    urls: tuple[str, ...]
    reach: str = ""
    expires_ms: int | None = None


class Stopping(Struct, frozen=True):
    """The daemon has begun to leave; it is gone when its socket is."""

    stopping: bool


class Health(Struct, frozen=True):
    """The process answers. Nothing is said about the mesh."""

    ok: bool


class Readiness(Struct, frozen=True):
    """Whether this node takes and does work, in one word of state and one reason."""

    ready: bool
    state: NodeStateName
    reason: str = ""


class Stamped(Struct, frozen=True):
    """One event with its place in this life's stream; `seq` rises by one and starts at 1.

    On the wire the fields of the event stand beside these: `{seq, time_ms, node, kind, …}`.
    """

    seq: int
    time_ms: int
    node: str
    event: Event


class ErrorBody(Struct, frozen=True):
    """What was refused: a code, a sentence, what to try, the rule, the node that decided, the interaction."""

    code: str
    message: str
    hint: str
    rule: str = ""
    node: str = ""
    node_name: str = ""
    iid: str = ""
    task: str = ""


class Problem(Struct, frozen=True):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    error: ErrorBody


class SettingView(Struct, frozen=True):
    """One setting: its value, and where that came from; `rule` is what it may be."""

    key: str
    value: Any
    origin: str
    default: Any
    unit: str
    rule: str
    help: str


class Settings(Struct, frozen=True):
    """All settings of this daemon."""

    settings: tuple[SettingView, ...]


class LogLevel(Struct, frozen=True):
    """The least that is shown in the log."""

    level: str


class Steered(Struct, frozen=True):
    """A node has been told to drain, or to work again, and says how it stands."""

    name: str
    id: str
    draining: bool
    held_by: tuple[str, ...] = ()


class Removed(Struct, frozen=True):
    """A gone node is shown no more by these nodes; `silent` did not answer, or see it alive.

    `refused` said that they are asked too often, and can be asked again after `again_s`.
    """

    name: str
    id: str
    removed_on: tuple[str, ...]
    silent: tuple[str, ...]
    refused: tuple[str, ...] = ()
    again_s: float = 0.0


# ---------------------------------------------------------------- what is taken

WaitS: TypeAlias = Annotated[float, Meta(ge=0.0, le=WAIT_S_MAX)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0.0, le=limits.DEADLINE_S_MAX)]


class SubmitRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A durable task is wanted. `wait_s`: answer when it has ended, or after that long."""

    capability: str
    input: Any = None
    priority: Annotated[int, Meta(ge=0, le=limits.PRIORITY_MAX)] | None = None
    deadline_s: Seconds | None = None
    exclusive: bool = False
    gid: Annotated[str, Meta(pattern=r"\A[a-z0-9_-]{0,64}\Z")] = ""
    route: Annotated[str, Meta(extra_json_schema={"enum": list(ROUTES)})] = "auto"  # an unknown one is told all of them
    wait_s: WaitS = 0.0


class CallRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Request and reply, without a record. `agent`: only this one will do."""

    input: Any = None
    timeout_s: Annotated[float, Meta(gt=0.0, le=300.0)] = 30.0
    agent: Annotated[str, Meta(max_length=64)] = ""


class LogRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Show this and what is graver, from now on and until the daemon ends."""

    level: Literal["debug", "info", "warning", "error"]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object, or no body at all."""


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """No query parameters."""


class TaskFilter(Struct, frozen=True):
    """Which tasks. An empty field asks nothing; `home` is a node's name or id."""

    state: str = ""
    capability: str = ""
    home: str = ""
    gid: str = ""


class TaskQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`wait_s`: answer when the task has ended, or after that long."""

    wait_s: WaitS = 0.0


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`after`: begin after this `seq`; 0 begins with the oldest kept. Without it: what happens from now on."""

    after: Annotated[int, Meta(ge=0)] | None = None


class Cursor(Struct, frozen=True, array_like=True):
    """Where a page of tasks ended: the last task's time and id."""

    submitted_ms: Annotated[int, Meta(ge=0, le=1 << 62)]
    id: Annotated[str, Meta(max_length=64)]
