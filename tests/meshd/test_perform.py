"""Effects become deeds: in order, one write a key, and every outcome told once."""

import asyncio

from meshd.perform import PAGE, READS_MAX, Performer
from meshd.store.memory import MemoryBucket, MemoryStore
from meshd.supervise import Supervisor
from meshd.transport.memory import MemoryBus, MemoryTransport
from protocol import limits
from protocol.effects import Effect, Emit, List, Read, Reply, RunAgent, Send, Spread, StopAgent, Tune, Write
from protocol.events import Event, TaskCancelled
from protocol.inputs import Entry, Found, Input, Listed, Lost, Received, Unsent, Written
from protocol.wire.gossip import Left
from protocol.wire.swim import Ping
from protocol.wire.task import Presence
from tests.waiting import until

RUN = RunAgent("w", "t", 1, 1, "a@1", b"", 60.0, "i", "g", 0, ())
STOP = StopAgent("t", 1)


class CountingStore(MemoryStore):
    """Counts what is asked of it; `scans_fail` after the first."""

    def __init__(self, bucket: MemoryBucket) -> None:
        super().__init__(bucket)
        self.reads: list[str] = []
        self.reading = 0
        self.reading_max = 0
        self.writing: list[str] = []

    async def read(self, key: str) -> Entry | None:
        self.reads.append(key)
        self.reading += 1
        self.reading_max = max(self.reading_max, self.reading)
        try:
            return await super().read(key)
        finally:
            self.reading -= 1

    async def write(self, key: str, value: bytes, *, expect: int, keep_s: float = 0.0) -> Written | Lost | Unsent:
        assert key not in self.writing, "two writes of one key at a time"
        self.writing.append(key)
        try:
            return await super().write(key, value, expect=expect, keep_s=keep_s)
        finally:
            self.writing.remove(key)


