"""What every kind of agent that can listen must do with an event: at once, beside its tasks, and stopped in time.

Neighbour: `test_agent_contract` holds all kinds to what they owe a task.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshd.ports import Failed, Finished
from protocol.errors import MeshError
from tests.contracts.stage import TOPIC, Desk, Stage
from tests.waiting import until

KINDS = ("python", "stdio")


@pytest.fixture(params=KINDS)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(request.param, tmp_path) as stage:
        yield stage


async def test_its_card_says_what_it_listens_to(stage: Stage) -> None:
    assert stage.agent.card.topics == (TOPIC,)


async def test_an_event_comes_with_its_topic_and_who_said_it(stage: Stage) -> None:
    desk = Desk()
    assert await stage.hear("heard", desk=desk) == Finished(None)
    assert desk.said == [[TOPIC, "shop@abcdefgh"]]


async def test_a_task_and_an_event_may_publish_and_are_told_when_it_is_refused(stage: Stage) -> None:
    desk, refusing = Desk(), Desk(MeshError("bad_topic", topic="x"))
    assert await stage.act("publish", ["sales.news", {"a": 1}], desk) == Finished("published")
    assert await stage.hear("publish", ["sales.all", None], desk) == Finished("published")
    assert desk.asked == [("publish", "sales.news", {"a": 1}), ("publish", "sales.all", None)]
    assert await stage.act("publish", ["x", 1], refusing) == Finished("bad_topic: x is not a topic")


async def test_it_hears_while_every_slot_is_taken(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk)
    await stage.has_begun(desk)
    assert await stage.hear("echo", 7) == Finished(7)
    assert not holding.done()
    holding.cancel()
    await until(holding.done)


async def test_what_fails_with_an_event_fails_nothing_else(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk)
    await stage.has_begun(desk)
    assert await stage.hear("fail", "no use") == Failed("agent_failed", "no use", retry=True)
    assert not holding.done()
    holding.cancel()
    await until(holding.done)


async def test_a_handler_that_does_not_end_is_stopped_and_the_agent_works_on(stage: Stage) -> None:
    outcome = await stage.hear("stubborn", deadline_s=0.3)
    assert isinstance(outcome, Failed)
    assert outcome.code == "agent_timeout"
    assert await stage.act("echo", 8) == Finished(8)
    await until(lambda: stage.agent.state == "ready")
    assert await stage.hear("echo", 9) == Finished(9)


async def test_the_death_of_its_process_loses_the_event(stage: Stage) -> None:
    outcome = await stage.hear("exit", 3)
    assert isinstance(outcome, Failed)
    assert outcome.code == "agent_crashed"


async def test_nobody_waits_for_an_agent_that_is_not_up(stage: Stage) -> None:
    await stage.agent.stop()
    outcome = await stage.hear("echo", 7)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.message) == ("agent_unavailable", "the agent is stopped")


async def test_one_process_hears_all_events_of_an_agent(tmp_path: Path) -> None:
    async with Stage("python", tmp_path, slots=2) as stage:
        await until(lambda: len(stage.agent.pids) == 2)
        desk = Desk()
        holding = stage.start("hold", desk=desk)
        await stage.has_begun(desk)
        heard = [await stage.hear("meet", [str(tmp_path), 1, "me"]) for _ in range(3)]
        assert heard == [Finished(stage.agent.pids[0])] * 3
        holding.cancel()
        await until(holding.done)
