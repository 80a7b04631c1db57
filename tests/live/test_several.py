"""Several daemons on one host: each in its directory, and a command that was not told which says how to choose."""

from pathlib import Path

import pytest

from tests.live.hosts import SCRIPTS, Host, told

pytestmark = pytest.mark.live


async def test_two_daemons_share_a_host_and_a_command_without_a_directory_names_both(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(runtime), "HOME": str(tmp_path / "home"), "MESHD_DIR": "", "XDG_STATE_HOME": ""}
    hosts = [Host(tmp_path, "a"), Host(tmp_path, "b")]
    meshd, meshctl = str(SCRIPTS / "meshd"), str(SCRIPTS / "meshctl")
    try:
        for host in hosts:
            started = await told([meshd, "start", "--detach", "--dir", str(host.dir), "--name", host.name], env=environ)
            assert started.code == 0, started
        for host in hosts:
            said = await told([meshctl, "--dir", str(host.dir), "status"], env=environ)
            assert said.out.startswith(f"joined as {host.name} in mesh ")
        said = await told([meshctl, "status"], env=environ)
        assert said.code == 3
        both = f"{hosts[0].dir}, {hosts[1].dir}"
        assert f"try: choose a daemon with --dir or MESHD_DIR; on this host run: {both}\n" in said.err

        hosts[0].kill()
        assert (await told([meshd, "stop", "--dir", str(hosts[1].dir)], env=environ)).code == 0
        said = await told([meshctl, "status"], env=environ)
        assert "try: start one with: meshd start\n" in said.err
    finally:
        for host in hosts:
            await host.close()
