"""Agents of one host: work that takes a drawn time and ends in a result or a failure.

Invariant: what a host loses when it crashes never reports, and what was stopped says no more than that it has.
Neighbour: `performer` runs and stops them; they go on while their daemon is paused, as processes do, but for those at
exclusive work: these end within the lease.
"""

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from protocol import limits
from protocol.effects import RunAgent, StopAgent
from protocol.inputs import AgentFailed, AgentFinished, AgentStopped
from protocol.wire.agents import Card
from simulations.chance import Chance
from simulations.links import Share
from simulations.timeline import Timeline, ns

CAPABILITY = "work@1"

ENDLESS_S = 86_400.0
STOPS_AFTER_S = 0.01  # of being told to
REFUSES_AFTER_S = 0.01  # of the award: the process is there, and says no

Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Oddity(Struct, frozen=True, forbid_unknown_fields=True):
    """An agent unlike the others: how many times slower, what else it claims, how often it hands work back untried,
    how many slots it has (0: that node has no agent).
    """

    slower: Annotated[float, Meta(ge=0.01, le=1_000)] = 1.0
    claims_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None
    cost: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    refuses: Share = 0.0
    slots: Annotated[int, Meta(ge=0, le=64)] | None = None


class AgentModel(Struct, frozen=True, forbid_unknown_fields=True):
    """The agent of each node: slots, how long one task takes (seconds, least and most), how often it fails,
    what its manifest claims; and whose agents are odd.
    """

    slots: Annotated[int, Meta(ge=1, le=64)] = 2
    runs_s: tuple[Seconds, Seconds] = (0.2, 2.0)
    fails: Share = 0.0
    claims_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0
    cost: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    odd: Mapping[str, Oddity] = {}

    def __post_init__(self) -> None:
        """Raises ValueError when the least time is above the most."""
        if self.runs_s[0] > self.runs_s[1]:
            raise ValueError("runs_s: the least is above the most")

    def of(self, host: str) -> Oddity:
        """What is different about the agent of this host."""
        return self.odd.get(host, Oddity())


class Agents:
    """What runs on one host."""

    def __init__(
        self,
        *,
        host: str,
        timeline: Timeline,
        chance: Chance,
        model: AgentModel,
        report: Callable[[AgentFinished | AgentFailed | AgentStopped], None],
    ) -> None:
        self._host = host
        self._timeline = timeline
        self._rng = chance.stream(host, "agent")
        self._model = model
        self._odd = model.of(host)
        self._report = report
        self._runs: dict[tuple[str, int], RunAgent] = {}  # by task and epoch
        self._stopping: dict[tuple[str, int], StopAgent] = {}  # told to, and not over
        self._lapsed: list[RunAgent] = []  # ended because the daemon stood still, which does not know yet
        self._stops = 0  # of the daemon, and its goings on
        self._is_idle = False

    def cards(self, beside: tuple[str, ...] = ()) -> tuple[Card, ...]:
        """What is announced: one agent that can do the usual and what is named `beside` it, or none."""
        model, odd = self._model, self._odd
        slots = model.slots if odd.slots is None else odd.slots
        if not slots:
            return ()
        card = Card(
            name="worker",
            capabilities=(CAPABILITY, *beside),
            slots=slots,
            latency_ms=model.claims_ms if odd.claims_ms is None else odd.claims_ms,
            cost_per_call=model.cost if odd.cost is None else odd.cost,
        )
        return (card,)

    def run(self, order: RunAgent) -> None:
        """Begin; the end comes after a drawn time."""
        self._runs[(order.task, order.epoch)] = order
        least_s, most_s = self._model.runs_s
        took_s = self._odd.slower * (least_s + self._rng.random() * (most_s - least_s))
        if self._is_idle or order.capability != CAPABILITY:  # or it was under way when the world began, and outlasts it
            took_s = ENDLESS_S
        failure = AgentFailed(order.task, order.epoch, "agent_failed", "drawn to fail", retry=True)
        is_failure = self._rng.random() < self._model.fails
        if self._odd.refuses and self._rng.random() < self._odd.refuses:
            failure = AgentFailed(order.task, order.epoch, "agent_unavailable", "drawn to refuse", retry=True)
            took_s, is_failure = REFUSES_AFTER_S, True
        self._timeline.after(ns(took_s), self._end, order, failure if is_failure else None)

    def idle(self, *, is_idle: bool) -> None:
        """What they are given they begin, and never end; until they work again."""
        self._is_idle = is_idle

    def stop(self, order: StopAgent) -> None:
        """End it; that it is over is reported a moment later."""
        if self._runs.pop((order.task, order.epoch), None) is not None:
            self._stopping[(order.task, order.epoch)] = order
            self._timeline.after(ns(STOPS_AFTER_S), self._stopped, order)

    def stand_still(self) -> None:
        """The daemon was stopped: exclusive work ends two thirds of a lease later, if it does not go on before."""
        self._stops += 1
        for order in self._runs.values():
            if order.lease_s:
                self._timeline.after(ns(limits.STILL_LEASES * order.lease_s), self._lapse, order, self._stops)

    def go_on(self) -> None:
        """The daemon goes on, and hears what ended meanwhile."""
        self._stops += 1
        lapsed, self._lapsed = self._lapsed, []
        for order in lapsed:
            said = "was ended, because its daemon stood still"
            self._report(AgentFailed(order.task, order.epoch, "agent_unavailable", said, retry=True))

    def _lapse(self, order: RunAgent, stops: int) -> None:
        if stops == self._stops and self._runs.get((order.task, order.epoch)) is order:
            del self._runs[(order.task, order.epoch)]
            self._lapsed.append(order)

    def lose_all(self) -> None:
        """The host crashed."""
        self._runs.clear()
        self._stopping.clear()
        self._lapsed.clear()

    def running(self) -> list[str]:
        """Tasks that run, the oldest first."""
        return [task for task, _ in (*self._runs, *self._stopping)]

    def _stopped(self, order: StopAgent) -> None:
        if self._stopping.get((order.task, order.epoch)) is order:
            del self._stopping[(order.task, order.epoch)]
            self._report(AgentStopped(order.task, order.epoch))

    def _end(self, order: RunAgent, failure: AgentFailed | None) -> None:
        if self._runs.get((order.task, order.epoch)) is not order:
            return
        del self._runs[(order.task, order.epoch)]
        if failure is not None:
            self._report(failure)
            return
        self._report(AgentFinished(order.task, order.epoch, result_of(self._host, order.task, order.epoch)))


def result_of(host: str, task: str, epoch: int) -> bytes:
    """What the agent of a host makes of a task, as msgpack: who made it, of what, and for which award."""
    return msgspec.msgpack.encode([host, task, epoch])


def made_by(result: bytes, task: str, epoch: int) -> bool:
    """Is that what the agent of any host made of this task for this award?"""
    made: list[object] = msgspec.msgpack.decode(result, type=list)
    return made[1:] == [task, epoch]
