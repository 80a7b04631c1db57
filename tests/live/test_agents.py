"""Agents of both kinds on real nodes: they ask the mesh, share slots, keep limits, and come back."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.stage import is_running
from tests.live.hosts import Host, Mesh, mesh
from tests.waiting import until, until_told

pytestmark = pytest.mark.live

ACTORS = Path(__file__).parents[1] / "contracts" / "actors"
KINDS = {"stdio": "speaks_pipe.py", "python": "uses_sdk.py"}

PLANNER = """
from meshd.sdk import Agent, Context, MeshRefusal

agent = Agent("planner")


@agent.handles("plan@1")
async def plan(ctx: Context, count: int) -> dict[str, object]:
    await ctx.step("begun", pieces=count)
    asked = await ctx.call("work@1", {"n": -1})
    kept = [await ctx.submit("work@1", {"n": number}, wait=True) for number in range(count)]
    child = await ctx.submit("work@1", {"n": 99})
    try:
        await ctx.call("nothing@1")
    except MeshRefusal as refusal:
        return {"asked": asked["n"], "kept": [each["n"] for each in kept], "child": child, "refused": refusal.code}
    return {}


@agent.handles("slow@1")
async def slow(ctx: Context) -> None:
    await ctx.step("half way", share=0.5)
    await ctx.call("work@1", {"s": 60}, timeout_s=60)
"""


MOUTH = """
from meshd.sdk import Agent, Context

agent = Agent("mouth")


@agent.handles("say@1")
async def say(ctx: Context, value: str) -> None:
    await ctx.publish("sales.news", value)
"""

EAR = """
import json, sys

for line in sys.stdin:
    message = json.loads(line)
    if "event" in message:
        with open("heard", "a") as file:
            file.write(message["event"] + "\\n")
        print(json.dumps({"task": message["task"], "result": None}), flush=True)
