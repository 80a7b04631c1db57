"""A look at the server and the stream: what it tells of a bucket that is well, and of one that is not there."""

import random
import secrets

import nats
import pytest

from meshd.ports import Store
from meshd.store.jetstream import JetStreamStore
from meshd.store.memory import MemoryBucket, MemoryStore
from protocol.errors import MeshError
from tests.servers import NatsServer

pytestmark = pytest.mark.live


def _store(server: NatsServer, bucket: str) -> JetStreamStore:
    rng = random.Random(7)
    return JetStreamStore(
        [server.url], bucket=bucket, name="t", rng=rng, user=server.user, password=server.password, bytes_max=1 << 20
    )


async def test_a_bucket_that_is_well_tells_its_copies_its_keys_and_its_room(nats_server: NatsServer) -> None:
    store = _store(nats_server, f"b{secrets.token_hex(6)}")
    await store.open()
    await store.write("p00.a", b"x" * 100, expect=0)
    found = await store.inspect()
    (stream,) = found.streams
    assert (stream.problem, stream.copies, stream.copies_wanted, stream.keys) == ("", 1, 1, 1)
    assert 100 < stream.bytes < stream.bytes_max == 1 << 20
    assert int(found.server_version.split(".")[0]) >= 2
    await store.close()


async def test_a_bucket_that_was_removed_or_made_otherwise_is_told_to_be(nats_server: NatsServer) -> None:
    bucket = f"b{secrets.token_hex(6)}"
    store = _store(nats_server, bucket)
    await store.open()
    raw = await nats.connect(nats_server.url, user=nats_server.user, password=nats_server.password)
    await raw.jetstream().delete_stream(f"KV_{bucket}")
    assert (await store.inspect()).streams[0].problem == "stream not found"
    await raw.jetstream().add_stream(name=f"KV_{bucket}", subjects=[f"$KV.{bucket}.>"], discard="old")
    assert (await store.inspect()).streams[0].problem == "discard is 'old', not 'new'"
    await raw.close()
    await store.close()


async def test_a_server_that_is_away_is_an_error_and_not_an_empty_bucket() -> None:
    away = MemoryStore(MemoryBucket())
    away.stall()
    with pytest.raises(MeshError, match="gave no answer"):
        await away.inspect()


async def test_memory_tells_of_itself_what_every_store_does() -> None:
    store: Store = MemoryStore(name="m")
    await store.write("p00.a", b"x", expect=0)
    (stream,) = (await store.inspect()).streams
    assert (stream.name, stream.problem, stream.keys, stream.copies) == ("m", "", 1, 1)
