"""Two real servers that are one cluster, a region on each: the way between them breaks, and one loses a client."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.live.hosts import Host
from tests.proxy import Proxy
from tests.servers import NatsServer, free_port
from tests.waiting import until, until_told

pytestmark = pytest.mark.live

SIDES = {"a": "east", "b": "east", "x": "west"}


class Cluster:
    """The servers east and west; each reaches the other through a proxy, and `b` its own."""

    def __init__(self, servers: dict[str, NatsServer], ways: tuple[Proxy, Proxy], to_b: Proxy) -> None:
        self.servers = servers
        self.ways = ways
        self.to_b = to_b

    def part(self) -> None:
        """Neither reaches the other any more."""
        for way in self.ways:
            way.refuse()

    def heal(self) -> None:
        for way in self.ways:
            way.mend()

    def settings(self, name: str) -> str:
        """The configuration of a daemon: its region, and the server there; `b` knows the other one, too."""
        east, west = (self.servers[side].url for side in ("east", "west"))
        urls = {"a": [east], "b": [self.to_b.url, west], "x": [west]}[name]
        return f'[node]\nregion = "{SIDES[name]}"\n[nats]\nurls = {json.dumps(urls)}\ncredential_file = "CREDENTIAL"\n'


@asynccontextmanager
async def _cluster(directory: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        servers = {side: NatsServer(directory / side, side) for side in ("east", "west")}
        ports = {side: free_port() for side in servers}
        ways = {side: await stack.enter_async_context(Proxy(ports[side])) for side in servers}
        for side, other in (("east", "west"), ("west", "east")):
            address = ways[side].url.removeprefix("nats://")
            cluster = f'name: two\nlisten: "127.0.0.1:{ports[side]}"\nadvertise: "{address}"\nno_advertise: true'
            text = f"cluster {{\n{cluster}\nroutes: [{json.dumps(ways[other].url)}]\n}}\n"
            config = servers[side].config
            shared = config.text().replace(config.password, servers["east"].password)
            config.path.write_text(shared + text)
            servers[side].password = servers["east"].password
            stack.callback(servers[side].stop)
            servers[side].spawn()
        for server in servers.values():
            await server.ready()
        to_b = await stack.enter_async_context(Proxy(servers["east"].port))
        yield Cluster(servers, (ways["east"], ways["west"]), to_b)


def _buried(hosts: dict[str, Host]) -> list[tuple[str, str, str]]:
    """Who found whom dead, and by what evidence."""
    return [(name, each["name"], each["evidence"]) for name, host in hosts.items() for each in host.events("peer_dead")]


async def test_regions_whose_servers_part_bury_nobody_wrongly_and_are_one_again(tmp_path: Path) -> None:
    async with _cluster(tmp_path) as cluster:
        hosts = {name: Host(tmp_path, name) for name in SIDES}
        a, b, x = hosts.values()
        credential = tmp_path / "credential.json"
        credential.write_text(json.dumps({"user": "meshd", "password": cluster.servers["east"].password}))
        credential.chmod(0o600)
        for host in hosts.values():
            text = cluster.settings(host.name).replace("CREDENTIAL", str(credential))
            (tmp_path / f"{host.name}.toml").write_text(text)
        try:
            await a.start("--config", str(tmp_path / "a.toml"))
            _, token = await a.meshctl("invite", "-o", "name")
            for host in (b, x):
                await host.start("--config", str(tmp_path / f"{host.name}.toml"), "--join", token.strip())
            for host in hosts.values():
                await host.sees(**dict.fromkeys(SIDES, "alive"))

            cluster.part()
            await a.sees(x="dead")
            await b.sees(x="dead")
            await x.sees(a="unreachable", b="unreachable")
            await until(lambda: _buried(hosts) == [("a", "x", "absent"), ("b", "x", "absent")], what="two burials told")
            cluster.heal()
            for host in hosts.values():
                await host.sees(**dict.fromkeys(SIDES, "alive"))

            cluster.to_b.refuse()

            async def is_elsewhere() -> bool:
                return bool((await b.ask("GET", "/v1/status"))["nats"] == f"127.0.0.1:{cluster.servers['west'].port}")

            await until_told(is_elsewhere, what="b at the other server")
            for host in hosts.values():
                await host.sees(**dict.fromkeys(SIDES, "alive"))
            assert len(_buried(hosts)) == 2, (
                "who was alone with its server was not sure of itself, and nobody else died"
            )
        finally:
            for host in hosts.values():
                await host.close()
