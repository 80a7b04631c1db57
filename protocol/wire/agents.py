"""What nodes say about agents: the card of one agent, carried in the fact `capabilities`."""

from msgspec import Struct


class Card(Struct, frozen=True, array_like=True):
    """One agent as its node announces it.

    Latency in milliseconds, cost in the mesh's own unit per call; both are the manifest's claims.
    """

    name: str
    capabilities: tuple[str, ...]
    slots: int
    kind: str = "stdio"
    domain: str = ""
    version: str = ""
    purpose: str = ""
    owner_team: str = ""
    latency_ms: int = 0
    cost_per_call: float = 0.0
    confidence: float = 0.0
    visibility: str = "mesh"
    topics: tuple[str, ...] = ()  # that it listens to
    problem: str = ""  # why it is not up, one clause; it has no slots then
