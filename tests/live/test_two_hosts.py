"""Hosts with addresses of their own: they join, share work, lose the cable between them, and are one again."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.hosts import Host, told
from tests.live.network import Network, missing, network
from tests.waiting import until_told

pytestmark = [pytest.mark.live, pytest.mark.skipif(bool(missing()), reason=missing())]

# What a stranger is answered: the status alone.
ASK = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10).status)
except urllib.error.HTTPError as refused:
    print(refused.code)
"""
AGENTS = {"a": "left@1", "b": "right@1", "c": "right@1"}


@asynccontextmanager
async def _hosts(directory: Path, *names: str) -> AsyncIterator[tuple[Network, dict[str, Host]]]:
    """A mesh of a host each, founded by the first; `left@1` can be done by it, `right@1` by the others."""
    insecure = directory / "insecure.toml"
    insecure.write_text("insecure = true\n")
    async with network(*names) as net:
        hosts = {name: Host(directory, name, net.inside(name)) for name in names}
        try:
            for name, host in hosts.items():
                host.agent(AGENTS[name], slots=4)
            first, *others = hosts.values()
            await first.start("--config", str(insecure), "--nats-listen", "10.0.0.1:4222")
            _, token = await first.meshctl("invite", "-o", "name")
            for other in others:
                await other.start("--join", token.strip())
            for host in hosts.values():
                await host.sees(**dict.fromkeys(names, "alive"))
            yield net, hosts
        finally:
            for host in reversed(hosts.values()):
                await host.close()


async def _can(host: Host, capability: str) -> None:
    """Wait until the host knows of a ready agent for it."""

    async def look() -> bool:
        agents = (await host.ask("GET", "/v1/agents"))["agents"]
        return any(each["state"] == "ready" and capability in each["capabilities"] for each in agents)

    await until_told(look, what=f"{host.name} knowing who can {capability}")


async def _one_view(hosts: dict[str, Host]) -> None:
    """Wait until every host sees every host alive, in the same life and with the same agents."""

    async def look() -> bool:
        views = [await _view(host) for host in hosts.values()]
        return all(view == views[0] for view in views) and {state for _, state, _ in views[0][0]} == {"alive"}

    await until_told(look, 40.0, "one view")


async def _view(host: Host) -> tuple[list[tuple[str, str, int]], list[tuple[str, str]]]:
    peers = (await host.ask("GET", "/v1/peers"))["peers"]
    agents = (await host.ask("GET", "/v1/agents"))["agents"]
    return (
        sorted((peer["name"], peer["state"], peer["life"]) for peer in peers),
        sorted((agent["node"], agent["name"]) for agent in agents),
    )


async def _running_on(home: Host, owner: str, **input: Any) -> str:
    """A task for `right@1` that runs on this host, submitted through `home`."""
    for _ in range(20):
        task = await home.submit("right@1", input=input)
        shown = await home.until_state(task["id"], "running", "done")
        if shown["state"] == "running" and shown["owner_name"] == owner:
            return str(task["id"])
        await home.ask("POST", f"/v1/tasks/{task['id']}/cancel")
    raise AssertionError(f"{owner} was never given a task")


async def test_two_hosts_work_for_each_other_lose_the_cable_and_are_one_again(tmp_path: Path) -> None:
    async with _hosts(tmp_path, "a", "b") as (net, hosts):
        a, b = hosts.values()
        await asyncio.gather(_can(a, "right@1"), _can(b, "left@1"))
        before = await _view(a)
        across = [await a.submit("right@1", input={"n": 1}), await b.submit("left@1", input={"n": 2})]
        ended = [await a.ended(across[0]["id"]), await b.ended(across[1]["id"])]
        assert [(task["state"], task["owner_name"]) for task in ended] == [("done", "b"), ("done", "a")]

        long = [await a.submit("right@1", input={"s": 3.0}), await b.submit("left@1", input={"s": 3.0})]
        await a.until_state(long[0]["id"], "running")
        await b.until_state(long[1]["id"], "running")
        await net.cut("b")
        await b.is_in("islanded")  # its server is silent, and the connection does not know yet
        meanwhile = await a.submit("left@1", input={"n": 3})
        assert (await a.ended(meanwhile["id"]))["state"] == "done"
        await b.is_in("detached", within_s=30.0)
        refused = await b.ask("POST", "/v1/tasks", {"capability": "right@1"})
        assert refused["error"]["code"] == "detached"
        assert (await a.ask("GET", "/v1/status"))["state"] == "joined"

        await net.mend("b")
        await b.is_in("joined", within_s=40.0)
        assert [(await a.ended(each["id"]))["state"] for each in long] == ["done", "done"]
        await _one_view(hosts)
        assert await _view(a) == before  # nobody started anew for it
        assert b.events("peer_dead") == []  # who is cut off accuses nobody; of b itself, a heard nothing at all
        assert {event["name"] for event in a.events("peer_dead")} <= {"b"}
        assert [host.complaints() for host in (a, b)] == [[], []]


async def test_another_host_is_told_nothing_without_the_token(tmp_path: Path) -> None:
    (tmp_path / "insecure.toml").write_text("insecure = true\n")
    async with network("a", "b") as net:
        a = Host(tmp_path, "a", net.inside("a"))
        try:
            await a.start("--config", str(tmp_path / "insecure.toml"), "--listen", "10.0.0.1:8080")
            for path in ("/readyz", "/metrics", "/v1/status"):
                said = await told([*net.inside("b"), sys.executable, "-c", ASK, f"http://10.0.0.1:8080{path}"])
                assert said.out.strip() == "401", (path, said)
        finally:
            await a.close()


async def test_the_work_of_a_host_that_is_cut_off_moves_and_its_late_result_is_refused(tmp_path: Path) -> None:
    async with _hosts(tmp_path, "a", "b", "c") as (net, hosts):
        a, _, c = hosts.values()
        task = await _running_on(a, "c", s=8.0)
        await net.cut("c")
        moved = await a.ended(task)
        assert (moved["state"], moved["owner_name"], moved["epoch"]) == ("done", "b", 2)
        await net.mend("c")
        await c.is_in("joined", within_s=40.0)

        async def late() -> bool:
            return len((await a.task(task))["refused"]) == 1

        await until_told(late, what="the late result of c, refused")
        await _one_view(hosts)
        assert {event["name"] for host in hosts.values() for event in host.events("peer_dead")} <= {"c"}
        assert [host.complaints() for host in hosts.values()] == [[], [], []]


async def test_a_loose_cable_costs_neither_a_task_nor_a_node(tmp_path: Path) -> None:
    async with _hosts(tmp_path, "a", "b", "c") as (net, hosts):
        a, _, c = hosts.values()
        tasks: list[str] = []
        for _ in range(4):
            tasks += [(await a.submit("right@1", input={"s": 0.2}))["id"] for _ in range(6)]
            await net.cut("c")
            await a.sees(c="suspect")
            await net.mend("c")
            await a.sees(c="alive")
        assert [(await a.ended(each))["state"] for each in tasks] == ["done"] * len(tasks)
        await c.is_in("joined")
        await _one_view(hosts)
        assert [host.events("peer_dead") for host in hosts.values()] == [[], [], []]
