"""The pipe of a stdio agent: every line that is none, and what it does to the tasks in hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from meshd import clock
from meshd.agents import pipe
from meshd.agents.pipe import MISTAKES_MAX
from meshd.ports import BEGUN_TOO_LATE, Failed, Finished, Outcome, Work
from protocol.errors import MeshError
from protocol.limits import REQUESTS_OPEN_MAX
from protocol.primitives import NS_PER_S
from tests.contracts.stage import SHORT, Desk, Stage
from tests.waiting import until


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage("stdio", tmp_path, slots=2) as stage:
        yield stage


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loading the model", "is no message of an agent (not JSON): 'loading the model'"),
        ("\x00\xff\xfe", "is no message of an agent (not JSON): '\\x00\\\\xff\\\\xfe'"),
        ('{"task": "\xff"}', 'is no message of an agent (not UTF-8): \'{"task": "\\\\xff"}\''),
        ('{"task": "T", "result": NaN}', 'is no message of an agent (not JSON): \'{"task": "T", "result": NaN}\''),
        ('{"task": "T", "result": 1} {}', "is no message of an agent (not JSON): "),
        ("[1, 2]", "is no message of an agent (Expected object, got array): '[1, 2]'"),
        ('{"task": 3, "result": 1}', "is no message of an agent (Expected str, got int - at $.task): "),
        ('{"task": "T", "error": "boom"}', "is no message of an agent (Expected object, got str - at $.error): "),
        (
            '{"task": "T", "error": {}}',
            "is no message of an agent (Object missing required field message - at $.error): ",
        ),
        (
            '{"task": "T", "call": {"input": 1}}',
            "is no message of an agent (Object missing required field capability - ",
        ),
        ('{"task": "T"}', 'says none of result, error, progress, part, call, submit, publish: \'{"task": "T"}\''),
        ('{"task": "T", "result": 1, "part": 2}', "says result and part: "),
        ('{"task": "T", "rslt": 1}', "says none of result, error, progress, part, call, submit, publish: "),
        ("[" * 20_000, "is no message of an agent ("),
        ("\x1b[2J\u0007 cleared", "is no message of an agent (not JSON): '\\x1b[2J\\x07 cleared'"),
        ("\ufeff{}".encode().decode("latin-1"), "is no message of an agent (not JSON): '\\ufeff{}'"),
    ],
    ids=lambda value: ascii(value[:30]),
)
async def test_a_line_that_is_none_of_the_pipes_fails_the_task_in_hand_and_is_named(
    stage: Stage, line: str, expected: str
) -> None:
    await stage.act("echo", 1)
    outcome = await stage.act("raw", line, task="T")
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retry) == ("agent_output", False)
    assert outcome.message.startswith(f"line 2 of its output {expected}")
    assert len(outcome.message) < 300
    assert outcome.message.isprintable()
    assert any(outcome.message in noted for noted in stage.agent.log())


async def test_a_wrong_line_that_names_its_task_spares_the_others(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk)
    await until(lambda: desk.said)
    outcome = await stage.act("raw", '{"task": "T", "error": "boom"}', task="T")
    assert isinstance(outcome, Failed)
    assert not holding.done()
    holding.cancel()


async def test_a_task_that_comes_costs_no_look_at_those_in_hand(stage: Stage) -> None:
    looked_at: list[str] = []

    class Looked(Work, frozen=True):
        def __getattribute__(self, name: str) -> Any:
            looked_at.append(name)
            return super().__getattribute__(name)

    desk = Desk()
    held = Looked(**structs.asdict(stage.work(["hold", None])))
    holding = asyncio.create_task(stage.agent.run(held, desk))
    await until(lambda: desk.said)
    looked_at.clear()
    assert isinstance(await stage.act("echo", 1), Finished)
    assert looked_at == []
    holding.cancel()


async def test_a_wrong_line_that_names_no_task_may_be_anybodys(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk)
    await until(lambda: desk.said)
    both = await asyncio.gather(holding, stage.act("raw", "hello"))
    assert {(outcome.code, outcome.retry) for outcome in both if isinstance(outcome, Failed)} == {
        ("agent_output", True)
    }
    assert await stage.act("echo", 1) == Finished(1)


async def test_an_answer_for_another_task_is_named_and_credited_to_nobody(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk)
    await until(lambda: desk.said)
    assert await stage.act("other") == Finished(None)
    assert not holding.done()
    [noted] = stage.agent.log()
    assert noted.startswith("meshd: line 2 of its output is about 'somebody-elses', which is no task in its hands: ")
    holding.cancel()


async def test_an_answer_for_a_task_that_it_never_had_fails_the_only_one_in_hand(stage: Stage) -> None:
    outcome = await stage.act("raw", '{"task": "aaaa", "result": 1}', task="T")
    said = "line 1 of its output is about 'aaaa', which is no task in its hands: "
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.message.startswith(said), outcome.retry) == ("agent_output", True, False)
    assert await stage.act("echo", 1) == Finished(1)


async def test_who_waits_in_vain_for_an_answer_that_named_another_task_hears_of_that_line(tmp_path: Path) -> None:
    async with Stage("stdio", tmp_path, slots=2, limits={"task_s": 1.0}) as stage:
        desk = Desk()
        holding = stage.start("hold", desk=desk)
        await until(lambda: desk.said)
        assert await stage.act("other") == Finished(None)
        outcome = await holding
        assert isinstance(outcome, Failed)
        assert (outcome.code, outcome.retry) == ("agent_output", False)
        assert "is about 'somebody-elses', which is no task in its hands: " in outcome.message


async def test_a_second_answer_is_too_late(stage: Stage) -> None:
    line = '{"task": "T", "result": "first"}'
    assert await stage.act("raw", line, task="T") == Finished("first")
    await until(lambda: any("is about 'T'" in noted for noted in stage.agent.log()))
    assert await stage.act("echo", 1) == Finished(1)


async def test_a_task_that_finished_while_it_was_told_to_stop_is_not_credited(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk, task="T")
    await until(lambda: desk.said)
    holding.cancel()  # the actor answers with a result
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert stage.agent.log() == []


async def test_the_same_task_waits_until_its_earlier_attempt_is_over(tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    async with Stage("stdio", tmp_path, slots=2) as stage:
        first = stage.start("meet", [str(tmp_path / "met"), 2, "a"], task="T", epoch=1)
        await until(lambda: (tmp_path / "met" / "a").exists())
        assert await stage.act("echo", 2, task="T", epoch=2, deadline_s=0.05) == Failed(
            "agent_unavailable", "no slot was free within 0.05 s", retry=True
        )
        second = stage.start("echo", 2, task="T", epoch=2)
        (tmp_path / "met" / "b").touch()
        assert isinstance(await first, Finished)
        assert await second == Finished(2)


async def test_a_process_that_does_not_stop_one_task_is_ended_though_it_works_on_another(tmp_path: Path) -> None:
    hasty = structs.replace(SHORT, linger_s=0.2)
    async with Stage("stdio", tmp_path, slots=2, patience=hasty) as stage:
        stubborn, holding = await _two(stage, Desk(), Desk())
        stubborn.cancel()
        assert await holding == Failed("agent_unavailable", "the agent was stopped before it answered", retry=True)
        await until(lambda: stage.agent.state == "ready" and stage.agent.pids)
        assert await stage.act("echo", "next") == Finished("next")
        assert [state for state, _ in stage.changes] == ["starting", "ready"]


async def test_exclusive_work_that_comes_after_its_lease_is_not_given_to_the_process(tmp_path: Path) -> None:
    async with Stage("stdio", tmp_path) as stage:
        late = await stage.act("echo", 1, lease_s=3.0, begin_by_ns=clock.monotonic_ns())
        assert late == Failed("agent_unavailable", BEGUN_TOO_LATE, retry=True)
        soon = await stage.act("given", lease_s=3.0, begin_by_ns=clock.monotonic_ns() + 60 * NS_PER_S)
        assert isinstance(soon, Finished)


async def test_exclusive_work_that_does_not_stop_is_not_let_linger(tmp_path: Path) -> None:
    patient = structs.replace(SHORT, linger_s=1_000.0)
    async with Stage("stdio", tmp_path, slots=2, patience=patient) as stage:
        stubborn, holding = await _two(stage, Desk(), Desk(), lease_s=60.0)
        stubborn.cancel()
        assert await holding == Failed("agent_unavailable", "the agent was stopped before it answered", retry=True)


async def test_exclusive_work_has_half_a_lease_to_stop_whatever_the_grace(tmp_path: Path) -> None:
    patient = structs.replace(SHORT, grace_s=1_000.0, linger_s=1_000.0)
    async with Stage("stdio", tmp_path, slots=2, patience=patient) as stage:
        stubborn, holding = await _two(stage, Desk(), Desk(), lease_s=3.0)
        stubborn.cancel()
        assert await holding == Failed("agent_unavailable", "the agent was stopped before it answered", retry=True)


async def _two(stage: Stage, first: Desk, second: Desk, **more: object) -> tuple[asyncio.Task[Outcome], ...]:
    stubborn, holding = stage.start("stubborn", desk=first, **more), stage.start("hold", desk=second)
    await until(lambda: first.said and second.said)
    return stubborn, holding


async def test_the_process_is_bound_to_the_daemon_while_it_may_be_at_exclusive_work(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []
    hold = stage.reaper.hold

    def noted(group: int, lease_s: float = 0.0) -> None:
        held.append(lease_s)
        hold(group, lease_s)

    monkeypatch.setattr(stage.reaper, "hold", noted)
    await stage.act("echo", 1)
    assert held == []
    desk = Desk()
    exclusive = stage.start("hold", desk=desk, lease_s=60.0)
    await until(lambda: desk.said)
    await stage.act("echo", 1)
    assert held == [pytest.approx(40.0)]
    exclusive.cancel()
    await asyncio.wait([exclusive])
    assert held == [pytest.approx(40.0), 0.0]


async def test_a_daemon_that_stood_still_is_to_blame_for_the_end_of_what_was_bound(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    exclusive = stage.start("hold", desk=desk, lease_s=0.6)
    await until(lambda: desk.said)
    awake_ns = clock.awake_ns
    monkeypatch.setattr(clock, "awake_ns", lambda: awake_ns() + NS_PER_S)
    assert await exclusive == Failed("agent_unavailable", f"the agent {pipe.STOOD_STILL}", retry=True)
    await until(lambda: stage.agent.pids)
    [noted] = stage.agent.log()
    assert noted.endswith(pipe.STOOD_STILL)
    assert [state for state, _ in stage.changes] == ["starting", "ready"]  # it did not crash


async def test_a_flood_of_wrong_lines_ends_the_process(stage: Stage) -> None:
    pids = stage.agent.pids
    await stage.act("raw", "x\n" * MISTAKES_MAX)
    await until(lambda: stage.agent.pids and stage.agent.pids != pids and stage.agent.state == "ready")
    assert any(f"printed {MISTAKES_MAX} lines that are none of the pipe's" in detail for _, detail in stage.changes)
    assert len(stage.agent.log()) <= 500
    assert await stage.act("echo", 1) == Finished(1)


async def test_a_banner_before_the_first_task_is_noted_and_harms_nobody(tmp_path: Path) -> None:
    program = 'echo welcome; while read line; do echo \'{"task": "T", "result": 1}\'; done'
    async with Stage("stdio", tmp_path, run=["sh", "-c", program]) as stage:
        await until(stage.agent.log)
        assert stage.agent.log() == ["meshd: line 1 of its output is no message of an agent (not JSON): 'welcome'"]
        assert await stage.act("any", task="T") == Finished(1)


async def test_a_process_that_closes_its_output_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "EXIT_S_MAX", 0.2)
    program = "read line; exec >&-; sleep 1000"
    async with Stage("stdio", tmp_path, run=["sh", "-c", program]) as stage:
        assert await stage.act("any") == Failed(
            "agent_crashed", "the agent closed its output while it went on running before it answered", retry=True
        )


async def test_an_answer_without_its_line_end_counts_when_the_process_ends(tmp_path: Path) -> None:
    program = 'read line; printf \'{"task": "T", "result": 1}\''
    async with Stage("stdio", tmp_path, run=["sh", "-c", program]) as stage:
        assert await stage.act("any", task="T") == Finished(1)


async def test_an_agent_that_never_reads_cannot_keep_the_daemon(tmp_path: Path) -> None:
    async with Stage("stdio", tmp_path, run=["sleep", "1000"], limits={"task_s": 0.2}) as stage:
        outcome = await stage.act("x" * 200_000)
        assert isinstance(outcome, Failed)
        assert outcome.code == "agent_timeout"


async def test_a_request_that_is_unfit_is_answered_with_why(stage: Stage) -> None:
    asked = json.dumps({"request": "T", "task": "T", "call": {"capability": "no version"}})
    answered = '{"request": 2, "task": "T", "submit": {"capability": "x@1", "key": "' + "k" * 600 + '"}}'
    desk = Desk()
    await stage.act("raw", asked, desk, task="T")
    await stage.act("raw", answered, desk, task="T")
    assert desk.asked == []


class Busy(Desk):
    """Never answers a call."""

    async def call(self, capability: str, input: object, timeout_s: float, *, agent: str = "") -> object:
        self.asked.append((capability,))
        await asyncio.Event().wait()
        return None


async def test_who_asks_and_asks_and_reads_no_answer_is_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "UNREAD_BYTES_MAX", 65_536)
    line = '{"request": 1, "task": "T", "call": {"capability": "x@1"}}\n'
    outcome = await stage.act("deaf", line * 1_000, Busy(), task="T")
    assert isinstance(outcome, Failed)
    assert outcome.code == "agent_crashed"
    assert "bytes of what it was told unread while it went on asking" in outcome.message


async def test_more_requests_than_are_allowed_are_refused(stage: Stage) -> None:
    desk = Busy()
    line = '{"request": 1, "task": "T", "call": {"capability": "x@1"}}\n'
    holding = stage.start("hold", desk=desk, task="T")
    await until(lambda: desk.said)
    await stage.act("raw", line * (REQUESTS_OPEN_MAX + 5))
    assert len(desk.asked) == REQUESTS_OPEN_MAX
    holding.cancel()
    await asyncio.wait([holding])
    assert await stage.act("call", 1) == Finished({"answer to": 1})


async def test_what_was_not_published_is_told_in_the_log_when_nobody_waits(stage: Stage) -> None:
    desk = Desk(MeshError("bad_topic", topic="x"))
    line = '{"task": "T", "publish": {"topic": "x", "value": 1}}'
    assert await stage.act("raw", line, desk, task="T") == Finished(None)
    await until(lambda: desk.asked)
    assert desk.asked == [("publish", "x", 1)]
    await until(
        lambda: [said for said in stage.agent.log() if "meshd: 'x' was not published: x is not a topic" in said]
    )


async def test_an_event_that_was_told_to_stop_publishes_nothing(stage: Stage) -> None:
    desk = Desk()
    hearing = asyncio.create_task(stage.hear("stubborn", desk=desk, task="T", deadline_s=0.2))
    await until(hearing.done)
    await stage.act("raw", '{"task": "T", "publish": {"topic": "sales.x"}}', desk)
    assert desk.asked == []
