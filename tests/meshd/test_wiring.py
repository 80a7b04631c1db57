"""What the wiring adds of its own."""

import random

from meshd.store.jetstream import JetStreamStore
from meshd.wiring import Shell, attention_of


def _no_invitation() -> object:
    raise AssertionError("nobody is invited here")


async def test_a_record_that_takes_no_writes_wants_attention() -> None:
    store = JetStreamStore(["nats://x"], bucket="b", name="t", rng=random.Random(7))
    shell = Shell(_no_invitation, lambda: None, lambda: (), lambda: ("the server is old",))  # type: ignore[arg-type] # never called
    attention = attention_of(shell, store)
    assert attention() == ("the server is old",)
    store.problem = "is full: maximum bytes exceeded"
    assert attention() == ("the server is old", "the record is full: maximum bytes exceeded")
