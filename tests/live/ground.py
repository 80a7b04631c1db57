"""Where faults are played: three hosts, each with what its fault needs.

`a` has the server, and is the home of the work; `b` and `c` do it, and reach the server by links of their own.
Invariant: nothing outlives the block. Neighbours: `faults.py` hurts them, `cells.py` looks what comes of it.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.live.hosts import Host
from tests.live.network import Network, network
from tests.live.shim import Shim
from tests.proxy import Proxy

NAMES = ("a", "b", "c")
SLOTS = 2
CPU_GROUPS = Path("/sys/fs/cgroup/cpu")
SERVER_DISK = "64m"  # of which the record takes little, and a fault the rest


class Ground:
    """The hosts of one cell by name, and the handles that faults take them by."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.hosts: dict[str, Host] = {}
        self.links: dict[str, Proxy] = {}  # of b and c to the server
        self.net: Network | None = None  # where they have addresses of their own
        self.shim: Shim | None = None  # under c
        self.names: dict[str, str] = {}  # by node id

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]


@asynccontextmanager
async def ground(directory: Path, kind: str) -> AsyncIterator[Ground]:
    """Three hosts that see each other, on ground of this kind: links, cables, shim, or disk."""
    made = Ground(directory)
    async with AsyncExitStack() as stack:
        if kind == "cables":
            made.net = await stack.enter_async_context(network(*NAMES))
        if kind == "shim":
            (directory / "shim").mkdir()
            made.shim = Shim(directory / "shim")
        for name in NAMES:
            made.hosts[name] = Host(directory, name, made.net.inside(name) if made.net else ())
        if kind == "disk":
            made["a"].inside = await stack.enter_async_context(_disk_of_its_own(made["a"]))
        stack.push_async_callback(_close, made)  # the processes first, then what they stand on
        await _start(made, stack)
        yield made


async def _start(made: Ground, stack: AsyncExitStack) -> None:
    flags: tuple[str, ...] = ()
    if made.net is not None:
        insecure = made.dir / "insecure.toml"
        insecure.write_text("insecure = true\n")
        flags = ("--config", str(insecure), "--nats-listen", "10.0.0.1:4222")
    await made["a"].start(*flags)
    _, token = await made["a"].meshctl("invite", "-o", "name")
    port = int((await made["a"].ask("GET", "/v1/status"))["nats"].rpartition(":")[2])
    for name in NAMES[1:]:
        host = made[name]
        host.agent(slots=SLOTS)
        if made.net is None:
            made.links[name] = await stack.enter_async_context(Proxy(port))
            host.inside = ("env", f"MESHD_NATS__URLS={made.links[name].url}")
        if made.shim is not None and name == "c":
            host.inside = (*host.inside, *made.shim.prefix)
    await asyncio.gather(*(made[name].start("--join", token.strip()) for name in NAMES[1:]))
    for host in made.hosts.values():
        await host.sees(**dict.fromkeys(NAMES, "alive"))
    peers = (await made["a"].ask("GET", "/v1/peers"))["peers"]
    made.names = {peer["id"]: peer["name"] for peer in peers}


async def _close(made: Ground) -> None:
    for host in reversed(made.hosts.values()):
        await host.close()


@asynccontextmanager
async def _disk_of_its_own(host: Host) -> AsyncIterator[tuple[str, ...]]:
    """A small disk under the host's server, in a mount namespace that lasts as long as its holder."""
    host.dir.chmod(0o700)  # a directory that holds something has to be its own
    host.server_dir.mkdir(mode=0o700)
    mount = f'mount -t tmpfs -o size={SERVER_DISK},mode=700 none "$1" && exec cat'
    pipe = asyncio.subprocess.PIPE
    command = ("unshare", "--mount", "sh", "-c", mount, "sh", str(host.server_dir))
    holder = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert holder.stdin is not None
    assert holder.stdout is not None
    outside = host.server_dir
    try:
        holder.stdin.write(b"\n")
        async with asyncio.timeout(20):
            assert await holder.stdout.readline() == b"\n", "no mount namespace"
        host.server_dir = Path(f"/proc/{holder.pid}/root{outside}")
        yield ("nsenter", "--mount", "--target", str(holder.pid), "--")
    finally:
        await host.close()
        holder.stdin.close()
        await holder.wait()


def needs_root() -> str:
    """Why mounts and limits of others are not to be had; nothing when they are."""
    return "" if os.geteuid() == 0 else "needs root"


def needs_cpu_groups() -> str:
    """Why a process cannot be slowed down; nothing when it can."""
    return "" if os.access(CPU_GROUPS / "cpu.cfs_quota_us", os.W_OK) else "needs a writable cgroup v1 of cpu"
