"""Lists of tools as servers send them: what is none is taken out by name, and all else is as it was."""

from typing import Any

import anyio
import mcp_types
import pytest
from mcp.shared.message import SessionMessage
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

from meshd.agents.sieve import Sieve
from meshd.agents.tools import TOOLS_LISTED_MAX

GOOD: dict[str, Any] = {"name": "good", "inputSchema": {"type": "object"}, "more": 3}


async def sifted(result: dict[str, Any], version: str = "2025-06-18") -> tuple[dict[str, Any], list[str]]:
    incoming, outgoing = anyio.create_memory_object_stream[SessionMessage | Exception](1)
    async with incoming, outgoing:
        sieve = Sieve(outgoing)
        sieve.version = version
        await incoming.send(SessionMessage(mcp_types.JSONRPCResponse(jsonrpc="2.0", id=1, result=result)))
        passed = await sieve.receive()
        assert isinstance(passed, SessionMessage)
        assert isinstance(passed.message, mcp_types.JSONRPCResponse)
        return passed.message.result, sieve.left_out


@pytest.mark.parametrize("version", KNOWN_PROTOCOL_VERSIONS)
@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("text", "the tool 'text' is left out: "),
        (None, "the tool None is left out: "),
        ({}, "the tool None is left out: "),
        ({"name": "x"}, "the tool 'x' is left out: inputSchema: Field required"),
        ({"name": "x", "inputSchema": []}, "the tool 'x' is left out: inputSchema: "),
        ({"name": "x", "inputSchema": {"type": "array"}}, "the tool 'x' is left out: inputSchema.type: "),
        ({"name": 3, "inputSchema": {"type": "object"}}, "the tool 3 is left out: name: "),
        ({**GOOD, "name": "x", "outputSchema": "any"}, "the tool 'x' is left out: outputSchema: "),
        ({**GOOD, "name": "x" * 9_000, "description": []}, "the tool 'xxxx"),
    ],
    ids=lambda value: ascii(value)[:30],
)
async def test_a_tool_that_is_none_is_taken_out_by_name(version: str, tool: object, expected: str) -> None:
    result, left_out = await sifted({"tools": [GOOD, tool, GOOD], "nextCursor": "more"}, version)
    assert result == {"tools": [GOOD, GOOD], "nextCursor": "more"}
    assert len(left_out) == 1
    assert left_out[0].startswith(expected)
    assert len(left_out[0]) < 700


@pytest.mark.parametrize(
    "result",
    [{}, {"tools": "many"}, {"tools": {"a": 1}}, {"content": []}, {"tools": [3] * (TOOLS_LISTED_MAX + 1)}],
    ids=lambda value: ascii(value)[:30],
)
async def test_what_is_no_list_of_tools_is_left_as_it_is(result: dict[str, Any]) -> None:
    assert await sifted(dict(result)) == (result, [])


async def test_a_failure_of_the_transport_passes() -> None:
    incoming, outgoing = anyio.create_memory_object_stream[SessionMessage | Exception](1)
    async with incoming, Sieve(outgoing) as sieve:
        await incoming.send(ValueError("no JSON"))
        async for passed in sieve:
            assert isinstance(passed, ValueError)
            break
        await incoming.aclose()
        with pytest.raises(anyio.EndOfStream):
            await sieve.receive()
