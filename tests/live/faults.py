"""What can befall three hosts, as data: how it is done, how long it lasts, and who may be called dead for it.

`a` has the server and is the home of the work; `c`, or its link, is the victim where there is one.
To add a fault: a context manager that is the fault while it is open, and a row in `FAULTS`.
"""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from tests.live import network, shim
from tests.live.ground import CPU_GROUPS, Ground, needs_cpu_groups, needs_root
from tests.live.hosts import SCRIPTS, told
from tests.proxy import Way

IPTABLES = shutil.which("iptables") or shutil.which("iptables", path=SCRIPTS) or ""  # see .ci/iptables
CLOCK_S = 600
CPU_PERIOD_US = 100_000
BYTES_PER_S = 256_000 / 8

Inflict = Callable[[Ground], AbstractAsyncContextManager[None]]


def _nothing_missing() -> str:
    return ""


class Fault(NamedTuple):
    """One row. `ground` is what the hosts stand on, `may_die` whom others may call dead while it lasts."""

    name: str
    inflict: Inflict
    lasts_s: float = 12.0
    may_die: str = ""
    ground: str = "links"
    missing: Callable[[], str] = _nothing_missing
    is_noisy: bool = False  # the victim's log may complain: it is about its own files
    loses_record: bool = False  # the only copy of it is gone, and that has to be said


@asynccontextmanager
async def _killed(ground: Ground) -> AsyncIterator[None]:
    ground["c"].kill()
    yield
    await ground["c"].start()


@asynccontextmanager
async def _stopped(ground: Ground) -> AsyncIterator[None]:
    ground["c"].freeze()
    try:
        yield
    finally:
        ground["c"].thaw()


@asynccontextmanager
async def _linked(change: Callable[[Way], None], ways: tuple[str, ...], ground: Ground) -> AsyncIterator[None]:
    """A fault of links: `c.up` is what c says to the server, `c.down` what it hears."""
    for way in ways:
        name, _, direction = way.partition(".")
        change(getattr(ground.links[name], direction))
    yield
    for link in ground.links.values():
        link.mend()


def _slow(way: Way) -> None:
    way.bytes_per_s = BYTES_PER_S


def _far(way: Way) -> None:
    way.delay_s = 0.2


@asynccontextmanager
async def _reset(ground: Ground) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        storm = group.create_task(ground.links["c"].storm(every_s=0.3, lasts_s=60.0))
        yield
        storm.cancel()


@cache
def _no_iptables() -> str:
    if why := network.missing():
        return why
    return "" if IPTABLES else "needs iptables (.ci/iptables fetches it from Debian)"


@asynccontextmanager
async def _lossy(ground: Ground) -> AsyncIterator[None]:
    """Every tenth packet that reaches b or c is gone, and every tenth of theirs."""
    assert ground.net is not None
    rule = ("-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP")
    for name in "bc":
        for chain in ("INPUT", "OUTPUT"):
            await ground.net.run(name, IPTABLES, "-A", chain, *rule)
    yield
    for name in "bc":
        listed = await told([*ground.net.inside(name), IPTABLES, "-vxnL", "INPUT"])
        lost = int(listed.out.splitlines()[2].split()[0])
        assert lost > 0, f"no packet to {name} was lost"
        await ground.net.run(name, IPTABLES, "-F")


@asynccontextmanager
async def _no_more_files(ground: Ground) -> AsyncIterator[None]:
    """It keeps what it has open, and can open nothing."""
    pid = ground["c"].pid
    opened = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    free = next(number for number in range(len(opened) + 1) if number not in opened)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def _shimmed(change: Callable[[shim.Shim], None], ground: Ground) -> AsyncIterator[None]:
    assert ground.shim is not None
    change(ground.shim)
    yield
    ground.shim.mend()


@asynccontextmanager
async def _full_server(ground: Ground) -> AsyncIterator[None]:
    filler = ground["a"].server_dir / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(65_536)):
            pass
    yield
    filler.unlink()


