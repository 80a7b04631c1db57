"""What agents say to each other, between two daemons in one process: heard by who listens, as far as they may be."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from msgspec import structs

from meshd import desk as desks
from meshd.api import schemas
from meshd.ports import Desk, Event, Failed, Finished, Outcome, Work
from protocol import limits, records
from protocol.effects import RunAgent
from protocol.errors import MeshError
from protocol.events import EventsLost
from protocol.inputs import Input, Retry, Submit
from protocol.wire.task import Failure, TaskRecord
from tests.meshd.little_daemons import Actor, LittleDaemon, little_daemons
from tests.protocol.conversation import instant
from tests.protocol.work import B, record
from tests.waiting import until, until_told

NEWS = "sales.news"
COUNT = itertools.count()
NOW = instant(9)


class Ear(Actor):
    """Listens to a topic; what it does with an event is told."""

    def __init__(self, name: str = "ear", topic: str = NEWS, **given: object) -> None:
        super().__init__(name, **given)  # type: ignore[arg-type]  # named fields
        self.card = structs.replace(self.card, topics=(topic,), capabilities=(f"{name}@1",))

    @property
    def heard(self) -> list[object]:
        """Values of the events that it was given."""
        return [work.input for work in self.runs if isinstance(work, Event)]


async def speak(work: Work, desk: Desk) -> Outcome:
    """Publish what the task says; the result is the refusal, if there is one."""
    assert isinstance(work.input, list)
    topic, value = work.input
    try:
        await desk.publish(topic, value)
    except MeshError as refusal:
        return Finished(refusal.code)
    return Finished("said")


async def _said(daemon: LittleDaemon, topic: str, value: object) -> object:
    task = await daemon.submit([topic, value], key=f"said-{next(COUNT)}")
    return (await daemon.ended(task.id)).result


async def _hears(mouth: LittleDaemon, ear: Ear, topic: str = NEWS) -> None:
    """The ear's node has told its server: an event of the other comes through."""

    async def came_through() -> bool:
        await _said(mouth, topic, "are you there?")
        return bool(ear.heard)

    await until_told(came_through)


async def test_what_an_agent_says_is_heard_on_another_node_and_on_its_own() -> None:
    here, there = Ear(), Ear("far")
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("mouth", speak, slots=1), here)
        await mesh.start("b", there)
        await _hears(a, there)
        assert await _said(a, NEWS, {"price": 3}) == "said"
        await until(lambda: there.heard[-1] == here.heard[-1] == {"price": 3})
        (event,) = [work for work in there.runs if work.input == {"price": 3}]
        assert isinstance(event, Event)
        assert (event.topic, event.publisher) == (NEWS, f"mouth@{a.me.id[:8]}")
        task = await a.submit([NEWS, 1], key="one more")
        await until(lambda: 1 in there.heard)
        assert {work.gid for work in (*here.runs, *there.runs) if work.input == 1} == {(await a.ended(task.id)).gid}


async def test_a_private_agent_is_heard_on_its_own_node_alone() -> None:
    here, there, secret = Ear(), Ear("far"), Actor("mouth", speak)
    async with little_daemons() as mesh:
        a = await mesh.start("a", secret, here)
        b = await mesh.start("b", there)
        secret.card = structs.replace(secret.card, visibility="private")
        secret.turn("ready")
        await until(lambda: b.transport.listens(mesh.subjects.topic(NEWS)))
        assert await _said(a, NEWS, 1) == "said"
        await until(lambda: here.heard == [1])
        assert there.heard == []


async def test_a_node_subscribes_to_what_its_agents_listen_to_and_to_nothing_else() -> None:
    ear = Ear()
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("mouth", speak))
        b = await mesh.start("b", ear)
        await until(lambda: b.transport.listens(mesh.subjects.topic(NEWS)))
        assert not b.transport.listens(mesh.subjects.topic("sales.other"))
        assert not a.transport.listens(mesh.subjects.topic(NEWS))
        ear.turn("stopped")
        await until(lambda: not b.transport.listens(mesh.subjects.topic(NEWS)))


async def test_every_node_shows_an_agent_that_only_listens() -> None:
    ear = Ear()
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", ear)
        ear.card = structs.replace(ear.card, capabilities=())
        ear.turn("ready")
        await until(
            lambda: (
                [(agent.name, agent.capabilities, agent.topics) for agent in a.views.agents()] == [("ear", (), (NEWS,))]
            )
        )
        assert [agent.hearing is not None for agent in b.views.agents()] == [True]


