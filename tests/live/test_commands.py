"""Every command of a running mesh: what it prints in each form, and the exit code it ends with."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.live.hosts import SCRIPTS, Host, Told, mesh
from tests.waiting import until, until_told

pytestmark = pytest.mark.live

LISTS = {  # noun, and the field of its names in JSON
    "peers": ("peers", "name"),
    "agents": ("agents", "name"),
    "capabilities": ("capabilities", "name"),
    "tasks": ("tasks", "id"),
}


def _said(said: Told, code: int = 0) -> str:
    assert said.code == code, said
    assert "Traceback" not in said.err
    return said.out.strip()


def _refused(said: Told, code: int, error: str) -> str:
    assert said.code == code, said
    assert said.err.startswith(f"error[{error}]: "), said.err
    assert "\ntry: " in said.err
    assert said.out == ""
    return said.err


async def test_every_list_prints_a_table_json_lines_and_names_that_agree(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="ab") as m:
        for number in range(3):
            _said(await m.a.tell("tasks", "submit", "work@1", "--input", json.dumps({"n": number}), "--wait"))
        for noun, (field, name) in LISTS.items():
            whole = _said(await m.b.tell(noun, "-o", "json"))
            items = json.loads(whole)[field]
            assert items
            assert json.loads(whole) == await m.b.ask("GET", f"/v1/{noun}") or noun != "tasks"
            lines = _said(await m.b.tell("-o", "jsonl", noun)).splitlines()
            assert [json.loads(line)[name] for line in lines] == [item[name] for item in items]
            assert _said(await m.b.tell(noun, "-o", "name")).split() == [item[name] for item in items]
            table = _said(await m.b.tell(noun)).splitlines()
            assert len(table) == len(items) + 1
            assert len(_said(await m.b.tell(noun, "-q")).splitlines()) == len(items)
            assert "\x1b" not in "".join(table)


async def test_what_is_shown_of_one_thing_is_asked_by_name_and_by_beginning(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        assert " alive" in _said(await m.a.tell("peers", "show", "b"))
        peer = json.loads(_said(await m.a.tell("peers", "show", "b", "-o", "json")))
        assert _said(await m.a.tell("peers", "show", peer["id"][:8], "-o", "name")) == "b"
        assert _said(await m.a.tell("peers", "ping", "b")).startswith("b: ")
        assert "work@1" in _said(await m.a.tell("agents", "show", "worker"))
        assert _said(await m.a.tell("agents", "--here", "-o", "name")) == ""
        assert "worker on b" in _said(await m.a.tell("capabilities", "search", "work"))
        assert _said(await m.a.tell("capabilities", "who-can", "work@1", "-o", "name")) == "worker"
        assert "daemon" in _said(await m.a.tell("version"))
        assert json.loads(_said(await m.a.tell("version", "-o", "json")))["meshd"]
        assert _said(await m.a.tell("status", "-o", "name")) == "a"
        assert "joined as a" in _said(await m.a.tell("status", "--wait", "5"))
        assert _said(await m.a.tell("invite", "-o", "name")).startswith("mj1_")
        assert json.loads(_said(await m.a.tell("invite", "-o", "json")))["fingerprint"]
        invited = await m.a.tell("invite")
        assert invited.out.startswith("mj1_")
        assert "Anyone who has this one can join" in invited.err
        called = await m.a.tell("call", "work@1", "-", stdin=b'{"n": 4}')
        assert json.loads(_said(called))["n"] == 4
        assert _said(await m.a.tell("call", "work@1", "-o", "name")) == "worker"
        _refused(await m.a.tell("call", "nothing@1"), 7, "no_agent")
        _refused(await m.a.tell("tasks", "submit", "nothing@1"), 7, "no_agent")
        _refused(await m.a.tell("call", "work@1", "--input", '{"s": 9}', "--timeout", "0.5"), 6, "timed_out")
        _refused(await m.a.tell("frob"), 2, "bad_input")


async def test_a_task_is_submitted_awaited_shown_and_cancelled_from_any_node(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        result = _said(await m.a.tell("tasks", "submit", "work@1", "--input", '{"n": 1}', "--wait"))
        assert json.loads(result)["n"] == 1
        task = _said(await m.a.tell("tasks", "submit", "work@1", "--input", '{"s": 60}'))
        await m.b.until_state(task, "running")
        shown = json.loads(_said(await m.b.tell("tasks", "show", task[:8], "-o", "json")))
        assert (shown["id"], shown["owner_name"], shown["home_name"]) == (task, "b", "a")
        assert "state" in _said(await m.a.tell("tasks", "show", task))
        waiting = _refused(await m.b.tell("tasks", "wait", task, "--timeout", "0.5"), 6, "unfinished")
        assert f"meshctl tasks wait {task}" in waiting
        assert _said(await m.a.tell("tasks", "--state", "running", "-o", "name")) == task
        assert _said(await m.b.tell("tasks", "cancel", task)) == task
        _refused(await m.a.tell("tasks", "wait", task, "--timeout", "5"), 5, "cancelled")
        _refused(await m.b.tell("tasks", "cancel", task), 8, "already_ended")
        late = await m.a.tell("tasks", "submit", "work@1", "--input", '{"s": 2}', "--deadline", "0.5", "--wait")
        _refused(late, 5, "deadline")
        failed = await m.a.tell(
            "tasks", "submit", "work@1", "--input", '{"s": 2}', "--deadline", "0.5", "--wait", "-o", "json"
        )
        assert failed.code == 5
        assert json.loads(failed.out)["error"]["code"] == "deadline"
        exclusive = await m.a.tell(
            "tasks", "submit", "work@1", "--exclusive", "--priority", "9", "--wait", "-o", "json"
        )
        assert json.loads(_said(exclusive))["exclusive"] is True


async def test_one_key_is_one_task_through_whichever_node(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", "c", workers="c") as m:
        order = ("tasks", "submit", "work@1", "--key", "once", "--input", '{"n": 1, "s": 0.2}')
        first = _said(await m.a.tell(*order))
        assert _said(await m.b.tell(*order)) == first
        error = _refused(await m.b.tell(*order[:-1], '{"n": 2}'), 8, "key_reused")
        assert first in error
        for number in range(5):
            key = {"Idempotency-Key": f"twin-{number}"}
            body = {"capability": "work@1", "input": {"mark": str(tmp_path / f"mark-{number}")}}
            hosts = (m.a, m.b, m.c)
            answers = await asyncio.gather(*(host.ask("POST", "/v1/tasks", body, **key) for host in hosts))
            assert len({answer["id"] for answer in answers}) == 1
            ended = await m.b.ended(answers[0]["id"])
            assert ended["state"] == "done"
            started = (tmp_path / f"mark-{number}").read_text().splitlines()
            assert [line.split()[0] for line in started] == ["start", "end"]
        listed = (await m.a.ask("GET", "/v1/tasks"))["tasks"]
        assert len(listed) == 6


async def test_watch_prints_a_task_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        command = [str(SCRIPTS / "meshctl"), "--dir", str(m.a.dir), "tasks", "watch", "-o", "jsonl"]
        watch = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        seen: list[dict[str, Any]] = []

        async def read() -> None:
            assert watch.stdout is not None
            async for line in watch.stdout:
                seen.append(json.loads(line))

        reading = asyncio.create_task(read())

        async def look() -> bool:
            if not seen:
                await m.a.submit(input={"n": 1})
            return bool(seen)

        try:
            await until_told(look, what="watch being connected")
            task = await m.a.submit(input={"n": 2})

            def kinds() -> list[str]:
                return [event["kind"] for event in seen if event.get("task") == task["id"]]

            await until(lambda: "task_done" in kinds(), what="the end of the task being printed")
            wanted = ["task_submitted", "task_awarded", "task_started", "task_done"]
            assert sorted(set(kinds()), key=wanted.index) == wanted
            assert kinds()[0] == "task_submitted"
            assert all({"seq", "time_ms", "node", "kind"} <= set(event) for event in seen)
        finally:
            watch.terminate()
            await watch.wait()
            await reading


async def test_the_stream_of_events_goes_on_where_it_was_left(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        first = await m.a.submit(input={"n": 1})
        await m.a.ended(first["id"])
        events = await _events(m.a, until_task=first["id"])
        submitted = next(event for event in events if event["kind"] == "task_submitted")
        again = await _events(m.a, after=submitted["seq"], until_task=first["id"])
        assert again == [event for event in events if event["seq"] > submitted["seq"]]
        assert [event["seq"] for event in again] == sorted({event["seq"] for event in again})


async def test_a_reader_misses_nothing_of_other_nodes_after_its_first_line(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="a") as m:
        async with asyncio.timeout(20.0), m.b.stream("/v1/events") as lines:
            assert (await lines.readline()).startswith(b"retry")
            task = await m.a.submit(input={"n": 1})
            told = []
            async for line in lines:
                if line.startswith(b"data: {"):
                    told.append(json.loads(line[6:]))
                    if told[-1]["kind"] == "task_done":
                        break
        kinds = [event["kind"] for event in told if event.get("task") == task["id"]]
        assert kinds[:2] == ["task_submitted", "task_awarded"]
        assert [event["seq"] for event in told] == list(range(told[0]["seq"], told[-1]["seq"] + 1))


async def test_a_reader_that_comes_back_after_a_restart_is_told_what_that_means(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        former = (await m.a.ask("GET", "/v1/status"))["life"]
        await m.a.meshd("stop")
        await m.a.start()
        for last, word in ((f"{former}.900", b"started anew"), ("100000", b"only at")):
            async with asyncio.timeout(20.0), m.a.stream("/v1/events", **{"Last-Event-ID": last}) as lines:
                said = [await lines.readline() for _ in range(5)]
            assert said[3] == b"event: missed\n"
            assert word in said[4]


async def _events(host: Host, *, until_task: str, after: int = 0) -> list[dict[str, Any]]:
    """Events after a number, up to the end of a task."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20.0), host.stream("/v1/events", **{"Last-Event-ID": str(after)}) as lines:
        async for line in lines:
            if line.startswith(b"data: {"):
                found.append(json.loads(line[6:]))
                if found[-1]["kind"] == "task_done" and found[-1]["task"] == until_task:
                    return found
    raise AssertionError(found)


async def test_what_needs_attention_is_exit_nine_and_stop_drains_what_runs(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        task = await m.a.submit(input={"s": 3.0})
        await m.a.until_state(task["id"], "running")
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(m.b.meshd("stop"))
            await m.b.is_in("draining")
            said = await m.b.tell("status")
            assert (said.code, said.out.startswith("draining as b")) == (9, True)
            _refused(await m.b.tell("tasks", "submit", "work@1"), 1, "draining")
        code, text = stopping.result()
        assert code == 0, text
        ended = await m.a.ended(task["id"])
        assert (ended["state"], ended["epoch"]) == ("done", 1)
        await m.a.sees(b="left")
        _refused(await m.b.tell("status"), 3, "unreachable")
        assert (await m.b.meshd("stop"))[0] == 3
        (m.a.dir / "agents.d").mkdir(exist_ok=True)
        (m.a.dir / "agents.d" / "broken.toml").write_text("name = ")  # what lasts until somebody mends it
        await until_told(lambda: _is_degraded(m.a), what="a status of nine")


async def _is_degraded(host: Host) -> bool:
    return (await host.tell("status")).code == 9
