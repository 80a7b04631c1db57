"""A turn of the engine that takes long: nobody was heard meanwhile, and the node blames itself."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from protocol.effects import Effect
from protocol.events import PeerSuspect
from protocol.inputs import Input, Lagged
from protocol.primitives import NS_PER_S, Instant
from tests.meshd.little_daemons import LittleDaemon
from tests.meshd.virtual.loop import VirtualLoop
from tests.meshd.virtual.stage import mesh, play

TURN_S = 0.8


@contextmanager
def _takes_long(daemon: LittleDaemon) -> Iterator[list[int]]:
    """Its next input takes so long that nothing else happens meanwhile; what the node was told of it afterwards."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    handle, is_over, told = daemon.node.handle, False, list[int]()

    def handled(input: Input, now: Instant) -> list[Effect]:
        nonlocal is_over
        if not is_over:
            is_over = True
            loop.now_ns += int(TURN_S * NS_PER_S)
        elif isinstance(input, Lagged):
            told.append(input.late_ms)
        return handle(input, now)

    with patch.object(daemon.node, "handle", handled):
        yield told


def test_a_long_turn_is_lateness_that_raises_the_health_of_the_node_and_accuses_nobody() -> None:
    async def scene() -> tuple[list[int], int, int]:
        async with mesh("abcde") as m:
            a = m["a"]
            a.engine.take_lag_ms()
            with _takes_long(a) as told:
                await m.until(lambda: told, 1.0, "its being told")
                health = a.node.membership.health
                await asyncio.sleep(5.0)
            assert [event for each in m.all for event in each.events if isinstance(event, PeerSuspect)] == []
            return told, health, a.engine.take_lag_ms()

    told, health, most_ms = play(scene)
    assert (len(told), health) == (1, 1)
    assert TURN_S * 1_000 <= told[0] == most_ms < TURN_S * 1_000 + 250
