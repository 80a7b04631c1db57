"""Where the scenes of this folder are played: real daemons in virtual time, over wires that have faults.

Invariant: a scene played twice is the same scene: time begins at the same instant, chance has a seed.
Neighbours: `loop.py` is the time, `wires.py` the broker, `tests/meshd/little_daemons.py` the daemons.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

from meshd import clock
from meshd.store.memory import MemoryStore
from protocol.primitives import NodeId
from protocol.watched import TaskSettings
from tests.meshd.little_daemons import Actor, LittleDaemon, LittleDaemons, little_daemons
from tests.meshd.virtual.loop import VirtualLoop
from tests.meshd.virtual.wires import Wires

WALL_MS = 1_800_000_000_000  # in 2027, whenever the test runs

_T = TypeVar("_T")


def play(scene: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Play a scene on a loop of its own, meshd's clock on that loop; what it leaves running is cancelled."""
    loop, rng = VirtualLoop(), Random(7)
    with (
        patch.object(clock, "monotonic_ns", lambda: loop.now_ns),
        patch.object(clock, "awake_ns", lambda: loop.now_ns),
        patch.object(clock, "wall_ms", lambda: WALL_MS + loop.now_ns // 1_000_000),
        patch.object(secrets, "SystemRandom", lambda: rng),
        patch.object(secrets, "token_hex", lambda count: rng.randbytes(count).hex()),
        asyncio.Runner(loop_factory=lambda: loop) as runner,
    ):
        return runner.run(scene())


class Mesh:
    """Some daemons of one scene, by name."""

    def __init__(self, daemons: LittleDaemons, wires: Wires) -> None:
        self.daemons = daemons
        self.wires = wires

    def __getitem__(self, name: str) -> LittleDaemon:
        return self.daemons.daemons[name]

    @property
    def all(self) -> list[LittleDaemon]:
        """Those that live, in the order of their start."""
        return list(self.daemons.daemons.values())

    def is_one_view(self) -> bool:
        """Every daemon is joined and sees every other alive, with its agents."""
        return all(each.node.state == "joined" and self.daemons.sees_all(each) for each in self.all)

    async def until(self, condition: Callable[[], object], within_s: float, what: str) -> float:
        """Seconds of virtual time until it was so."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await self.all[0].until(condition, what, within_s)
        return loop.time() - began_s

    def state_of(self, node: NodeId) -> set[str]:
        """What the daemons take it for."""
        return {peer.state for each in self.all if (peer := each.node.membership.peer(node)) is not None}

    async def owner_of(self, task: str) -> str:
        """Who runs it, as soon as somebody does."""
        owners: list[str] = []

        def is_running() -> bool:
            owners[:] = [
                each.name for each in self.all for actor in each.actors for run in actor.runs if run.task == task
            ]
            return bool(owners)

        await self.until(is_running, 10.0, f"a run of {task}")
        return owners[-1]

    def dead(self) -> set[tuple[str, str]]:
        """Who was ever called dead, and by whom, by name."""
        names = {each.me.id: each.name for each in self.all}
        said = [(each.name, event) for each in self.all for event in each.events]
        kinds = [(name, event, str(event.__struct_config__.tag)) for name, event in said]
        return {(names[event.peer], name) for name, event, kind in kinds if kind == "peer_dead"}  # type: ignore[union-attr]  # this kind has a peer


@asynccontextmanager
async def mesh(
    names: str, actor: Callable[[], Actor] = Actor, *, make_store: type[MemoryStore] = MemoryStore
) -> AsyncIterator[Mesh]:
    """A daemon for each letter, with an agent each, and of one view."""
    async with little_daemons(TaskSettings()) as daemons:
        daemons.bus = wires = Wires(Random(7))
        daemons.make_store = make_store
        for name in names:
            await daemons.start(name, actor())
        yield Mesh(daemons, wires)
