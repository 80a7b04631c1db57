"""The audit of real daemons: whole after kills and cuts, readable by any NATS client, honest about a full disk."""

import asyncio
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import nats
import pytest

from meshd.observe.segments import segments
from tests.live.hosts import Host, Mesh, mesh
from tests.waiting import until, until_told

pytestmark = pytest.mark.live


async def records(host: Host, **query: object) -> list[dict[str, Any]]:
    """All that fits, from the stream, in its order."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        asked = "&".join(f"{name}={value}" for name, value in {**query, "cursor": cursor, "limit": 500}.items())
        page = await host.ask("GET", f"/v1/audit?{asked}")
        assert page["refused"] == 0
        found += page["records"]
        cursor = page["cursor"]
        if page["is_end"]:
            return found


async def all_shipped(host: Host) -> int:
    """How many records the host has, once the stream has them all."""

    async def look() -> int:
        head = await host.ask("GET", "/v1/audit/head")
        assert not head["is_forked"], head
        return int(head["seq"]) if head["seq"] == head["shipped"] else 0

    return await until_told(look, 40.0, what="everything being in the stream")


async def is_whole(m: Mesh) -> None:
    """Every host's journal verifies, and the stream has each of its records once and in order."""
    for host in m.hosts.values():
        count = await all_shipped(host)
        assert [record["seq"] for record in await records(host, node=host.name)][:count] == list(range(1, count + 1))
        told = await host.tell("audit", "verify")
        assert told.code in (0, 10), told  # 10: it did something since


async def test_a_plain_nats_client_follows_it_and_show_explains_a_task_over_all_nodes(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        credential = json.loads((m.a.dir / "credential.json").read_text())
        status = await m.a.ask("GET", "/v1/status")
        client = await nats.connect(
            f"nats://{status['nats']}", user=credential["user"], password=credential["password"]
        )
        heard: list[bytes] = []

        async def hear(message: Any) -> None:
            heard.extend(line for line in message.data.split(b"\n") if line.startswith(b'{"v":1,'))

        await client.subscribe(f"mesh.{status['mesh']}.audit.>", cb=hear)
        await client.flush()
        task = await m.a.submit(input={"n": 1})
        await m.a.ended(task["id"])

        def actions() -> set[str]:
            lines = [json.loads(line) for line in heard]
            return {line["action"] for line in lines if line["iid"] == task["iid"]}

        wanted = {"task.submit", "task.award", "task.run", "task.commit"}
        await until(lambda: actions() >= wanted, what="the records of the task")
        await client.close()
        told = await m.a.tell("audit", "show", task["gid"][:10], "-o", "jsonl")
        shown = [json.loads(line) for line in told.out.splitlines()]
        assert {(each["action"], each["node_name"]) for each in shown} >= {
            ("task.submit", "a"),
            ("task.award", "a"),
            ("task.run", "b"),
            ("task.commit", "b"),
        }
        (submitted,) = [each for each in shown if each["action"] == "task.submit"]
        assert (submitted["who"], submitted["gid"]) == ("operator", task["gid"])
        refused = await m.a.ask("POST", "/v1/tasks", {"capability": "nobody@1"})
        assert refused["error"]["code"] == "no_agent"
        await all_shipped(m.a)
        (denied,) = await records(m.a, what="task.refuse")
        assert (denied["decision"], denied["who"], denied["more"]) == ("deny", "operator", {"code": "no_agent"})
        await is_whole(m)


async def test_kills_of_daemons_and_of_the_server_leave_every_chain_whole_and_the_stream_without_a_repeat(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, "a", "b", workers="ab") as m:
        for round in range(3):
            tasks = await asyncio.gather(*(m.a.submit(input={"n": n}) for n in range(20)))
            victim = m.b if round != 1 else m.a
            if round == 2:
                m.a.kill_server()
            else:
                victim.kill()
                await victim.start()
            await m.a.sees(b="alive")
            for task in tasks:
                assert (await m.a.ended(task["id"]))["state"] == "done"
        await is_whole(m)


async def test_what_is_recorded_while_the_server_is_away_reaches_the_stream_once_afterwards(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        before = await all_shipped(m.b)
        os.kill(m.a.server_pid, signal.SIGSTOP)
        try:
            await m.b.is_in("detached", 60.0)
            head = await m.b.ask("GET", "/v1/audit/head")
            assert head["seq"] > head["shipped"]
        finally:
            os.kill(m.a.server_pid, signal.SIGCONT)
        await m.b.is_in("joined", 60.0)
        assert await all_shipped(m.b) > before
        await is_whole(m)


async def test_a_full_disk_stops_new_work_and_nothing_else_and_mends_by_itself(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        running = await m.a.submit(input={"s": 3.0})
        await m.a.until_state(running["id"], "running")
        await all_shipped(m.a)
        size = segments(m.a.dir / "audit")[-1].stat().st_size
        _, hard = resource.prlimit(m.a.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(m.a.pid, resource.RLIMIT_FSIZE, (size, hard))

        async def is_refused() -> bool:
            answer = await m.a.ask("POST", "/v1/tasks", {"capability": "nobody@1"})
            return bool(answer["error"]["code"] == "unaudited")

        await until_told(is_refused, 20.0, what="new work being refused")
        told = await m.a.tell("status")
        assert told.code == 9
        assert "the audit cannot be written" in told.out
        assert (await m.a.ended(running["id"]))["state"] == "done"
        resource.prlimit(m.a.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await m.a.is_in("joined")
        task = await m.a.submit(input={"n": 1})
        assert (await m.a.ended(task["id"]))["state"] == "done"
        await is_whole(m)
