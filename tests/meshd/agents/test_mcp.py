"""The kind `mcp` against servers of the official package: over stdin and stdout, and at a URL."""

import asyncio
import importlib.util
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshd.agents import mcp
from meshd.agents.adapters import ADAPTERS
from meshd.ports import Failed, Finished
from protocol.errors import MeshError
from tests.contracts.stage import Desk, Stage
from tests.servers import free_port
from tests.waiting import until

SERVER = '''
import os, sys
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("weather")

@server.tool()
def add(a: int, b: int) -> int:
    """Two numbers."""
    return a + b

@server.tool()
async def forecast(city: str, ctx: Context) -> dict[str, str]:
    await ctx.report_progress(1, 2, "looked up")
    if city == "nowhere":
        raise ValueError("no such city")
    return {"city": city, "sky": "clear"}

@server.tool(structured_output=False)
def hello() -> str:
    return "hello"

if len(sys.argv) > 1:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run()
'''


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "server.py").write_text(SERVER)
    return tmp_path / "server.py"


@pytest.fixture
def port(program: Path) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, str(program), str(port)], stderr=subprocess.DEVNULL)
    yield port
    process.kill()
    process.wait()


async def checked(stage: Stage) -> None:
    async def run(capability: str, input: object, desk: Desk | None = None) -> object:
        outcome = await stage.agent.run(stage.work(input, capability=capability), desk or Desk())
        return outcome.output if isinstance(outcome, Finished) else outcome

    assert stage.agent.card.capabilities == ("add@1", "forecast@1", "hello@1")
    assert await run("add@1", {"a": 2, "b": 3}) == {"result": 5}
    assert await run("hello@1", None) == "hello"
    assert await run("forecast@1", {"city": "Pune"}, desk := Desk()) == {"city": "Pune", "sky": "clear"}
    assert desk.said == [{"progress": 1, "total": 2, "message": "looked up"}]
    wrong = "the input does not fit what add@1 takes: a: 'two' is not of type \"integer\""
    assert await run("add@1", {"a": "two", "b": 3}) == Failed("bad_input", wrong, retry=False)
    failed = await run("forecast@1", {"city": "nowhere"})
    assert failed == Failed("agent_failed", "Error executing tool forecast", retry=False)


async def test_an_official_server_as_a_command(program: Path) -> None:
    async with Stage("mcp", program.parent, run=[sys.executable, "server.py"]) as stage:
        await checked(stage)


async def test_an_official_server_at_a_url(port: int, tmp_path: Path) -> None:
    async with Stage("mcp", tmp_path, url=f"http://127.0.0.1:{port}/mcp", run=[]) as stage:
        await until(lambda: stage.agent.state == "ready")
        await checked(stage)


async def test_a_url_where_nobody_is_shows_as_restarting_with_the_reason(tmp_path: Path) -> None:
    with socket.socket() as nobody:  # bound and not listening: refused
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/mcp"
        async with Stage("mcp", tmp_path, url=url, run=[]) as stage:
            await until(lambda: stage.agent.state == "restarting")
            assert stage.agent.detail.startswith(f"ended with exit code 1: the MCP server {url}: ")
            assert "Traceback" not in stage.agent.detail
            assert stage.agent.card.capabilities == ()


async def test_an_answer_without_end_from_a_url_ends_the_bridge_with_a_sentence(tmp_path: Path) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 100_000)
                await writer.drain()
        except ConnectionError:
            writer.close()

    service = await asyncio.start_server(flood, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}/"
    async with Stage("mcp", tmp_path, url=url, run=[]) as stage:
        await until(lambda: "answers more than 4194304 bytes" in stage.agent.detail)
    service.close()


async def test_a_redirect_to_another_place_is_not_followed_and_named(tmp_path: Path) -> None:
    async def away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 307 X\r\nLocation: http://169.254.169.254/keys\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    service = await asyncio.start_server(away, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}/"
    async with Stage("mcp", tmp_path, url=url, run=[]) as stage:
        await until(lambda: "Redirect to http://169.254.169.254/keys not followed" in stage.agent.detail)
    service.close()


def test_without_the_extra_the_manifest_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshd.agents.manifest.find_spec", lambda name: None)
    with pytest.raises(
        MeshError, match=r"kind: an mcp agent needs the package mcp; try: pip install 'agent-meshd\[mcp\]'"
    ):
        Stage("mcp", tmp_path)


def test_the_daemon_never_loads_the_package(tmp_path: Path) -> None:
    assert ADAPTERS["mcp"] is mcp.build
    assert importlib.util.find_spec("mcp") is not None
    code = "import sys, meshd.agents.adapters; assert not {'mcp', 'pydantic', 'anyio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
