"""The example manifests in configs/agents.d load, and their agents do what they say."""

import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshd.agents.adapters import ADAPTERS, build
from meshd.agents.manifest import Declared, Manifest, load_all
from meshd.agents.reaper import Reaper
from meshd.ports import Agent, Failed, Finished, Outcome, Work
from meshd.sdk import Agent as SdkAgent
from meshd.sdk import MeshRefusal
from meshd.supervise import Supervisor
from tests.contracts.stage import Desk
from tests.servers import free_port
from tests.waiting import until

FOLDER = Path(__file__).parents[3] / "configs" / "agents.d"


@pytest.fixture
async def agents() -> AsyncIterator[dict[str, Agent]]:
    failures: list[BaseException] = []
    supervisor = Supervisor(lambda name, failure: failures.append(failure))
    reaper = Reaper(supervisor)
    manifests, errors = load_all(FOLDER)
    assert errors == []
    agents = {manifest.name: build(manifest, lambda *_: None, supervisor, reaper) for manifest in manifests}
    yield agents
    for agent in agents.values():
        await agent.stop()
    reaper.close()
    await supervisor.close()
    assert failures == []


async def done(agent: Agent, capability: str, input: object, desk: Desk | None = None) -> Outcome:
    await agent.start()
    work = Work(task="t", capability=capability, input=input, epoch=1, attempt=1, deadline_s=20.0, iid="i", gid="g")
    return await agent.run(work, desk or Desk())


def started(program: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, program], cwd=folder, stderr=subprocess.DEVNULL)


def manifests() -> list[Manifest]:
    return load_all(FOLDER)[0]


def test_there_is_an_example_of_every_kind_and_of_every_key() -> None:
    assert {manifest.kind for manifest in manifests()} == set(ADAPTERS)
    text = "\n".join(path.read_text() for path in FOLDER.glob("*.toml"))
    assert [key for key in Declared.__struct_fields__ if f"{key} = " not in text and f"[{key}." not in text] == []


async def test_the_word_count_counts_and_says_what_it_cannot(agents: dict[str, Agent]) -> None:
    assert await done(agents["word-count"], "word_count@1", "to be or not") == Finished(4)
    assert await done(agents["word-count"], "word_count@1", 3) == Failed(
        "agent_failed", "the input must be text", False
    )


async def test_the_units_are_converted_by_their_server(agents: dict[str, Agent]) -> None:
    given = {"value": 2, "from": "km", "to": "m"}
    assert await done(agents["units"], "convert@1", given) == Finished({"value": 2_000.0})
    wrong = await done(agents["units"], "convert@1", given | {"to": "furlong"})
    assert isinstance(wrong, Failed)
    assert wrong.message.startswith("the input does not fit what convert@1 takes: to: 'furlong' is not one of ")


async def test_the_sentiment_is_asked_of_its_service(agents: dict[str, Agent], tmp_path: Path) -> None:
    port = free_port()
    for name in ("sentiment.toml", "sentiment_service.py"):
        (tmp_path / name).write_text((FOLDER / name).read_text().replace("8091", str(port)))
    [manifest], _ = load_all(tmp_path)
    failures: list[BaseException] = []
    supervisor = Supervisor(lambda name, failure: failures.append(failure))
    agent = build(manifest, lambda *_: None, supervisor, Reaper(supervisor))
    service = started("sentiment_service.py", tmp_path)
    try:
        await agent.start()
        await until(lambda: agent.state == "ready")
        assert await done(agent, "sentiment@1", "a good day") == Finished({"mood": "glad"})
        assert await done(agent, "sentiment@1", 3) == Failed(
            "bad_input", 'the input does not fit what sentiment@1 takes: 3 is not of type "string"', retry=False
        )
    finally:
        service.kill()
        service.wait()
        await agent.stop()
        await supervisor.close()
    assert failures == []


async def test_the_recommendation_asks_for_the_profile_and_says_so(agents: dict[str, Agent]) -> None:
    desk = Desk(answer={"orders": 2, "returns": 0})
    assert await done(agents["sales-recommendation"], "scoring@2", "c-1", desk) == Finished(0.75)
    assert desk.asked == [("call", "crm_lookup@1", "c-1", 20.0)]
    assert desk.said == [{"step": "profile read", "fields": 2}]


async def test_the_recommendation_runs_without_a_daemon() -> None:
    spec = importlib.util.spec_from_file_location("recommend_example", FOLDER / "recommend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    agent = module.agent
    assert isinstance(agent, SdkAgent)
    assert await agent.handle_locally("scoring@2", "c-17") == pytest.approx(9 / 11)
    with pytest.raises(MeshRefusal, match="no customer is called nobody"):
        await agent.handle_locally("scoring@2", "nobody")
