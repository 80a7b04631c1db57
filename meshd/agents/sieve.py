"""What comes from an MCP server, without the tools that are none: the client's library would refuse the whole list.

Invariant: all else passes as it is, and each tool that is taken out is named with the reason. Neighbours: `bridge`
reads through it, `tools` judges the schemas of those that pass.
"""

from types import TracebackType
from typing import Any, Self, TypeAlias

import mcp_types
from mcp.shared._stream_protocols import ReadStream
from mcp.shared.message import SessionMessage
from mcp_types import methods
from pydantic import ValidationError

from meshd.agents.tools import TOOLS_LISTED_MAX
from meshd.quoting import quoted
from protocol.limits import TEXT_CHARS_MAX

Incoming: TypeAlias = SessionMessage | Exception

# What a list must hold beside its tools, whatever the version of the protocol.
_ELSE = {"resultType": "complete", "cacheScope": "private", "ttlMs": 0}


class Sieve:
    """A stream of messages that the client reads instead of the one behind it."""

    def __init__(self, stream: ReadStream[Incoming]) -> None:
        self.left_out: list[str] = []  # since it was emptied, a sentence each
        self.version = mcp_types.LATEST_PROTOCOL_VERSION  # of the protocol, once it is agreed on
        self._stream = stream

    async def receive(self) -> Incoming:
        return self._sifted(await self._stream.receive())

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Incoming:
        return self._sifted(await self._stream.__anext__())

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, failure, trace)

    @property
    def last_context(self) -> Any:
        """Of the message read last; the library asks for it where there is one."""
        return getattr(self._stream, "last_context", None)

    def _sifted(self, item: Incoming) -> Incoming:
        if isinstance(item, SessionMessage) and isinstance(item.message, mcp_types.JSONRPCResponse):
            tools = item.message.result.get("tools")
            if isinstance(tools, list) and len(tools) <= TOOLS_LISTED_MAX:
                item.message.result["tools"] = [tool for tool in tools if self._is_one(tool)]
        return item

    def _is_one(self, tool: object) -> bool:
        try:
            methods.parse_server_result("tools/list", self.version, _ELSE | {"tools": [tool]})
        except ValidationError as failure:
            self.left_out.append(f"the tool {_named(tool)} is left out: {_misfit(failure)}")
            return False
        return True


def _named(tool: object) -> str:
    name = tool.get("name") if isinstance(tool, dict) else tool
    return quoted(name)


def _misfit(failure: ValidationError) -> str:
    first = failure.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(step) for step in first["loc"][2:])  # within the tool
    return f"{place}: {first['msg']}"[:TEXT_CHARS_MAX] if place else first["msg"][:TEXT_CHARS_MAX]
