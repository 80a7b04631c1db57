"""The figures of a mesh, in one run and as a table: starts, idle cost, calls and tasks, kills, patience.

Real daemons on loopback, in a temporary directory; all that was started is ended. Prints what was
measured beside its aim and asserts nothing. Run: `python tests/bench/figures.py [GROUP...]`.
"""

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # a bench is a program, started by its path

from tests.bench.auctions import auctions
from tests.bench.audits import audits
from tests.bench.guest import echoing
from tests.bench.kinds import kinds
from tests.bench.latency import latencies
from tests.bench.meter import cpu_s, heading, memory_mib, row, switches
from tests.bench.moves import kills, patience
from tests.live.hosts import SCRIPTS, Host

STARTS = 7
RUNS = 15
SETTLE_S = 6.0  # what a start brings is over by then
IDLE_S = 24.0


async def starts(directory: Path) -> None:
    """A daemon that founds a mesh, one that comes back, and the commands."""
    heading("Starts and commands: p50 (best), processor time")
    first: list[Took] = []
    again: list[Took] = []
    for number in range(STARTS):
        host = Host(directory, f"n{number}")
        try:
            first.append(await _start_ms(host))
            await host.meshd("stop")
            again.append(await _start_ms(host))
        finally:
            await host.close()
    row("meshd start --detach to ready, new directory", _best(first), "<= 1000 ms")
    row("meshd start --detach to ready, known directory", _best(again), "<= 1000 ms")
    host = Host(directory, "commands")
    try:
        await host.start()
        environ = os.environ | {"MESHD_DIR": str(host.dir)}
        row("python -c pass", _best(_runs([sys.executable, "-c", "pass"], environ)))
        row("meshctl --help", _best(_runs([str(SCRIPTS / "meshctl"), "--help"], environ)), "<= 150 ms")
        row("meshctl peers", _best(_runs([str(SCRIPTS / "meshctl"), "peers"], environ)), "<= 250 ms")
    finally:
        await host.close()


Took = tuple[float, float]  # milliseconds: by the clock, and of processor time


async def _start_ms(host: Host) -> Took:
    began, used = time.perf_counter(), _children_cpu_s()
    await host.start()
    took = time.perf_counter() - began
    return took * 1e3, (_children_cpu_s() - used + cpu_s(host.pid)) * 1e3


def _runs(command: list[str], environ: dict[str, str]) -> list[Took]:
    took: list[Took] = []
    for _ in range(RUNS):
        began, used = time.perf_counter(), _children_cpu_s()
        subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)
        took.append(((time.perf_counter() - began) * 1e3, (_children_cpu_s() - used) * 1e3))
    return took


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _best(values: list[Took]) -> str:
    clock, cpu = zip(*values, strict=True)
    return f"{statistics.median(clock):.0f} ms ({min(clock):.0f}), processor {statistics.median(cpu):.0f}"


async def idle(directory: Path) -> None:
    """Memory and processor time of daemons that have nothing to do, alone and among three."""
    heading(f"Idle for {IDLE_S:g} s")
    async with echoing(directory / "alone", a="") as hosts:
        await _still(hosts)
    async with echoing(directory / "three", a="", b="", c="") as hosts:
        await _still(hosts)


async def _still(hosts: dict[str, Host]) -> None:
    await asyncio.sleep(SETTLE_S)
    watched = {f"daemon {name} of {len(hosts)}": host.pid for name, host in hosts.items()}
    watched[f"nats-server of {len(hosts)}"] = hosts["a"].server_pid
    before = {name: (cpu_s(pid), switches(pid)) for name, pid in watched.items()}
    began = time.perf_counter()
    await asyncio.sleep(IDLE_S)
    took_s = time.perf_counter() - began
    for name, pid in watched.items():
        used = (cpu_s(pid) - before[name][0]) / took_s
        wakes = (switches(pid) - before[name][1]) / took_s
        rss, pss = memory_mib(pid)
        aim = "<= 55 MiB, <= 1 %" if name.startswith("daemon") else ""
        row(name, f"{rss:.1f} RSS {pss:.1f} PSS MiB  {used:.2%}  {wakes:.0f} wakes/s", aim)


GROUPS: dict[str, Callable[[Path], Awaitable[None]]] = {
    "starts": starts,
    "idle": idle,
    "latency": latencies,
    "kinds": kinds,
    "audits": audits,
    "auctions": auctions,
    "kills": kills,
    "patience": patience,
}


async def main(names: list[str]) -> None:
    """The named groups, or all."""
    if not GROUPS.keys() >= set(names):
        sys.exit(f"groups: {', '.join(GROUPS)}; all unless some are named")
    with tempfile.TemporaryDirectory(prefix="meshd-bench-") as directory:
        for name in names or list(GROUPS):
            folder = Path(directory, name)
            folder.mkdir()
            await GROUPS[name](folder)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
