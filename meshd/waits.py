"""What an unfinished task that nobody has waits for, as far as this node can tell.

Invariant: pure; what is not known is not said. Neighbours: `views` asks, with what the task's home said of it and
who offers its capability.
"""

from collections.abc import Container, Sequence
from typing import Literal

from msgspec import Struct

from meshd.agents import elsewhere
from protocol.catalogue import Offered
from protocol.primitives import NodeId
from protocol.wire.task import Status, TaskRecord, TaskState

GONE_MAX = 1_024  # capabilities that nobody offers any more; the oldest is forgotten first


class Waits(Struct, frozen=True):
    """Why nobody has a task. `since_ms`: for how long it is so, where that is known; `until_ms`: when that is over."""

    reason: Literal["backoff", "nobody", "draining", "clock", "down", "region", "busy"]
    message: str
    since_ms: int | None = None
    until_ms: int | None = None


def of(
    record: TaskRecord,
    line: Status | None,
    offered: Sequence[Offered],
    *,
    off: Container[NodeId],
    gone_ms: int | None,
    now_ms: int,
) -> Waits | None:
    """Why, or None for a task that somebody has, or is about to be given.

    `off`: whose clocks are off; `gone_ms`: since when nobody offers the capability.
    """
    if record.state is TaskState.AWARDED and (line is None or not line.waits):
        return None
    if record.state not in (TaskState.OPEN, TaskState.AWARDED):
        return None
    rests_ms = line.rests_until_ms if line is not None else 0
    if rests_ms > now_ms:
        failures = f"{record.failures} failure{'' if record.failures == 1 else 's'}"
        return Waits("backoff", f"a pause after {failures}" if record.failures else "a pause", until_ms=rests_ms)
    capability = record.capability
    if not offered:
        return Waits("nobody", f"nobody offers {capability}", since_ms=gone_ms)
    ready = [each for each in offered if not each.is_draining]
    if not ready:
        return Waits("draining", f"only draining nodes offer {capability}")
    if record.home in off:
        return Waits("clock", "the clock of the task's home is off, which gives out nothing meanwhile")
    ready = [each for each in ready if each.node not in off]
    if not ready:
        return Waits("clock", f"the clocks are off of all who offer {capability}, and they get nothing meanwhile")
    barred = ready[0].card.problem.partition(": ")[2]
    ready = [each for each in ready if not each.card.problem.startswith(elsewhere.STATE)]
    if not ready:
        return Waits("region", f"no agent that offers {capability} may run where it stands: {barred}")
    slots = sum(each.card.slots for each in ready)
    if not slots:
        return Waits("down", f"no agent that offers {capability} is up")
    if any(each.free for each in ready):
        return None
    agents = "the only agent" if len(ready) == 1 else f"all {len(ready)} agents"
    verb, their = ("is", "its") if len(ready) == 1 else ("are", "their")
    taken = f"{their} slot is taken" if slots == 1 else f"all {their} {slots} slots are taken"
    return Waits("busy", f"{agents} for {capability} {verb} busy: {taken}")


class Gone:
    """Since when nobody offers a capability that somebody did, as this daemon saw it."""

    def __init__(self) -> None:
        self._offered: frozenset[str] = frozenset()
        self._since: dict[str, int] = {}

    def note(self, offered: frozenset[str], now_ms: int) -> None:
        """This is what is offered now."""
        for capability in sorted(self._offered - offered):
            self._since[capability] = now_ms
        self._since = {name: at_ms for name, at_ms in self._since.items() if name not in offered}
        while len(self._since) > GONE_MAX:
            del self._since[next(iter(self._since))]
        self._offered = offered

    def since(self, capability: str) -> int | None:
        """Wall-clock milliseconds, or None for what was never seen offered."""
        return self._since.get(capability)
