"""The one writer: what it hands to the node and when, and what becomes of those who ask it."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from meshd import clock
from meshd.engine import Engine
from meshd.perform import Performer, Workshop
from meshd.store.memory import MemoryStore
from meshd.supervise import Supervisor
from meshd.transport.memory import MemoryBus, MemoryTransport
from protocol import limits
from protocol.effects import Effect, Reply
from protocol.errors import MeshError
from protocol.inputs import Absent, Await, Cancel, Input, Lagged, LinkChanged, Tick
from protocol.node import Node
from protocol.primitives import NS_PER_MS, NS_PER_S, Instant, Mono
from tests.waiting import until


class ScriptedNode:
    """Keeps what it is handed; answers requests as the test says."""

    def __init__(self) -> None:
        self.handled: list[Input] = []
        self.deadline: Mono | None = None
        self.answer: Callable[[Input], list[Effect]] = lambda input: []

    def start(self, _now: Instant) -> list[Effect]:
        return []

    def next_deadline(self) -> Mono | None:
        return self.deadline

    def handle(self, input: Input, _now: Instant) -> list[Effect]:
        self.handled.append(input)
        if isinstance(input, Tick):
            self.deadline = None
        return self.answer(input)

    @property
    def told(self) -> list[Input]:
        return [input for input in self.handled if not isinstance(input, Tick)]


class Stage:
    """An engine over a scripted node."""

    def __init__(self, *, patience_s: float = 5.0) -> None:
        self.node = ScriptedNode()
        self.failures: list[BaseException] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append(failure))
        self.performer = Performer(
            transport=MemoryTransport(MemoryBus()),
            store=MemoryStore(),
            workshop=cast(Workshop, None),
            observers=(),
            supervisor=self.supervisor,
        )
        self.engine = Engine(node=cast(Node, self.node), performer=self.performer, patience_s=patience_s)

    def run(self) -> "asyncio.Task[None]":
        return self.supervisor.spawn("engine", self.engine.run())

    async def asked(self, count: int) -> None:
        await until(lambda: len(self.node.told) == count, what=f"{count} requests")


async def _all(asks: list["asyncio.Task[object]"]) -> list[object]:
    return list(await asyncio.gather(*asks))


async def test_inputs_are_handled_in_order_and_then_the_timers() -> None:
    stage = Stage()
    stage.node.deadline = clock.monotonic_ns()
    for probe in range(3):
        stage.engine.put(Absent(probe))
    stage.run()
    await until(lambda: stage.node.handled)
    assert stage.node.handled == [Absent(0), Absent(1), Absent(2), Tick()]
    await stage.supervisor.close()


async def test_a_timer_that_is_not_due_is_left_alone_whatever_comes_in() -> None:
    stage = Stage()
    stage.node.deadline = clock.monotonic_ns() + 3_600 * NS_PER_S
    stage.run()
    for probe in range(3):
        stage.engine.put(Absent(probe))
        await until(lambda: stage.engine.waiting == 0)
    assert stage.node.handled == [Absent(0), Absent(1), Absent(2)]
    await stage.supervisor.close()


async def test_a_timer_that_an_input_made_due_comes_in_the_same_turn() -> None:
    stage = Stage()

    def due_now(input: Input) -> list[Effect]:
        if isinstance(input, Absent):
            stage.node.deadline = 0
        return []

    stage.node.answer = due_now
    stage.engine.put(Absent(1))
    stage.run()
    await until(lambda: stage.node.handled)
    assert stage.node.handled == [Absent(1), Tick()]
    await stage.supervisor.close()


async def test_every_waiting_input_comes_before_a_timer_that_is_due() -> None:
    stage = Stage()
    stage.node.deadline = clock.monotonic_ns()
    count = limits.INBOX_BATCH_MAX + 10
    for probe in range(count):
        stage.engine.put(Absent(probe))
    stage.run()
    await until(lambda: Tick() in stage.node.handled)
    assert stage.node.handled.index(Tick()) == count
    await stage.supervisor.close()


async def test_a_timer_that_comes_far_too_late_says_so_before_anything_else() -> None:
    stage = Stage()
    stage.node.deadline = due = clock.monotonic_ns() + 50 * NS_PER_MS
    stage.run()
    await asyncio.sleep(0)
    stage.engine.put(Absent(1))
    while clock.monotonic_ns() < due + 400 * NS_PER_MS:
        pass  # the process is stopped
    await until(lambda: len(stage.node.handled) >= 3)
    first, *others = stage.node.handled[:3]
    assert isinstance(first, Lagged)
    assert first.late_ms >= 400
    assert others == [Absent(1), Tick()]
    assert stage.engine.take_lag_ms() >= 400
    assert stage.engine.take_lag_ms() == 0
    await stage.supervisor.close()


async def test_a_flood_without_end_keeps_no_timer_from_coming_due() -> None:
    stage = Stage()
    stage.node.deadline = clock.monotonic_ns()

    def answer(input: Input) -> list[Effect]:
        busy_until = clock.monotonic_ns() + 5 * NS_PER_MS
        while clock.monotonic_ns() < busy_until:
            pass
        if isinstance(input, Absent) and Tick() not in stage.node.handled:
            stage.engine.put(input)
        return []

    stage.node.answer = answer
    for probe in range(4):
        stage.engine.put(Absent(probe))
    stage.run()
    await until(lambda: Tick() in stage.node.handled)
    before = stage.node.handled[: stage.node.handled.index(Tick())]
    assert [each for each in before if isinstance(each, Lagged)], "it is told that it has not heard all for a while"
    assert len(before) > 5, "all this while something waited"
    await stage.supervisor.close()


async def test_a_turn_ends_when_it_has_taken_long_although_more_waits() -> None:
    stage = Stage()
    turns: list[int] = []

    def answer(input: Input) -> list[Effect]:
        if isinstance(input, Absent):
            turns.append(stage.engine.waiting)
            busy_until = clock.monotonic_ns() + 30 * NS_PER_MS
            while clock.monotonic_ns() < busy_until:
                pass
        return []

    stage.node.answer = answer
    for probe in range(9):
        stage.engine.put(Absent(probe))
    stage.run()
    await stage.engine.until(lambda: bool(turns))
    assert 0 < len(turns) < 9, "what the first turn had to say is out before the rest is handled"
    await until(lambda: len(turns) == 9)
    await stage.supervisor.close()


async def test_an_old_timer_that_comes_back_is_no_lateness() -> None:
    stage = Stage()
    for probe in range(limits.INBOX_BATCH_MAX + 1):
        stage.engine.put(Absent(probe))
    stage.node.deadline = clock.monotonic_ns() - 7_200_000 * NS_PER_MS  # while the link was away nothing was due
    stage.run()
    await until(lambda: Tick() in stage.node.handled)
    assert not [each for each in stage.node.handled if isinstance(each, Lagged)]
    await stage.supervisor.close()


async def test_an_idle_engine_wakes_for_its_deadline_and_for_an_input() -> None:
    stage = Stage()
    stage.node.deadline = clock.monotonic_ns() + 30 * NS_PER_MS
    stage.run()
    await until(lambda: stage.node.handled)
    assert stage.node.handled == [Tick()]
    assert stage.node.next_deadline() is None
    stage.engine.put(LinkChanged(up=True))
    await until(lambda: len(stage.node.handled) == 2)
    assert stage.node.handled[1:] == [LinkChanged(up=True)]
    await stage.supervisor.close()


async def test_it_ends_after_the_turn_it_is_in() -> None:
    stage = Stage()
    engine = stage.run()
    stage.engine.put(Absent(1))
    stage.engine.close()
    async with asyncio.timeout(5):
        await engine
    await stage.supervisor.close()


# --- requests


async def test_a_reply_is_the_value_of_the_question_and_a_refusal_its_error() -> None:
    stage = Stage()
    stage.node.answer = lambda input: (
        [Reply(input.request, value=input.task)]
        if isinstance(input, Cancel) and input.task
        else [Reply(getattr(input, "request", 0), code="unknown_task", fields={"task": "x"})]
    )
    stage.run()
    answers = await asyncio.gather(*(stage.engine.ask(lambda n, task=task: Cancel(n, task)) for task in "abc"))  # type: ignore[misc]  # a default that binds the loop's variable
    assert answers == ["a", "b", "c"]
    with pytest.raises(MeshError, match="no task has the id x") as caught:
        await stage.engine.ask(lambda number: Cancel(number, ""))
    assert caught.value.code == "unknown_task"
    await stage.supervisor.close()


async def test_a_node_that_does_not_answer_is_waited_for_so_long_and_then_forgotten() -> None:
    stage = Stage(patience_s=0.02)
    stage.run()
    for timeout_s in (None, 0.01):
        with pytest.raises(MeshError) as caught:
            await stage.engine.ask(lambda number: Cancel(number, "t"), timeout_s=timeout_s)
        assert caught.value.code == "timed_out"
    await until(lambda: stage.performer.expected == 0)
    await stage.supervisor.close()


async def test_an_asker_that_goes_away_leaves_nothing_behind() -> None:
    stage = Stage()
    stage.run()
    asks = [asyncio.ensure_future(stage.engine.ask(lambda number: Cancel(number, "t"))) for _ in range(3)]
    await stage.asked(3)
    assert stage.performer.expected == 3
    for ask in asks:
        ask.cancel()
    await asyncio.wait(asks)
    await until(lambda: stage.performer.expected == 0)
    stage.performer.submit([Reply(1, value="too late")])
    assert stage.failures == []
    await stage.supervisor.close()


async def test_a_request_that_finds_no_room_is_refused_at_once() -> None:
    stage = Stage()
    while stage.engine.waiting < limits.INBOX_MAX:
        stage.engine.put(Absent(1))
    with pytest.raises(MeshError) as caught:
        await stage.engine.ask(lambda number: Cancel(number, "t"))
    assert caught.value.code == "overloaded"
    assert stage.performer.expected == 0


async def test_however_many_wait_for_a_task_the_ledger_is_asked_once() -> None:
    stage = Stage()
    stage.run()
    waits = [asyncio.ensure_future(stage.engine.end_of("t")) for _ in range(20)]
    await stage.asked(1)
    for wait in waits[5:]:
        wait.cancel()
    await asyncio.wait(waits[5:])
    waits = [*waits[:5], asyncio.ensure_future(stage.engine.end_of("t"))]
    other = asyncio.ensure_future(stage.engine.end_of("other"))
    await stage.asked(2)
    assert stage.node.told == [Await(1, "t"), Await(2, "other")]
    stage.performer.submit([Reply(1, value="ended")])
    assert await _all(waits) == ["ended"] * 6
    assert not other.done()
    await stage.supervisor.close()
    other.cancel()


async def test_once_it_was_answered_the_next_to_wait_asks_anew() -> None:
    stage = Stage()
    stage.run()
    for number in (1, 2):
        wait = asyncio.ensure_future(stage.engine.end_of("t"))
        await stage.asked(number)
        stage.performer.submit([Reply(number, code="unknown_task", fields={"task": "t"})])
        with pytest.raises(MeshError, match="no task has the id t"):
            await wait
        await until(lambda: stage.performer.expected == 0)
    await stage.supervisor.close()


# --- when it ends


async def test_an_engine_that_fails_leaves_nobody_waiting() -> None:
    stage = Stage()

    def fail(input: Input) -> list[Effect]:
        if isinstance(input, LinkChanged):
            raise LookupError("a bug")
        return []

    stage.node.answer = fail
    stage.run()
    asks = [
        asyncio.ensure_future(stage.engine.ask(lambda number: Cancel(number, "t"))),
        asyncio.ensure_future(stage.engine.end_of("t")),
    ]
    drained = asyncio.ensure_future(stage.engine.until(lambda: False))
    await stage.asked(2)
    stage.engine.put(LinkChanged(up=True))
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        await drained
    assert [outcome.code for outcome in outcomes if isinstance(outcome, MeshError)] == ["not_ready"] * 2
    assert [repr(failure) for failure in stage.failures] == ["LookupError('a bug')"]
    with pytest.raises(MeshError, match="this node is stopping"):
        await stage.engine.ask(lambda number: Cancel(number, "t"))
    await stage.supervisor.close()


async def test_a_wait_for_a_state_ends_with_the_turn_that_brings_it() -> None:
    stage = Stage()
    stage.run()
    wait = asyncio.ensure_future(stage.engine.until(lambda: Absent(2) in stage.node.handled))
    stage.engine.put(Absent(1))
    await until(lambda: Absent(1) in stage.node.handled)
    assert not wait.done()
    stage.engine.put(Absent(2))
    async with asyncio.timeout(5):
        await wait
    await stage.supervisor.close()


async def test_the_deadline_of_a_far_day_keeps_it_asleep() -> None:
    stage = Stage()
    stage.node.deadline = clock.monotonic_ns() + 3_600 * NS_PER_S
    stage.run()
    for _ in range(50):
        await asyncio.sleep(0)
    assert stage.node.handled == []
    await stage.supervisor.close()
