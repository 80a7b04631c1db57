"""What the wiring adds of its own."""

import random
from pathlib import Path

import pytest

from meshd import config, wiring
from meshd.observe.metrics import Metrics
from meshd.observe.stream import Stream
from meshd.statedir import Mesh
from meshd.store.jetstream import JetStreamStore
from meshd.supervise import Supervisor
from meshd.transport.nats import NatsTransport
from meshd.upkeep import Premises
from meshd.wiring import Shell, attention_of, edges, fullness
from protocol.identity import Identity
from protocol.node import NodeSettings
from protocol.replica import Me


def _no_invitation() -> object:
    raise AssertionError("nobody is invited here")


async def test_a_record_that_takes_no_writes_wants_attention() -> None:
    store = JetStreamStore(["nats://x"], bucket="b", name="t", rng=random.Random(7))
    shell = Shell(_no_invitation, lambda: None, lambda: (), lambda: ("the server is old",), Premises(Path("."), {}))  # type: ignore[arg-type] # never called
    forked: list[str] = []
    attention = attention_of(shell, store, lambda: tuple(forked))
    assert attention() == ("the server is old",)
    forked.append("the audit is forked")
    assert attention()[1:] == ("the audit is forked",)
    forked.clear()
    store.problem = "is full: maximum bytes exceeded"
    assert attention() == ("the server is old", "the record is full: maximum bytes exceeded")
    store.problem, store.refusal = "", "is full: maximum bytes exceeded"
    assert attention()[1:] == ("the record is full: maximum bytes exceeded",), "until there is room, not until a beat"
    store.refusal, store.made_anew = "", "KV_b"
    assert attention()[1] == "the stream KV_b was missing, and was made anew without its records"


async def test_what_came_to_nothing_at_the_edges_is_measured() -> None:
    rng, supervisor = random.Random(7), Supervisor(lambda name, failure: None)
    transport, stream = NatsTransport([], name="t", supervisor=supervisor, rng=rng), Stream(me="a")
    transport.counts["overrun"] += 2
    stream.tell_of("b", b"nonsense")
    metrics = Metrics()
    metrics.set_gauges(edges(transport, stream))
    lines = metrics.render().decode().splitlines()
    assert 'meshd_transport_faults_total{fault="overrun"} 2.0' in lines
    assert "meshd_events_malformed_total 1.0" in lines


def test_what_the_core_can_be_told_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[NodeSettings] = []
    monkeypatch.setattr(wiring, "Node", lambda **parts: given.append(parts["settings"]))
    environ = {"MESHD_MEMBERSHIP__VERIFIERS": "2", "MESHD_GOSSIP__BEACON_S_MIN": "7", "MESHD_TASKS__LEASE_S": "4",
               "MESHD_LINK__BEAT_S": "3", "MESHD_RESULTS__KEEP_S": "600",
               "MESHD_ROUTING__POLICY": "random-two"}  # fmt: skip
    settings = config.load(environ=environ).settings
    identity = Identity(b"\x01" * 32)
    mesh = Mesh(identity.public_key, "m", "f", ())
    me = Me(id=identity.id, life=1, name="a", region="r", domain="d")
    wiring._node(me, mesh, settings, *wiring._voice(me, mesh, identity), random.Random(7))
    (told,) = given
    assert (told.membership, told.gossip, told.tasks) == (settings.membership, settings.gossip, settings.tasks)
    assert (told.link, told.keep_s, told.routing) == (settings.link, 600, "random-two")
    assert (told.gossip.beacon_s_min, told.membership.verifiers, told.tasks.lease_s) == (7, 2, 4)


def test_a_record_that_fills_up_is_told_before_it_is_full() -> None:
    store = JetStreamStore(["nats://x"], bucket="b", name="t", rng=random.Random(7))
    assert fullness(store) == ()
    store.bytes, store.bytes_max = 79 << 20, 100 << 20
    assert fullness(store) == ()
    store.bytes = 80 << 20
    (told,) = fullness(store)
    assert told.startswith("the record of the mesh is 80% full (80 of 100 MiB), and above 94% new tasks are refused: ")
    assert "results.keep_s" in told
    assert "results.bytes_max" in told
