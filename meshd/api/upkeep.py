"""What an operator asks of a daemon: its settings, its log, who drains, who is forgotten, and how it is.

Invariant: as for `backend`, `MeshError` is the only exception that comes out. Neighbours: `routes`
calls it; `meshd.upkeep` does it.
"""

from typing import Protocol

from meshd.api.schemas import Diagnosis, LogLevel, Removed, Settings, Steered


class Upkeep(Protocol):
    """One daemon, seen by who looks after it."""

    def settings(self) -> Settings:
        """Every setting, its value and where it came from."""
        ...

    def set_log_level(self, level: str) -> LogLevel:
        """Until the daemon ends."""
        ...

    async def steer(self, name: str, *, draining: bool) -> Steered:
        """Tell a node to take no new work, or to take it again. Raises unknown_peer, timed_out."""
        ...

    async def remove(self, name: str) -> Removed:
        """Show a gone node no more, here and on every living node. Raises unknown_peer, still_alive."""
        ...

    async def diagnose(self) -> Diagnosis:
        """Look at the server, the streams, the peers and ourselves; what does not answer is said to be silent."""
        ...
