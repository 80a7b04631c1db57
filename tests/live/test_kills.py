"""What is killed, stopped or cut off, and that no accepted task is lost and none is committed twice."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.live.hosts import Host, Mesh, mesh
from tests.waiting import until, until_told

pytestmark = pytest.mark.live


def _marks(path: Path, word: str) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.startswith(word)]


async def _free_slots_known(host: Host, *names: str) -> None:
    """Wait until `host` knows that the agents of these nodes are free."""

    async def look() -> bool:
        agents = (await host.ask("GET", "/v1/agents"))["agents"]
        free = {agent["node_name"] for agent in agents if agent["free"] > 0 and agent["state"] == "ready"}
        return free >= set(names)

    await until_told(look, what=f"agents on {names}")


async def owned_by(m: Mesh, home: Host, name: str, *, exclusive: bool = False, **input: Any) -> dict[str, Any]:
    """A task that `name` runs, submitted through `home`."""
    for _ in range(20):
        task = await home.submit(input=input, exclusive=exclusive)
        shown = await home.until_state(task["id"], "running")
        if shown["owner_name"] == name:
            return shown
        await home.ask("POST", f"/v1/tasks/{task['id']}/cancel")
        await _free_slots_known(home, name)
    raise AssertionError(f"{name} was never given a task")


async def test_a_killed_agent_is_restarted_and_its_task_done_again(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a", slots=1) as m:
        task = await m.a.submit(input={"crash_once": str(tmp_path / "once"), "n": 1})
        shown = await m.a.ended(task["id"])
        assert shown["state"] == "done"
        assert [attempt["ended"] for attempt in shown["attempts"]] == ["agent_crashed"]
        assert shown["epoch"] == 2


async def test_an_agent_that_always_crashes_fails_the_task_with_the_reason(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        task = await m.a.submit(input={"crash": 11})
        shown = await m.a.ended(task["id"], within_s=90.0)
        assert shown["state"] == "failed"
        assert "11" in shown["error"]["message"] or "SEGV" in shown["error"]["message"]
        assert len(shown["attempts"]) == 5


async def test_an_owner_killed_mid_run_loses_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with mesh(tmp_path, "a", "b", "c", workers="bc") as m:
        task = await owned_by(m, m.a, "c", s=2.0, mark=str(mark))
        m.c.kill()
        shown = await m.a.ended(task["id"])
        assert shown["state"] == "done"
        assert shown["owner_name"] == "b"
        *before, last = [attempt["ended"] for attempt in shown["attempts"]]
        assert last == "absent"
        assert set(before) <= {"busy"}  # with a task that was tried before on the way to c
        assert shown["refused"] == []
        await m.a.sees(c="dead")


async def test_an_owner_killed_before_it_accepts_is_passed_over(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="bc") as m:
        m.c.freeze()  # so that the award finds a listener and no answer
        tasks = [await m.a.submit(input={"n": number}) for number in range(4)]
        m.c.kill()
        m.c.thaw()
        ended = [await m.a.ended(task["id"]) for task in tasks]
        assert [task["state"] for task in ended] == ["done"] * 4
        assert {task["owner_name"] for task in ended} == {"b"}


async def test_an_owner_killed_between_run_and_commit_has_its_task_done_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with mesh(tmp_path, "a", "b", "c", workers="bc") as m:
        task = await owned_by(m, m.a, "c", s=1.0, mark=str(mark))
        ended = f"end {task['id']}"  # another node may have run one before
        server = m.a.server_pid
        os.kill(server, signal.SIGSTOP)  # the result cannot be committed
        try:
            await until(lambda: _marks(mark, ended), what="the end of the run")
            m.c.kill()
        finally:
            os.kill(server, signal.SIGCONT)
        shown = await m.a.ended(task["id"])
        assert shown["state"] == "done"
        ends = _marks(mark, ended)
        if shown["epoch"] == task["epoch"]:  # the commit had left before the kill, and stood
            assert len(ends) == 1
        else:
            assert shown["owner_name"] == "b"
            assert len(ends) == 2


async def test_a_killed_home_is_stood_in_for_by_a_guardian(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="ac") as m:
        task = await owned_by(m, m.b, "c", s=4.0)
        m.b.kill()  # the home
        await m.a.sees(b="dead")
        m.c.kill()  # then the owner
        shown = await m.a.ended(task["id"])
        assert shown["state"] == "done"
        assert shown["owner_name"] == "a"
        assert m.a.events("tasks_adopted")


async def test_a_restarted_home_takes_its_tasks_up_again(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="a", slots=1) as m:
        tasks = [await m.b.submit(input={"s": 1.0, "n": number}) for number in range(4)]
        m.b.kill()
        await m.b.start()
        ended = [await m.b.ended(task["id"]) for task in tasks]
        assert [task["state"] for task in ended] == ["done"] * 4


async def test_a_killed_server_comes_back_and_no_task_is_awarded_anew(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="abc") as m:
        tasks = [await m.b.submit(input={"s": 0.3, "n": number}) for number in range(30)]
        m.a.kill_server()
        ended = [await m.b.ended(task["id"]) for task in tasks]
        assert [task["state"] for task in ended] == ["done"] * 30
        moved = [task for task in ended if any(each["ended"] in ("absent", "silent") for each in task["attempts"])]
        assert moved == []
        for host in m.hosts.values():
            assert host.events("peer_dead") == []


async def test_the_host_of_the_record_dies_and_comes_back(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="bc") as m:
        tasks = [await m.b.submit(input={"s": 0.5, "n": number}) for number in range(8)]
        m.a.kill()
        m.a.kill_server()
        await m.b.is_in("detached")
        await m.c.is_in("detached")
        refused = await m.b.meshctl("status")
        assert refused[0] == 9
        assert "detached" in refused[1]
        await m.a.start()
        ended = [await m.b.ended(task["id"]) for task in tasks]
        assert [task["state"] for task in ended] == ["done"] * 8
        for host in (m.b, m.c):
            assert host.events("peer_dead") == []


async def test_the_server_outlives_its_daemon_and_is_adopted(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        server = m.a.server_pid
        m.a.kill()
        task = await m.b.submit(input={"n": 1})  # the record is still there to be written
        assert (await m.b.ended(task["id"]))["state"] == "done"
        await m.a.start()
        assert m.a.server_pid == server
        await m.b.sees(a="alive")


async def test_the_late_result_of_a_frozen_owner_is_refused_and_shown(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="bc") as m:
        task = await owned_by(m, m.a, "c", s=1.0, n=7)
        m.c.freeze()
        try:
            shown = await m.a.ended(task["id"])
        finally:
            m.c.thaw()
        assert shown["state"] == "done"
        assert shown["owner_name"] == "b"

        async def refused() -> list[dict[str, Any]]:
            return list((await m.a.task(task["id"]))["refused"])

        late = await until_told(refused, what="the refused result")
        assert late[0]["owner_name"] == "c"
        assert late[0]["epoch"] == task["epoch"]
        assert late[0]["result"]["n"] == 7
        again = await m.a.task(task["id"])
        assert (again["state"], again["epoch"], again["owner_name"]) == ("done", shown["epoch"], "b")
        await m.a.sees(c="alive")


@pytest.mark.parametrize("is_begun", [True, False])
async def test_exclusive_work_of_a_frozen_owner_ends_before_another_begins_it(tmp_path: Path, is_begun: bool) -> None:
    ticks = tmp_path / "ticks"
    ticks.touch()
    async with mesh(tmp_path, "a", "b", "c", workers="bc") as m:
        task = await owned_by(m, m.a, "c", exclusive=True, s=60, ticks=str(ticks))
        mine, next_one = (f"{task['id']}:{epoch}" for epoch in (task["epoch"], task["epoch"] + 1))
        if is_begun:  # else it was only given to it
            await until(lambda: ticks.read_text().split().count(mine) >= 3, what="its run")
        m.c.freeze()
        try:
            await until(lambda: ticks.read_text().split().count(next_one) >= 10, 60.0, "another run")
        finally:
            m.c.thaw()
        await m.a.sees(c="alive")
        runs = [run for run in ticks.read_text().split() if run in (mine, next_one)]
        assert runs == sorted(runs)
        shown = await m.a.task(task["id"])
        assert (shown["state"], shown["epoch"], shown["owner_name"]) == ("running", task["epoch"] + 1, "b")
        await m.a.ask("POST", f"/v1/tasks/{task['id']}/cancel")


async def test_a_daemon_that_stops_in_order_gives_its_work_back_and_is_not_called_dead(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="bc") as m:
        task = await owned_by(m, m.a, "c", s=30.0)
        stopping = asyncio.ensure_future(m.c.meshd("stop"))
        shown = await m.a.until_state(task["id"], "running", within_s=30.0)
        code, said = await stopping
        assert code == 0, said
        await m.a.sees(c="left")
        shown = await m.a.until_state(task["id"], "running")
        assert shown["owner_name"] == "b"
        *before, last = [attempt["ended"] for attempt in shown["attempts"]]
        assert last == "drained"
        assert set(before) <= {"busy"}  # b may still be busy with a task that was tried before on the way to c
        assert m.a.events("peer_dead") == []
        await m.a.ask("POST", f"/v1/tasks/{task['id']}/cancel")


async def test_a_start_that_fails_leaves_an_adopted_server_to_those_who_use_it(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        server = m.a.server_pid
        m.a.kill()
        taken = (await m.b.ask("GET", "/v1/status"))["nats"].rpartition(":")[2]
        code, said = await m.a.meshd("start", "--detach", "--name", "a", "--listen", f"127.0.0.1:{taken}")
        assert code == 1, said
        assert "port_taken" in said
        task = await m.b.submit(input={"n": 1})
        assert (await m.b.ended(task["id"]))["state"] == "done"
        await m.a.start()
        assert m.a.server_pid == server


async def test_after_a_power_cut_the_order_of_starts_does_not_matter(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        task = await m.b.submit(input={"s": 2.0, "n": 1})
        m.b.kill()
        m.a.kill()
        m.a.kill_server()
        code, said = await m.b.meshd("start", "--detach")
        assert code == 0, said
        assert said.startswith("b is ready")  # the name that it was given before
        assert "it is detached (the nats-server does not answer at " in said
        status = await m.b.tell("status")
        assert (status.code, status.out.startswith("detached as b")) == (9, True), status
        assert [agent["state"] for agent in (await m.b.ask("GET", "/v1/agents"))["agents"]] == ["ready"]
        await m.a.start()
        await m.b.is_in("joined")
        await m.a.sees(b="alive")
        assert (await m.b.ended(task["id"]))["state"] == "done"
        assert m.b.complaints() == []
