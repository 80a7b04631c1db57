"""What the wiring adds of its own."""

import random
from pathlib import Path

from meshd.observe.metrics import Metrics
from meshd.observe.stream import Stream
from meshd.store.jetstream import JetStreamStore
from meshd.supervise import Supervisor
from meshd.transport.nats import NatsTransport
from meshd.upkeep import Premises
from meshd.wiring import Shell, attention_of, edges


def _no_invitation() -> object:
    raise AssertionError("nobody is invited here")


async def test_a_record_that_takes_no_writes_wants_attention() -> None:
    store = JetStreamStore(["nats://x"], bucket="b", name="t", rng=random.Random(7))
    shell = Shell(_no_invitation, lambda: None, lambda: (), lambda: ("the server is old",), Premises(Path("."), {}))  # type: ignore[arg-type] # never called
    attention = attention_of(shell, store)
    assert attention() == ("the server is old",)
    store.problem = "is full: maximum bytes exceeded"
    assert attention() == ("the server is old", "the record is full: maximum bytes exceeded")
    store.problem, store.made_anew = "", "KV_b"
    assert attention()[1] == "the stream KV_b was missing, and was made anew without its records"


async def test_what_came_to_nothing_at_the_edges_is_measured() -> None:
    rng, supervisor = random.Random(7), Supervisor(lambda name, failure: None)
    transport, stream = NatsTransport([], name="t", supervisor=supervisor, rng=rng), Stream(me="a")
    transport.counts["overrun"] += 2
    stream.tell_of("b", b"nonsense")
    metrics = Metrics()
    metrics.set_gauges(edges(transport, stream))
    lines = metrics.render().decode().splitlines()
    assert 'meshd_transport_faults{fault="overrun"} 2.0' in lines
    assert "meshd_events_malformed 1.0" in lines
