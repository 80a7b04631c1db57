"""Every error the mesh can answer with: one row a code, with its HTTP status, exit code, sentence and cure.

Invariant: a code stands in `ERRORS` or it does not exist. Neighbours: the API turns rows into
problem documents, the commands into `error[code]: …` and an exit code.
"""

import msgspec
from msgspec import Struct


class ErrorRow(Struct, frozen=True):
    """One code: HTTP status, process exit code, a sentence with named fields, and what to try."""

    status: int
    exit: int
    message: str
    hint: str


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # of msgspec, which raises the last two bare

OK, FAILED, USAGE, UNREACHABLE, DENIED, TASK_FAILED, TIMED_OUT, NOT_FOUND, CONFLICT, DEGRADED = range(10)
INTERRUPTED = 130

ERRORS: dict[str, ErrorRow] = {
    # what was asked
    "bad_input": ErrorRow(400, USAGE, "{what}", "correct that, and ask again"),
    "bad_request": ErrorRow(
        400, USAGE, "{what}", "send HTTP/1.1 with one JSON object as its body, as /openapi.json has it"
    ),
    "too_large": ErrorRow(
        413, USAGE, "{what} is {bytes} bytes; the limit is {limit}", "pass a reference to the data instead of the data"
    ),
    "bad_capability": ErrorRow(
        400, USAGE, "{capability} is not a capability", "write name@major, for example scoring@2"
    ),
    "bad_route": ErrorRow(400, USAGE, "{route} is not a way to give out a task", "choose one of: {routes}"),
    "bad_topic": ErrorRow(
        400,
        USAGE,
        "{topic} is not a topic",
        "write domain.name, each 1 to 32 of a-z 0-9 _ -, for example sales.price_changed",
    ),
    "short_id": ErrorRow(
        400, USAGE, "{given} is too short for the beginning of an id", "give at least {chars} characters"
    ),
    "unknown_task": ErrorRow(404, NOT_FOUND, "no task has the id {task}", "list the tasks with: meshctl tasks"),
    "unknown_goal": ErrorRow(
        404, NOT_FOUND, "no task has the goal {goal}", "the goal of a task stands in: meshctl tasks show ID"
    ),
    "unknown_peer": ErrorRow(
        404, NOT_FOUND, "no peer is called {peer}", "list those that were seen alive here with: meshctl peers"
    ),
    "unknown_record": ErrorRow(
        404, NOT_FOUND, "nothing is on record of {id}", "see what there is with: meshctl audit tail"
    ),
    "still_alive": ErrorRow(
        409, CONFLICT, "{peer} is {state}, so it is not forgotten", "stop it first with: meshd stop, on its host"
    ),
    "not_alive": ErrorRow(
        409,
        CONFLICT,
        "{peer} is {state}, so it cannot be asked",
        "see since when with: meshctl peers; or forget it with: meshctl peers remove {peer}",
    ),
    "unknown_agent": ErrorRow(404, NOT_FOUND, "no agent is called {agent}", "list the agents with: meshctl agents"),
    "agent_elsewhere": ErrorRow(
        404,
        NOT_FOUND,
        "the agent {agent} is on {where}, and not on this node",
        "ask there: meshctl on that host, or with --node URL",
    ),
    "agent_exists": ErrorRow(
        409,
        CONFLICT,
        "an agent called {agent} stands in {path} already",
        "put this in its place with: meshctl agents add --replace FILE",
    ),
    "unknown_path": ErrorRow(404, NOT_FOUND, "there is nothing at {path}", "the paths are listed at /openapi.json"),
    "bad_content_type": ErrorRow(
        415, USAGE, "a body of type {given} is not taken", "send it with the header Content-Type: application/json"
    ),
    "bad_method": ErrorRow(405, USAGE, "{path} does not answer to {method}", "the methods are listed at /openapi.json"),
    "ambiguous": ErrorRow(
        409, CONFLICT, "{given} fits more than one: {candidates}", "write one of them as it stands here"
    ),
    "key_reused": ErrorRow(
        409, CONFLICT, "the key {key} was used for another task, {task}", "use a new idempotency key for different work"
    ),
    "already_ended": ErrorRow(
        409, CONFLICT, "the task {task} has ended: {state}", "nothing is left to do; see: meshctl tasks show {task}"
    ),
    "under_way": ErrorRow(
        409,
        CONFLICT,
        "the task {task} has not ended: it is {state}",
        "wait for its end with: meshctl tasks wait {task}; or end it with: meshctl tasks cancel {task}",
    ),
    "done_already": ErrorRow(
        409,
        CONFLICT,
        "the task {task} is done, and its result stands",
        "read it with: meshctl tasks show {task}; or submit the work again with a new key",
    ),
    "parent_cancelled": ErrorRow(
        409,
        CONFLICT,
        "the task {parent}, which led to {task}, was cancelled",
        "open that one again with: meshctl tasks retry {parent}",
    ),
    "cycle": ErrorRow(
        409,
        CONFLICT,
        "this work waits for itself: {path}, with the same input",
        "give the inner one a smaller input, or do that part in the agent itself",
    ),
    "record_full": ErrorRow(
        503,
        FAILED,
        "the record of the mesh has no room for another task; what is left is for the ends of those in it",
        "keep ended tasks for less long with results.keep_s, or give it more room with results.bytes_max; those that end make room in time",
    ),
    "disk_full": ErrorRow(
        503, FAILED, "nothing can be recorded: {problem}", "make room on that disk; it goes on by itself then"
    ),
    # who can do it
    "no_agent": ErrorRow(
        404,
        NOT_FOUND,
        "nobody in the mesh has the capability {capability}",
        "see what there is with: meshctl capabilities",
    ),
    "no_free_agent": ErrorRow(
        503,
        FAILED,
        "every agent with {capability} is busy",
        "submit a task instead of a call: tasks wait for their turn",
    ),
    "agent_down": ErrorRow(
        503,
        FAILED,
        "the agent {agent} on {node} is {problem}",
        "see what it says with: meshctl agents logs {agent}, on that node; or submit a task, which waits for it",
    ),
    "draining": ErrorRow(
        503, FAILED, "the node {node} is draining", "ask another node; see why, and what ends it, with: meshctl status"
    ),
    "only_draining": ErrorRow(
        503,
        FAILED,
        "only {holders} has the capability {capability}, and is draining",
        "submit a task instead of a call: it waits until somebody takes new work",
    ),
    "stopping": ErrorRow(
        503,
        FAILED,
        "the node {node} is stopping, and had not answered {capability} by then",
        "call again, and another node is asked; what was begun may have had effects",
    ),
    "clock_off": ErrorRow(
        503,
        FAILED,
        "the clock of {node} is {off} most others, so it takes no tasks",
        "set that host's clock, by NTP for example, or submit on another node",
    ),
    "too_often": ErrorRow(
        429,
        FAILED,
        "{what} refused this ({order}): from one node it takes {per_s} questions and orders a second",
        "nothing was done; try again in {seconds} s, and let what asks so often from here ask less",
    ),
    "overloaded": ErrorRow(503, FAILED, "{what} is full ({limit})", "try again in a moment, or on another node"),
    # how it went
    "agent_failed": ErrorRow(
        502,
        TASK_FAILED,
        "{message} (agent {agent})",
        "see what it wrote with: meshctl agents logs {agent}, on that node; then call again",
    ),
    "task_failed": ErrorRow(502, TASK_FAILED, "{message}", "see what happened with: meshctl tasks show {task}"),
    "timed_out": ErrorRow(
        504, TIMED_OUT, "{what} did not answer within {seconds} s", "ask again, or give more time with --timeout"
    ),
    "unfinished": ErrorRow(
        504,
        TIMED_OUT,
        "the task {task} did not end within {seconds} s",
        "it goes on; wait for it with: meshctl tasks wait {task}",
    ),
    "unsettled": ErrorRow(
        504,
        TIMED_OUT,
        "the record of {task} was not acknowledged within {seconds} s; it may still be written",
        "ask for it later with: meshctl tasks show {task}",
    ),
    "detached": ErrorRow(
        503,
        FAILED,
        "this node is {state}: it cannot reach the record now",
        "it mends itself when the server answers; see: meshctl status",
    ),
    "not_ready": ErrorRow(503, DEGRADED, "this node is {state}", "wait for it with: meshctl status --wait 10"),
    "cancelled": ErrorRow(
        409, TASK_FAILED, "the task {task} was cancelled", "open it again with: meshctl tasks retry {task}"
    ),
    # who may
    "denied": ErrorRow(403, DENIED, "{what} is not allowed", "ask who runs this mesh"),
    "unauthorized": ErrorRow(
        401,
        DENIED,
        "the request carries no valid token",
        "send the token in DIR/api.json as: Authorization: Bearer TOKEN",
    ),
    "bad_host": ErrorRow(
        403, DENIED, "the host {host} is not one this API answers to", "use the address in DIR/api.json"
    ),
    # the daemon and its host
    "no_extra": ErrorRow(
        500,
        FAILED,
        "{what} needs the extra {extra}, which is not installed",
        "pip install 'agent-meshd[{extra}]', or use: {otherwise}",
    ),
    "unreachable": ErrorRow(503, UNREACHABLE, "no daemon answers at {where}", "start one with: meshd start"),
    "cut_off": ErrorRow(503, UNREACHABLE, "the daemon at {where} went away before it had answered", "{cure}"),
    "stands_still": ErrorRow(
        503,
        UNREACHABLE,
        "the daemon in {where} stands still: process {pid} is stopped (SIGSTOP)",
        "kill -CONT {pid}; or kill -9 {pid}, which ends it, and what it had in hand goes to others",
    ),
    "config": ErrorRow(400, USAGE, "{key}: {problem} ({origin})", "see the settings in configs/reference.toml"),
    "directory": ErrorRow(500, FAILED, "{path}: {problem}", "{cure}"),
    "port_taken": ErrorRow(
        500, FAILED, "{address} is taken by another program", "choose another with {flag} HOST:PORT"
    ),
    "address_lost": ErrorRow(
        500,
        FAILED,
        "{address} is taken by another program, and who joined this mesh knows it by that address",
        "end that program; or choose another with {flag} HOST:PORT, and invite the other nodes anew",
    ),
    "broker": ErrorRow(500, FAILED, "the nats-server {problem}", "{cure}"),
    "bad_join": ErrorRow(
        400, USAGE, "this is no invitation: {problem}", "make one on a node of the mesh with: meshctl invite"
    ),
    "insecure": ErrorRow(
        400, USAGE, "{address} is not a loopback address", "set insecure = true in a --config file if you mean it"
    ),
    "manifest": ErrorRow(400, USAGE, "{path}: {problem}", "see configs/agents.d/ for a manifest that works"),
    "store": ErrorRow(503, FAILED, "the store {problem}", "see: meshctl status"),
    "stream_differs": ErrorRow(
        500,
        FAILED,
        "the store cannot use the stream {stream}: {difference}",
        "see what made it; meshd makes it itself when it is not there",
    ),
    "unaudited": ErrorRow(
        503,
        DEGRADED,
        "this node's audit cannot be written, so it takes no new work: {problem}",
        "see what it waits for, and what to do, with: meshctl doctor, on that node",
    ),
    "audit_sound": ErrorRow(
        409,
        CONFLICT,
        "the audit of this node is sound up to record {seq}, so nothing is set aside",
        "see for yourself with: meshctl audit verify",
    ),
    "bad_record": ErrorRow(
        500,
        FAILED,
        "what stands under the task {task} was not written by a node of this mesh",
        "submit the work again, and see who else has the mesh's credential",
    ),
    "demo": ErrorRow(
        500,
        FAILED,
        "the demo failed while {step}: {problem}",
        "run it once more; if it fails again, report it with these lines",
    ),
    "internal": ErrorRow(500, FAILED, "the daemon made a mistake: {what}", "see the daemon's log, and report it"),
}


class MeshError(Exception):
    """An error with a code of the table; its text is one plain sentence.

    Raises KeyError when the code is unknown or a field of its sentence is missing.
    """

    def __init__(self, code: str, **fields: object) -> None:
        row = ERRORS[code]
        self.code = code
        self.fields = fields
        self.message = row.message.format_map(fields)
        self.hint = row.hint.format_map(fields)
        self.status = row.status
        self.exit = row.exit
        super().__init__(self.message)


class LocalError(Exception):
    """We misused the core: a bug here. Stop loudly."""
