"""JSON values of a look at one node from the inside, for `meshctl doctor`.

Invariant: as in `schemas`: fields are added, never renamed or removed. Neighbours: `upkeep` looks, `cli.checks` reads.
"""

from msgspec import Struct

from meshd.api.schemas import AgentView


class StreamView(Struct, frozen=True):
    """One stream of the record. `problem` is empty when it is as it must be; `bytes_max` 0 is no bound."""

    name: str
    problem: str
    copies: int
    copies_wanted: int
    keys: int
    bytes: int
    bytes_max: int


class Surveyed(Struct, frozen=True):
    """What another node says of itself. `skew_ms` is how far its clock is ahead of ours; null when it did not say.

    `again_s` is 0, or the node answered that it is asked too often, and can be asked again after so long.
    """

    name: str
    id: str
    answered: bool
    rtt_ms: float = 0.0
    skew_ms: int | None = None
    agrees: bool | None = None
    alive: int | None = None
    draining: bool = False
    version: str = ""
    held_by: tuple[str, ...] = ()
    again_s: float = 0.0


class Diagnosis(Struct, frozen=True):
    """A look at this node from the inside, for `meshctl doctor`. `lag_ms`: how long the engine took to answer.

    A probe is asked again after `probe_again_ms`; `probe_origin` is who set that, as with the settings.
    """

    version: str
    directory: str
    nats: str
    server_version: str
    store_problem: str
    streams: tuple[StreamView, ...]
    peers: tuple[Surveyed, ...]
    alive: int
    lag_ms: float
    inbox_waiting: int
    inbox_max: int
    writes_waiting: int
    writes_max: int
    exposed: tuple[str, ...]
    agents: tuple[AgentView, ...]
    manifests: tuple[str, ...]
    lost: tuple[str, ...] = ()  # nodes that did not say goodbye and are suspect or dead
    clock_ahead_ms: int = 0  # of this host, ahead of most others; 0 unless it is off by seconds
    probe_again_ms: float = 0.0
    probe_origin: str = ""
