"""What every store does, over memory and JetStream alike."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest

from meshd.ports import Store
from meshd.store import jetstream
from meshd.store.jetstream import JetStreamStore
from meshd.store.memory import MemoryBucket, MemoryStore
from protocol.errors import MeshError
from protocol.inputs import Entry, Lost, Unsent, Written
from protocol.limits import FRAME_BYTES_MAX
from tests.proxy import Proxy
from tests.servers import NatsServer
from tests.waiting import until_told

BUCKET_BYTES = 8 << 20


class Site(Protocol):
    """One bucket: a store that faults befall, and another that they do not."""

    store: Store
    other: Store

    def outage(self) -> contextlib.AbstractContextManager[None]:
        """Within, `store` reaches nothing."""
        ...

    def acknowledgements_lost(self) -> contextlib.AbstractContextManager[None]:
        """Within, writes of `store` take effect and it is not told."""
        ...


class MemorySite:
    def __init__(self) -> None:
        bucket = MemoryBucket(bytes_max=BUCKET_BYTES)
        self._faulty = MemoryStore(bucket)
        self.store: Store = self._faulty
        self.other: Store = MemoryStore(bucket)

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        self._faulty.stall()
        yield
        self._faulty.resume()

    @contextlib.contextmanager
    def acknowledgements_lost(self) -> Iterator[None]:
        self._faulty.lose_acknowledgements(1)
        yield


class JetStreamSite:
    def __init__(self, server: NatsServer, proxy: Proxy) -> None:
        bucket = f"b{secrets.token_hex(6)}"
        self._proxy = proxy
        self.store: Store = self._store(proxy.url, server, bucket)
        self.other: Store = self._store(server.url, server, bucket)

    def _store(self, url: str, server: NatsServer, bucket: str) -> Store:
        return JetStreamStore(
            [url],
            bucket=bucket,
            name="contract",
            rng=random.Random(7),
            user=server.user,
            password=server.password,
            bytes_max=BUCKET_BYTES,
        )

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        self._proxy.refuse()
        yield
        self._proxy.mend()

    @contextlib.contextmanager
    def acknowledgements_lost(self) -> Iterator[None]:
        self._proxy.swallow_answers()
        yield
        self._proxy.cut()
        self._proxy.mend()


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.live)])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with contextlib.AsyncExitStack() as stack:
        made: Site
        if request.param == "memory":
            made = MemorySite()
        else:
            server: NatsServer = request.getfixturevalue("nats_server")
            made = JetStreamSite(server, await stack.enter_async_context(Proxy(server.port)))
        for store in (made.store, made.other):
            await store.open()
            stack.push_async_callback(store.close)
        yield made


async def _create(store: Store, key: str, value: bytes) -> int:
    outcome = await store.write(key, value, expect=0)
    assert isinstance(outcome, Written)
    return outcome.revision


async def test_a_key_that_nobody_wrote_reads_as_none(site: Site) -> None:
    assert await site.store.read("p00.none") is None


async def test_a_created_key_is_read_back_with_its_revision(site: Site) -> None:
    revision = await _create(site.store, "p00.a", b"one")
    assert revision > 0
    assert await site.other.read("p00.a") == Entry(key="p00.a", revision=revision, frame=b"one")


async def test_an_update_at_the_right_revision_is_written_with_a_higher_one(site: Site) -> None:
    first = await _create(site.store, "p00.a", b"one")
    outcome = await site.other.write("p00.a", b"two", expect=first)
    assert isinstance(outcome, Written)
    assert outcome.revision > first
    assert await site.store.read("p00.a") == Entry(key="p00.a", revision=outcome.revision, frame=b"two")


async def test_the_same_value_at_the_right_revision_is_a_write_of_its_own(site: Site) -> None:
    first = await _create(site.store, "p00.a", b"same")
    outcome = await site.store.write("p00.a", b"same", expect=first)
    assert isinstance(outcome, Written)
    assert outcome.revision > first


async def test_a_write_at_an_old_revision_is_lost_and_told_what_stands(site: Site) -> None:
    first = await _create(site.store, "p00.a", b"one")
    second = await site.other.write("p00.a", b"two", expect=first)
    assert isinstance(second, Written)
    outcome = await site.store.write("p00.a", b"late", expect=first)
    assert outcome == Lost(key="p00.a", revision=second.revision, frame=b"two")
    assert await site.store.read("p00.a") == Entry(key="p00.a", revision=second.revision, frame=b"two")


async def test_a_second_create_is_lost(site: Site) -> None:
    revision = await _create(site.store, "p00.a", b"one")
    assert await site.other.write("p00.a", b"two", expect=0) == Lost(key="p00.a", revision=revision, frame=b"one")


async def test_an_update_of_a_key_that_is_not_there_is_lost_to_nothing(site: Site) -> None:
    assert await site.store.write("p00.a", b"one", expect=41) == Lost(key="p00.a", revision=0, frame=b"")


async def test_ten_racers_for_one_key_have_one_winner_and_nine_who_know_it(site: Site) -> None:
    stores = [site.store, site.other] * 5
    outcomes = await asyncio.gather(
        *(store.write("p00.race", b"racer %d" % number, expect=0) for number, store in enumerate(stores))
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, Written)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, Lost)]
    assert len(won) == 1
    winner = b"racer %d" % outcomes.index(won[0])
    assert lost == [Lost(key="p00.race", revision=won[0].revision, frame=winner)] * 9


async def test_a_write_whose_acknowledgement_was_lost_is_written_once(site: Site) -> None:
    async with asyncio.TaskGroup() as group:
        with site.acknowledgements_lost():
            write = group.create_task(site.store.write("p00.a", b"mine", expect=0))
            standing = await _stands(site.other, "p00.a")
    assert write.result() == Written(key="p00.a", revision=standing.revision)
    assert await site.other.read("p00.a") == standing


async def test_an_update_whose_acknowledgement_was_lost_is_written_once(site: Site) -> None:
    first = await _create(site.store, "p00.a", b"one")
    async with asyncio.TaskGroup() as group:
        with site.acknowledgements_lost():
            write = group.create_task(site.store.write("p00.a", b"mine", expect=first))
            standing = await _stands(site.other, "p00.a", after=first)
    assert write.result() == Written(key="p00.a", revision=standing.revision)


async def test_a_create_whose_acknowledgement_was_lost_does_not_bring_a_removed_key_back(site: Site) -> None:
    async with asyncio.TaskGroup() as group:
        with site.acknowledgements_lost():
            write = group.create_task(site.store.write("p00.a", b"brief", expect=0, keep_s=1))
            standing = await _stands(site.other, "p00.a")
            await _is_gone(site.other, "p00.a")
    assert write.result() == Written(key="p00.a", revision=standing.revision)
    assert await site.other.read("p00.a") is None


async def test_a_write_through_an_outage_waits_and_is_written(site: Site) -> None:
    async with asyncio.TaskGroup() as group:
        with site.outage():
            write = group.create_task(site.store.write("p00.a", b"patient", expect=0))
            await _create(site.other, "p00.b", b"meanwhile")
            assert not write.done()
            assert await site.other.read("p00.a") is None
    assert isinstance(write.result(), Written)


async def test_a_write_through_an_outage_loses_to_who_wrote_meanwhile(site: Site) -> None:
    async with asyncio.TaskGroup() as group:
        with site.outage():
            write = group.create_task(site.store.write("p00.a", b"late", expect=0))
            revision = await _create(site.other, "p00.a", b"first")
    assert write.result() == Lost(key="p00.a", revision=revision, frame=b"first")


async def test_reads_through_an_outage_fail_with_one_clear_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshd.store.memory.READ_S_MAX", 0.2)
    monkeypatch.setattr(jetstream, "READ_S_MAX", 0.2)
    with site.outage():
        for ask in (site.store.read("p00.a"), site.store.scan("p00"), site.store.copies()):
            with pytest.raises(MeshError, match="the store gave no answer within") as caught:
                await ask
            assert caught.value.code == "store"


async def test_a_cancelled_write_ends_at_once(site: Site) -> None:
    with site.outage():
        write = asyncio.create_task(site.store.write("p00.a", b"x", expect=0))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write


async def test_closing_cancels_the_writes_under_way(site: Site) -> None:
    with site.outage():
        write = asyncio.create_task(site.store.write("p00.a", b"x", expect=0))
        await asyncio.sleep(0)
        await site.store.close()
        with pytest.raises(asyncio.CancelledError):
            await write
        await site.store.close()


async def test_a_write_that_begins_after_the_close_is_cancelled_as_well(site: Site) -> None:
    await site.store.close()
    write = asyncio.create_task(site.store.write("p00.a", b"x", expect=0))  # what is cancelled is the caller's task
    with pytest.raises(asyncio.CancelledError):
        await write


async def test_a_key_with_a_time_to_live_removes_itself_and_can_be_created_again(site: Site) -> None:
    first = await _create(site.store, "p00.a", b"one")
    assert isinstance(await site.store.write("p00.a", b"done", expect=first, keep_s=0.3), Written)
    await _is_gone(site.other, "p00.a")
    assert await site.store.scan("p00") == []
    assert await site.store.write("p00.a", b"x", expect=first) == Lost(key="p00.a", revision=0, frame=b"")
    assert await _create(site.other, "p00.a", b"one") > first


async def test_a_later_write_without_a_time_to_live_stays(site: Site) -> None:
    outcome = await site.store.write("p00.a", b"brief", expect=0, keep_s=1)
    assert isinstance(outcome, Written)
    kept = await site.store.write("p00.a", b"kept", expect=outcome.revision)
    assert isinstance(await site.store.write("p00.b", b"brief", expect=0, keep_s=1), Written)
    await _is_gone(site.other, "p00.b")
    assert isinstance(kept, Written)
    assert await site.other.read("p00.a") == Entry(key="p00.a", revision=kept.revision, frame=b"kept")


async def test_a_scan_lists_its_prefix_alone_sorted_and_with_the_last_values(site: Site) -> None:
    revisions = {key: await _create(site.store, key, b"old") for key in ("p07.c", "p07.a", "p70.x", "p0.y", "p07.b")}
    outcome = await site.store.write("p07.a", b"new", expect=revisions["p07.a"])
    assert isinstance(outcome, Written)
    assert await site.other.scan("p07") == [
        Entry(key="p07.a", revision=outcome.revision, frame=b"new"),
        Entry(key="p07.b", revision=revisions["p07.b"], frame=b"old"),
        Entry(key="p07.c", revision=revisions["p07.c"], frame=b"old"),
    ]
    assert await site.other.scan("p01") == []
    assert [entry.key for entry in await site.other.scan("")] == ["p0.y", "p07.a", "p07.b", "p07.c", "p70.x"]


async def test_a_scan_of_a_key_lists_what_stands_under_it_and_not_the_key(site: Site) -> None:
    for key in ("p07.a", "p07.a.part", "p07.a.part.of", "p07.ab"):
        await _create(site.store, key, b"x")
    assert [entry.key for entry in await site.other.scan("p07.a")] == ["p07.a.part", "p07.a.part.of"]


async def test_changes_are_all_at_first_and_then_what_was_written_since_the_mark(site: Site) -> None:
    revisions = {key: await _create(site.store, key, b"old") for key in ("p07.c", "node.a", "p07.a.late")}
    first = await site.other.changes("")
    assert first.is_whole
    assert {entry.key: entry.revision for entry in first.entries} == revisions
    nothing = await site.other.changes(first.mark)
    assert (nothing.entries, nothing.is_whole) == ((), False)
    await site.store.write("p07.c", b"new", expect=revisions["p07.c"])
    await site.store.write("p07.c", b"newer", expect=(await _standing(site, "p07.c")))
    await _create(site.store, "p08.d", b"more")
    since = await site.other.changes(nothing.mark)
    assert not since.is_whole
    assert sorted((entry.key, entry.frame) for entry in since.entries) == [("p07.c", b"newer"), ("p08.d", b"more")]
    assert (await site.other.changes("another/7")).is_whole


async def _standing(site: Site, key: str) -> int:
    found = await site.other.read(key)
    assert found is not None
    return found.revision


async def test_the_largest_value_is_kept_and_a_larger_one_refused(site: Site) -> None:
    value = secrets.token_bytes(FRAME_BYTES_MAX)
    await _create(site.store, "p00.big", value)
    found = await site.other.read("p00.big")
    assert found is not None
    assert found.frame == value
    with pytest.raises(MeshError) as caught:
        await site.store.write("p00.bigger", value + b"x", expect=0)
    assert caught.value.code == "too_large"


async def test_a_create_that_finds_no_room_is_told_and_leaves_nothing(site: Site) -> None:
    value = secrets.token_bytes(FRAME_BYTES_MAX)
    outcomes = [await site.store.write(f"p00.f{number}", value, expect=0) for number in range(10)]
    assert isinstance(outcomes[0], Written)
    assert outcomes[-1] == Unsent("p00.f9", "the bucket of the record")
    assert await site.other.read("p00.f9") is None
    again = await site.other.write("p00.f0", b"another", expect=0)
    assert again == Lost(key="p00.f0", revision=outcomes[0].revision, frame=value)


HOSTILE_KEYS = ["", ".", "a.", ".a", "a..b", "*", ">", "p00.*", "p00.>", "p00 a", "p00.a\r\nPUB x 0", "P00.a", "é",
                "p00." + "x" * 33, "a.b.c.d.e", "$JS.API.INFO", "\x00", "p00.a\n"]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_a_hostile_key_is_refused_before_it_goes_anywhere(site: Site, key: str) -> None:
    asks = [site.store.write(key, b"x", expect=0), site.store.read(key)]
    for ask in (*asks, site.store.scan(key)) if key else asks:
        with pytest.raises(MeshError) as caught:
            await ask
        assert caught.value.code == "bad_input"


async def test_values_of_any_bytes_come_back_as_they_were(site: Site) -> None:
    for number, value in enumerate((b"", b"\r\n", bytes(range(256)), b"+OK\r\nPING\r\n")):
        await _create(site.store, f"p00.v{number}", value)
    assert [entry.frame for entry in await site.other.scan("p00")] == [
        b"",
        b"\r\n",
        bytes(range(256)),
        b"+OK\r\nPING\r\n",
    ]


async def test_there_is_one_copy_and_it_is_told_where(site: Site) -> None:
    count, where = await site.store.copies()
    assert count == 1
    assert where in ("memory", "test")


async def _stands(store: Store, key: str, after: int = 0) -> Entry:
    async def ask() -> Entry | None:
        found = await store.read(key)
        return found if found is not None and found.revision > after else None

    found = await until_told(ask, what=f"a value of {key}")
    assert found is not None
    return found


async def _is_gone(store: Store, key: str) -> None:
    async def ask() -> bool:
        return await store.read(key) is None

    await until_told(ask, what=f"the removal of {key}")