class Stage:
    """A performer, what it told its sink, and what it handed to the agents."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.bucket = MemoryBucket()
        self.store = CountingStore(self.bucket)
        self.transport = MemoryTransport(self.bus)
        self.inputs: list[Input] = []
        self.orders: list[RunAgent | StopAgent] = []
        self.events: list[Event] = []
        self.failures: list[BaseException] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append(failure))
        self.performer = Performer(
            transport=self.transport,
            store=self.store,
            workshop=self,
            observers=(self.events.append, self.events.append),
            supervisor=self.supervisor,
        )
        self.performer.bind(self.inputs.append)

    def run(self, order: RunAgent) -> None:
        self.orders.append(order)

    def stop(self, order: StopAgent) -> None:
        self.orders.append(order)

    def do(self, *effects: Effect) -> None:
        self.performer.submit(effects)

    async def told(self, count: int) -> list[Input]:
        await until(lambda: len(self.inputs) >= count, what=f"{count} inputs")
        return self.inputs


def write(key: str, frame: bytes, *, expect: int = 0, urgent: bool = False) -> Write:
    return Write(key, Presence(1, 1, "n"), expect, urgent=urgent, frame=frame)


async def _turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_messages_and_facts_leave_in_order() -> None:
    stage, heard = Stage(), list[Input]()
    await stage.transport.open(lambda input: None)
    other = MemoryTransport(stage.bus)
    await other.open(heard.append)
    await other.subscribe("x.>")
    stage.do(
        Send("b", 1, Ping(1), subject="x.1", frame=b"1"),
        Spread(Left(1, b""), subject="x.2", frame=b"2"),
        Send("b", 1, Ping(2), subject="x.3", frame=b"3"),
    )
    await until(lambda: len(heard) == 4)
    assert heard[1:] == [Received("x.1", b"1"), Received("x.2", b"2"), Received("x.3", b"3")]
    assert stage.performer.dropped == 0


async def test_what_the_transport_does_not_take_is_counted() -> None:
    stage = Stage()
    stage.do(Spread(Left(1, b""), subject="x.1", frame=b"1"))
    assert stage.performer.dropped == 1


async def test_orders_go_to_the_agents_and_events_to_every_observer() -> None:
    stage, event = Stage(), TaskCancelled("t", "i", 1)
    stage.do(RUN, Emit(event), STOP)
    assert stage.orders == [RUN, STOP]
    assert stage.events == [event, event]


async def test_a_reply_that_nobody_waits_for_is_dropped() -> None:
    stage = Stage()
    waiting = stage.performer.expect(1)
    stage.do(Reply(2, value="x"), Reply(1, value="y"), Reply(1, value="z"))
    assert (await waiting).value == "y"
    await until(lambda: stage.performer.expected == 0)


# --- writes


WIDE, NARROW = "mesh.m.fact.*.*", "mesh.m.fact.east.*"
EAST, WEST = "mesh.m.fact.east.a", "mesh.m.fact.west.a"


async def test_who_tunes_hears_one_in_place_of_the_other_and_the_last_word_counts() -> None:
    stage = Stage()
    await stage.transport.subscribe(WIDE)
    stage.do(Tune(on=NARROW, off=WIDE))
    await until(lambda: not stage.transport.listens(WEST))
    assert stage.transport.listens(EAST)
    stage.do(Tune(on=WIDE, off=NARROW), Tune(on=NARROW, off=WIDE), Tune(on=WIDE, off=NARROW))
    await until(lambda: stage.transport.listens(WEST))
    await _turns()
    assert stage.failures == []
    assert stage.transport.listens(WEST)
    await stage.transport.open(stage.inputs.append)
    stage.do(Spread(Left(1), EAST, b"once"))
    await until(lambda: Received(EAST, b"once") in stage.inputs)
    assert stage.inputs.count(Received(EAST, b"once")) == 1


async def test_a_change_of_what_is_heard_is_asked_for_in_one_go_and_no_other_begins_before_it_stands() -> None:
    stage, asked, answer = Stage(), list[str](), asyncio.Event()

    async def subscribe(subject: str) -> None:
        asked.append(f"+ {subject}")
        await answer.wait()  # the server's, which may be far

    async def unsubscribe(subject: str) -> None:
        asked.append(f"- {subject}")

    stage.transport.subscribe, stage.transport.unsubscribe = subscribe, unsubscribe  # type: ignore[method-assign]  # recorded
    stage.do(Tune(on=WIDE, off=NARROW), Tune(on=NARROW, off=WIDE))
    await _turns()
    assert asked == [f"+ {WIDE}", f"- {NARROW}"]  # heard twice, a frame would look replayed
    answer.set()
    await until(lambda: len(asked) == 4)
    assert asked[2:] == [f"+ {NARROW}", f"- {WIDE}"]


async def test_an_outcome_is_written_or_what_stands_there() -> None:
    stage = Stage()
    stage.do(write("p01.a", b"1"))
    assert await stage.told(1) == [Written("p01.a", 1)]
    stage.do(write("p01.a", b"2"))
    assert (await stage.told(2))[1] == Lost("p01.a", 1, b"1")


async def test_a_create_that_finds_no_room_is_told_as_such() -> None:
    stage = Stage()
    stage.bucket = MemoryBucket(bytes_max=1)
    stage.store = CountingStore(stage.bucket)
    stage.performer = Performer(
        transport=stage.transport, store=stage.store, workshop=stage, observers=(), supervisor=stage.supervisor
    )
    stage.performer.bind(stage.inputs.append)
    stage.do(write("p01.a", b"12"))
    assert await stage.told(1) == [Unsent("p01.a", "the bucket of the record")]
    assert stage.performer.writes_waiting == 0


async def test_writes_of_one_key_go_one_after_the_other_and_others_pass() -> None:
    stage = Stage()
    stage.do(write("p01.a", b"1"), write("p01.a", b"2", expect=1), write("p01.b", b"3"))
    assert stage.performer.writes_waiting == 3
    told = await stage.told(3)
    assert [each.key for each in told if isinstance(each, Written | Lost)][-1] == "p01.a"
    assert stage.performer.writes_waiting == 0
    stage.do(write("p01.a", b"4", expect=9))
    assert isinstance((await stage.told(4))[3], Lost)


async def test_a_stalled_store_holds_up_writes_and_nothing_else() -> None:
    stage = Stage()
    stage.store.stall()
    stage.do(write("p01.a", b"1"), RUN, write("p01.b", b"1"))
    await _turns()
    assert stage.orders == [RUN]
    assert stage.inputs == []
    assert stage.performer.writes_waiting == 2
    stage.store.resume()
    assert len(await stage.told(2)) == 2


async def test_a_full_lane_refuses_at_once_but_not_the_end_of_a_task() -> None:
    stage = Stage()
    stage.store.stall()
    stage.do(*(write(f"p01.k{number}", b"1") for number in range(limits.WRITES_WAITING_MAX)))
    stage.do(write("p01.more", b"1"), write("p01.end", b"1", urgent=True))
    assert stage.inputs == [Unsent("p01.more", "the lane of writes")]
    assert stage.performer.writes_waiting == limits.WRITES_WAITING_MAX + 1
    await stage.supervisor.close()
    assert stage.failures == []


async def test_outcomes_of_one_key_keep_their_order_in_a_full_lane() -> None:
    stage = Stage()
    stage.store.stall()
    stage.do(*(write(f"p01.k{number}", b"1") for number in range(limits.WRITES_WAITING_MAX)))
    stage.do(write("p01.k0", b"2", expect=1 << 40))
    assert stage.inputs == []
    stage.store.resume()
    told = await stage.told(limits.WRITES_WAITING_MAX + 1)
    assert [type(each) for each in told if isinstance(each, Written | Lost) and each.key == "p01.k0"] == [Written, Lost]


async def test_a_write_that_fails_as_no_write_may_is_told_to_the_supervisor() -> None:
    stage = Stage()
    stage.do(write("no key", b"1"), write("no key", b"2"))
    await until(lambda: stage.failures)
    assert stage.performer.writes_waiting == 0


# --- reads and listings


async def test_a_read_finds_what_stands_there_or_nothing() -> None:
    stage = Stage()
    stage.bucket.put("p01.a", b"1", 0.0)
    stage.do(Read("p01.a"), Read("p01.b"))
    assert await stage.told(2) == [Found("p01.a", 1, b"1"), Found("p01.b", 0, b"")]


async def test_a_read_that_fails_says_why() -> None:
    stage = Stage()
    stage.do(Read("no key"))
    found = (await stage.told(1))[0]
    assert isinstance(found, Found)
    assert "no key of the store" in found.failed


async def test_while_the_store_stalls_a_key_is_read_once_however_often_it_is_asked_for() -> None:
    stage = Stage()
    stage.store.stall()
    for _ in range(100):
        stage.do(Read("p01.a"), Read("p01.b"))
        await _turns(1)
    assert sorted(stage.store.reads) == ["p01.a", "p01.b"]
    stage.store.resume()
    await stage.told(2)
    stage.do(Read("p01.a"))
    assert len(await stage.told(3)) == 3


async def test_who_asks_while_a_read_is_under_way_is_told_what_one_found_that_began_after() -> None:
    stage = Stage()
    answered, read_now = asyncio.Event(), stage.store.read

    async def late(key: str) -> Entry | None:
        found = await read_now(key)
        await answered.wait()
        return found

    stage.store.read = late  # type: ignore[method-assign]  # its answers are a while on their way
    stage.bucket.put("p01.a", b"awarded", 0.0)
    stage.do(Read("p01.a"))
    await until(lambda: stage.store.reads)
    revision = stage.bucket.put("p01.a", b"cancelled", 0.0)
    stage.do(Read("p01.a"), Read("p01.a"))
    answered.set()
    assert await stage.told(1) == [Found("p01.a", revision, b"cancelled")]
    assert len(stage.store.reads) == 2


async def test_few_reads_are_under_way_at_once() -> None:
    stage = Stage()
    stage.store.stall()
    stage.do(*(Read(f"p01.k{number}") for number in range(50)))
    await _turns()
    stage.store.resume()
    await stage.told(50)
    assert stage.store.reading_max == READS_MAX


async def test_a_listing_comes_in_pages_that_the_engine_can_take_in() -> None:
    stage = Stage()
    for number in range(2 * PAGE + 1):
        stage.bucket.put(f"p01.k{number:03d}", b"1", 0.0)
    stage.bucket.put("p02.other", b"1", 0.0)
    stage.do(List((1,)))
    pages = await stage.told(3)
    assert [len(page.entries) for page in pages if isinstance(page, Listed)] == [PAGE, PAGE, 1]
    keys = [entry.key for page in pages if isinstance(page, Listed) for entry in page.entries]
    assert keys == [f"p01.k{number:03d}" for number in range(2 * PAGE + 1)]


async def test_a_listing_of_nothing_is_an_answer() -> None:
    stage = Stage()
    stage.do(List((1, 2)))
    assert await stage.told(1) == [Listed((1, 2), ())]


async def test_a_listing_that_fails_says_why_and_gives_nothing() -> None:
    stage = Stage()
    stage.bucket.put("p01.a", b"1", 0.0)
    stage.do(List((1, 10**40)))
    listed = (await stage.told(1))[0]
    assert isinstance(listed, Listed)
    assert listed.entries == ()
    assert "no key of the store" in listed.failed


async def test_what_is_under_way_ends_with_the_supervisor_and_is_no_failure() -> None:
    stage = Stage()
    stage.store.stall()
    stage.do(write("p01.a", b"1"), Read("p01.b"), List((1,)))
    await _turns()
    await stage.supervisor.close()
    assert stage.inputs == []
    assert stage.failures == []
