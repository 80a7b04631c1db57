"""Background work with a name."""

import asyncio
import contextlib
import random

import pytest
from nats.aio.client import Client

from meshd import supervise
from meshd.store.jetstream import JetStreamStore
from meshd.supervise import Supervisor
from meshd.transport.nats import NatsTransport
from tests.waiting import until


class Told:
    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append((name, repr(failure))))


async def _fail() -> None:
    raise LookupError("no such thing")


async def _for_ever() -> None:
    await asyncio.sleep(3_600)


async def test_a_failure_is_told_once_with_the_name_of_its_work() -> None:
    told = Told()
    told.supervisor.spawn("count sheep", _fail())
    await until(lambda: told.failures)
    await told.supervisor.close()
    assert told.failures == [("count sheep", "LookupError('no such thing')")]


async def test_work_that_ends_or_is_cancelled_is_no_failure() -> None:
    told, complaints = Told(), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["message"]))
    done = told.supervisor.spawn("ends", asyncio.sleep(0))
    cancelled = told.supervisor.spawn("is cancelled", _for_ever())
    await done
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await told.supervisor.close()
    await asyncio.sleep(0)
    assert told.failures == []
    assert complaints == []


async def test_closing_cancels_all_and_returns_when_their_ends_are_tidied_up() -> None:
    told = Told()
    tidied: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            await asyncio.sleep(0)
            tidied.append("work")

    tasks = [told.supervisor.spawn("work", work()) for _ in range(3)]
    await asyncio.sleep(0)
    await told.supervisor.close()
    assert tidied == ["work"] * 3
    assert all(task.cancelled() for task in tasks)


async def test_what_is_spawned_while_it_closes_is_ended_as_well() -> None:
    told = Told()
    late: list[asyncio.Task[None]] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            late.append(told.supervisor.spawn("late", asyncio.sleep(3_600)))

    told.supervisor.spawn("work", work())
    await asyncio.sleep(0)
    await told.supervisor.close()
    assert late[0].cancelled()


async def test_a_failure_while_it_closes_is_told_too() -> None:
    told = Told()

    async def work() -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            raise LookupError("at the end")

    told.supervisor.spawn("work", work())
    await asyncio.sleep(0)
    await told.supervisor.close()
    assert told.failures == [("work", "LookupError('at the end')")]


async def test_who_closes_from_within_is_not_waited_for() -> None:
    told = Told()
    closed = asyncio.Event()

    async def work() -> None:
        await told.supervisor.close()
        closed.set()

    told.supervisor.spawn("closes", work())
    async with asyncio.timeout(5):
        await closed.wait()


async def test_work_that_has_just_ended_does_not_keep_it() -> None:
    told = Told()
    tasks = [told.supervisor.spawn("ends", asyncio.sleep(0)) for _ in range(2)]
    async with asyncio.timeout(5.0):
        while not tasks[-1].done():  # noqa: ASYNC110 - until the very turn in which it ends
            await asyncio.sleep(0)
        await told.supervisor.close()
    assert told.failures == []


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_connection_that_takes_a_cancellation_for_itself_gives_it_back(
    monkeypatch: pytest.MonkeyPatch, ends_well: bool
) -> None:
    opened: list[Client] = []

    async def connect(client: Client, **_: object) -> None:
        opened.append(client)
        with contextlib.suppress(asyncio.CancelledError):
            await _for_ever()
        if not ends_well:
            raise ConnectionRefusedError

    async def nothing(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(Client, "connect", connect)
    for name in ("subscribe", "close"):
        monkeypatch.setattr(Client, name, nothing)
    told = Told()
    url, rng = "nats://127.0.0.1:1", random.Random(7)
    transport = NatsTransport([url], name="a", supervisor=told.supervisor, rng=rng)
    transport.open_later(lambda input: None)
    told.supervisor.spawn("store", JetStreamStore([url], bucket="b", name="a", rng=rng).open())
    await until(lambda: len(opened) == 2, what="both at it")
    async with asyncio.timeout(supervise.AGAIN_S / 2):
        await told.supervisor.close()
    assert len(opened) == 2, "nobody went on"
    assert told.failures == []


async def test_work_that_a_library_robs_of_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "AGAIN_S", 0.01)
    told = Told()
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await _for_ever()
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    task = told.supervisor.spawn("tries again for ever", work())
    await asyncio.sleep(0)
    await told.supervisor.close()
    assert (lost, task.cancelled(), told.failures) == (2, True, [])
