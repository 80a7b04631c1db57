"""How the agents of this node have done since it started: ends, how long they took, how often they went down.

Invariant: a few numbers an agent, whatever it did; tasks and calls count, events do not. Neighbours: `hosting` counts,
`views` shows. What bids are made of is the core's own, `protocol.performance`.
"""

from msgspec import Struct, structs

from meshd import clock
from protocol.performance import GAIN


class Ran(Struct, frozen=True):
    """One agent. `latency_ms` is of the last ten or so that were done; `last_error_ms` is wall time."""

    done: int = 0
    failed: int = 0
    latency_ms: float = 0.0
    restarts: int = 0
    last_error: str = ""
    last_error_ms: int = 0


class Tally:
    """All of them, by name."""

    def __init__(self) -> None:
        self._ran: dict[str, Ran] = {}

    def done(self, agent: str, *, took_ms: float) -> None:
        """It answered."""
        old = self.of(agent)
        latency_ms = old.latency_ms + GAIN * (took_ms - old.latency_ms) if old.done else took_ms
        self._ran[agent] = structs.replace(old, done=old.done + 1, latency_ms=latency_ms)

    def failed(self, agent: str, why: str) -> None:
        """It failed a task or call."""
        self._err(agent, structs.replace(self.of(agent), failed=self.of(agent).failed + 1), why)

    def fell(self, agent: str, why: str) -> None:
        """It went down, and is started again or looked for."""
        self._err(agent, structs.replace(self.of(agent), restarts=self.of(agent).restarts + 1), why)

    def of(self, agent: str) -> Ran:
        """All zero for one that did nothing yet."""
        return self._ran.get(agent, Ran())

    def forget(self, agent: str) -> None:
        """It was removed."""
        self._ran.pop(agent, None)

    def _err(self, agent: str, ran: Ran, why: str) -> None:
        self._ran[agent] = structs.replace(ran, last_error=why, last_error_ms=clock.wall_ms())
