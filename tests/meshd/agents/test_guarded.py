"""An agent whose adapter breaks is failed, says by what, and takes nobody with it."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest

from meshd.agents.guarded import Guarded
from meshd.agents.http import HttpAgent
from meshd.agents.manifest import parsed
from protocol.inputs import Advertise, AgentFailed, AgentFinished
from tests.meshd.little_daemons import Actor
from tests.meshd.test_hosting import Stage, order
from tests.waiting import until

MANIFEST = b'name = "asked"\ncapabilities = ["work@1"]\nkind = "http"\nurl = "http://127.0.0.1:9/"\n'
SAID = "broke off by a mistake of its adapter: ValueError: no such thing"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async def look(self: HttpAgent) -> None:
        self._turn("ready")

    monkeypatch.setattr(HttpAgent, "_look", look)
    stage = await Stage().take(Actor())
    yield stage
    await stage.close()


def built(stage: Stage, folder: Path) -> Guarded:
    agent = stage.hosting.built(parsed(MANIFEST, folder / "asked.toml"))
    assert isinstance(agent, Guarded)
    return agent


async def _raises(*_words: object) -> None:
    raise ValueError("no such thing")


def told(stage: Stage) -> list[str]:
    return [f"{each.state}: {each.detail}" for each in stage.events if getattr(each, "agent", "") == "asked"]  # type: ignore[union-attr]  # those of agents have both


async def test_what_breaks_in_the_background_fails_the_agent_and_the_others_run_on(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = built(stage, tmp_path)
    await stage.hosting.take([agent])
    assert agent.state == "ready"
    monkeypatch.setattr(HttpAgent, "_look", _raises)
    inner = agent._agent
    assert isinstance(inner, HttpAgent)
    inner._trouble.set()  # so that it looks now
    await until(lambda: agent.state == "failed")
    assert agent.detail == SAID
    assert any("_raises" in line for line in agent.log())
    assert agent.logged >= len(agent.log())
    assert told(stage)[-1] == f"failed: {SAID}"
    adverts = [each for each in stage.inputs if isinstance(each, Advertise)]
    assert [card.name for card in adverts[-1].cards] == ["actor"]
    stage.hosting.run(order("t2"))
    await until(lambda: any(isinstance(each, AgentFinished) for each in stage.inputs))
    assert stage.failures == []


async def test_an_agent_that_breaks_at_its_start_is_refused_with_the_reason(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpAgent, "_look", _raises)
    agent = built(stage, tmp_path)
    await stage.hosting.take([agent])
    assert (agent.state, agent.detail) == ("failed", SAID)
    assert SAID in stage.hosting.problems[0].message
    monkeypatch.setattr(HttpAgent, "start", _raises)
    another = built(stage, tmp_path)
    await stage.hosting.take([another])
    assert (another.state, another.detail) == ("failed", SAID)


async def test_a_task_that_its_adapter_stumbles_over_fails_for_good_and_the_agent_stays(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = built(stage, tmp_path)
    await stage.hosting.take([agent])
    monkeypatch.setattr(HttpAgent, "_posted", _raises)
    stage.hosting.run(order(agent="asked", input=msgpack.packb(1)))
    await until(lambda: any(isinstance(each, AgentFailed) for each in stage.inputs))
    (report,) = (each for each in stage.inputs if isinstance(each, AgentFailed))
    assert (report.code, report.message, report.retry) == ("agent_failed", f"the agent {SAID}", False)
    assert agent.state == "ready"


async def test_one_that_broke_can_be_stopped_and_started(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = built(stage, tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(HttpAgent, "_look", _raises)
        await stage.hosting.take([agent])
        broken.setattr(HttpAgent, "stop", _raises)
        await agent.stop()
    await agent.stop()
    assert agent.state == "stopped"
    assert told(stage)[-1] == "stopped: "
    await agent.start()
    assert agent.state == "ready"
