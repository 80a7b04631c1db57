"""A host that comes up while its server is away, silent, or not what it was."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.live.hosts import mesh
from tests.waiting import until, until_told

pytestmark = pytest.mark.live


async def test_a_member_that_is_told_to_join_again_comes_up_without_its_server(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="") as m:
        _, token = await m.a.meshctl("invite", "-o", "name")
        await m.b.meshd("stop")
        await m.a.meshd("stop")
        await m.b.start("--join", token.strip())
        assert (await m.b.ask("GET", "/v1/status"))["state"] == "detached"
        await m.a.start()
        await m.b.is_in("joined", 40.0)


async def test_a_record_that_came_back_with_less_than_was_seen_is_told_after_a_restart(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="") as m:
        seen = m.a.dir / "seen"
        await until(seen.exists, what="the record being remembered")
        os.kill(m.a.pid, signal.SIGKILL)
        os.kill(m.a.server_pid, signal.SIGKILL)
        shutil.rmtree(m.a.dir / "nats" / "js")
        seen.write_text("1000\n")
        await m.a.start()

        async def is_told() -> bool:
            return "was lost" in " ".join((await m.a.ask("GET", "/v1/status"))["attention"])

        await until_told(is_told, what="the loss is told")
        assert (await m.a.meshctl("status"))[0] == 9
        assert [event["revision"] for event in m.a.events("record_lost")] == [0]