@asynccontextmanager
async def _server_ended(number: signal.Signals, ground: Ground) -> AsyncIterator[None]:
    """Its daemon starts it again."""
    os.kill(ground["a"].server_pid, number)
    yield


@asynccontextmanager
async def _server_stopped(ground: Ground) -> AsyncIterator[None]:
    pid = ground["a"].server_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _server_wiped(ground: Ground) -> AsyncIterator[None]:
    """The host of the record comes back without it."""
    a = ground["a"]
    a.kill()
    a.kill_server()
    shutil.rmtree(a.server_dir / "js")
    await a.start()
    yield


@asynccontextmanager
async def _starved(ground: Ground) -> AsyncIterator[None]:
    pid = ground["c"].pid
    group = CPU_GROUPS / f"meshd-test-{pid}"
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    (former,) = [line.split(":", 2)[2] for line in lines if "cpu" in line.split(":")[1].split(",")]
    group.mkdir()
    (group / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_US))
    (group / "cpu.cfs_quota_us").write_text(str(CPU_PERIOD_US // 10))
    (group / "cgroup.procs").write_text(str(pid))
    try:
        yield
        assert "nr_periods 0" not in (group / "cpu.stat").read_text().splitlines(), "c never ran within its bound"
    finally:
        (CPU_GROUPS / former.lstrip("/") / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _fsync_fails(made: shim.Shim) -> None:
    made.fsync_fails()


def _disk_full(made: shim.Shim) -> None:
    made.disk_is_full()


def _clock(seconds: int, made: shim.Shim) -> None:
    made.clock_is_off_by(seconds)


def _of_links(name: str, change: Callable[[Way], None], *ways: str, may_die: str = "", lasts_s: float = 12.0) -> Fault:
    return Fault(name, partial(_linked, change, ways), lasts_s, may_die)


def _of_shim(name: str, change: Callable[[shim.Shim], None]) -> Fault:
    return Fault(name, partial(_shimmed, change), ground="shim", missing=shim.missing)


def _of_server(name: str, inflict: Inflict, *, loses_record: bool = False) -> Fault:
    return Fault(name, inflict, 10.0, loses_record=loses_record)


ALL = ("b.up", "b.down", "c.up", "c.down")

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("kill", _killed, 5.0, "c"),
        Fault("stop 5 s", _stopped, 5.0),
        Fault("stop 15 s", _stopped, 15.0, "c"),
        Fault("stop 30 s", _stopped, 30.0, "c"),
        _of_links("c hears nothing", Way.hold, "c.down", may_die="c"),
        _of_links("c is not heard", Way.hold, "c.up", may_die="c"),
        _of_links("halves", Way.hold, *ALL, lasts_s=15.0),
        _of_links("black hole", Way.hold, "c.up", "c.down", may_die="c", lasts_s=20.0),
        _of_links("stall 5 s", Way.hold, *ALL, lasts_s=5.0),
        Fault("reset storm", _reset),
        _of_links("delay 200 ms", _far, *ALL),
        _of_links("256 kbit/s", _slow, *ALL),
        Fault("loss 10 %", _lossy, ground="cables", missing=_no_iptables),
        Fault("no more files", _no_more_files, missing=needs_root, is_noisy=True),
        _of_shim("disk full", _disk_full),
        _of_shim("fsync EIO", _fsync_fails),
        _of_shim("clock +10 min", partial(_clock, CLOCK_S)),
        _of_shim("clock -10 min", partial(_clock, -CLOCK_S)),
        _of_server("server killed", partial(_server_ended, signal.SIGKILL)),
        _of_server("server restarted", partial(_server_ended, signal.SIGTERM)),
        _of_server("server stopped", _server_stopped),
        _of_server("server wiped", _server_wiped, loses_record=True),
        Fault("server's disk full", _full_server, ground="disk", missing=needs_root),
        Fault("CPU 10 %", _starved, missing=needs_cpu_groups),
    )
}
