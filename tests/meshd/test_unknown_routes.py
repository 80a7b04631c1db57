"""A way to give out a task that there is none of, asked for at a real daemon."""

import pytest

from protocol.errors import MeshError
from tests.meshd.little_daemons import little_daemons


@pytest.mark.parametrize("route", ["fastest", "Fast Lane!", "", "x" * 9_000, "bids\n"])
async def test_an_unknown_route_is_refused_in_one_sentence_with_the_list_of_those_there_are(route: str) -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        with pytest.raises(MeshError) as caught:
            await a.submit(route=route)
        refusal = caught.value
        assert refusal.code == "bad_route"
        assert len(str(refusal)) < 100
        assert "auto, local, gossip, bids, late, broadcast" in refusal.hint
