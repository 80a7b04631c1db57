"""Asking for the events of others: as long as somebody follows, and a while longer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from meshd.observe import listening
from meshd.observe.listening import Listening
from meshd.observe.stream import Stream
from meshd.supervise import Supervisor
from meshd.transport.memory import MemoryBus, MemoryTransport
from tests.waiting import until

EVENTS = "mesh.m.event.*.*"


class SlowTransport(MemoryTransport):
    """The server is slow to know of a subscription: as slow as the test says."""

    def __init__(self) -> None:
        super().__init__(MemoryBus())
        self.answer = asyncio.Event()
        self.asked: list[str] = []

    async def subscribe(self, subject: str) -> None:
        self.asked.append(subject)
        await self.answer.wait()
        await super().subscribe(subject)

    @property
    def is_asking(self) -> bool:
        return self.listens("mesh.m.event.other.task_done")


class Stage:
    def __init__(self) -> None:
        self.failures: list[tuple[str, BaseException]] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append((name, failure)))
        self.transport = SlowTransport()
        self.stream = Stream(me="me")
        self.listening = Listening(
            transport=self.transport, subject=EVENTS, stream=self.stream, supervisor=self.supervisor
        )


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.supervisor.close()
    assert made.failures == []


async def test_nobody_asks_while_nobody_follows(stage: Stage) -> None:
    assert stage.transport.asked == []
    assert stage.stream.seq == 0


async def test_nobody_is_let_in_before_the_server_knows(stage: Stage) -> None:
    let_in: list[bool] = []

    async def follow() -> None:
        async with stage.listening.follow():
            let_in.append(stage.transport.is_asking)

    following = [asyncio.ensure_future(follow()) for _ in range(3)]
    await until(lambda: stage.transport.asked)
    assert let_in == []
    stage.transport.answer.set()
    await asyncio.gather(*following)
    assert let_in == [True] * 3
    assert stage.transport.asked == [EVENTS]


async def test_the_last_one_to_leave_ends_it_and_the_next_finds_that_a_number_is_missing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "LINGER_S", 0.0)
    stage.transport.answer.set()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.listening.follow())
        async with stage.listening.follow():
            pass
        for _ in range(10):
            await asyncio.sleep(0)
        assert stage.transport.is_asking
    await until(lambda: not stage.transport.is_asking)
    before = stage.stream.seq
    async with stage.listening.follow():
        assert stage.transport.is_asking
        assert stage.stream.seq == before + 1


async def test_who_comes_back_soon_has_missed_nothing(stage: Stage) -> None:
    stage.transport.answer.set()
    async with stage.listening.follow():
        before = stage.stream.seq
    assert stage.transport.is_asking
    async with stage.listening.follow():
        assert stage.stream.seq == before
    assert stage.transport.asked == [EVENTS]


async def test_who_gives_up_while_it_waits_is_counted_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LINGER_S", 0.0)

    async def follow() -> None:
        async with stage.listening.follow():
            raise AssertionError("the server did not know")

    following = asyncio.ensure_future(follow())
    await until(lambda: stage.transport.asked)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    stage.transport.answer.set()
    await until(lambda: stage.stream.seq)
    await until(lambda: not stage.transport.is_asking)
