"""Agents of one host: work that takes a drawn time and ends in a result or a failure.

Invariant: what a host loses when it crashes never reports, and what was stopped says nothing.
Neighbour: `host` runs and stops them; they go on while their daemon is paused, as processes do.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from protocol.effects import RunAgent, StopAgent
from protocol.inputs import AgentFailed, AgentFinished
from protocol.wire.agents import Card
from simulations.chance import Chance
from simulations.network import Share
from simulations.timeline import Timeline, ns

CAPABILITY = "work@1"

Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class AgentModel(Struct, frozen=True, forbid_unknown_fields=True):
    """The agent of each node: slots, how long one task takes (seconds, least and most), how often it fails."""

    slots: Annotated[int, Meta(ge=1, le=64)] = 2
    runs_s: tuple[Seconds, Seconds] = (0.2, 2.0)
    fails: Share = 0.0


class Agents:
    """What runs on one host."""

    def __init__(
        self,
        *,
        host: str,
        timeline: Timeline,
        chance: Chance,
        model: AgentModel,
        report: Callable[[AgentFinished | AgentFailed], None],
    ) -> None:
        self._host = host
        self._timeline = timeline
        self._rng = chance.stream(host, "agent")
        self._model = model
        self._report = report
        self._runs: dict[tuple[str, int], int] = {}  # (task, epoch) → which run this is
        self._number = 0

    def card(self) -> Card:
        """What is announced."""
        return Card(name="worker", capabilities=(CAPABILITY,), slots=self._model.slots)

    def run(self, order: RunAgent) -> None:
        """Begin; the end comes after a drawn time."""
        self._number += 1
        self._runs[(order.task, order.epoch)] = self._number
        least_s, most_s = self._model.runs_s
        took_s = least_s + self._rng.random() * (most_s - least_s)
        is_failure = self._rng.random() < self._model.fails
        self._timeline.after(ns(took_s), self._end, order, self._number, is_failure)

    def stop(self, order: StopAgent) -> None:
        """End it; nothing is reported."""
        self._runs.pop((order.task, order.epoch), None)

    def lose_all(self) -> None:
        """The host crashed."""
        self._runs.clear()

    def running(self) -> list[str]:
        """Tasks that run, the oldest first."""
        return [task for task, _ in self._runs]

    def _end(self, order: RunAgent, number: int, is_failure: bool) -> None:
        if self._runs.get((order.task, order.epoch)) != number:
            return
        del self._runs[(order.task, order.epoch)]
        if is_failure:
            self._report(AgentFailed(order.task, order.epoch, "agent_failed", "drawn to fail", retry=True))
            return
        result = msgspec.msgpack.encode([self._host, order.task, order.epoch])
        self._report(AgentFinished(order.task, order.epoch, result))
