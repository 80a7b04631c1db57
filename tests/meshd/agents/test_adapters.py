"""The table of adapters: which processes each kind of agent has."""

import asyncio
import sys
from pathlib import Path

import pytest

from meshd.agents import http, mcp, python, stdio
from meshd.agents.adapters import ADAPTERS
from meshd.ports import Finished
from tests.contracts.stage import Stage


def test_every_kind_is_built_by_its_own_module() -> None:
    built: dict[str, object] = {"python": python.build, "stdio": stdio.build, "http": http.build, "mcp": mcp.build}
    assert dict(ADAPTERS) == built


@pytest.mark.parametrize(("kind", "processes"), [("python", 3), ("stdio", 1)])
async def test_a_python_agent_has_a_process_for_each_slot_and_a_stdio_agent_one_for_all(
    kind: str, processes: int, tmp_path: Path
) -> None:
    (tmp_path / "met").mkdir()
    async with Stage(kind, tmp_path, slots=3) as stage:
        await asyncio.gather(*(stage.act("meet", [str(tmp_path / "met"), 3, name]) for name in "abc"))
        assert len(stage.agent.pids) == processes


async def test_a_path_in_run_is_looked_for_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "agent"
    program.write_text(f'#!{sys.executable}\nimport os\nprint(\'{{"task": "T", "result": 1}}\' if input() else \'\')\n')
    program.chmod(0o700)
    async with Stage("stdio", tmp_path, run=["bin/agent"]) as stage:
        assert await stage.act("any", task="T") == Finished(1)
