"""Hosts with addresses of their own: a network namespace each, and a cable from the first to every other.

Invariant: nothing outlives the test: a namespace lasts as long as the process that holds it, and that
one ends when its standard input does. Needs the kernel's veth and iproute2, no other privilege than
user namespaces. The first host forwards, so all reach all.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache

from tests.live.hosts import told

_IS_ROOT = os.geteuid() == 0
_ENTER = ("--net",) if _IS_ROOT else ("--user", "--preserve-credentials", "--net")
_UNSHARE = ("unshare", "--net") if _IS_ROOT else ("unshare", "--user", "--map-root-user", "--net")


@lru_cache
def missing() -> str:
    """What this machine lacks for it; nothing when it can be done."""
    try:
        tried = [*_UNSHARE, "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"]
        done = subprocess.run(tried, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        return "needs unshare (util-linux)"
    return f"needs network namespaces, veth and ip (iproute2): {done.stderr.strip()}" if done.returncode else ""


class Network:
    """Namespaces by name; the first is 10.0.0.1, the next .2, and so on."""

    def __init__(self, namespaces: dict[str, int]) -> None:
        self._namespaces = namespaces

    def inside(self, name: str) -> tuple[str, ...]:
        """What to put before a command that shall run there."""
        return ("nsenter", "--target", str(self._namespaces[name]), *_ENTER, "--")

    async def cut(self, name: str) -> None:
        """Pull the cable of a host other than the first: nobody is told, packets are just gone."""
        await self.run(next(iter(self._namespaces)), "ip", "link", "set", f"to-{name}", "down")

    async def mend(self, name: str) -> None:
        """Plug it in again."""
        await self.run(next(iter(self._namespaces)), "ip", "link", "set", f"to-{name}", "up")

    async def run(self, name: str, *command: str) -> None:
        """Run a command there, which must succeed."""
        said = await told([*self.inside(name), *command])
        assert said.code == 0, (command, said.err)


@asynccontextmanager
async def network(*names: str) -> AsyncIterator[Network]:
    """The hosts of these names, connected."""
    async with AsyncExitStack() as stack:
        namespaces: dict[str, int] = {}
        for name in names:
            within = () if not namespaces else Network(namespaces).inside(names[0])
            namespaces[name] = await stack.enter_async_context(_held(*within))
        made = Network(namespaces)
        for name in names:
            await made.run(name, "ip", "link", "set", "lo", "up")
        await made.run(names[0], "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, name in enumerate(names[1:], start=2):
            await _connect(made, names[0], name, number)
        yield made


async def _connect(made: Network, first: str, name: str, number: int) -> None:
    cable, own, hub = f"to-{name}", f"10.0.0.{number}", "10.0.0.1"
    target = made.inside(name)[2]
    await made.run(first, "ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", target)
    await made.run(first, "ip", "address", "add", hub, "peer", own, "dev", cable)
    await made.run(name, "ip", "address", "add", own, "peer", hub, "dev", "eth0")
    await made.run(first, "ip", "link", "set", cable, "up")
    await made.run(name, "ip", "link", "set", "eth0", "up")
    await made.run(name, "ip", "route", "add", "default", "via", hub)


@asynccontextmanager
async def _held(*within: str) -> AsyncIterator[int]:
    """A process that holds a new namespace, ready when it has echoed a line."""
    pipe = asyncio.subprocess.PIPE
    unshare = ("unshare", "--net") if within else _UNSHARE  # all but the first are made in the first's user namespace
    holder = await asyncio.create_subprocess_exec(*within, *unshare, "cat", stdin=pipe, stdout=pipe)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        holder.stdin.write(b"\n")
        async with asyncio.timeout(20):
            assert await holder.stdout.readline() == b"\n", "no namespace"
        yield holder.pid
    finally:
        holder.stdin.close()
        await holder.wait()
