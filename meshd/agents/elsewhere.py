"""An agent whose manifest lets it run in other regions only: shown and announced without slots, and never started.

Invariant: no process, no connection and no work of it is ever here; what it could do is known all the same, so
that a task for it waits with the reason and is not refused as for something that nobody ever heard of.
Neighbours: `hosting` builds one in place of the real agent; `meshd.ports.Agent` says what an agent is.
"""

from collections.abc import Mapping

from msgspec import structs

from meshd.agents.manifest import Manifest, card
from meshd.ports import AgentWatcher, Desk, Failed, Outcome, Schema, Work

STATE = "elsewhere"
NAMED_MAX = 3  # regions that the reason names; the manifest has them all


class Elsewhere:
    """As `meshd.ports.Agent`, of a node outside the agent's regions."""

    def __init__(self, manifest: Manifest, region: str, on_change: AgentWatcher) -> None:
        self.card = structs.replace(card(manifest), topics=())  # it hears nothing either
        self.state, self.detail = "stopped", ""
        self._why = f"it may run in {_listed(manifest.region)} only, and its node stands in {region}"
        self.schemas: Mapping[str, Schema] = {}
        self.logged = 0
        self._watcher = on_change

    async def start(self) -> None:
        """There is nothing to start: say why."""
        self._turn(STATE, self._why)

    async def run(self, work: Work, desk: Desk) -> Outcome:
        """Work that was given to it by mistake goes to another node."""
        del work, desk
        return Failed("agent_unavailable", self._why, retry=True)

    async def stop(self) -> None:
        """It is not even announced any more."""
        self._turn("stopped", "")

    def log(self) -> list[str]:
        """It never ran."""
        return []

    def _turn(self, state: str, detail: str) -> None:
        if state != self.state:
            self.state, self.detail = state, detail
            self._watcher(self.card.name, state, detail)


def _listed(regions: tuple[str, ...]) -> str:
    named = ", ".join(regions[:NAMED_MAX])
    others = len(regions) - NAMED_MAX
    return f"{named} and {others} more" if others > 0 else named
