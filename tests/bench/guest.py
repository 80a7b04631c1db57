"""The meshes of the benches: hosts, a node inside the bench without an API, and doors to the API of hosts.

Invariant: what is measured through a `Guest` passes the same engine, store and transport as in a
daemon; only HTTP is missing. Neighbours: `latency` measures through both.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from meshd import clock, config, invitation
from meshd.api import schemas
from meshd.observe import logs
from meshd.service import Service
from meshd.statedir import Credential, StateDir
from meshd.supervise import Supervisor
from meshd.upkeep import Premises
from meshd.wiring import Reach, Shell, wire
from protocol.inputs import Leave
from protocol.replica import Me
from tests.bench.actor import ACTOR
from tests.live.hosts import Host
from tests.waiting import until, until_told

DEADLINE_S = 60.0
SLOTS = 64


def _never() -> schemas.Invitation:
    raise NotImplementedError("a guest invites nobody")


def echo_agent(directory: Path, capability: str) -> None:
    """Declare the echoing agent in a state directory."""
    folder = directory / "agents.d"
    folder.mkdir(parents=True)
    folder.joinpath("echo.toml").write_text(
        f'name = "echo"\nversion = "1.0.0"\ncapabilities = ["{capability}"]\nkind = "stdio"\n'
        f'run = ["{sys.executable}", "{ACTOR}"]\nslots = {SLOTS}\n'
    )


@asynccontextmanager
async def echoing(directory: Path, **capabilities: str) -> AsyncIterator[dict[str, Host]]:
    """Started hosts by name, the first with the server; each echoes for its capability, or has no agent for ""."""
    hosts = {name: Host(directory, name) for name in capabilities}
    try:
        for name, capability in capabilities.items():
            if capability:
                echo_agent(hosts[name].dir, capability)
        first, *others = hosts.values()
        await first.start()
        _, token = await first.meshctl("invite", "-o", "name")
        await asyncio.gather(*(host.start("--join", token.strip()) for host in others))
        for host in hosts.values():
            await host.sees(**dict.fromkeys(capabilities, "alive"))
        offering = {name for name, capability in capabilities.items() if capability}
        for host in hosts.values():
            await free_slots_known(host, offering)
        yield hosts
    finally:
        for host in reversed(hosts.values()):
            await host.close()


async def free_slots_known(host: Host, names: set[str]) -> None:
    """Return when `host` knows that the agents of these nodes are free."""

    async def look() -> bool:
        agents = (await host.ask("GET", "/v1/agents"))["agents"]
        return {agent["node_name"] for agent in agents if agent["free"] > 0 and agent["state"] == "ready"} >= names

    await until_told(look, what=f"agents on {sorted(names)}")


@asynccontextmanager
async def guest(parent: Path, host: Host, capability: str) -> AsyncIterator[tuple[Service, Credential, str]]:
    """A node that joined through `host` and echoes for `capability`; with its credential and the server's address."""
    _, token = await host.meshctl("invite", "-o", "name")
    directory = parent / "guest"
    echo_agent(directory, capability)
    state = StateDir.open(directory)
    supervisor = Supervisor(lambda name, failure: print(f"{name} failed: {failure!r}"))
    async with AsyncExitStack() as stack:
        stack.callback(state.close)
        stack.push_async_callback(supervisor.close)
        mesh = invitation.accept(invitation.Invitation.decode(token.strip(), now=clock.now()), state, now=clock.now())
        credential = state.credential()
        with (directory / "guest.log").open("w") as log_file:
            wired = wire(
                me=Me(
                    id=state.identity().id,
                    life=state.next_life(clock.wall_ms()),
                    name="guest",
                    region="local",
                    domain="default",
                    admission=state.admission(),
                    version="bench",
                ),
                mesh=mesh,
                identity=state.identity(),
                settings=config.load(files=(), environ={}, flags={}).settings,
                supervisor=supervisor,
                log=logs.configure(level="info", format="json", stream=log_file),
                reach=Reach(mesh.urls, credential.user, credential.password),
                shell=Shell(
                    invite=_never, stop=lambda: None, notes=tuple, attention=tuple, premises=Premises(directory, {})
                ),
            )
            engine, transport, subjects = wired.engine, wired.transport, wired.subjects
            stack.push_async_callback(wired.auditing.close)
            wired.auditing.start()
            await transport.open(wired.sink)
            stack.push_async_callback(transport.close)
            await wired.store.open()
            stack.push_async_callback(wired.store.close)
            me = engine.node.me
            for subject in (subjects.inbox(dst=me.id, life=me.life), subjects.facts(), subjects.carries(me.region)):
                await transport.subscribe(subject)
            await transport.watch_absences(subjects.absences(src=me.id))
            stack.callback(engine.close)
            supervisor.spawn("engine", engine.run())
            await wired.crew.start()
            stack.push_async_callback(wired.hosting.close)
            await until(lambda: engine.node.state == "joined", what="the guest joining")
            await until(lambda: len(wired.service.capabilities()) > 1, what="the agents of the others")
            yield wired.service, credential, mesh.urls[0]
            engine.put(Leave())
            await transport.flush()
            await stack.aclose()


async def submit_here(service: Service, capability: str, value: object, *, route: str = "auto") -> str:
    """Submit and wait for the result, inside the engine; the id of the task."""
    request = schemas.SubmitRequest(capability=capability, input=value, route=route)
    task, _ = await service.submit(request, key="", principal="bench")
    record = await service.ended(task.id)
    if record.state.value != "done":
        raise RuntimeError(f"{record.id} is {record.state.value}: {record.failure}")
    return record.id


class Door:
    """The API of a host over its unix socket, with connections that are kept."""

    def __init__(self, host: Host, connections: int = 1) -> None:
        socket = json.loads((host.dir / "api.json").read_text())["socket"]
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket, limit=connections))

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request; the JSON of the answer. Raises RuntimeError for anything but success."""
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if content else {}
        async with self._session.request(method, f"http://localhost{path}", data=content, headers=headers) as answer:
            shown = await answer.json(content_type=None)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {shown}")
        return shown

    async def submit(self, capability: str, value: object) -> Any:
        """Submit and wait for the result in one request."""
        body = {"capability": capability, "input": value, "wait_s": DEADLINE_S}
        task = await self.ask("POST", "/v1/tasks", body)
        if task["state"] != "done":
            raise RuntimeError(f"{task['id']} is {task['state']}: {task['error']}")
        return task

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
