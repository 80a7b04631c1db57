"""The JetStream store against crashes, freezes, strangers and load: what memory cannot show."""

import asyncio
import random
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Sized
from functools import partial
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from meshd.store import jetstream, line, wire
from meshd.store.jetstream import SCAN_IDLE_S, JetStreamStore
from protocol.errors import MeshError
from protocol.inputs import BUCKET_FULL, Lost, Unsent, Written
from tests.servers import NatsServer, free_port
from tests.waiting import until, until_told

pytestmark = pytest.mark.live


def _store(server: NatsServer, bucket: str, *, bytes_max: int = 16 << 20, password: str = "") -> JetStreamStore:
    return JetStreamStore(
        [server.url],
        bucket=bucket,
        name="test",
        rng=random.Random(7),
        user=server.user,
        password=password or server.password,
        bytes_max=bytes_max,
    )


@pytest.fixture
def bucket() -> str:
    return f"b{secrets.token_hex(6)}"


@pytest.fixture
async def raw(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A client that is not ours."""
    client = await nats.connect(nats_server.url, user=nats_server.user, password=nats_server.password)
    yield client
    await client.close()


async def test_acknowledged_writes_survive_kills_under_load_and_each_is_written_once(
    own_nats_server: NatsServer,
) -> None:
    store = _store(own_nats_server, "tasks")
    await store.open()
    done: dict[str, Written | Lost | Unsent] = {}

    async def counter(key: str) -> None:
        """Ten updates in a row; every one must be the next after the last."""
        revision = 0
        for step in range(10):
            outcome = await store.write(key, b"%s step %d" % (key.encode(), step), expect=revision)
            done[f"{key}.{step}"] = outcome
            assert isinstance(outcome, Written), outcome
            assert outcome.revision > revision
            revision = outcome.revision

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(counter(f"p{number:02d}.a"))
        for reached in (30, 90):
            await until(partial(_is_over, done, reached))
            own_nats_server.kill()
            await own_nats_server.start()
    assert len(done) == 200
    entries = await store.scan("")
    assert [entry.frame for entry in entries] == [b"p%02d.a step 9" % number for number in range(20)]
    await store.close()


def _is_over(done: Sized, count: int) -> bool:
    return len(done) >= count


async def test_racers_through_a_kill_have_one_winner(own_nats_server: NatsServer) -> None:
    stores = [_store(own_nats_server, "tasks") for _ in range(3)]
    for store in stores:
        await store.open()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        races = [
            [group.create_task(store.write(f"p00.{race}", b"%d" % number, expect=0)) for race in range(20)]
            for number, store in enumerate(stores)
        ]
        await until(lambda: any(task.done() for tasks in races for task in tasks))
        own_nats_server.kill()
        await own_nats_server.start()
    for outcomes in zip(*([task.result() for task in tasks] for tasks in races), strict=True):
        won = [outcome for outcome in outcomes if isinstance(outcome, Written)]
        assert len(won) == 1, outcomes
        assert {outcome.revision for outcome in outcomes} == {won[0].revision}
    for store in stores:
        await store.close()


async def test_a_frozen_server_delays_a_write_and_answers_it_once(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "ANSWER_S_MAX", 0.2)
    store = _store(own_nats_server, "tasks")
    await store.open()
    own_nats_server.freeze()
    write = asyncio.create_task(store.write("p00.a", b"patient", expect=0))
    await until(lambda: "did not answer" in store.problem)
    assert not write.done()
    own_nats_server.thaw()
    outcome = await asyncio.wait_for(write, 30)
    assert isinstance(outcome, Written)
    assert store.problem == ""
    found = await store.read("p00.a")
    assert found is not None
    assert found.revision == outcome.revision == 1  # though it was sent several times
    await store.close()


async def test_a_lost_connection_is_known_at_once_not_after_a_time_out(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "ANSWER_S_MAX", 3_600.0)
    store = _store(own_nats_server, "tasks")
    await store.open()
    own_nats_server.freeze()
    write = asyncio.create_task(store.write("p00.a", b"patient", expect=0))
    await asyncio.sleep(0)
    own_nats_server.kill()
    await until(lambda: store.problem, what="word of the lost connection")
    await own_nats_server.start()
    assert isinstance(await asyncio.wait_for(write, 30), Written)
    await store.close()


async def test_what_expires_while_the_server_is_down_is_gone_when_it_is_back(own_nats_server: NatsServer) -> None:
    store = _store(own_nats_server, "tasks")
    await store.open()
    assert isinstance(await store.write("p00.a", b"brief", expect=0, keep_s=1), Written)
    assert isinstance(await store.write("p00.b", b"kept", expect=0), Written)
    own_nats_server.kill()
    await own_nats_server.start()

    async def is_gone() -> bool:
        return await store.read("p00.a") is None

    await until_told(is_gone)
    assert [entry.key for entry in await store.scan("p00")] == ["p00.b"]
    await store.close()


async def test_a_read_through_a_short_crash_is_answered(own_nats_server: NatsServer) -> None:
    store = _store(own_nats_server, "tasks")
    await store.open()
    assert isinstance(await store.write("p00.a", b"x", expect=0), Written)
    own_nats_server.kill()
    async with asyncio.TaskGroup() as group:
        read = group.create_task(store.read("p00.a"))
        listing = group.create_task(store.scan("p00"))
        await own_nats_server.start()
    found = read.result()
    assert found is not None
    assert listing.result() == [found]
    await store.close()


async def test_a_listing_while_keys_change_misses_none(nats_server: NatsServer, bucket: str) -> None:
    store, writer = _store(nats_server, bucket), _store(nats_server, bucket)
    await store.open()
    await writer.open()
    keys = [f"p00.k{number:04d}" for number in range(1_200)]  # more than one page
    created = await asyncio.gather(*(writer.write(key, b"0", expect=0) for key in keys))
    revisions = {outcome.key: outcome.revision for outcome in created if not isinstance(outcome, Unsent)}
    over = asyncio.Event()

    async def churn(part: list[str]) -> None:
        while not over.is_set():
            for key in part:
                outcome = await writer.write(key, secrets.token_bytes(8), expect=revisions[key])
                assert not isinstance(outcome, Unsent)
                revisions[key] = outcome.revision
                if over.is_set():
                    return

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for start in range(0, 1_200, 300):
            group.create_task(churn(keys[start : start + 300]))
        try:
            for _ in range(5):
                assert [entry.key for entry in await store.scan("p00")] == keys
        finally:
            over.set()
    assert {entry.key: entry.revision for entry in await store.scan("p00")} == revisions
    await store.close()
    await writer.close()


@pytest.mark.parametrize("count", [99, 100, 101, 200])
async def test_a_listing_of_whole_pages_and_one_more_or_less_is_complete(
    nats_server: NatsServer, bucket: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "PAGE_KEYS_MAX", 100)
    store = _store(nats_server, bucket)
    await store.open()
    keys = [f"p00.k{number:04d}" for number in range(count)]
    await asyncio.gather(*(store.write(key, b"x", expect=0) for key in keys))
    assert [entry.key for entry in await store.scan("p00")] == keys
    await store.close()


async def test_a_listing_of_large_values_is_complete(
    nats_server: NatsServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "PAGE_BYTES_MAX", 2 << 20)
    store = _store(nats_server, bucket)
    await store.open()
    values = {f"p00.k{number}": secrets.token_bytes(600_000) for number in range(8)}
    await asyncio.gather(*(store.write(key, value, expect=0) for key, value in values.items()))
    assert {entry.key: entry.frame for entry in await store.scan("p00")} == values
    await store.close()


async def test_a_listing_leaves_no_consumer_behind(nats_server: NatsServer, bucket: str, raw: Client) -> None:
    store = _store(nats_server, bucket)
    await store.open()
    await store.write("p00.a", b"x", expect=0)
    for _ in range(5):
        await store.scan("p00")
    await store.scan("p01")

    async def is_clean() -> bool:
        return not (await raw.jetstream().stream_info(f"KV_{bucket}")).state.consumer_count

    await until_told(is_clean, SCAN_IDLE_S / 2, "the end of all consumers")  # the server would remove them later, too
    await store.close()


async def test_a_key_that_another_client_deleted_is_not_there_and_can_be_created(
    nats_server: NatsServer, bucket: str, raw: Client
) -> None:
    store = _store(nats_server, bucket)
    await store.open()
    first = await store.write("p00.a", b"x", expect=0)
    assert isinstance(first, Written)
    await (await raw.jetstream().key_value(bucket)).delete("p00.a")
    assert await store.read("p00.a") is None
    assert await store.scan("p00") == []
    assert await store.write("p00.a", b"y", expect=first.revision) == Lost(key="p00.a", revision=0, frame=b"")
    again = await store.write("p00.a", b"z", expect=0)
    assert isinstance(again, Written)
    assert again.revision > first.revision
    await store.close()


async def test_a_message_that_looks_like_a_word_of_the_server_does_not_end_a_listing(
    nats_server: NatsServer, bucket: str, raw: Client
) -> None:
    store = _store(nats_server, bucket)
    await store.open()
    await raw.jetstream().publish(f"$KV.{bucket}.p00.a", b"", headers={"Status": "404"})
    await store.write("p00.b", b"x", expect=0)
    assert [entry.key for entry in await store.scan("p00")] == ["p00.a", "p00.b"]
    await store.close()


async def test_nobody_wipes_the_bucket_with_a_header(nats_server: NatsServer, bucket: str, raw: Client) -> None:
    store = _store(nats_server, bucket)
    await store.open()
    await store.write("p00.a", b"x", expect=0)
    with pytest.raises(nats.js.errors.APIError):
        await raw.jetstream().publish(f"$KV.{bucket}.p00.b", b"", headers={"Nats-Rollup": "all"})
    with pytest.raises(nats.js.errors.APIError):
        await raw.jetstream().purge_stream(f"KV_{bucket}")
    assert await store.read("p00.a") is not None
    await store.close()


async def test_a_full_bucket_refuses_creates_makes_changes_wait_and_says_so(
    nats_server: NatsServer, bucket: str
) -> None:
    store = _store(nats_server, bucket, bytes_max=65_536)
    await store.open()
    small = await store.write("p00.a", b"y", expect=0)
    filling = await store.write("p00.big", b"x" * 60_000, expect=0, keep_s=1)
    assert isinstance(small, Written)
    assert isinstance(filling, Written)
    store.bytes_max = 0  # as long as nobody told how full it is, the server refuses
    assert await store.write("p00.b", b"y" * 10_000, expect=0) == Unsent("p00.b", BUCKET_FULL)
    assert "maximum bytes exceeded" in store.problem
    again = await store.write("p00.a", b"y", expect=small.revision)
    assert isinstance(again, Written)
    assert (store.problem, "is full" in store.refusal) == ("", True), "a small change says nothing of a new task"
    waiting = asyncio.create_task(store.write("p00.a", b"y" * 10_000, expect=again.revision))
    await until(lambda: "refuses writes for now: maximum bytes exceeded" in store.problem)
    assert isinstance(await asyncio.wait_for(waiting, 20), Written)  # room came when the big one removed itself
    await store.copies()  # which a daemon asks every few seconds
    assert (store.problem, store.refusal) == ("", "")
    await store.close()


async def test_opening_twice_and_from_two_nodes_is_opening(nats_server: NatsServer, bucket: str) -> None:
    first, second = _store(nats_server, bucket), _store(nats_server, bucket)
    await asyncio.gather(first.open(), second.open())
    await first.open()
    await first.close()
    await second.close()


async def test_a_bucket_with_another_size_is_taken_as_it_is(nats_server: NatsServer, bucket: str) -> None:
    first, second = _store(nats_server, bucket), _store(nats_server, bucket, bytes_max=1 << 20)
    await first.open()
    await second.open()
    await first.close()
    await second.close()


async def test_a_stream_that_cannot_hold_us_is_refused_with_what_differs(
    nats_server: NatsServer, bucket: str, raw: Client
) -> None:
    await raw.jetstream().add_stream(name=f"KV_{bucket}", subjects=[f"$KV.{bucket}.>"], discard="new")
    store = _store(nats_server, bucket)
    with pytest.raises(MeshError, match="allow_msg_ttl is False, not True") as caught:
        await store.open()
    assert caught.value.code == "stream_differs"
    await store.close()


@pytest.mark.parametrize("trouble", ["credential", "nobody", "address"])
async def test_a_server_that_cannot_be_reached_is_one_clear_error(
    nats_server: NatsServer, bucket: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "OPEN_S_MAX", 0.3)
    store = _store(nats_server, bucket, password="wrong" if trouble == "credential" else "")
    if trouble != "credential":
        url = f"nats://127.0.0.1:{free_port()}" if trouble == "nobody" else "http://x"
        store = JetStreamStore([url], bucket=bucket, name="t", rng=random.Random(7))
    said = {"credential": "authorization", "nobody": "127.0.0.1", "address": "address that is none"}[trouble]
    with pytest.raises(MeshError, match="(?i)" + said) as caught:
        await store.open()
    assert caught.value.code == "store"
    await store.close()


@pytest.mark.parametrize("words", [b"INFO 5\r\n", b"INFO []\r\n", b"INFO\r\n", b"x" * 200_000 + b"\r\n"])
async def test_a_program_that_is_no_server_is_tried_again(words: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream, "OPEN_S_MAX", 0.3)

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        store = JetStreamStore([url], bucket="b", name="t", rng=random.Random(7))
        with pytest.raises(MeshError, match="cannot reach 127"):
            await store.open()
        await store.close()


def test_a_fault_without_words_gets_some() -> None:
    assert line._said(TimeoutError()) == "it does not answer"


async def test_a_server_whose_refusal_is_overtaken_by_its_hanging_up_is_told_as_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jetstream, "OPEN_S_MAX", 0.3)

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.14.0","max_payload":1048576,"auth_required":true}\r\n')
        await reader.readline()
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    async with server:
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        store = JetStreamStore([url], bucket="b", name="t", rng=random.Random(7))
        with pytest.raises(MeshError, match="hung up, as on a failed authorization"):
            await store.open()
        await store.close()


def test_settings_that_differ_are_named_one_at_a_time() -> None:
    wanted = wire.stream_config("b", replicas=1, bytes_max=1, value_bytes_max=1)
    assert wire.differing(wanted, dict(wanted)) == ""
    assert wire.differing(wanted, wanted | {"storage": "memory"}) == "storage is 'memory', not 'file'"
    assert wire.differing(wanted, wanted | {"max_bytes": 9, "num_replicas": 3}) == ""


async def test_a_stream_that_is_removed_is_named_while_it_is_missing_and_made_anew(
    nats_server: NatsServer, bucket: str, raw: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "PAUSE_S_MAX", 0.4)
    store = _store(nats_server, bucket)
    await store.open()
    assert store.made_anew == f"KV_{bucket}", "whoever founds the mesh knows that it was never there"
    store.made_anew = ""
    await store.open()
    assert store.made_anew == "", "it is there"
    written = await store.write("p00.a", b"one", expect=0)
    assert isinstance(written, Written)
    await raw.request(f"$JS.API.STREAM.DELETE.KV_{bucket}", b"")
    change = asyncio.create_task(store.write("p00.a", b"two", expect=written.revision))
    await until(lambda: f"misses the stream KV_{bucket}" in store.problem)
    assert await change == Lost("p00.a", 0, b"")
    assert (store.made_anew, store.problem) == (f"KV_{bucket}", "")
    assert isinstance(await store.write("p00.a", b"two", expect=0), Written)
    await store.close()


async def test_new_tasks_leave_room_for_the_ends_of_those_that_are_there(nats_server: NatsServer, bucket: str) -> None:
    store = _store(nats_server, bucket, bytes_max=65_536)
    await store.open()
    first = await store.write("p00.a", b"y", expect=0)
    assert isinstance(first, Written)
    assert isinstance(await store.write("p00.big", b"x" * 58_000, expect=0), Written)
    assert await store.write("p00.b", b"y" * 5_000, expect=0) == Unsent("p00.b", BUCKET_FULL)
    assert store.problem == "", "nobody was asked"
    assert isinstance(await asyncio.wait_for(store.write("p00.a", b"y" * 5_000, expect=first.revision), 5), Written)
    await store.close()
    other = _store(nats_server, bucket, bytes_max=0)
    await other.open()
    assert await other.write("p00.b", b"y" * 5_000, expect=0) == Unsent("p00.b", BUCKET_FULL), (
        "it is told when it opens"
    )
    assert len(await other.scan("")) == 2
    await other.close()


async def test_a_beat_that_finds_no_room_is_answered_and_does_not_wait(nats_server: NatsServer, bucket: str) -> None:
    store = _store(nats_server, bucket, bytes_max=65_536)
    await store.open()
    beat = await store.write("node.a", b"1", expect=0, keep_s=60)
    assert isinstance(beat, Written)
    assert isinstance(await store.write("p00.big", b"x" * 60_000, expect=0), Written)
    full = store.write("node.a", b"2" * 10_000, expect=beat.revision, keep_s=60)
    assert await asyncio.wait_for(full, 5) == Unsent("node.a", BUCKET_FULL)
    await store.close()


async def test_a_bucket_is_given_the_size_that_is_asked_for_and_keeps_it_for_who_asks_for_none(
    nats_server: NatsServer, bucket: str
) -> None:
    for asked, has in ((1 << 20, 1 << 20), (2 << 20, 2 << 20), (0, 2 << 20)):
        store = _store(nats_server, bucket, bytes_max=asked)
        await store.open()
        assert store.bytes_max == has
        assert (await store.inspect()).streams[0].bytes_max == has
        await store.close()


async def test_a_server_without_jetstream_is_told_from_one_without_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "OPEN_S_MAX", 0.5)
    server = NatsServer(tmp_path)
    text = server.config.text()
    server.config.path.write_text(text[: text.index("jetstream {")] + text[text.index("authorization") :])
    server.spawn()
    try:
        store = _store(server, "b")
        with pytest.raises(MeshError, match="finds no JetStream on its server: it is off there"):
            await until_opened(store)
        await store.close()
    finally:
        server.stop()


async def until_opened(store: JetStreamStore) -> None:
    """Open it; a server that is not up yet is waited for."""
    while True:
        try:
            return await store.open()
        except MeshError as failure:
            if "cannot reach" not in failure.message:
                raise