"""


def _actor(host: Host, kind: str, *, slots: int = 2, task_s: float = 60.0) -> None:
    """The agent of the contract suite, which does what its input says, as `act@1`."""
    folder = host.dir / "agents.d"
    folder.mkdir(exist_ok=True)
    if kind == "python":
        shutil.copy(ACTORS / KINDS[kind], folder)
        run = '"uses_sdk:agent"'
    else:
        host.agent("act@1", name="actor", slots=slots, task_s=task_s, program=ACTORS / KINDS[kind])
        return
    (folder / "actor.toml").write_text(
        f'name = "actor"\ncapabilities = ["act@1"]\nkind = "python"\nrun = {run}\n'
        f"slots = {slots}\nlimits = {{ task_s = {task_s} }}\n"
    )


async def _is_offered(m: Mesh, *capabilities: str) -> None:
    """Return when every node knows who can do these."""

    async def look() -> bool:
        known = [await host.ask("GET", "/v1/capabilities") for host in m.hosts.values()]
        return all(set(capabilities) <= {each["name"] for each in answer["capabilities"]} for answer in known)

    await until_told(look, what=f"{capabilities} being offered")


async def test_a_python_agent_asks_agents_of_another_node_under_one_goal(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b", prepare=_planner) as m:
        await _is_offered(m, "plan@1", "work@1")
        parent = await m.b.submit("plan@1", input=3)
        shown = await m.b.ended(parent["id"])
        assert shown["state"] == "done", shown["error"]
        assert shown["owner_name"] == "a"
        result = shown["result"]
        assert (result["asked"], result["kept"], result["refused"]) == (-1, [0, 1, 2], "no_agent")
        await m.a.ended(result["child"])
        tasks = (await m.a.ask("GET", f"/v1/tasks?gid={shown['gid']}"))["tasks"]
        children = [task for task in tasks if task["id"] != shown["id"]]
        assert len(children) == 4
        assert {task["parent_iid"] for task in children} == {shown["iid"]}
        assert {task["owner_name"] for task in children} == {"b"}


async def test_a_step_is_shown_as_progress_by_every_node(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="b", prepare=_planner) as m:
        await _is_offered(m, "slow@1", "work@1")
        task = await m.b.submit("slow@1", input={})
        for host in m.hosts.values():

            async def look(host: Host = host) -> Any:
                return (await host.task(task["id"]))["progress"]

            progress = await until_told(look, what="the progress")
            assert "half way" in str(progress)
            assert "0.5" in str(progress)
        await m.a.ask("POST", f"/v1/tasks/{task['id']}/cancel")
        assert (await m.b.ended(task["id"]))["state"] == "cancelled"


def _planner(hosts: dict[str, Host]) -> None:
    folder = hosts["a"].dir / "agents.d"
    folder.mkdir(exist_ok=True)
    (folder / "planning.py").write_text(PLANNER)
    (folder / "planner.toml").write_text(
        'name = "planner"\ncapabilities = ["plan@1", "slow@1"]\nkind = "python"\nrun = "planning:agent"\n'
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_what_an_agent_asks_is_answered_by_another_node(tmp_path: Path, kind: str) -> None:
    def prepare(hosts: dict[str, Host]) -> None:
        _actor(hosts["a"], kind)
        hosts["b"].agent("other@1", name="other")

    async with mesh(tmp_path, "a", "b", workers="", prepare=prepare) as m:
        await _is_offered(m, "act@1", "other@1")
        called = await m.b.ended((await m.b.submit("act@1", input=["call", {"n": 5}]))["id"])
        assert called["result"] == {"by": "other", "n": 5}
        kept = await m.b.ended((await m.b.submit("act@1", input=["submit", {"n": 6}]))["id"])
        assert kept["result"] == {"by": "other", "n": 6}
        await m.b.meshd("stop")
        await m.a.sees(b="left")
        refused = await m.a.ended((await m.a.submit("act@1", input=["call", {}]))["id"])
        assert refused["result"].startswith("no_agent: "), refused


@pytest.mark.parametrize("kind", KINDS)
async def test_no_more_tasks_run_than_there_are_slots(tmp_path: Path, kind: str) -> None:
    async with mesh(tmp_path, "a", workers="", prepare=lambda hosts: _actor(hosts["a"], kind)) as m:
        tasks = [await m.a.submit("act@1", input=["hold", number]) for number in range(3)]
        for task in tasks[:2]:
            await m.a.until_state(task["id"], "running")
        agents = (await m.a.ask("GET", "/v1/agents"))["agents"]
        assert [agent["free"] for agent in agents] == [0]
        assert (await m.a.task(tasks[2]["id"]))["state"] == "open"
        busy = await m.a.ask("POST", "/v1/call/act@1", {"input": ["echo", 1], "timeout_s": 1})
        assert busy["error"]["code"] == "no_free_agent"
        await m.a.ask("POST", f"/v1/tasks/{tasks[0]['id']}/cancel")
        await m.a.until_state(tasks[2]["id"], "running")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_past_its_limit_fails_and_a_crash_is_told_with_its_last_words(tmp_path: Path, kind: str) -> None:
    def prepare(hosts: dict[str, Host]) -> None:
        _actor(hosts["a"], kind, slots=1, task_s=0.5)

    async with mesh(tmp_path, "a", workers="", prepare=prepare) as m:
        held = await m.a.submit("act@1", input=["hold", None])
        assert "0.5 s" in await _first_attempt(m.a, held["id"], "agent_timeout")
        died = await m.a.submit("act@1", input=["last-words", "the disk is full"])
        told = await _first_attempt(m.a, died["id"], "agent_crashed")
        assert "exit code 3" in told
        assert "the disk is full" in told
        await _is_offered(m, "act@1")
        assert (await _done(m.a, ["echo", "back"]))["result"] == "back"
        assert m.a.complaints() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_killed_daemon_leaves_nothing_of_what_its_agents_started(tmp_path: Path, kind: str) -> None:
    async with mesh(tmp_path, "a", workers="", prepare=lambda hosts: _actor(hosts["a"], kind)) as m:
        started = (await _done(m.a, ["child", None]))["result"]
        assert is_running(started)
        m.a.kill()
        await until(lambda: not is_running(started), what="the end of what the agent started")


async def _first_attempt(host: Host, task: str, ended: str) -> str:
    """What is told of the first attempt at a task, which is then cancelled."""

    async def look() -> list[dict[str, Any]]:
        attempts: list[dict[str, Any]] = (await host.task(task))["attempts"]
        return attempts

    first = (await until_told(look, what="the end of an attempt"))[0]
    assert first["ended"] == ended
    await host.ask("POST", f"/v1/tasks/{task}/cancel")
    detail: str = first["detail"]
    return detail


async def _done(host: Host, input: list[Any]) -> dict[str, Any]:
    """The end of a task for an actor that may still be coming back."""

    async def look() -> dict[str, Any] | None:
        task = await host.ask("POST", "/v1/tasks", {"capability": "act@1", "input": input})
        return await host.ended(task["id"]) if "id" in task else None

    shown = await until_told(look, what=f"{input} being done")
    assert shown is not None
    return shown


def _speaker(hosts: dict[str, Host]) -> None:
    """On `a` an agent that says what it is told, on `b` one that remembers what it hears."""
    mouth, ear = (hosts[name].dir / "agents.d" for name in "ab")
    for folder in (mouth, ear):
        folder.mkdir(exist_ok=True)
    (mouth / "mouth.py").write_text(MOUTH)
    (mouth / "mouth.toml").write_text(
        'name = "mouth"\nkind = "python"\nrun = "mouth:agent"\ncapabilities = ["say@1"]\n'
    )
    (ear / "ear.py").write_text(EAR)
    (ear / "ear.toml").write_text(
        'name = "ear"\nkind = "stdio"\nrun = ["python3", "./ear.py"]\ntopics = ["sales.news"]\n'
    )


async def test_what_a_python_agent_publishes_is_heard_by_a_stdio_agent_of_another_node_before_and_after_a_lost_server(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, "a", "b", workers="", prepare=_speaker) as m:
        await _is_offered(m, "say@1")
        heard = m.b.dir / "agents.d" / "heard"

        async def hears(value: str) -> bool:
            said = await m.a.submit("say@1", input=value)
            assert (await m.a.ended(said["id"]))["state"] == "done"
            return heard.exists() and value in heard.read_text().split()

        await until_told(lambda: hears("first"), what="an event")
        m.a.kill_server()
        await until_told(lambda: hears("second"), within_s=40.0, what="an event after the server came back")
        shown = await m.a.ask("GET", "/v1/agents/ear")
        assert shown["agents"][0]["topics"] == ["sales.news"]
        assert (await m.b.ask("GET", "/v1/agents/ear"))["agents"][0]["hearing"]["failed"] == 0
