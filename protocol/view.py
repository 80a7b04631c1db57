"""What the machines that give out work may ask about the rest of the mesh.

Invariant: a reader; the answers are as of now. `node.py` implements it over membership and catalogue.
"""

from typing import Protocol

from protocol.primitives import Instant, NodeId
from protocol.routing import Candidate


class View(Protocol):
    """Live agents, their slots, and how far away they are."""

    def candidates(self, capability: str, now: Instant) -> list[Candidate]:
        """Agents of live nodes with the capability, the best first."""
        ...

    def draining(self, capability: str, now: Instant) -> tuple[str, ...]:
        """Names of live nodes that have the capability and take no new work."""
        ...

    def can_wait(self, capability: str, now: Instant) -> bool:
        """Somebody may do it soon, if nobody can now: a node that takes no new work, or one that is suspected."""
        ...

    def reserve(self, node: NodeId, agent: str, task: str) -> None:
        """An award to this agent is under way: count its slot at once."""
        ...

    def accepted(self, node: NodeId, agent: str, task: str, said: int) -> None:
        """The owner has the task, by its frame number `said`: later loads show the slot as taken."""
        ...

    def release(self, node: NodeId, agent: str, task: str, said: int, now: Instant) -> None:
        """The slot is free again, by the owner's frame number `said`, or was never taken (0)."""
        ...

    def refused(self, node: NodeId, agent: str, task: str) -> None:
        """The award found every slot taken: what we believed of this agent was wrong."""
        ...

    def life_of(self, node: NodeId) -> int | None:
        """The life of a node as last seen, or None."""
        ...

    def round_trip_s(self, node: NodeId) -> float:
        """Seconds from a message to its answer, lately."""
        ...
