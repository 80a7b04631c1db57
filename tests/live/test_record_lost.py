"""The record's files are lost while everybody works: what nodes still know is written anew, and somebody is told."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from protocol import ids
from tests.live.hosts import mesh
from tests.live.stranger import stranger
from tests.waiting import until_told

pytestmark = pytest.mark.live


async def test_unfinished_tasks_outlive_the_loss_of_the_whole_record(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="c", slots=1) as m:
        running = await m.b.submit(input={"s": 6.0, "n": 1})
        await m.b.until_state(running["id"], "running")
        waiting = await m.b.submit(input={"n": 2})
        os.kill(m.a.server_pid, signal.SIGSTOP)  # it must not write while its files go
        shutil.rmtree(m.a.dir / "nats" / "js")
        m.a.kill_server()

        async def is_told() -> bool:
            told = " ".join((await m.b.ask("GET", "/v1/status"))["attention"])
            return "was lost" in told and "put back" in told

        await until_told(is_told, 40.0, what="the loss is told")
        for task in (running, waiting):
            shown = await m.a.ended(task["id"])
            assert (shown["state"], shown["epoch"]) == ("done", 1)
        assert (await m.b.meshctl("status"))[0] == 9
        assert not m.c.events("result_refused")


async def test_an_older_record_over_the_end_of_a_task_is_replaced_and_its_home_runs_nothing_again(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, "a", "b", workers="b", slots=1) as m, stranger(m.a) as s:
        task = await m.b.submit(input={"s": 2.0, "n": 1})
        await m.b.until_state(task["id"], "running")
        key = ids.task_key(task["id"])
        older = await s.value(key)
        await m.a.ended(task["id"])
        await s.put(key, older)

        async def is_put_back() -> bool:
            return (await m.a.task(task["id"]))["state"] == "done" and await s.value(key) != older

        await until_told(is_put_back, 40.0, what="the end is put back")
        m.b.kill()
        await m.b.start()
        shown = await m.b.ended(task["id"])
        assert (shown["state"], shown["epoch"]) == ("done", 1)
        assert m.a.events("task_put_back") or m.b.events("task_put_back")
