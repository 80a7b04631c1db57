"""What the API needs of the daemon, in the terms of `schemas`.

Invariant: `MeshError` is the only exception that comes out of here. Neighbours: `routes` calls it;
the daemon's service implements it over the engine.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from meshd.api.agent_schemas import AgentLog, Leaving, NewAgent
from meshd.api.audit_schemas import AuditHead, AuditPage, AuditQuery
from meshd.api.diagnosis_schemas import Diagnosis
from meshd.api.schemas import (
    AgentView,
    CallAnswer,
    CallRequest,
    CapabilityView,
    Cursor,
    Invitation,
    LogLevel,
    Peer,
    Pong,
    Readiness,
    Removed,
    Settings,
    Stamped,
    Status,
    Steered,
    SubmitRequest,
    Task,
    TaskFilter,
)
from meshd.api.task_schemas import CancelledTask, Goal, RetryRequest, Why
from meshd.api.view_schemas import Views
from protocol.audit import Detail


class Following(Struct, frozen=True):
    """Events, each with a `seq` above `after_seq`."""

    after_seq: int
    events: AsyncIterator[Stamped]


class Audits(Protocol):
    """The audit of one node, and what the mesh keeps of all."""

    def check(self) -> None:
        """Raises unaudited while nothing can be recorded."""
        ...

    def refused(self, action: str, resource: str, *, who: str, code: str, iid: str, gid: str) -> None:
        """Record that somebody asked for what is not done."""
        ...

    def requested(
        self, request: str, *, who: str, resource: str, iid: str, words: Mapping[str, Detail], code: str
    ) -> None:
        """Record a request that changes something, and its words; `code` says why it was refused, or is empty."""
        ...

    def head(self) -> AuditHead:
        """How far this node's audit is."""
        ...

    async def restart(self, reason: str, *, who: str) -> AuditHead:
        """Set a damaged chain aside, and begin the next. Raises audit_sound, unaudited, directory."""
        ...

    async def page(self, query: AuditQuery) -> AuditPage:
        """Records that fit. Raises store when the stream is out of reach, unknown_peer, ambiguous."""
        ...


class Upkeep(Protocol):
    """One daemon, seen by who looks after it."""

    def settings(self) -> Settings:
        """Every setting, its value and where it came from."""
        ...

    def set_log_level(self, level: str) -> LogLevel:
        """Until the daemon ends."""
        ...

    async def steer(self, name: str, *, draining: bool) -> Steered:
        """Tell a node to take no new work, or any again. Raises unknown_peer, not_alive, timed_out, too_often."""
        ...

    async def remove(self, name: str) -> Removed:
        """Show a gone node no more, here and on every living node. Raises unknown_peer, still_alive."""
        ...

    async def views(self, *, is_all: bool) -> Views:
        """Ask every node whom it sees; the nodes that are seen differently, or all of them."""
        ...

    async def diagnose(self) -> Diagnosis:
        """Look at the server, the streams, the peers and ourselves; what does not answer is said to be silent."""
        ...


class Backend(Protocol):
    """One node, seen from its API. Every method may raise MeshError and nothing else."""

    @property
    def audits(self) -> Audits:
        """What was recorded."""
        ...

    @property
    def upkeep(self) -> Upkeep:
        """What an operator asks of it."""
        ...

    def status(self) -> Status:
        """How this node stands."""
        ...

    def ready(self) -> Readiness:
        """Whether it takes and does work."""
        ...

    def peers(self) -> list[Peer]:
        """Every node in view, itself included, by name."""
        ...

    def peer(self, name: str) -> Peer:
        """One node by its name, id or a unique prefix of its id. Raises unknown_peer or ambiguous."""
        ...

    def agents(self) -> list[AgentView]:
        """Every agent of the mesh, those of this node with their state, by name and node."""
        ...

    async def add_agent(self, request: NewAgent) -> AgentView:
        """Check a manifest, bring its agent up, and keep it. Raises manifest, agent_exists, directory."""
        ...

    async def remove_agent(self, name: str) -> Leaving:
        """Take nothing new for an agent of this node, let it end, and forget it. Raises unknown_agent, directory."""
        ...

    async def start_agent(self, name: str) -> AgentView:
        """Start an agent that was stopped or given up. Raises unknown_agent, manifest, directory."""
        ...

    async def stop_agent(self, name: str) -> AgentView:
        """Let an agent end what it has, and keep it stopped until it is started. Raises unknown_agent, directory."""
        ...

    def agent_log(self, name: str) -> AgentLog:
        """All lines that are kept of an agent of this node. Raises unknown_agent, agent_elsewhere."""
        ...

    def capabilities(self) -> list[CapabilityView]:
        """What can be done in the mesh, by name."""
        ...

    async def capability(self, name: str) -> CapabilityView:
        """One of them, with what each of its agents takes and gives. Raises no_agent."""
        ...

    async def tasks(self, wanted: TaskFilter, *, after: Cursor | None, limit: int) -> list[Task]:
        """Up to `limit` tasks of the mesh that pass the filter, ordered by (submitted_ms, id), largest first.

        With `after`, only those that come later in that order: smaller than (after.submitted_ms, after.id).
        """
        ...

    async def task(self, name: str) -> Task:
        """One task by its id or a unique prefix of it. Raises unknown_task or ambiguous."""
        ...

    async def why(self, name: str) -> Why:
        """All that decided about a task, by its id or a unique prefix of it. Raises unknown_task or ambiguous."""
        ...

    async def goal(self, gid: str) -> Goal:
        """The tasks of a goal, as a tree. Raises unknown_goal."""
        ...

    async def wait(self, task: str, timeout_s: float) -> Task:
        """The task (full id) when it has ended, or as it stands after `timeout_s`."""
        ...

    async def submit(self, request: SubmitRequest, *, key: str, principal: str) -> tuple[Task, bool]:
        """Accept a task durably; true when this made it, false when the same submit stood already.

        `key` is the idempotency key, or "" to mint one; `principal` is who asks. `wait_s` is not
        for this method. Raises no_agent, key_reused, unsettled (with `task`), detached, overloaded …
        """
        ...

    async def cancel(self, task: str, *, principal: str) -> CancelledTask:
        """End a task (full id) that has not ended, and all that it led to. Raises already_ended."""
        ...

    async def retry(self, task: str, request: RetryRequest, *, principal: str) -> Task:
        """Open a task (full id) again that ended without a result. Raises under_way, done_already, no_agent …"""
        ...

    async def call(self, capability: str, request: CallRequest, *, principal: str) -> CallAnswer:
        """Request and reply. Raises no_agent, no_free_agent, timed_out, agent_failed …"""
        ...

    async def ping(self, name: str) -> Pong:
        """Probe one node now. Raises unknown_peer, not_alive, timed_out or too_often."""
        ...

    def invite(self) -> Invitation:
        """What lets another host join."""
        ...

    def follow(self, after_seq: int | None) -> AbstractAsyncContextManager[Following]:
        """Events after `after_seq`, oldest first, then as they happen, from every node.

        None, or a number that is ahead of this node's: only what happens once this is entered. Ends when
        the node stops. A reader that missed something sees a gap in `seq`.
        """
        ...

    def stop(self) -> None:
        """Begin to leave, as SIGTERM does; returns at once."""
        ...

    def metrics(self) -> bytes:
        """The Prometheus text exposition, format 0.0.4."""
        ...
