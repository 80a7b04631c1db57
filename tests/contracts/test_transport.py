"""What every transport does, over memory and a real server alike."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest

from meshd.ports import Transport
from meshd.supervise import Supervisor
from meshd.transport.memory import MemoryBus, MemoryTransport
from meshd.transport.nats import NatsTransport
from protocol.errors import LocalError
from protocol.inputs import Absent, Input, LinkChanged, Received
from protocol.limits import FRAME_BYTES_MAX
from tests.proxy import Proxy
from tests.servers import NatsServer
from tests.waiting import until


class Site(Protocol):
    """Two transports on one broker; `a` can be cut off. What each was told stands in its list."""

    a: Transport
    b: Transport
    told_a: list[Input]
    told_b: list[Input]
    mesh: str

    def outage(self) -> contextlib.AbstractContextManager[None]:
        """Within, `a` has no link."""
        ...


class MemorySite:
    def __init__(self) -> None:
        bus = MemoryBus()
        self._bus = bus
        self._client = MemoryTransport(bus)
        self.a: Transport = self._client
        self.b: Transport = MemoryTransport(bus)
        self.told_a: list[Input] = []
        self.told_b: list[Input] = []
        self.mesh = "mesh.m"

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        self._bus.cut(self._client)
        yield
        self._bus.restore(self._client)


class NatsSite:
    def __init__(self, server: NatsServer, proxy: Proxy, supervisor: Supervisor) -> None:
        self._proxy = proxy
        self.a: Transport = _transport(proxy.url, server, supervisor)
        self.b: Transport = _transport(server.url, server, supervisor)
        self.told_a: list[Input] = []
        self.told_b: list[Input] = []
        self.mesh = f"mesh.{secrets.token_hex(6)}"

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        self._proxy.refuse()
        yield
        self._proxy.mend()


def _transport(url: str, server: NatsServer, supervisor: Supervisor) -> NatsTransport:
    return NatsTransport(
        [url],
        name="contract",
        supervisor=supervisor,
        rng=random.Random(7),
        user=server.user,
        password=server.password,
    )


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.live)])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    failures: list[tuple[str, BaseException]] = []
    async with contextlib.AsyncExitStack() as stack:
        made: Site
        if request.param == "memory":
            made = MemorySite()
        else:
            server: NatsServer = request.getfixturevalue("nats_server")
            supervisor = Supervisor(lambda name, failure: failures.append((name, failure)))
            stack.push_async_callback(supervisor.close)
            made = NatsSite(server, await stack.enter_async_context(Proxy(server.port)), supervisor)
        for transport, told in ((made.a, made.told_a), (made.b, made.told_b)):
            await transport.open(told.append)
            stack.push_async_callback(transport.close)
        await until(lambda: made.told_a and made.told_b, what="the links")
        yield made
    assert failures == []


def _frames(told: list[Input]) -> list[tuple[str, bytes]]:
    return [(item.subject, item.frame) for item in told if isinstance(item, Received)]


async def test_an_open_transport_is_up_and_says_so_once(site: Site) -> None:
    assert site.a.is_up
    assert site.told_a == [LinkChanged(up=True)]
    assert site.a.server
    assert "@" not in site.a.server


async def test_a_frame_reaches_who_subscribed_and_nobody_else(site: Site) -> None:
    await site.b.subscribe(f"{site.mesh}.node.b")
    assert site.a.publish(f"{site.mesh}.node.c", b"for another")
    assert site.a.publish(f"{site.mesh}.node.b", b"hello")
    await until(lambda: _frames(site.told_b))
    assert _frames(site.told_b) == [(f"{site.mesh}.node.b", b"hello")]
    assert _frames(site.told_a) == []


async def test_frames_arrive_in_the_order_they_were_published(site: Site) -> None:
    await site.b.subscribe(f"{site.mesh}.>")
    for number in range(500):
        assert site.a.publish(f"{site.mesh}.n", b"%d" % number)
    await until(lambda: len(_frames(site.told_b)) == 500)
    assert [frame for _, frame in _frames(site.told_b)] == [b"%d" % number for number in range(500)]


@pytest.mark.parametrize(
    ("pattern", "reached"),
    [
        ("fact.*.*", ["fact.eu.a", "fact.us.b"]),
        ("fact.eu.*", ["fact.eu.a"]),
        ("fact.*.b", ["fact.us.b"]),
        ("fact.>", ["fact.eu.a", "fact.us.b", "fact.eu.a.x"]),
        ("fact", ["fact"]),
        (">", ["fact", "fact.eu.a", "fact.us.b", "fact.eu.a.x", "node.a"]),
    ],
)
async def test_wildcards_match_as_in_nats(site: Site, pattern: str, reached: list[str]) -> None:
    await site.b.subscribe(f"{site.mesh}.{pattern}")
    await site.b.subscribe(f"{site.mesh}.last")
    for subject in ("fact", "fact.eu.a", "fact.us.b", "fact.eu.a.x", "node.a"):
        site.a.publish(f"{site.mesh}.{subject}", b"x")
    site.a.publish(f"{site.mesh}.last", b"end")
    await until(lambda: (f"{site.mesh}.last", b"end") in _frames(site.told_b))
    subjects = [subject.removeprefix(f"{site.mesh}.") for subject, frame in _frames(site.told_b) if frame == b"x"]
    assert subjects == reached


async def test_a_node_hears_itself_when_it_subscribed(site: Site) -> None:
    await site.a.subscribe(f"{site.mesh}.fact.*.*")
    site.a.publish(f"{site.mesh}.fact.eu.a", b"mine")
    await until(lambda: _frames(site.told_a))
    assert _frames(site.told_a) == [(f"{site.mesh}.fact.eu.a", b"mine")]


async def test_the_broker_says_absent_when_nobody_listens(site: Site) -> None:
    await site.a.watch_absences(f"{site.mesh}.absent.a.*")
    await site.b.watch_absences(f"{site.mesh}.absent.b.*")
    assert site.a.publish(f"{site.mesh}.node.gone.1.a", b"ping", reply=f"{site.mesh}.absent.a.41")
    await until(lambda: Absent(probe=41) in site.told_a)
    assert site.told_b == [LinkChanged(up=True)]


async def test_a_frame_that_reaches_somebody_makes_no_absence(site: Site) -> None:
    await site.a.watch_absences(f"{site.mesh}.absent.a.*")
    await site.b.subscribe(f"{site.mesh}.node.b.1.*")
    site.a.publish(f"{site.mesh}.node.b.1.a", b"ping", reply=f"{site.mesh}.absent.a.1")
    site.a.publish(f"{site.mesh}.node.gone.1.a", b"ping", reply=f"{site.mesh}.absent.a.2")
    await until(lambda: Absent(probe=2) in site.told_a)
    await until(lambda: _frames(site.told_b))
    assert Absent(probe=1) not in site.told_a


async def test_a_frame_sent_to_the_absence_subject_is_no_absence(site: Site) -> None:
    await site.a.watch_absences(f"{site.mesh}.absent.a.*")
    for token in ("7", "x", "1e3", "-1", "9" * 30):
        site.b.publish(f"{site.mesh}.absent.a.{token}", b"a lie")
    await site.b.flush()
    site.a.publish(f"{site.mesh}.node.gone.1.a", b"ping", reply=f"{site.mesh}.absent.a.8")
    await until(lambda: len(site.told_a) > 1)
    assert site.told_a == [LinkChanged(up=True), Absent(probe=8)]


async def test_subscribing_twice_is_subscribing_once(site: Site) -> None:
    for _ in range(2):
        await site.b.subscribe(f"{site.mesh}.node.b")
    site.a.publish(f"{site.mesh}.node.b", b"1")
    site.a.publish(f"{site.mesh}.node.b", b"2")
    await until(lambda: (f"{site.mesh}.node.b", b"2") in _frames(site.told_b))
    assert [frame for _, frame in _frames(site.told_b)] == [b"1", b"2"]


async def test_who_unsubscribed_hears_no_more_until_it_subscribes_again(site: Site) -> None:
    events, last = f"{site.mesh}.event.*", f"{site.mesh}.last"
    await site.b.subscribe(last)
    for frame in (b"heard", b"unheard", b"heard again"):
        await (site.b.unsubscribe(events) if frame == b"unheard" else site.b.subscribe(events))
        site.a.publish(f"{site.mesh}.event.a", frame)
        site.a.publish(last, frame)
        await until(lambda frame=frame: (last, frame) in _frames(site.told_b))  # type: ignore[misc]  # a default that binds the loop's variable
    assert [frame for subject, frame in _frames(site.told_b) if subject != last] == [b"heard", b"heard again"]


async def test_what_was_unsubscribed_while_the_link_was_down_stays_so(site: Site) -> None:
    await site.a.subscribe(f"{site.mesh}.event.*")
    await site.a.subscribe(f"{site.mesh}.last")
    with site.outage():
        await until(lambda: site.told_a[-1] == LinkChanged(up=False))
        await site.a.unsubscribe(f"{site.mesh}.event.*")
        await site.a.unsubscribe(f"{site.mesh}.never")
    await until(lambda: site.told_a[-1] == LinkChanged(up=True))
    await site.a.flush()
    site.b.publish(f"{site.mesh}.event.b", b"x")
    site.b.publish(f"{site.mesh}.last", b"end")
    await until(lambda: _frames(site.told_a))
    assert _frames(site.told_a) == [(f"{site.mesh}.last", b"end")]


async def test_the_word_that_nobody_listens_is_no_frame(site: Site) -> None:
    await site.a.subscribe(f"{site.mesh}.plain.*")
    site.a.publish(f"{site.mesh}.node.gone.1.a", b"ping", reply=f"{site.mesh}.plain.1")
    await site.a.flush()
    site.a.publish(f"{site.mesh}.plain.2", b"a frame")
    await until(lambda: _frames(site.told_a))
    assert site.told_a == [LinkChanged(up=True), Received(subject=f"{site.mesh}.plain.2", frame=b"a frame")]


async def test_an_absence_without_a_probe_number_is_dropped(site: Site) -> None:
    await site.a.watch_absences(f"{site.mesh}.absent.a.*")
    for token in ("x", "9" * 30, "8"):
        site.a.publish(f"{site.mesh}.node.gone.1.a", b"ping", reply=f"{site.mesh}.absent.a.{token}")
    await until(lambda: Absent(probe=8) in site.told_a)
    assert site.told_a == [LinkChanged(up=True), Absent(probe=8)]


async def test_what_is_published_while_the_link_is_down_is_dropped_for_ever(site: Site) -> None:
    await site.b.subscribe(f"{site.mesh}.fact.*.*")
    with site.outage():
        await until(lambda: not site.a.is_up)
        for _ in range(100):
            assert not site.a.publish(f"{site.mesh}.fact.eu.a", b"stale")
    await until(lambda: site.a.is_up)
    assert site.a.publish(f"{site.mesh}.fact.eu.a", b"fresh")
    await until(lambda: _frames(site.told_b))
    assert _frames(site.told_b) == [(f"{site.mesh}.fact.eu.a", b"fresh")]


async def test_a_link_that_comes_back_is_told_and_hears_its_subscriptions_again(site: Site) -> None:
    await site.a.subscribe(f"{site.mesh}.node.a.1.*")
    await site.a.watch_absences(f"{site.mesh}.absent.a.*")
    with site.outage():
        await until(lambda: LinkChanged(up=False) in site.told_a)
        assert not site.a.is_up
    await until(lambda: site.told_a[-1] == LinkChanged(up=True))
    assert site.told_a == [LinkChanged(up=True), LinkChanged(up=False), LinkChanged(up=True)]
    await site.a.flush()
    site.b.publish(f"{site.mesh}.node.a.1.b", b"welcome")
    site.a.publish(f"{site.mesh}.node.gone.1.a", b"ping", reply=f"{site.mesh}.absent.a.3")
    await until(lambda: _frames(site.told_a) and Absent(probe=3) in site.told_a)


async def test_a_subscription_made_while_the_link_is_down_holds_once_it_is_up(site: Site) -> None:
    with site.outage():
        await until(lambda: not site.a.is_up)
        await site.a.subscribe(f"{site.mesh}.node.a.1.*")
    await until(lambda: site.a.is_up)
    await site.a.flush()
    site.b.publish(f"{site.mesh}.node.a.1.b", b"welcome")
    await until(lambda: _frames(site.told_a))


async def test_a_reply_to_what_was_flushed_finds_the_subscription_made_before(site: Site) -> None:
    for number in range(50):
        await site.b.subscribe(f"{site.mesh}.node.b{number}")
        site.a.publish(f"{site.mesh}.node.b{number}", b"%d" % number)
    await until(lambda: len(_frames(site.told_b)) == 50)


async def test_the_largest_frame_passes_and_a_larger_one_is_our_own_mistake(site: Site) -> None:
    frame = secrets.token_bytes(FRAME_BYTES_MAX)
    await site.b.subscribe(f"{site.mesh}.big")
    assert site.a.publish(f"{site.mesh}.big", frame)
    await until(lambda: _frames(site.told_b))
    assert _frames(site.told_b) == [(f"{site.mesh}.big", frame)]
    with pytest.raises(LocalError):
        site.a.publish(f"{site.mesh}.big", frame + b"x")


HOSTILE_SUBJECTS = ["", ".", "a.", ".a", "a..b", "a b", "a\r\nPUB x 0\r\n\r\n", "a\t", "é", "a.*b", "a.b*", "a\x00"]


@pytest.mark.parametrize("subject", HOSTILE_SUBJECTS)
async def test_what_is_no_subject_is_refused_before_it_goes_anywhere(site: Site, subject: str) -> None:
    with pytest.raises(LocalError):
        site.a.publish(subject, b"x")
    with pytest.raises(LocalError):
        site.a.publish("fine", b"x", reply=subject or "a..b")
    with pytest.raises(LocalError):
        await site.a.subscribe(subject)
    with pytest.raises(LocalError):
        await site.a.watch_absences(subject)


@pytest.mark.parametrize("subject", ["a.*", "a.>", "*", ">"])
async def test_nothing_is_published_to_a_wildcard(site: Site, subject: str) -> None:
    with pytest.raises(LocalError):
        site.a.publish(subject, b"x")


async def test_frames_of_any_bytes_arrive_as_they_were(site: Site) -> None:
    frames = [b"", b"\r\n", bytes(range(256)), b"+OK\r\nPING\r\n", b"NATS/1.0 503\r\n\r\n"]
    await site.b.subscribe(f"{site.mesh}.raw")
    for frame in frames:
        site.a.publish(f"{site.mesh}.raw", frame)
    await until(lambda: len(_frames(site.told_b)) == len(frames))
    assert [frame for _, frame in _frames(site.told_b)] == frames


async def test_a_closed_transport_is_down_sends_nothing_and_may_be_closed_again(site: Site) -> None:
    await site.b.subscribe(f"{site.mesh}.>")
    site.a.publish(f"{site.mesh}.bye", b"bye")
    await site.a.close()
    await site.a.close()
    assert not site.a.is_up
    assert not site.a.publish(f"{site.mesh}.bye", b"after the end")
    await until(lambda: _frames(site.told_b))
    assert _frames(site.told_b) == [(f"{site.mesh}.bye", b"bye")]


async def test_closing_while_the_link_is_down_does_not_wait(site: Site) -> None:
    with site.outage():
        await until(lambda: not site.a.is_up)
        async with asyncio.timeout(5):
            await site.a.close()
