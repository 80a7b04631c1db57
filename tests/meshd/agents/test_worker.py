"""The workers of a python agent: typed handlers, output that is not the pipe's, and what stops at one slot."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshd.agents.worker import REQUESTS_MAX
from meshd.ports import Failed, Finished
from protocol.errors import MeshError
from protocol.limits import REQUESTS_OPEN_MAX
from tests.contracts.stage import TOPIC, Desk, Stage
from tests.waiting import until


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage("python", tmp_path) as stage:
        yield stage


async def test_what_a_handler_prints_is_log_and_no_answer(stage: Stage) -> None:
    assert await stage.act("print", '{"task": "t1", "result": "forged"}') == Finished(None)
    await until(lambda: '{"task": "t1", "result": "forged"}' in stage.agent.log())


async def test_what_a_handler_raises_is_quoted_and_its_story_logged(stage: Stage) -> None:
    assert await stage.act("raise", "no row") == Failed("agent_failed", "LookupError: no row", retry=False)
    await until(lambda: "LookupError: no row" in stage.agent.log())
    assert any("uses_sdk.py" in line for line in stage.agent.log())
    assert await stage.act("echo", 1) == Finished(1)


async def test_a_part_over_the_limit_fails_its_task_and_not_the_worker(tmp_path: Path) -> None:
    async with Stage("python", tmp_path, limits={"output_bytes": 1_000}) as stage:
        before = stage.agent.pids
        outcome = await stage.act("parts", ["y", "x" * 10_000_000], capability="parts@1")
        assert outcome == Failed("agent_output", "the result is 10000005 bytes; the limit is 1000", retry=False)
        assert await stage.act("echo", 1) == Finished(1)
        assert stage.agent.pids == before


async def test_a_result_that_is_no_json_is_refused_by_name(stage: Stage) -> None:
    outcome = await stage.act("nan")
    assert isinstance(outcome, Failed)
    assert outcome.code == "agent_failed"
    assert outcome.message.startswith("a number cannot be written as JSON: Out of range float values")
    assert not outcome.retry


async def test_an_input_of_the_wrong_type_names_the_argument(stage: Stage) -> None:
    outcome = await stage.agent.run(stage.work({"x": 1}), Desk())
    assert outcome == Failed("bad_input", "act@1: order: Expected array, got object", retry=False)


async def test_a_busy_loop_past_its_limit_costs_only_its_own_slot(tmp_path: Path) -> None:
    async with Stage("python", tmp_path, slots=2, limits={"task_s": 0.3}) as stage:
        await until(lambda: len(stage.agent.pids) == 2)
        looping = stage.start("loop")
        assert await stage.act("echo", "beside") == Finished("beside")
        outcome = await looping
        assert isinstance(outcome, Failed)
        assert outcome.code == "agent_timeout"


async def test_a_plain_function_is_stopped_by_ending_its_process(stage: Stage) -> None:
    [pid] = stage.agent.pids
    looping = stage.start("loop", capability="blocked@1")
    await until(lambda: "looping" in stage.agent.log())
    looping.cancel()
    await asyncio.wait([looping])
    assert await stage.act("quick", 1, capability="blocked@1") == Finished(["quick", 1])
    assert stage.agent.pids != [pid]
    assert [state for state, _ in stage.changes] == ["starting", "ready"]


async def test_a_crash_of_one_slot_leaves_the_task_of_another(tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    async with Stage("python", tmp_path, slots=2) as stage:
        await until(lambda: len(stage.agent.pids) == 2)
        meeting = stage.start("meet", [str(tmp_path / "met"), 2, "a"])
        await until(lambda: (tmp_path / "met" / "a").exists())
        assert isinstance(await stage.act("die"), Failed)
        (tmp_path / "met" / "b").touch()
        assert isinstance(await meeting, Finished)


async def test_a_capability_that_was_never_declared_is_refused(stage: Stage) -> None:
    outcome = await stage.act("echo", 1, capability="quite_other@3")
    assert outcome == Failed(
        "agent_failed", "actor does not handle quite_other@3; it handles act@1, parts@1, blocked@1", retry=False
    )


class SlowDesk(Desk):
    """Answers nobody until as many ask as a worker lets ask at once."""

    def __init__(self) -> None:
        super().__init__()
        self.open = self.open_max = 0
        self._is_full = asyncio.Event()

    async def submit(self, capability: str, input: object, *, key: str, is_awaited: bool) -> object:
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        if self.open == REQUESTS_MAX:
            self._is_full.set()
        await self._is_full.wait()
        self.open -= 1
        return await super().submit(capability, input, key=key, is_awaited=is_awaited)


async def test_many_submits_at_once_wait_for_their_turn_and_all_come_back(tmp_path: Path) -> None:
    (tmp_path / "many.py").write_text(
        "import asyncio\nfrom meshd.sdk import Agent, Context\nagent = Agent('many')\n"
        "@agent.handles('many@1')\nasync def many(ctx: Context, count: int) -> int:\n"
        "    tasks = [ctx.submit('x@1', number, wait=True) for number in range(count)]\n"
        "    return len({answer['answer to'] for answer in await asyncio.gather(*tasks)})\n"
    )
    async with Stage("python", tmp_path, run="many:agent", capabilities=["many@1"]) as stage:
        count = REQUESTS_OPEN_MAX + 100
        desk = SlowDesk()
        assert await stage.agent.run(stage.work(count, capability="many@1"), desk) == Finished(count)
        assert desk.open_max == REQUESTS_MAX < REQUESTS_OPEN_MAX


async def test_a_failure_inside_a_task_group_is_told_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "import asyncio\nfrom meshd.sdk import Agent, TaskError\nagent = Agent('a')\n"
        "async def fails():\n    raise TaskError('inner', retry=True)\n"
        "@agent.handles('x@1')\nasync def f():\n"
        "    async with asyncio.TaskGroup() as group:\n        group.create_task(fails())\n"
    )
    async with Stage("python", tmp_path, run="made:agent", capabilities=["x@1"]) as stage:
        outcome = await stage.agent.run(stage.work(None, capability="x@1"), Desk())
        assert outcome == Failed("agent_failed", "inner", retry=True)


async def test_topics_that_the_manifest_declares_are_those_that_count(tmp_path: Path) -> None:
    async with Stage("python", tmp_path, topics=["sales.orders"]) as stage:
        assert stage.agent.card.topics == ("sales.orders",)
    refused = Stage("python", tmp_path, topics=["sales.other"])
    with pytest.raises(
        MeshError, match=r"the topic sales\.other, to which uses_sdk:agent does not listen; it listens to "
    ):
        await refused.agent.start()
    await refused.agent.stop()
    await refused.close()


async def test_an_agent_may_only_listen(tmp_path: Path) -> None:
    (tmp_path / "ear.py").write_text(
        "from meshd.sdk import Agent\nagent = Agent('ear')\n@agent.on('sales.orders')\ndef hear(order: list): ...\n"
    )
    async with Stage("python", tmp_path, run="ear:agent", capabilities=None, topics=[TOPIC]) as stage:
        assert (stage.agent.card.capabilities, stage.agent.card.topics) == ((), (TOPIC,))
        assert await stage.hear("anything") == Finished(None)


async def test_a_plain_handler_that_blocks_is_ended_when_the_task_beside_it_is_done(tmp_path: Path) -> None:
    (tmp_path / "mute.py").write_text(
        "import threading\nfrom uses_sdk import agent\nagent._functions.pop('sales.orders')\n"
        "@agent.on('sales.orders')\ndef hear(order: list): threading.Event().wait()\n"
    )
    async with Stage("python", tmp_path, run="mute:agent") as stage:
        desk, [pid] = Desk(), stage.agent.pids
        holding = stage.start("hold", desk=desk)
        await stage.has_begun(desk)
        outcome = await stage.hear("whatever", deadline_s=0.2)
        assert isinstance(outcome, Failed)
        assert outcome.code == "agent_timeout"
        assert not holding.done(), "what it does beside goes on"
        holding.cancel()
        await until(holding.done)
        assert await stage.act("echo", 7) == Finished(7)
        assert stage.agent.pids != [pid]


async def test_without_a_word_of_the_manifest_it_can_do_all_that_it_handles(tmp_path: Path) -> None:
    async with Stage("python", tmp_path, capabilities=None) as stage:
        assert set(stage.agent.card.capabilities) >= {"act@1", "parts@1", "blocked@1"}
        assert await stage.act("echo", 1) == Finished(1)


async def test_an_agent_that_handles_nothing_is_none(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text("from meshd.sdk import Agent\n\nagent = Agent('idle')\n")
    stage = Stage("python", tmp_path, run="idle:agent", capabilities=None)
    with pytest.raises(MeshError, match="idle:agent handles nothing and listens to nothing"):
        await stage.agent.start()
    await stage.agent.stop()
    await stage.close()
