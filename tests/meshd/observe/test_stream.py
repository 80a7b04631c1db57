"""The live stream: numbers without gaps, readers that come late, lag and leave."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from meshd.observe.stream import EVENT_BYTES_MAX, Happened, Stream, encoded
from protocol import limits
from protocol.events import Event, PeerUnreachable, TaskCancelled, TaskFailed
from tests.waiting import until

ME, OTHER = "me", "other"


def event(number: int) -> TaskCancelled:
    return TaskCancelled(f"t{number}", "i", number)


def told(count: int) -> Stream:
    stream = Stream(me=ME)
    for number in range(1, count + 1):
        stream.tell(event(number))
    return stream


async def first(stream: Stream, count: int, after_seq: int) -> list[Happened]:
    found: list[Happened] = []
    async with asyncio.timeout(5):
        async for each in stream.follow(after_seq):
            found.append(each)
            if len(found) == count:
                break
    return found


class Reader:
    """Follows in the background."""

    def __init__(self, stream: Stream, after_seq: int) -> None:
        self.seen: list[Happened] = []
        self.task = asyncio.ensure_future(self._follow(stream.follow(after_seq)))

    async def _follow(self, events: AsyncIterator[Happened]) -> None:
        async for each in events:
            self.seen.append(each)

    @property
    def seqs(self) -> list[int]:
        return [each.seq for each in self.seen]


async def test_a_reader_gets_what_it_has_not_seen_and_then_what_comes() -> None:
    stream = told(5)
    reader = Reader(stream, after_seq=3)
    await until(lambda: reader.seqs == [4, 5])
    stream.tell(event(6))
    await until(lambda: reader.seqs == [4, 5, 6])
    assert reader.seen[-1].event == event(6)
    assert reader.seen[-1].node == ME
    stream.close()
    await reader.task


async def test_where_others_were_not_heard_a_number_is_left_out() -> None:
    stream = told(2)
    reader = Reader(stream, after_seq=1)
    await until(lambda: reader.seqs == [2])
    stream.skip()
    assert stream.seq == 3
    stream.tell(event(4))
    await until(lambda: reader.seqs == [2, 4])
    assert [each.seq for each in await first(stream, 3, 0)] == [1, 2, 4]
    stream.close()
    await reader.task


async def test_a_reader_that_begins_at_a_number_left_out_waits_for_what_comes() -> None:
    stream = told(2)
    stream.skip()
    reader = Reader(stream, after_seq=2)
    await asyncio.sleep(0)
    stream.tell(event(4))
    await until(lambda: reader.seqs == [4])
    stream.close()
    await reader.task


async def test_only_the_newest_are_kept_and_who_missed_some_sees_the_gap() -> None:
    stream = told(limits.EVENTS_KEPT + 10)
    found = await first(stream, limits.EVENTS_KEPT, 0)
    assert [each.seq for each in found] == list(range(11, limits.EVENTS_KEPT + 11))


async def test_a_reader_that_is_slow_goes_on_with_what_is_still_kept() -> None:
    stream = told(1)
    events = stream.follow(0)
    assert (await anext(events)).seq == 1
    for number in range(2, limits.EVENTS_KEPT + 102):
        stream.tell(event(number))
    assert (await anext(events)).seq == 102
    assert (await anext(events)).seq == 103


async def test_every_reader_gets_every_event_once_and_in_order() -> None:
    stream = Stream(me=ME)
    readers = [Reader(stream, 0) for _ in range(5)]
    for number in range(1, 101):
        stream.tell(event(number))
        if number % 7 == 0:
            await asyncio.sleep(0)
    await until(lambda: all(len(reader.seen) >= 100 for reader in readers))
    assert all(reader.seqs == list(range(1, 101)) for reader in readers)
    stream.close()
    await asyncio.gather(*(reader.task for reader in readers))


async def test_closing_ends_every_reader_those_who_come_later_too() -> None:
    stream = told(1)
    readers = [Reader(stream, after) for after in (0, 1)]
    await asyncio.sleep(0)
    stream.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*(reader.task for reader in readers))
        assert [each async for each in stream.follow(0)] == []
    stream.tell(event(2))


async def test_events_of_others_take_their_place_under_their_name() -> None:
    stream = told(1)
    failed = TaskFailed("t", "i", 1, "deadline", "too late")
    stream.tell_of(OTHER, encoded(failed))
    found = await first(stream, 2, 0)
    assert [(each.seq, each.node, each.event) for each in found] == [(1, ME, event(1)), (2, OTHER, failed)]


async def test_the_echo_of_an_own_event_is_no_second_one() -> None:
    stream = told(1)
    stream.tell_of(ME, encoded(event(1)))
    stream.tell(event(2))
    assert [each.event for each in await first(stream, 2, 0)] == [event(1), event(2)]
    assert stream.malformed == 0


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{",
        b"{}",
        b'{"kind": "no_such_kind"}',
        b'{"kind": ["task_cancelled"]}',
        b'{"kind": "task_cancelled", "task": "t"}',
        b'{"kind": "task_cancelled", "task": "t", "iid": "i", "epoch": "one"}',
        b'{"kind": "task_cancelled", "task": "\\ud800", "iid": "i", "epoch": 1}',
        b"[" * 5_000,
        b'{"kind": "task_cancelled", "x": ' + b"[" * 5_000,
        encoded(PeerUnreachable(("x" * 52,) * 200)),
    ],
)
async def test_nonsense_of_others_is_counted_and_left_out(nonsense: bytes) -> None:
    stream = told(1)
    stream.tell_of(OTHER, nonsense)
    assert stream.malformed == 1
    stream.tell(event(2))
    assert [each.seq for each in await first(stream, 2, 0)] == [1, 2]


def test_an_event_of_a_few_hundred_bytes_passes_with_its_longest_message() -> None:
    longest: Event = TaskFailed("t" * 26, "i" * 26, 1 << 60, "agent_failed", "\x01" * limits.TEXT_CHARS_MAX)
    assert len(encoded(longest)) < EVENT_BYTES_MAX
