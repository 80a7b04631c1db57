"""What a capability takes and gives, asked of any node: the nodes of its agents tell."""

import pytest

from meshd.ports import Schema
from protocol import limits
from protocol.errors import MeshError
from tests.meshd.little_daemons import CAPABILITY, Actor, little_daemons


async def test_what_a_capability_takes_and_gives_is_told_by_the_nodes_of_its_agents_wherever_one_asks() -> None:
    async with little_daemons() as mesh:
        said, plain = Actor("said"), Actor("plain")
        said.schemas = {CAPABILITY: Schema(takes={"type": "string"})}
        a, b = await mesh.start("a", said, plain), await mesh.start("b")
        for asked in (a, b):
            shown = await asked.service.capability(CAPABILITY)
            assert [(each.agent, each.takes, each.gives, each.node_name) for each in shown.schemas] == [
                ("plain", True, True, "a"),
                ("said", {"type": "string"}, True, "a"),
            ]
            assert shown.untold == ()
        with pytest.raises(MeshError, match="nobody in the mesh has the capability other@1"):
            await b.service.capability("other@1")


async def test_schemas_that_are_not_told_are_named() -> None:
    async with little_daemons() as mesh:
        large = Actor("large")
        large.schemas = {CAPABILITY: Schema(takes={"description": "x" * limits.SCHEMA_BYTES_MAX})}
        await mesh.start("a", large, Actor("small"))
        b = await mesh.start("b")
        shown = await b.service.capability(CAPABILITY)
        assert ([each.agent for each in shown.schemas], shown.untold) == (["small"], ("large on a",))
        await mesh.kill("a")
        shown = await b.service.capability(CAPABILITY)
        assert (shown.schemas, shown.untold) == ((), ("large on a", "small on a"))
