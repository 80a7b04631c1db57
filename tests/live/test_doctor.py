"""The doctor of real daemons, and an operator's hand on them: what is broken is found, and is gone when mended."""

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from meshd.lives import BEGAN_ABOVE
from tests.live.hosts import Host, mesh
from tests.servers import free_port
from tests.waiting import until_told

pytestmark = pytest.mark.live


async def _findings(host: Host) -> dict[str, list[dict[str, Any]]]:
    said = await host.tell("doctor", "-o", "json")
    assert said.err == ""
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(said.out)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    found.pop("disk", None)  # of the machine that tests
    found.pop("root", None)  # the founder's own, where it was made
    assert said.code in (0, 9)
    return found


async def _finds(host: Host, check: str) -> list[dict[str, Any]]:
    """What it says of this once it says something."""

    async def look() -> list[dict[str, Any]] | None:
        return (await _findings(host)).get(check)

    found = await until_told(look, within_s=60.0, what=f"a finding of {check}")
    assert found is not None
    return found


async def test_what_is_broken_on_real_hosts_is_found_and_nothing_else(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="a") as m:

        async def is_well() -> bool:
            return await _findings(m.a) == {}

        await until_told(is_well, what="two hosts on which all is well")

        (m.a.dir / "root.key").chmod(0o644)
        (m.a.dir / "agents.d" / "broken.toml").write_text("name = 7\n")
        found = await _findings(m.a)
        assert set(found) == {"files", "manifests"}
        assert found["files"][0]["where"] == str(m.a.dir / "root.key")
        (m.a.dir / "root.key").chmod(0o600)
        (m.a.dir / "agents.d" / "broken.toml").unlink()

        m.b.freeze()
        try:
            assert (await _finds(m.a, "silence"))[0]["where"] == "b"
        finally:
            m.b.thaw()
        await until_told(is_well, what="all being well again")

        assert (await m.a.tell("peers", "drain", "b")).code == 0
        assert (await _finds(m.a, "duty"))[0]["cure"] == "meshctl peers undrain b"
        assert "draining" in (await m.b.tell("status")).out
        assert (await m.a.tell("peers", "undrain", "b")).code == 0
        await until_told(is_well, what="b working again")


async def test_a_server_that_hangs_an_agent_that_falls_over_and_an_open_port_are_found(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    host.agent(name="worker")
    fallen = host.dir / "agents.d" / "fallen.toml"
    fallen.write_text('name = "fallen"\ncapabilities = ["fall@1"]\nkind = "stdio"\nrun = ["false"]\n')
    settings = tmp_path / "open.toml"
    settings.write_text("insecure = true\n")
    listen = f"0.0.0.0:{free_port()}"
    try:
        await host.start("--config", str(settings), "--nats-listen", listen)
        assert (await _finds(host, "agents"))[0]["where"] == "fallen"
        found = await _findings(host)
        assert [each["where"] for each in found["exposure"]] == [listen]

        os.kill(host.server_pid, signal.SIGSTOP)
        try:
            (server,) = await _finds(host, "server")
            assert "this node is " in server["what"]
            assert "gave no answer" in (await _finds(host, "streams"))[0]["what"]
        finally:
            os.kill(host.server_pid, signal.SIGCONT)

        async def is_mended() -> bool:
            return not {"server", "streams"} & set(await _findings(host))

        await until_told(is_mended, what="the server being back")
    finally:
        await host.close()


async def test_a_dead_host_is_forgotten_when_told_to_and_a_living_one_is_not(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="") as m:
        refused = await m.a.tell("peers", "remove", "b")
        assert refused.code == 8
        assert "error[still_alive]" in refused.err
        m.c.kill()
        await m.a.sees(c="dead")
        await m.b.sees(c="dead")
        said = await m.a.tell("peers", "remove", "c")
        assert said.out == "c is forgotten on a, b\n", said
        for host in (m.a, m.b):
            assert (await host.tell("peers", "-o", "name")).out.split() == ["a", "b"]


async def test_a_log_says_more_from_the_moment_it_is_told_to(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        log = m.a.dir / "meshd.log"
        assert (await m.a.tell("config", "set", "log.level", "debug")).code == 0
        said = await m.a.tell("config", "show", "log.level", "--origin")
        assert said.out.splitlines()[1].split(maxsplit=2) == ["log.level", '"debug"', "set while it runs"]
        await m.a.tell("tasks", "submit", "work@1", "--input", "{}", "--wait")

        async def is_told() -> bool:
            return '"level":"debug"' in await asyncio.to_thread(log.read_text)

        await until_told(is_told, what="a line of level debug")


async def _is_listened_to(by: Host, name: str, *, above: int) -> bool:
    peers = (await by.ask("GET", "/v1/peers"))["peers"]
    return [(peer["state"], peer["life"] > above) for peer in peers if peer["name"] == name] == [("alive", True)]


async def test_who_is_outlived_by_a_copy_of_its_directory_is_told_so_first_and_begins_anew_once_that_has_left(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, "a", "b", workers="") as m:
        copy = Host(tmp_path, "copy")
        try:
            unlike = shutil.ignore_patterns("api.*", "lock", "meshd.log")
            shutil.copytree(m.b.dir, copy.dir, ignore=unlike, dirs_exist_ok=True)
            code, line = await copy.meshd("start", "--detach")
            assert (code, line.startswith("b is ready in mesh ")) == (0, True), line
            assert (await _finds(m.b, "twin"))[0]["where"] == str(m.b.dir)
            said = await m.b.tell("doctor")
            assert (said.code, said.out.startswith("error[twin]: ")) == (9, True)
            assert "the mesh listens to the newer daemon with this node's key" in said.out.splitlines()[-1]
            assert (await m.b.tell("status", "--wait", "0.1")).code == 9
            assert "twin" not in await _findings(copy)
            life = (await copy.ask("GET", "/v1/status"))["life"]
            assert (await copy.meshd("stop"))[0] == 0
            await until_told(lambda: _is_listened_to(m.a, "b", above=life), what="the one that is left being heard")
            status = await m.b.ask("GET", "/v1/status")
            assert (status["outlived"], BEGAN_ABOVE in status["notes"]) == (False, True)
        finally:
            await copy.close()
