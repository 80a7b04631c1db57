"""Agents that are written, added, altered, stopped and removed while a real daemon runs, by its own commands."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.agent_templates import KINDS
from meshd.agents.adapters import ADAPTERS
from tests.live.hosts import Host, mesh, told
from tests.waiting import until_told

pytestmark = pytest.mark.live

HELLO: dict[str, Any] = {"mcp": {"text": "hello"}}  # the input of each kind; a text unless told


@asynccontextmanager
async def _service(program: Path, manifest: Path) -> AsyncIterator[None]:
    """An http agent's own service, on a free port that its manifest is told."""
    code = (
        f"import sys; sys.path.insert(0, {str(program.parent)!r}); import {program.stem} as m; "
        "s = m.serve(0); print(s.server_port, flush=True); s.serve_forever()"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = (await process.stdout.readline()).decode().strip()
        manifest.write_text(manifest.read_text().replace(":8765", f":{port}"))
        yield
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in ADAPTERS])
async def test_a_new_agent_passes_its_test_and_works_when_it_is_added(tmp_path: Path, kind: str) -> None:
    async with mesh(tmp_path, "a", workers="") as m:
        place = tmp_path / "mine"
        made = await m.a.tell("agents", "new", "say-louder", "--kind", kind, "--dir", str(place))
        assert made.code == 0, made
        tried = await told([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(place)])
        assert tried.code == 0, tried
        manifest = place / "say-louder.toml"
        async with _service(place / "say_louder_agent.py", manifest) if kind == "http" else _nothing():
            added = await m.a.tell("agents", "add", str(manifest))
            assert added.code == 0, added
            capability = re.findall(r"say.louder@1", added.out)[0]
            answer = await m.a.tell("call", capability, "--input", json.dumps(HELLO.get(kind, "hello")))
            assert answer.code == 0, answer
            assert "HELLO" in answer.out
            removed = await m.a.tell("agents", "remove", "say-louder")
            assert removed.out == "say-louder is removed\n", removed
            gone = await m.a.tell("call", capability, "--input", json.dumps(HELLO.get(kind, "hello")))
            assert "no_agent" in gone.err, gone
        assert m.a.complaints() == []


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


async def test_a_task_that_waits_for_a_capability_starts_on_the_node_that_gets_it(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="a", slots=1) as m:
        task = await m.a.submit(input={"s": 60, "n": 1})
        await m.a.until_state(task["id"], "running")
        waiting = await m.a.submit(input={"n": 2})
        stopped = await m.a.tell("agents", "remove", "worker")
        assert stopped.code == 0, stopped
        m.b.agent(slots=2)  # on disk, while the daemon runs
        assert (await m.b.ended(waiting["id"]))["owner_name"] == "b"
        shown = await m.b.task(task["id"])
        assert shown["state"] in ("running", "awarded", "open"), shown
        await m.b.ask("POST", f"/v1/tasks/{task['id']}/cancel")


async def test_an_agent_that_is_altered_under_load_loses_and_repeats_nothing(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        tasks = []
        for number in range(60):
            if number % 20 == 10:
                m.a.agent(slots=2, purpose=f"version {number}")
            tasks.append(await m.a.submit(input={"n": number, "s": 0.05}))
        ended = [await m.a.ended(task["id"]) for task in tasks]
        assert [task["result"]["n"] for task in ended] == list(range(60))
        assert {task["state"] for task in ended} == {"done"}
        begun = [each for task in ended for each in task["attempts"] if each["ended"] != "busy"]
        assert begun == []  # who is busy says so before anything begins

        async def is_new() -> bool:
            return bool((await _shown(m.a))["purpose"] == "version 50")

        await until_told(is_new, what="the last version")
        assert m.a.complaints() == []


async def test_a_broken_manifest_is_one_line_of_the_log_and_a_line_of_status_until_it_is_mended(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        file = m.a.dir / "agents.d" / "worker.toml"
        good = file.read_text()
        file.write_text(good.replace("slots", "slotz"))

        async def attention() -> list[str]:
            said: list[str] = (await m.a.ask("GET", "/v1/status"))["attention"]
            return said

        (said,) = await until_told(attention, what="an attention line")
        assert said == f"{file}: slotz: no such key; did you mean slots?"
        task = await m.a.submit(input={"n": 1})
        assert (await m.a.ended(task["id"]))["state"] == "done"
        file.write_text(good)

        async def is_mended() -> bool:
            return not await attention()

        await until_told(is_mended, what="the end of the attention")
        refusals = [e for e in m.a.events("agent_changed") if e["state"] == "refused"]
        assert len(refusals) == 1, refusals


async def test_a_stopped_agent_stays_stopped_over_a_restart_and_its_log_can_be_followed(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        stopped = await m.a.tell("agents", "stop", "worker")
        assert stopped.out.startswith("worker is stopped; start it with: "), stopped
        code, said = await m.a.meshd("stop")
        assert code == 0, said
        await m.a.start()
        assert (await _shown(m.a))["state"] == "stopped"
        started = await m.a.tell("agents", "start", "worker")
        assert (started.code, started.out) == (0, "worker is ready\n"), started
        async with m.a.stream("/v1/agents/worker/logs/follow") as content:
            os.kill(_pid_of_agent(m.a), signal.SIGKILL)
            async with asyncio.timeout(20):
                while b"was killed by SIGKILL" not in await content.readline():
                    pass

        async def logged() -> bool:
            return "was killed by SIGKILL" in (await m.a.tell("agents", "logs", "worker")).out

        await until_told(logged, what="the log")
        nobody = await m.a.tell("agents", "logs", "nobody")
        assert (nobody.code, "no agent is called nobody" in nobody.err) == (7, True), nobody


async def _shown(host: Host) -> dict[str, Any]:
    (agent,) = (await host.ask("GET", "/v1/agents/worker"))["agents"]
    assert isinstance(agent, dict)
    return agent


def _pid_of_agent(host: Host) -> int:
    """The process of the one agent of a host: the daemon's child that runs its program."""
    children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
    (found,) = [pid for pid in children if b"work_agent" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(found)
