"""Two regions of real daemons on a real server: who hears what on the wire, and the work between them."""

from pathlib import Path
from typing import Any

import pytest

from tests.live.hosts import Host
from tests.live.stranger import node_of, stranger
from tests.waiting import until_told

pytestmark = pytest.mark.live

REGIONS = {"a": "east", "b": "east", "x": "west"}


async def _done_by(host: Host, capability: str) -> str:
    """Who did a task that was submitted to this host."""
    task = await host.submit(capability, input={"n": 1})
    ended = await host.ended(task["id"])
    assert ended["state"] == "done", ended
    return str(ended["owner_name"])


async def _agent_on(host: Host, node: str, state: str) -> dict[str, Any]:
    """The agent of another node as this host shows it, once it is in that state."""

    async def look() -> dict[str, Any] | None:
        agents = (await host.ask("GET", "/v1/agents"))["agents"]
        return next((each for each in agents if (each["node_name"], each["state"]) == (node, state)), None)

    found = await until_told(look, what=f"{host.name} seeing the agent of {node} {state}")
    assert found is not None
    return found


async def test_two_regions_know_each_other_work_for_each_other_and_keep_their_facts(tmp_path: Path) -> None:
    hosts = {name: Host(tmp_path, name) for name in REGIONS}
    a, b, x = hosts.values()
    b.agent("eastern@1")
    x.agent("western@1", region=["east"])  # though it stands in the west
    try:
        await a.start("--region", "east")
        _, token = await a.meshctl("invite", "-o", "name")
        for host in (b, x):
            await host.start("--join", token.strip(), "--region", REGIONS[host.name])
        for host in hosts.values():
            await host.sees(**dict.fromkeys(REGIONS, "alive"))
        assert await _done_by(x, "eastern@1") == "b"

        barred = await _agent_on(a, "x", "elsewhere")
        assert (barred["slots"], barred["detail"]) == (0, "it may run in east only, and its node stands in west")
        called = await a.ask("POST", "/v1/call/western@1", {"input": {}})
        assert "is elsewhere: it may run in east only" in called["error"]["message"]
        waiting = await a.submit("western@1", input={"n": 2})

        async def why() -> bool:
            return ((await a.task(waiting["id"])).get("waits_for") or {}).get("reason") == "region"

        await until_told(why, what="the task that waits saying why")
        x.agent("western@1", region=["east", "west"])
        assert (await a.ended(waiting["id"]))["owner_name"] == "x"
        assert (await x.tell("peers", "--region", "west", "-o", "name")).out == "x\n"
        assert ", region west, a bridge to 1 other: " in (await x.tell("status")).out

        async with stranger(a) as s:
            east = s.subjects.facts_of("east")
            x.kill()
            heard = {(await s.overheard(east)).subject for _ in range(3)}  # they suspect it, and say so
            assert heard <= {s.subjects.fact(region="east", src=node_of(each).id) for each in (a, b)}
        a.kill_server()
        await x.start("--join", token.strip(), "--region", "west")
        for host in hosts.values():
            await host.sees(**dict.fromkeys(REGIONS, "alive"))
        assert await _done_by(x, "eastern@1") == "b"
        assert await _done_by(b, "western@1") == "x"
        assert [host.complaints() for host in hosts.values()] == [[], [], []]
    finally:
        for host in reversed(hosts.values()):
            await host.close()
