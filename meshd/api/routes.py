"""What can be asked: one row a path, with its schemas and its handler.

Invariant: this table is the only declaration; the router and the OpenAPI document are made from it.
Neighbours: `asked` has checked a request before a handler sees it; handlers only talk to `Backend`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import Struct, structs

from meshd.api import agent_schemas, audit_schemas, diagnosis_schemas, paging, schemas, task_schemas, view_schemas
from meshd.api.asked import Asked
from meshd.api.backend import Backend
from meshd.api.schemas import ENDED_STATES, CapabilityView, Task
from meshd.quoting import quoted
from protocol.errors import MeshError
from protocol.ids import is_capability, is_token

DESCRIBED_MAX = 8  # capabilities whose schemas come with an agent; those of more are asked for one by one
PRINCIPAL = "operator"  # whoever can open the socket or read the token owns this node

Answer: TypeAlias = Struct | tuple[int, Struct]  # with a status of its own, else the route's
Handle: TypeAlias = Callable[[Backend, Asked], Awaitable[Answer]]


async def audit(node: Backend, asked: Asked) -> Answer:
    return await node.audits.page(asked.query)


async def audit_restart(node: Backend, asked: Asked) -> Answer:
    return await node.audits.restart(asked.body.reason, who=PRINCIPAL)


async def audit_head(node: Backend, _asked: Asked) -> Answer:
    return node.audits.head()


async def status(node: Backend, _asked: Asked) -> Answer:
    return node.status()


async def peers(node: Backend, asked: Asked) -> Answer:
    query: paging.PeersQuery = asked.query
    if query.region and not is_token(query.region):
        raise MeshError("bad_input", what=f"a region is 1 to 32 of a-z 0-9 _ -, not {quoted(query.region)}")
    found = [each for each in node.peers() if query.region in ("", each.region)]
    return schemas.Peers(*paging.of_names(found, lambda each: (each.name, each.id), query))


async def peer(node: Backend, asked: Asked) -> Answer:
    return node.peer(asked.path["name"])


async def views(node: Backend, asked: Asked) -> Answer:
    query: view_schemas.ViewsQuery = asked.query
    return await node.upkeep.views(is_all=query.all)


async def ping(node: Backend, asked: Asked) -> Answer:
    return await node.ping(asked.path["name"])


async def drain(node: Backend, asked: Asked) -> Answer:
    return await node.upkeep.steer(asked.path["name"], draining=True)


async def undrain(node: Backend, asked: Asked) -> Answer:
    return await node.upkeep.steer(asked.path["name"], draining=False)


async def remove(node: Backend, asked: Asked) -> Answer:
    return await node.upkeep.remove(asked.path["name"])


async def settings(node: Backend, _asked: Asked) -> Answer:
    return node.upkeep.settings()


async def log_level(node: Backend, asked: Asked) -> Answer:
    return node.upkeep.set_log_level(asked.body.level)


async def diagnosis(node: Backend, _asked: Asked) -> Answer:
    return await node.upkeep.diagnose()


async def agents(node: Backend, asked: Asked) -> Answer:
    query: paging.AgentsQuery = asked.query
    wanted = node.peer(query.node).id if query.node else ""
    found = [a for a in node.agents() if (not wanted or a.node == wanted) and (a.here or not query.here)]
    return schemas.Agents(*paging.of_names(found, lambda each: (each.name, each.node), query))


async def agent(node: Backend, asked: Asked) -> Answer:
    name = asked.path["name"]
    found = [a for a in node.agents() if a.name == name]
    if not found:
        raise MeshError("unknown_agent", agent=name)
    able = sorted({capability for each in found for capability in each.capabilities})[:DESCRIBED_MAX]
    told = dict(zip(able, await asyncio.gather(*(_schemas(node, capability) for capability in able)), strict=True))
    return schemas.Agents(tuple(structs.replace(each, schemas=_of(each, told)) for each in found))


async def _schemas(node: Backend, capability: str) -> tuple[schemas.SchemaView, ...]:
    try:
        return (await node.capability(capability)).schemas
    except MeshError:  # nobody has it just now
        return ()


def _of(agent: schemas.AgentView, told: dict[str, tuple[schemas.SchemaView, ...]]) -> dict[str, schemas.SchemaView]:
    key = (agent.name, agent.node)
    return {capability: each for capability, views in told.items() for each in views if (each.agent, each.node) == key}


async def add_agent(node: Backend, asked: Asked) -> Answer:
    return await node.add_agent(asked.body)


async def remove_agent(node: Backend, asked: Asked) -> Answer:
    return await node.remove_agent(asked.path["name"])


async def start_agent(node: Backend, asked: Asked) -> Answer:
    return await node.start_agent(asked.path["name"])


async def stop_agent(node: Backend, asked: Asked) -> Answer:
    return await node.stop_agent(asked.path["name"])


async def agent_log(node: Backend, asked: Asked) -> Answer:
    query: agent_schemas.LinesQuery = asked.query
    log = node.agent_log(asked.path["name"])
    kept = [line for line in log.lines if line.seq > query.after]
    return agent_schemas.AgentLog(log.name, tuple(kept[len(kept) - min(query.lines, len(kept)) :]))


async def capabilities(node: Backend, asked: Asked) -> Answer:
    query: paging.CapabilitiesQuery = asked.query
    text = query.search.casefold()
    found = [each for each in node.capabilities() if _mentions(each, text)]
    return schemas.Capabilities(*paging.of_names(found, lambda each: (each.name,), query))


async def capability(node: Backend, asked: Asked) -> Answer:
    return await node.capability(_capability(asked.path["name"]))


async def tasks(node: Backend, asked: Asked) -> Answer:
    query: paging.TasksQuery = asked.query
    home = node.peer(query.home).id if query.home else ""
    wanted = schemas.TaskFilter(
        state=query.state,
        capability=_capability(query.capability) if query.capability else "",
        home=home,
        gid=query.gid,
    )
    found = await node.tasks(wanted, after=paging.place(query.cursor), limit=query.limit + 1)
    return paging.of_tasks(found, query.limit)


async def why(node: Backend, asked: Asked) -> Answer:
    return await node.why(asked.path["id"])


async def goal(node: Backend, asked: Asked) -> Answer:
    return await node.goal(asked.path["gid"])


async def task(node: Backend, asked: Asked) -> Answer:
    query: schemas.TaskQuery = asked.query
    found = await node.task(asked.path["id"])
    if query.wait_s and found.state not in ENDED_STATES:
        found = await node.wait(found.id, query.wait_s)
    return found


async def submit(node: Backend, asked: Asked) -> Answer:
    request: schemas.SubmitRequest = asked.body
    _capability(request.capability)
    accepted, is_new = await node.submit(request, key=asked.key, principal=PRINCIPAL)
    if request.wait_s and accepted.state not in ENDED_STATES:
        accepted = await node.wait(accepted.id, request.wait_s)
    return accepted if is_new else (200, accepted)


async def cancel(node: Backend, asked: Asked) -> Answer:
    found = await node.task(asked.path["id"])
    return await node.cancel(found.id, principal=PRINCIPAL)


async def retry(node: Backend, asked: Asked) -> Answer:
    found = await node.task(asked.path["id"])
    return await node.retry(found.id, asked.body, principal=PRINCIPAL)


async def call(node: Backend, asked: Asked) -> Answer:
    return await node.call(_capability(asked.path["capability"]), asked.body, principal=PRINCIPAL)


async def invite(node: Backend, _asked: Asked) -> Answer:
    return node.invite()


async def stop(node: Backend, _asked: Asked) -> Answer:
    node.stop()
    return schemas.Stopping(stopping=True)


async def healthz(_node: Backend, _asked: Asked) -> Answer:
    return schemas.Health(ok=True)


async def readyz(node: Backend, _asked: Asked) -> Answer:
    readiness = node.ready()
    if not readiness.ready:
        state = f"{readiness.state}: {readiness.reason}" if readiness.reason else readiness.state
        raise MeshError("not_ready", state=state)
    return readiness


class Route(Struct, frozen=True):
    """One method on one path: what is taken, what is answered, and by whom."""

    method: str
    path: str
    summary: str
    handle: Handle
    answer: type[Struct]
    query: type[Struct] = schemas.NoQuery
    body: type[Struct] | None = None
    status: int = 200
    waits: bool = False  # it may take long on purpose, and is cut off when the daemon stops
    errors: tuple[str, ...] = ()  # codes that belong to this path; those of the guards go without saying


STOP = "finish or hand on what is in hand, leave the mesh, end the daemon and its nats-server; answered before that"
_ONE_TASK = ("unknown_task", "short_id", "ambiguous")
_ONE_PEER = ("unknown_peer", "short_id", "ambiguous", "timed_out")

ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/status", "how this node stands", status, schemas.Status),
    Route("GET", "/v1/peers", "the nodes in view", peers, schemas.Peers, query=paging.PeersQuery),
    Route("GET", "/v1/peers/{name}", "one node", peer, schemas.Peer, errors=("unknown_peer", "short_id", "ambiguous")),
    Route(
        "GET",
        "/v1/views",
        "who sees what: every node is asked, and compared with this one",
        views,
        view_schemas.Views,
        query=view_schemas.ViewsQuery,
    ),
    Route(
        "POST",
        "/v1/peers/{name}/ping",
        "probe a node now",
        ping,
        schemas.Pong,
        body=schemas.Nothing,
        errors=(*_ONE_PEER, "not_alive", "too_often"),
    ),
    Route(
        "POST",
        "/v1/peers/{name}/drain",
        "let a node finish what it has and take nothing new",
        drain,
        schemas.Steered,
        body=schemas.Nothing,
        errors=(*_ONE_PEER, "not_alive", "too_often"),
    ),
    Route(
        "POST",
        "/v1/peers/{name}/undrain",
        "let a node take new work again",
        undrain,
        schemas.Steered,
        body=schemas.Nothing,
        errors=(*_ONE_PEER, "not_alive", "too_often"),
    ),
    Route(
        "POST",
        "/v1/peers/{name}/remove",
        "forget a node that is gone",
        remove,
        schemas.Removed,
        body=schemas.Nothing,
        errors=(*_ONE_PEER, "still_alive"),
    ),
    Route("GET", "/v1/config", "every setting, and where it came from", settings, schemas.Settings),
    Route("PUT", "/v1/log", "how much is logged, until it stops", log_level, schemas.LogLevel, body=schemas.LogRequest),
    Route(
        "GET",
        "/v1/audit",
        "who did what, oldest first",
        audit,
        audit_schemas.AuditPage,
        query=audit_schemas.AuditQuery,
        errors=("unknown_peer", "short_id", "ambiguous", "store"),
    ),
    Route("GET", "/v1/audit/head", "how far the audit of this node is", audit_head, audit_schemas.AuditHead),
    Route(
        "POST",
        "/v1/audit/restart",
        "set a damaged chain of this node's audit aside, and begin the next",
        audit_restart,
        audit_schemas.AuditHead,
        body=audit_schemas.RestartRequest,
        errors=("audit_sound", "unaudited", "directory"),
    ),
    Route("GET", "/v1/diagnosis", "what meshctl doctor looks at", diagnosis, diagnosis_schemas.Diagnosis),
    Route(
        "GET",
        "/v1/agents",
        "the agents of the mesh",
        agents,
        schemas.Agents,
        query=paging.AgentsQuery,
        errors=("unknown_peer", "short_id", "ambiguous"),
    ),
    Route("GET", "/v1/agents/{name}", "one agent, wherever it runs", agent, schemas.Agents, errors=("unknown_agent",)),
    Route(
        "POST",
        "/v1/agents",
        "host an agent: its manifest is checked, the agent brought up, and the file kept",
        add_agent,
        schemas.AgentView,
        body=agent_schemas.NewAgent,
        status=201,
        waits=True,
        errors=("manifest", "agent_exists", "directory"),
    ),
    Route(
        "DELETE",
        "/v1/agents/{name}",
        "host an agent of this node no more; its work in hand ends or is given back",
        remove_agent,
        agent_schemas.Leaving,
        waits=True,
        errors=("unknown_agent", "directory"),
    ),
    Route(
        "POST",
        "/v1/agents/{name}/start",
        "start an agent of this node that was stopped or given up",
        start_agent,
        schemas.AgentView,
        body=schemas.Nothing,
        waits=True,
        errors=("unknown_agent", "manifest", "directory"),
    ),
    Route(
        "POST",
        "/v1/agents/{name}/stop",
        "stop an agent of this node, over restarts too, until it is started",
        stop_agent,
        schemas.AgentView,
        body=schemas.Nothing,
        waits=True,
        errors=("unknown_agent", "directory"),
    ),
    Route(
        "GET",
        "/v1/agents/{name}/logs",
        "what an agent of this node wrote last to stderr",
        agent_log,
        agent_schemas.AgentLog,
        query=agent_schemas.LinesQuery,
        errors=("unknown_agent", "agent_elsewhere"),
    ),
    Route(
        "GET",
        "/v1/capabilities",
        "what can be done in the mesh",
        capabilities,
        schemas.Capabilities,
        query=paging.CapabilitiesQuery,
    ),
    Route(
        "GET",
        "/v1/capabilities/{name}",
        "who can, and what it takes",
        capability,
        schemas.CapabilityView,
        errors=("no_agent",),
    ),
    Route(
        "GET",
        "/v1/tasks",
        "tasks, newest first",
        tasks,
        schemas.TaskPage,
        query=paging.TasksQuery,
        errors=("unknown_peer", "short_id", "ambiguous"),
    ),
    Route(
        "POST",
        "/v1/tasks",
        "submit a task; 200 when the same submit stood already",
        submit,
        Task,
        body=schemas.SubmitRequest,
        status=201,
        errors=("no_agent", "key_reused", "unsettled", "detached", "overloaded", "record_full", "disk_full"),
    ),
    Route(
        "GET",
        "/v1/tasks/{id}",
        "one task, when it has ended if asked to wait",
        task,
        Task,
        query=schemas.TaskQuery,
        waits=True,
        errors=_ONE_TASK,
    ),
    Route(
        "GET",
        "/v1/tasks/{id}/why",
        "what decided about a task",
        why,
        task_schemas.Why,
        errors=_ONE_TASK,
    ),
    Route("GET", "/v1/goals/{gid}", "the tasks of a goal", goal, task_schemas.Goal, errors=("unknown_goal",)),
    Route(
        "POST",
        "/v1/tasks/{id}/cancel",
        "end a task, and all that it led to",
        cancel,
        task_schemas.CancelledTask,
        body=schemas.Nothing,
        errors=(*_ONE_TASK, "already_ended"),
    ),
    Route(
        "POST",
        "/v1/tasks/{id}/retry",
        "open a task again that ended without a result",
        retry,
        Task,
        body=task_schemas.RetryRequest,
        errors=(
            *_ONE_TASK,
            "under_way",
            "done_already",
            "no_agent",
            "unsettled",
            "detached",
            "overloaded",
            "record_full",
        ),
    ),
    Route(
        "POST",
        "/v1/call/{capability}",
        "request and reply",
        call,
        schemas.CallAnswer,
        body=schemas.CallRequest,
        errors=("no_agent", "no_free_agent", "timed_out", "agent_failed"),
    ),
    Route(
        "POST",
        "/v1/invitations",
        "let another host join",
        invite,
        schemas.Invitation,
        body=schemas.Nothing,
        status=201,
    ),
    Route("POST", "/v1/stop", STOP, stop, schemas.Stopping, body=schemas.Nothing, status=202),
    Route("GET", "/healthz", "the process answers", healthz, schemas.Health),
    Route("GET", "/readyz", "the node takes work", readyz, schemas.Readiness, errors=("not_ready",)),
)


def _capability(text: str) -> str:
    if not is_capability(text):
        raise MeshError("bad_capability", capability=repr(text)[:100])
    return text


def _mentions(found: CapabilityView, text: str) -> bool:
    return text in found.name or any(text in f"{p.agent}\n{p.purpose}".casefold() for p in found.providers)
