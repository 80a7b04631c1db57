"""An agent whose adapter may break: `meshd.ports.Agent` around another one.

Invariant: whatever an adapter raises that it should not, this agent alone suffers. What works in its background
marks it failed and ends what it has in hand; a single task fails by itself, or an input could put down agent after
agent; the trace goes to the agent's log. Neighbours: `adapters` builds what stands within; `hosting` holds this.
"""

import asyncio
import traceback
from collections.abc import Mapping

from meshd.agents.adapters import build
from meshd.agents.manifest import Manifest
from meshd.agents.reaper import Reaper
from meshd.ports import Agent, AgentWatcher, Desk, Failed, Outcome, Schema, Work
from meshd.supervise import Supervisor
from protocol.errors import MeshError
from protocol.limits import TEXT_CHARS_MAX
from protocol.wire.agents import Card

TRACE_LINES_MAX = 100  # kept of what broke: the innermost say where


class Guarded:
    """One agent, of whatever kind, that takes nothing else with it."""

    def __init__(self, manifest: Manifest, on_change: AgentWatcher, supervisor: Supervisor, reaper: Reaper) -> None:
        self._manifest = manifest
        self._watcher = on_change
        self._supervisor = supervisor
        self._broken = ""  # by what
        self._trace: list[str] = []
        self._traced = 0
        self._agent: Agent = build(manifest, self._changed, supervisor.apart(self._broke), reaper)

    @property
    def card(self) -> Card:
        """What is announced."""
        return self._agent.card

    @property
    def state(self) -> str:
        """As the adapter says, or failed."""
        return "failed" if self._broken else self._agent.state

    @property
    def detail(self) -> str:
        """As the adapter says, or what it broke by."""
        return self._broken or self._agent.detail

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """Those of the adapter."""
        return self._agent.schemas

    async def start(self) -> None:
        """As `meshd.ports.Agent.start`; one that broke begins anew."""
        self._broken = ""
        try:
            await self._agent.start()
        except MeshError:
            await self._settled()
            if not self._broken:
                raise
        except Exception as failure:  # noqa: BLE001 - a mistake of its adapter is this agent's failure alone
            self._broken = self._noted("start", failure)
            await self._end()
        await self._settled()
        if self._broken:
            raise MeshError("manifest", path=self._manifest.path, problem=f"the agent {self._broken}")

    async def run(self, work: Work, desk: Desk) -> Outcome:
        """As `meshd.ports.Agent.run`; what its adapter stumbles over is not tried again elsewhere."""
        try:
            return await self._agent.run(work, desk)
        except Exception as failure:  # noqa: BLE001 - a mistake of its adapter is this task's failure alone
            return Failed("agent_failed", f"the agent {self._noted(work.task, failure)}", retry=False)

    async def stop(self) -> None:
        """As `meshd.ports.Agent.stop`."""
        await self._end()
        if self._broken:
            self._broken = ""
            self._watcher(self._manifest.name, self.state, self.detail)

    @property
    def logged(self) -> int:
        """How many lines it ever wrote, and were noted of it."""
        return self._agent.logged + self._traced

    def log(self) -> list[str]:
        """Its last lines, and where it broke."""
        return [*self._agent.log(), *self._trace]

    @staticmethod
    async def _settled() -> None:
        """What it began in the background, and broke at once, is told at return."""
        await asyncio.sleep(0)

    async def _end(self) -> None:
        try:
            await self._agent.stop()
        except Exception as failure:  # noqa: BLE001 - the others are to be stopped, too
            self._noted("stop", failure)

    def _changed(self, name: str, state: str, detail: str) -> None:
        if not self._broken:
            self._watcher(name, state, detail)

    def _broke(self, what: str, failure: BaseException) -> None:
        """What it does in the background ended as nothing should."""
        reason = self._noted(what, failure)
        if not self._broken:
            self._broken = reason
            self._supervisor.spawn(f"agent {self._manifest.name}: broke", self._end())
            self._watcher(self._manifest.name, "failed", reason)

    def _noted(self, what: str, failure: BaseException) -> str:
        """Keep where it broke; the end of a sentence that says by what."""
        lines = "".join(traceback.format_exception(failure)).splitlines()
        self._trace = [f"meshd: {what} broke off:", *lines[-TRACE_LINES_MAX:]]
        self._traced += len(self._trace)
        [*_, last] = traceback.format_exception_only(failure)
        return f"broke off by a mistake of its adapter: {last.strip()}"[:TEXT_CHARS_MAX]