async def test_a_slow_listener_gets_one_at_a_time_keeps_no_work_waiting_and_loses_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "EVENTS_WAITING_MAX", 4)
    go_on = asyncio.Event()

    async def slow(work: Work, desk: Desk) -> Outcome:
        if isinstance(work, Event):
            await go_on.wait()
        return Finished(work.input)

    ear = Ear(do=slow, slots=1)
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("mouth", speak), ear)
        for number in range(7):
            await _said(a, NEWS, number)
        assert ear.heard == [0]
        assert (await a.service.call("ear@1", schemas.CallRequest(input="now"))).result == "now"
        (lost,) = [event for event in a.events if isinstance(event, EventsLost) and event.count == 2]
        assert (lost.agent, lost.topic, lost.why) == ("ear", NEWS, "overrun")
        go_on.set()
        await until(lambda: ear.heard == [0, 3, 4, 5, 6])
        (shown,) = [agent for agent in a.views.agents() if agent.name == "ear"]
        assert (shown.topics, shown.running) == ((NEWS,), 0)
        assert shown.hearing is not None
        await until(lambda: a.node.topics.hearing()["ear"].handled == 5)
        assert a.node.topics.hearing()["ear"].dropped == 2


async def test_two_agents_that_answer_each_other_with_events_come_to_rest() -> None:
    async def again(work: Work, desk: Desk) -> Outcome:
        try:
            await desk.publish(
                "sales.pong" if isinstance(work, Event) and work.topic == "sales.ping" else "sales.ping", 0
            )
        except MeshError as refusal:
            return Failed(refusal.code, refusal.message, retry=False)
        return Finished(None)

    ping, pong = Ear("ping", "sales.ping", do=again), Ear("pong", "sales.pong", do=again)
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("mouth", speak), ping)
        b = await mesh.start("b", pong)
        await until(lambda: b.transport.listens(mesh.subjects.topic("sales.pong")))
        await until(lambda: a.transport.listens(mesh.subjects.topic("sales.ping")))
        await _said(a, "sales.ping", 0)
        ends = [event for daemon in (a, b) for event in daemon.events if isinstance(event, EventsLost)]
        await until(lambda: any(isinstance(event, EventsLost) for daemon in (a, b) for event in daemon.events))
        ends = [event for daemon in (a, b) for event in daemon.events if isinstance(event, EventsLost)]
        assert [(end.why, end.detail.split(" that")[0]) for end in ends] == [
            ("bad_input", "this event would be number 9")
        ]
        assert len(ping.heard) + len(pong.heard) == limits.HOPS_MAX + 1


@pytest.mark.parametrize(
    ("topic", "value", "code"),
    [
        ("sales.*", 1, "bad_topic"),
        ("news", 1, "bad_topic"),
        (NEWS, "x" * limits.EVENT_BYTES_MAX, "too_large"),
    ],
    ids=["wildcard", "no domain", "too large"],
)
async def test_what_cannot_be_published_is_refused_by_name(topic: str, value: object, code: str) -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("mouth", speak))
        assert await _said(a, topic, value) == code


async def test_a_call_to_a_named_agent_goes_to_no_other() -> None:
    async def ask(work: Work, desk: Desk) -> Outcome:
        try:
            return Finished(await desk.call("name@1", None, 5.0, agent=str(work.input)))
        except MeshError as refusal:
            return Finished(refusal.code)

    async def named(work: Work, desk: Desk) -> Outcome:
        return Finished("second")

    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("asks", ask), Actor("first", capability="name@1"))
        await mesh.start("b", Actor("second", named, capability="name@1"))
        for name, answer in (("second", "second"), ("first", None), ("third", "unknown_agent")):
            task = await a.submit(name, key=name)
            assert (await a.ended(task.id)).result == answer


class Office:
    """Answers every request with this child, and keeps what was asked."""

    def __init__(self, child: TaskRecord) -> None:
        self.child = child
        self.inputs: list[Input] = []

    def told(self, input: Input) -> None:
        raise AssertionError(input)

    async def asked(self, make: Callable[[int], Input], *, timeout_s: float | None = None) -> object:
        self.inputs.append(make(1))
        return self.child

    async def ended(self, task: str) -> TaskRecord:
        raise AssertionError(task)


@pytest.mark.parametrize(
    ("retries", "before", "is_opened"),
    [(0, "", False), (1, "", True), (1, "task/parent/1", False), (2, "task/parent/1", True)],
    ids=["never opened again itself", "once", "once, by its earlier run", "twice"],
)
async def test_a_failed_child_is_opened_again_once_each_time_that_its_parent_was(
    retries: int, before: str, is_opened: bool
) -> None:
    child = records.failed(record(), failure=Failure("agent_failed", "no"), now=NOW)
    if before:
        again = records.retried(child, by=before, home=B, deadline_s=9.0, now=NOW)
        child = records.failed(again, failure=Failure("agent_failed", "no"), now=NOW)
    office = Office(child)
    order = RunAgent("w", "parent", 1, 1, "a@1", b"", 60.0, "i", "g", 0, (), retries=retries)
    await desks.Desk(order, office).submit("b@1", 1, key="", is_awaited=False)
    assert [type(each) for each in office.inputs] == [Submit, Retry][: 1 + is_opened]
