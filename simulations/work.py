"""The client: submits tasks, asks again with the same key when it got no answer, opens some that failed again,
cancels some.

Invariant: a task is one idempotency key, whatever happens to the node that took it; the client
stops asking when a node says that the task stands. Neighbours: hosts take `Submit`; `checks` want
an end for every task that was accepted.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from protocol.effects import Reply
from protocol.gears import Route
from protocol.inputs import Cancel, Retry, Submit
from protocol.wire.task import TaskRecord
from simulations.agents import CAPABILITY, Seconds
from simulations.chance import Chance
from simulations.host import Host
from simulations.links import Share
from simulations.placed import PLACED_MAX, PLACED_S, Placed, placed_capability
from simulations.timeline import Timeline, ns

PATIENCE_S = 6.0  # no answer for this long, and the client asks another node
PAUSE_S = 0.5  # after a refusal
LOOK_S = 2.0  # between two tries to have a task opened again, or ended
CANCEL_S = (0.1, 12.0)  # so long after a task was accepted it is cancelled
OVER = ("done_already", "already_ended", "unknown_task")


class WorkModel(Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks that the client submits: how many, from when, how often, through which node, and which kind, and route."""

    tasks: Annotated[int, Meta(ge=0, le=100_000)] = 0
    from_s: Seconds = 5.0
    every_s: Seconds = 0.5
    at: str = "any"  # the name of a node, or any
    exclusive: bool = False
    route: Route = "auto"
    retried: Share = 0.0  # of the tasks: should one fail, the client has it opened again, once
    cancelled: Share = 0.0  # of the tasks: the client cancels one a while after it was accepted
    placed: Annotated[tuple[Placed, ...], Meta(max_length=PLACED_MAX)] = ()

    @property
    def last_s(self) -> float:
        """When the last task is submitted."""
        return self.from_s + max(0, self.tasks - 1) * self.every_s


class Client:
    """One client for the whole mesh."""

    def __init__(
        self, *, timeline: Timeline, chance: Chance, model: WorkModel, deadline_s: float, hosts: Mapping[str, Host]
    ) -> None:
        self._timeline = timeline
        self._rng = chance.stream("client", "node")
        self._model = model
        self._deadline_s = deadline_s
        self._hosts = hosts
        self._request = 0
        self._open: dict[int, int] = {}  # request → number of the task
        self._orders: dict[int, tuple[type[Retry | Cancel], str]] = {}  # request → what is to be done to which task
        self.accepted: dict[int, str] = {}  # number of the task → its id

    def arrange(self) -> None:
        """Plan every first submit."""
        for number in range(self._model.tasks):
            self._timeline.at(ns(self._model.from_s + number * self._model.every_s), self._submit, number)
        for number in range(len(self._model.placed)):
            self._timeline.at(ns(PLACED_S), self._submit, self._model.tasks + number)

    @property
    def wanted(self) -> int:
        """How many tasks there are to be."""
        return self._model.tasks + len(self._model.placed)

    def _order(self, kind: type[Retry | Cancel], task: str) -> None:
        """Have it opened again: refused while it is under way, and for good when it is done; or have it ended."""
        host = self._host(self._model.at)
        if host is None:
            self._timeline.after(ns(LOOK_S), self._order, kind, task)
            return
        self._request += 1
        self._orders[self._request] = kind, task
        self._timeline.after(ns(PATIENCE_S), self._unanswered, self._request)
        host.receive(kind(self._request, task, "client"), host.life)

    def _unanswered(self, request: int) -> None:
        order = self._orders.pop(request, None)
        if order is not None:
            self._order(*order)

    def _placed(self, number: int) -> Placed | None:
        """What is said of a task that is placed; None for any other."""
        return self._model.placed[number - self._model.tasks] if number >= self._model.tasks else None

    def _host(self, at: str) -> Host | None:
        up = [host for host in self._hosts.values() if host.is_up]
        named = [host for host in up if host.name == at]
        if not up:
            return None
        return named[0] if named else up[int(self._rng.random() * len(up))]

    def _submit(self, number: int) -> None:
        if number in self.accepted:
            return
        self._timeline.after(ns(PATIENCE_S), self._submit, number)
        placed = self._placed(number)
        host = self._host(placed.home if placed else self._model.at)
        if host is None:
            return
        self._request += 1
        self._open[self._request] = number
        order = Submit(
            request=self._request,
            capability=placed_capability(number - self._model.tasks) if placed else CAPABILITY,
            input=msgspec.msgpack.encode(number),
            submitter="client",
            key=f"task-{number}",
            deadline_s=self._deadline_s,
            exclusive=placed.exclusive if placed else self._model.exclusive,
            route=self._model.route,
        )
        host.receive(order, host.life)

    def on_reply(self, reply: Reply) -> None:
        """A node answered."""
        number, order = self._open.pop(reply.request, None), self._orders.pop(reply.request, None)
        if order is not None and not isinstance(reply.value, TaskRecord) and reply.code not in OVER:
            self._timeline.after(ns(LOOK_S), self._order, *order)
        if number is None:
            return
        if isinstance(reply.value, TaskRecord):
            is_first = number not in self.accepted
            self.accepted[number] = reply.value.id
            if is_first and self._model.retried and self._rng.random() < self._model.retried:
                self._timeline.after(ns(LOOK_S), self._order, Retry, reply.value.id)
            if is_first and self._model.cancelled and self._rng.random() < self._model.cancelled:
                after_s = CANCEL_S[0] + self._rng.random() * (CANCEL_S[1] - CANCEL_S[0])
                self._timeline.after(ns(after_s), self._order, Cancel, reply.value.id)
        else:
            self._timeline.after(ns(PAUSE_S), self._submit, number)
