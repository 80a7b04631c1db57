"""The table of adapters: a kind of agent and what builds it. A new kind is one line here and one in `Kind`."""

from typing import Protocol

from meshd.agents import http, mcp, python, stdio
from meshd.agents.manifest import Kind, Manifest
from meshd.agents.reaper import Reaper
from meshd.agents.seat import Patience
from meshd.ports import Agent, AgentWatcher
from meshd.supervise import Supervisor


class Build(Protocol):
    """Makes the agent that a manifest declares; it is not started yet."""

    def __call__(
        self,
        manifest: Manifest,
        on_change: AgentWatcher,
        supervisor: Supervisor,
        reaper: Reaper,
        patience: Patience | None = None,
    ) -> Agent: ...


ADAPTERS: dict[Kind, Build] = {
    "python": python.build,
    "stdio": stdio.build,
    "http": http.build,
    "mcp": mcp.build,
}


def build(
    manifest: Manifest,
    on_change: AgentWatcher,
    supervisor: Supervisor,
    reaper: Reaper,
    patience: Patience | None = None,
) -> Agent:
    """The agent that `manifest` declares, not yet started; `on_change` is told of every change of its state."""
    return ADAPTERS[manifest.kind](manifest, on_change, supervisor, reaper, patience)
