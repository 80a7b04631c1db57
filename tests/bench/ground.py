"""What meshd stands on, in one run: a server's start, a frame's way, a write, a listing.

Prints figures and their ratio to plain nats-py in the same run; asserts nothing about time.
Run: `python tests/bench/ground.py`.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # a bench is a program, started by its path

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from meshd.broker.server import EmbeddedServer
from meshd.store.jetstream import JetStreamStore
from meshd.supervise import Supervisor
from meshd.transport.nats import NatsTransport
from protocol.inputs import Input, Written
from tests.servers import free_port

PASSWORD = "bench-credential"
ROUNDS = 300
KEYS = 10_000
VALUE = bytes(1_000)


async def p50_ms(act: Callable[[int], Awaitable[object]], rounds: int = ROUNDS) -> float:
    """Median duration of `act(number)` in milliseconds."""
    took: list[float] = []
    for number in range(rounds):
        started = time.perf_counter()
        await act(number)
        took.append((time.perf_counter() - started) * 1e3)
    return statistics.median(took)


async def starts() -> None:
    """Spawn to ready, empty."""
    took: list[float] = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as directory:
            server = _server(Path(directory))
            started = time.perf_counter()
            await server.start()
            took.append((time.perf_counter() - started) * 1e3)
            await server.stop()
    print(f"server: found, checked, spawned, JetStream answers    {statistics.median(took):8.1f} ms")


async def frames(server: EmbeddedServer, raw: Client, supervisor: Supervisor) -> None:
    """There and back between two transports, against a raw request."""
    arrived = asyncio.Event()
    links = [_transport(server, supervisor) for _ in range(2)]

    def answer(_: Input) -> None:
        links[1].publish("bench.back", VALUE[:256])

    def done(_: Input) -> None:
        arrived.set()

    await links[0].open(done)
    await links[1].open(answer)
    await links[0].subscribe("bench.back")
    await links[1].subscribe("bench.there")

    async def there_and_back(_: int) -> None:
        arrived.clear()
        links[0].publish("bench.there", VALUE[:256])
        await arrived.wait()

    async def echo(message: Msg) -> None:
        await message.respond(message.data)

    await raw.subscribe("bench.echo", cb=echo)
    plain = await p50_ms(lambda _: raw.request("bench.echo", VALUE[:256], timeout=5))
    ours = await p50_ms(there_and_back)
    print(f"raw request, 256 B                                    {plain:8.2f} ms")
    print(f"frame there and back over two transports              {ours:8.2f} ms   x {ours / plain:.2f}")
    for link in links:
        await link.close()


async def writes(server: EmbeddedServer, raw: Client) -> None:
    """Creates one after another, many at once, and listings, against plain nats-py."""
    bucket = await raw.jetstream().create_key_value(bucket="plain")
    plain = await p50_ms(lambda number: bucket.create(f"p00.k{number}", VALUE))
    store = JetStreamStore(
        [server.url], bucket="bench", name="bench", rng=random.Random(7), user="meshd", password=PASSWORD
    )
    await store.open()
    ours = await p50_ms(lambda number: store.write(f"x.k{number}", VALUE, expect=0))
    reads = await p50_ms(lambda number: store.read(f"x.k{number}"))
    print(f"kv.create of nats-py, 1 kB, synced                    {plain:8.2f} ms")
    print(f"create                                                {ours:8.2f} ms   x {ours / plain:.2f}")
    print(f"read                                                  {reads:8.2f} ms")
    started = time.perf_counter()
    outcomes = await asyncio.gather(
        *(store.write(f"p{number % 64:02d}.k{number:06d}", VALUE, expect=0) for number in range(KEYS))
    )
    took = time.perf_counter() - started
    assert all(isinstance(outcome, Written) for outcome in outcomes)
    print(f"{KEYS} creates at once                                {KEYS / took:8.0f} /s")
    partition, everything = await p50_ms(_lists(store, "p07"), 20), await p50_ms(_lists(store, ""), 5)
    print(f"listing of one partition, {KEYS // 64} of {KEYS} keys          {partition:8.1f} ms")
    print(f"listing of everything                                 {everything:8.1f} ms")
    await store.close()


def _lists(store: JetStreamStore, prefix: str) -> Callable[[int], Awaitable[object]]:
    return lambda _: store.scan(prefix)


def _transport(server: EmbeddedServer, supervisor: Supervisor) -> NatsTransport:
    return NatsTransport(
        [server.url], name="bench", supervisor=supervisor, rng=random.Random(7), user="meshd", password=PASSWORD
    )


def _server(directory: Path, supervisor: Supervisor | None = None) -> EmbeddedServer:
    return EmbeddedServer(
        directory,
        name="bench",
        password=PASSWORD,
        listen=f"127.0.0.1:{free_port()}",
        supervisor=supervisor or Supervisor(lambda name, failure: print(name, failure)),
        on_given_up=print,
    )


async def main() -> None:
    """One server for all but the starts."""
    await starts()
    supervisor = Supervisor(lambda name, failure: print(name, failure))
    with tempfile.TemporaryDirectory() as directory:
        server = _server(Path(directory), supervisor)
        await server.start()
        raw = await nats.connect(server.url, user="meshd", password=PASSWORD)
        try:
            await frames(server, raw, supervisor)
            await writes(server, raw)
        finally:
            await raw.close()
            await server.stop()
            await supervisor.close()


if __name__ == "__main__":
    asyncio.run(main())
