"""Which tools of an MCP server become which capabilities, and what their answers are as values; pure.

Invariant: a name means one tool, whatever the order of the list; what cannot be offered is named with its reason.
Neighbour: `bridge` speaks with the server.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from meshd.agents.schemas import Checks
from meshd.ports import Schema
from meshd.quoting import quoted
from protocol.ids import is_capability
from protocol.limits import TEXT_CHARS_MAX

TOOLS_MAX = 64  # announced by one agent, as of a manifest's capabilities
TOOLS_LISTED_MAX = 1_000  # by one server; what lists more is not read to its end
SCHEMA_BYTES_MAX = 65_536  # of one tool; beyond it is no description any more
MAJOR = "@1"  # MCP knows no versions of tools

_STRANGE = re.compile(r"[^a-z0-9_.-]")


class BridgePlan(Struct, frozen=True):
    """What the daemon tells a bridge, as JSON: which server, and what it may use.

    It names files of secrets, never what they hold. Relative paths are of the folder it runs in.
    """

    run: tuple[str, ...]
    url: str
    token_file: str
    headers_file: str
    capabilities: tuple[str, ...]
    memory_bytes: int
    output_bytes_max: int
    connect_s: float


class Tool(Struct, frozen=True):
    """One tool as its server lists it."""

    name: str
    takes: dict[str, Any]
    gives: dict[str, Any] | None = None


class Offer(Struct, frozen=True):
    """A tool that is offered, with its schemas compiled."""

    tool: str
    schema: Schema
    checks: Checks


def capability_of(tool: str) -> str:
    """Its name as a capability: in small letters, "_" for what a capability cannot hold. May still be none."""
    return _STRANGE.sub("_", tool.lower()) + MAJOR


def offered(tools: Iterable[Tool], wanted: tuple[str, ...]) -> tuple[dict[str, Offer], list[str]]:
    """The offers by capability, and a sentence for each tool or wish that is left out.

    `wanted`: only these; none is all of them.
    """
    named: dict[str, list[Tool]] = {}
    for tool in tools:
        named.setdefault(capability_of(tool.name), []).append(tool)
    offers: dict[str, Offer] = {}
    problems: list[str] = []
    for capability, same in named.items():
        if wanted and capability not in wanted:
            continue
        try:
            problem = _problem(capability, same)
            if not problem and len(offers) == TOOLS_MAX:
                problem = f"{TOOLS_MAX} tools are offered already; name those you want under capabilities"
            if not problem:
                offers[capability] = _offer(capability, same[0])
        except UnicodeEncodeError:
            problem = "its schemas hold what is no text"
        except RecursionError:
            problem = "its schemas are nested too deep"
        except ValueError as failure:
            problem = str(failure)
        if problem:
            problems.append(f"the tool {quoted(same[0].name)} is left out: {problem}")
    problems += [f"no tool of the server is {capability}" for capability in wanted if capability not in named]
    return offers, problems


def _problem(capability: str, same: list[Tool]) -> str:
    if not is_capability(capability):
        return f"{quoted(capability)} is no name of a capability (a letter, then a-z 0-9 _ . -, 64 in all)"
    if len(same) > 1:
        others = " and ".join(quoted(tool.name) for tool in same[1:4])
        return f"as a capability it is {capability}, and so is {others}"
    if len(msgspec.json.encode((same[0].takes, same[0].gives))) > SCHEMA_BYTES_MAX:
        return f"its schemas are larger than {SCHEMA_BYTES_MAX} bytes"
    return ""


def _offer(capability: str, tool: Tool) -> Offer:
    schema = Schema(takes=tool.takes, gives=True if tool.gives is None else tool.gives)
    return Offer(tool=tool.name, schema=schema, checks=Checks({capability: schema}))


def value_of(structured: object, parts: Sequence[Mapping[str, Any]]) -> object:
    """A tool's answer as one value: what is structured as it is; else its one part, or a list of them.

    A part that is text becomes text, any other stays the object that it is on the wire.
    """
    if structured is not None:
        return structured
    plain = [part["text"] if part.get("type") == "text" and "text" in part else dict(part) for part in parts]
    if not plain:
        return None
    return plain[0] if len(plain) == 1 else plain


def complaint_of(parts: Sequence[Mapping[str, Any]]) -> str:
    """What a tool says of its own failure, as one text."""
    texts = [str(part["text"]) for part in parts if part.get("type") == "text" and part.get("text")]
    return "\n".join(texts)[:TEXT_CHARS_MAX] or "the tool gave no reason"
