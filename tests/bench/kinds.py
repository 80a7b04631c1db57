"""What each kind of agent costs: the memory of its processes, what a daemon needs for it, and a call of it.

The same work everywhere: the input comes back. Memory is taken when all is idle; calls are taken in turns.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.actor import ACTOR
from tests.bench.guest import Door
from tests.bench.meter import Act, heading, memory_mib, row, side_by_side, spread
from tests.live.hosts import Host
from tests.waiting import until_told

ACTORS = Path(__file__).parents[1] / "contracts" / "actors"
ROUNDS, BLOCK = 8, 15
SETTLE_S = 3.0
VALUE = ["echo", {"text": "x" * 240}]


async def kinds(directory: Path) -> None:
    """A daemon without agents, then one with an agent of each kind."""
    heading("Kinds of agents: memory when idle (RSS / PSS), and a call over the API: p50 / p99")
    bare = Host(directory, "bare")
    await bare.start()
    await asyncio.sleep(SETTLE_S)
    row("daemon without agents", _shown(bare.pid))
    await bare.close()
    service = _served(directory)
    host = Host(directory, "all")
    try:
        assert service.stdout is not None
        url = (await asyncio.to_thread(service.stdout.readline)).decode().strip()
        _declare(host.dir / "agents.d", url)
        await host.start()
        await _measure(host)
    finally:
        service.kill()
        service.communicate()
        await host.close()


def _served(directory: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ACTORS / "speaks_http.py")]
    return subprocess.Popen(command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _declare(folder: Path, url: str) -> None:
    folder.mkdir()
    program = "from typing import Any\nfrom meshd.sdk import Agent\nagent = Agent('echo')\n"
    program += "@agent.handles('python@1')\nasync def echo(value: Any) -> Any:\n    return value\n"
    (folder / "echo.py").write_text(program)
    python = json.dumps(sys.executable)
    runs = {
        "python": 'run = "echo:agent"\ncapabilities = ["python@1"]',
        "stdio": f'run = [{python}, "{ACTOR}"]\ncapabilities = ["stdio@1"]',
        "checked": f'run = [{python}, "{ACTOR}"]\ncapabilities = ["checked@1"]\n'
        '[schemas."checked@1"]\ntakes = { type = "array", minItems = 2 }\ngives = { type = "array" }',
        "http": f'url = "{url}"\ncapabilities = ["http@1"]',
        "mcp": f'run = [{python}, "{ACTORS / "speaks_mcp.py"}"]',
    }
    for name, rest in runs.items():
        kind = "stdio" if name == "checked" else name
        (folder / f"{name}.toml").write_text(f'name = "{name}"\nkind = "{kind}"\n{rest}\n')


async def _measure(host: Host) -> None:
    door = Door(host)

    async def are_ready() -> bool:
        agents = (await door.ask("GET", "/v1/agents"))["agents"]
        return len(agents) == 5 and all(agent["state"] == "ready" for agent in agents)

    try:
        await until_told(are_ready, within_s=60.0)
        await asyncio.sleep(SETTLE_S)
        row("daemon with one of each", _shown(host.pid))
        for pid, command in _descendants(host.pid):
            for sign in ("agents.worker", ACTOR, "agents.bridge", "speaks_mcp"):
                if sign in command and not ("bridge" in command and sign == "speaks_mcp"):
                    row(f"  process {Path(sign).name}", _shown(pid))
        calls: dict[str, Act] = {
            f"call of {name}": lambda name=name, value=value: door.ask("POST", f"/v1/call/{name}", {"input": value})  # type: ignore[misc] # bound here
            for name, value in (
                ("python@1", VALUE),
                ("stdio@1", VALUE),
                ("checked@1", VALUE),
                ("http@1", VALUE),
                ("act@1", {"order": VALUE}),
            )
        }
        for name, found in (await side_by_side(calls, rounds=ROUNDS, block=BLOCK)).items():
            row(name.replace("act@1", "mcp's act@1"), spread(found))
    finally:
        await door.close()


def _shown(pid: int) -> str:
    resident, proportional = memory_mib(pid)
    return f"{resident:.1f} / {proportional:.1f} MiB"


def _descendants(pid: int) -> list[tuple[int, str]]:
    """Processes below `pid`, with their commands."""
    found: list[tuple[int, str]] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            found += [(int(child), command), *_descendants(int(child))]
    return found
