"""What one task's agent may ask of the daemon while it works: `ports.Desk`.

Invariant: whatever an agent asks for inherits the goal, the ancestors and the time left of its task; an agent that
talks without end crowds out nobody. Neighbours: `hosting` makes one for each order and passes on what is asked.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from meshd import values
from meshd.engine import GRACE_S
from protocol import limits
from protocol.calls import Answered
from protocol.effects import RunAgent
from protocol.errors import MeshError
from protocol.inputs import AgentProgress, Input, MakeCall, Publish, Retry, Submit
from protocol.records import work_digest
from protocol.wire.lineage import Work
from protocol.wire.task import ENDED, TaskRecord, TaskState

PROGRESS_S = 0.1  # between two words of one task: a watcher asks twice a second


class Office(Protocol):
    """What a desk stands in: `hosting.Hosting`."""

    def told(self, input: Input) -> None:
        """An agent's word on its progress."""
        ...

    async def asked(self, make: Callable[[int], Input], *, timeout_s: float | None = None) -> object:
        """A request of an agent to the mesh. Raises MeshError."""
        ...

    async def ended(self, task: str) -> TaskRecord:
        """The record of a task when it has ended."""
        ...


class Desk:
    """For one order."""

    def __init__(self, order: RunAgent, office: Office, *, visibility: str = "mesh") -> None:
        self._order = order
        self._visibility = visibility
        self._office = office
        self._children: dict[str, int] = {}
        self._lineage = order.lineage
        if order.capability:  # an event has none
            self._lineage += (Work(order.capability, work_digest(capability=order.capability, input=order.input)),)
        self._ends = asyncio.get_running_loop().time() + order.deadline_s
        self._word: object = None
        self._has_more = False  # a later word waits for its turn
        self._told_at = 0.0

    @property
    def _left_s(self) -> float:
        return max(0.0, self._ends - asyncio.get_running_loop().time())

    def progress(self, value: object) -> None:
        self._word = value
        if self._has_more:
            return
        loop = asyncio.get_running_loop()
        wait_s = self._told_at + PROGRESS_S - loop.time()
        if wait_s <= 0:
            self._tell()
        else:
            self._has_more = True
            loop.call_later(wait_s, self._tell)

    def _tell(self) -> None:
        """The last word; an agent that talks without end must not crowd out the mesh's own messages."""
        self._has_more, self._told_at = False, asyncio.get_running_loop().time()
        try:
            told = values.packed(self._word, what="the progress", bytes_max=limits.PROGRESS_BYTES_MAX)
        except MeshError:
            return  # a progress that cannot be shown is not shown
        self._office.told(AgentProgress(self._order.task, self._order.epoch, told))

    async def call(self, capability: str, input: object, timeout_s: float, *, agent: str = "") -> object:
        order = self._order
        encoded = values.packed(input, what="the input", bytes_max=limits.INPUT_BYTES_MAX)
        within_s = min(timeout_s, self._left_s)

        def make(request: int) -> Input:
            return MakeCall(
                request=request,
                capability=capability,
                input=encoded,
                timeout_s=within_s,
                hops=order.hops + 1,
                ancestors=(*order.ancestors, order.task),
                lineage=self._lineage,
                agent=agent,
                gid=order.gid,
                by=f"task/{order.task}",
            )

        reply = await self._office.asked(make, timeout_s=within_s + GRACE_S)
        return values.unpacked(reply.result) if isinstance(reply, Answered) else None

    async def publish(self, topic: str, value: object) -> None:
        order = self._order
        encoded = values.packed(value, what="the event", bytes_max=limits.EVENT_BYTES_MAX)

        def make(request: int) -> Input:
            return Publish(
                request=request,
                agent=order.agent,
                topic=topic,
                value=encoded,
                visibility=self._visibility,
                hops=order.hops,
                iid=order.iid,
                gid=order.gid,
            )

        await self._office.asked(make)

    async def submit(self, capability: str, input: object, *, key: str, is_awaited: bool) -> object:
        order = self._order
        encoded = values.packed(input, what="the input", bytes_max=limits.INPUT_BYTES_MAX)
        own_key = key or self._child_key(capability, encoded)

        def make(request: int) -> Input:
            return Submit(
                request=request,
                capability=capability,
                input=encoded,
                submitter=f"task/{order.task}",
                key=own_key,
                gid=order.gid,
                parent_iid=order.iid,
                deadline_s=max(1.0, min(self._left_s, limits.DEADLINE_S_MAX)),
                hops=order.hops + 1,
                ancestors=(*order.ancestors, order.task),
                lineage=self._lineage,
            )

        record = await self._office.asked(make)
        if not isinstance(record, TaskRecord):
            raise MeshError("internal", what="a submit was answered without a record")
        await self._renew(record)
        if not is_awaited:
            return record.id
        record = await self._office.ended(record.id)
        if record.failure is not None:
            raise MeshError("task_failed", message=record.failure.message, task=record.id)
        return values.unpacked(record.result)

    async def _renew(self, child: TaskRecord) -> None:
        """A task that was opened again opens those of its children again, once, that had ended without a result."""
        order = self._order
        by = f"task/{order.task}/{order.retries}"
        is_over = child.state in ENDED and child.state is not TaskState.DONE
        if not order.retries or not is_over or any(each.by == by for each in child.retried):
            return
        try:
            await self._office.asked(lambda request: Retry(request, child.id, by, self._left_s, is_for_task=True))
        except MeshError as refusal:
            if refusal.code != "under_way":  # somebody was before us
                raise

    def _child_key(self, capability: str, input: bytes) -> str:
        """The same for the same work when the parent runs again, in whatever order it submits then."""
        work = work_digest(capability=capability, input=input).hex()
        self._children[work] = self._children.get(work, 0) + 1
        return f"child/{work}/{self._children[work]}"
