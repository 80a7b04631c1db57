"""configs/meshd.service as systemd runs it: ready when it says so, taken over after a crash, gone after a stop.

A manager of this user's units is run in a mount namespace of its own; the unit is the one that ships,
but for its user and the place of the program.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

import pytest

from tests.live.hosts import SCRIPTS, Host, told
from tests.waiting import until, until_told

pytestmark = pytest.mark.live

UNIT = Path(__file__).parents[2] / "configs" / "meshd.service"
SYSTEMD = next(
    (path for path in map(Path, ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")) if path.exists()), None
)
RUNTIME = "/run/user/0"
# A manager starts only where systemd runs: a /run of its own says so, and has what hides paths from units.
STARTED = f"""
mount -t tmpfs tmpfs /run && mkdir -p -m 700 /run/systemd/system {RUNTIME} /run/systemd/inaccessible/dir
touch /run/systemd/inaccessible/reg && {sys.executable} -c "import socket
socket.socket(socket.AF_UNIX).bind('/run/systemd/inaccessible/sock')"
exec {SYSTEMD} --user --log-target=console --log-level=crit --unit=none.target
"""


@lru_cache
def _missing() -> str:
    if SYSTEMD is None or shutil.which("systemctl") is None:
        return "needs systemd"
    if os.geteuid() != 0:
        return "needs root, to run a manager of units beside the host's own"
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    done = subprocess.run(tried, capture_output=True, text=True, timeout=20, check=False)
    return f"needs mount namespaces: {done.stderr.strip()}" if done.returncode else ""


class Systemd:
    """A systemd that runs the unit."""

    def __init__(self, pid: int, environ: dict[str, str]) -> None:
        self._pid = pid
        self._environ = environ

    async def systemctl(self, *words: str) -> str:
        """What it answers, whatever its exit code."""
        inside = ["nsenter", "--target", str(self._pid), "--mount", "--"]
        said = await told([*inside, "systemctl", "--user", *words], env=self._environ)
        return (said.out + said.err).strip()

    async def shows(self, name: str) -> str:
        """A property of the unit."""
        return await self.systemctl("show", "meshd", "--value", "--property", name)


@asynccontextmanager
async def _systemd(directory: Path) -> AsyncIterator[Systemd]:
    environ = {"XDG_RUNTIME_DIR": RUNTIME, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    process = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "sh", "-c", STARTED, env=os.environ | environ, stderr=asyncio.subprocess.DEVNULL
    )
    made = Systemd(process.pid, environ)
    try:

        async def is_up() -> bool:
            return await made.systemctl("is-system-running") in ("running", "degraded")

        await until_told(is_up, what="a running systemd")
        yield made
    finally:
        await made.systemctl("stop", "meshd")
        process.kill()
        await process.wait()


def _installed(directory: Path, host: Host) -> None:
    """The unit that ships, for this user and this program; its state directory is the host's."""
    units = directory / "systemd" / "user"
    units.mkdir(parents=True)
    text = UNIT.read_text().replace("/opt/meshd/bin/meshd", str(SCRIPTS / "meshd"))
    (units / "meshd.service").write_text(text)
    (units / "none.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (units / "meshd.service.d").mkdir()
    # A manager of a user's units gives nobody another user, and keeps state in the user's configuration.
    drop_in = f"[Service]\nUser=\nGroup=\nEnvironment=PYTHONPATH={os.pathsep.join(sys.path[:1])}\nProtectHome=no\n"
    (units / "meshd.service.d" / "here.conf").write_text(
        f"{drop_in}StateDirectory=\nEnvironment=STATE_DIRECTORY={host.dir}\nReadWritePaths={host.dir}\nPrivateTmp=no\n"
    )


@pytest.mark.skipif(bool(_missing()), reason=_missing())
async def test_the_unit_is_ready_when_the_node_is_survives_a_crash_and_stops_all_of_it(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    host.agent(slots=1)
    _installed(tmp_path, host)
    async with _systemd(tmp_path) as systemd:
        try:
            assert await systemd.systemctl("start", "meshd") == ""
            assert (await host.ask("GET", "/readyz"))["ready"]  # at once: the start returned because it is
            daemon, server = host.pid, host.server_pid
            assert await systemd.shows("MainPID") == str(daemon)

            task = await host.submit(input={"s": 2.0})
            await host.until_state(task["id"], "running")
            host.kill()
            await until_told(lambda: _is_up_again(systemd), what="another daemon")
            assert (await host.ended(task["id"]))["state"] == "done"
            assert host.server_pid == server
            assert host.pid != daemon

            assert await systemd.systemctl("stop", "meshd") == ""
            assert await systemd.shows("Result") == "success"
            await until(lambda: not _left(host), what="an empty directory of processes")
        finally:
            await host.close()


@pytest.mark.skipif(bool(_missing()), reason=_missing())
async def test_a_setting_that_is_wrong_is_not_tried_again(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    _installed(tmp_path, host)
    with (tmp_path / "systemd" / "user" / "meshd.service.d" / "here.conf").open("a") as file:
        file.write("Environment=MESHD_TASKS__LEASE_S=soon\n")
    async with _systemd(tmp_path) as systemd:
        await systemd.systemctl("start", "meshd")
        assert await systemd.shows("Result") == "exit-code"
        assert await systemd.shows("ExecMainStatus") == "2"
        assert await systemd.shows("NRestarts") == "0"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
async def test_the_verifier_of_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "meshd.service"
    unit.write_text(UNIT.read_text().replace("/opt/meshd/bin/meshd", str(SCRIPTS / "meshd")))
    said = await told(["systemd-analyze", "verify", "--man=no", str(unit)])
    complaints = [line for line in said.err.splitlines() if "meshd.service" in line]
    assert (said.code, complaints) == (0, [])


async def _is_up_again(systemd: Systemd) -> bool:
    return (await systemd.shows("NRestarts"), await systemd.shows("ActiveState")) == ("1", "active")


def _left(host: Host) -> list[str]:
    """Processes that still run on the state directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(host.dir).encode() in (command := path.read_bytes()):
                found.append(command.decode(errors="replace"))
    return found
