"""The JetStream store's judgement of answers that a single healthy server never gives.

Invariant: the connection is a script; what it says is what servers of a cluster say between leaders.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from meshd.store import jetstream
from meshd.store.jetstream import JetStreamStore
from meshd.store.wire import Answer, Cluster, Fault, Replica, Stored
from protocol.errors import MeshError
from protocol.inputs import Entry, Lost, Written

WRONG = Answer(error=Fault(code=400, err_code=10071, description="wrong last sequence"))
IN_FLIGHT = Answer(error=Fault(code=400, err_code=10164, description="wrong last sequence"))
NOTHING = Answer(error=Fault(code=404, err_code=10037, description="no message found"))
NO_LEADER = Answer(error=Fault(code=503, err_code=10008, description="JetStream system temporarily unavailable"))

FULL = Answer(error=Fault(code=503, err_code=10077, description="maximum bytes exceeded"))


def standing(seq: int, value: bytes, headers: bytes = b"") -> Answer:
    return Answer(message=Stored(seq=seq, data=value, hdrs=headers))


class ScriptedLine:
    """A connection that gives prepared answers, in order, and remembers the questions."""

    def __init__(self, *answers: Answer, words: tuple[Msg, ...] = ()) -> None:
        self.is_up = True
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._answers = list(answers)
        self._words = list(words)

    async def ask(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Answer:
        self.asked.append((subject, dict(headers or {})))
        return self._answers.pop(0)

    async def call(self, method: str, request: bytes = b"") -> Answer:
        return await self.ask(method, request)

    async def send(self, subject: str, payload: bytes, *, reply: str = "") -> None:
        self.asked.append((subject, {}))

    @asynccontextmanager
    async def listing(self) -> AsyncIterator[tuple[str, None]]:
        yield "reply", None

    async def next(self, answers: None) -> Msg:
        return self._words.pop(0)

    async def close(self) -> None:
        self.is_up = False


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream, "PAUSE_S_MIN", 0.001)
    monkeypatch.setattr(jetstream, "READ_S_MAX", 0.1)


def _store(line: ScriptedLine, monkeypatch: pytest.MonkeyPatch) -> JetStreamStore:
    async def connect(*_: object) -> ScriptedLine:
        return line

    monkeypatch.setattr("meshd.store.line.Line.connect", connect)
    return JetStreamStore(["nats://x"], bucket="b", name="t", rng=random.Random(7))


async def test_a_refusal_while_what_we_expect_still_stands_is_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ScriptedLine(IN_FLIGHT, standing(4, b"old"), WRONG, standing(5, b"theirs"))
    assert await _store(line, monkeypatch).write("p00.a", b"mine", expect=4) == Lost("p00.a", 5, b"theirs")


async def test_a_refused_create_of_a_key_that_is_not_there_is_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ScriptedLine(IN_FLIGHT, NOTHING, Answer(seq=6))
    assert await _store(line, monkeypatch).write("p00.a", b"mine", expect=0) == Written("p00.a", 6)


async def test_a_full_bucket_may_hold_an_earlier_try_of_the_create(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ScriptedLine(NO_LEADER, FULL, standing(5, b"mine"))
    assert await _store(line, monkeypatch).write("p00.a", b"mine", expect=0) == Written("p00.a", 5)


async def test_a_repeat_is_the_identical_write(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ScriptedLine(NO_LEADER, NO_LEADER, Answer(seq=6))
    store = _store(line, monkeypatch)
    assert await store.write("p00.a", b"mine", expect=3, keep_s=1.2) == Written("p00.a", 6)
    assert line.asked == [line.asked[0]] * 3
    assert line.asked[0][1]["Nats-Expected-Last-Subject-Sequence"] == "3"
    assert line.asked[0][1]["Nats-TTL"] == "2s"


async def test_two_writes_of_the_same_bytes_are_two_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ScriptedLine(Answer(seq=1), Answer(seq=2))
    store = _store(line, monkeypatch)
    await store.write("p00.a", b"mine", expect=0)
    await store.write("p00.a", b"mine", expect=0)
    assert line.asked[0][1]["Nats-Msg-Id"] != line.asked[1][1]["Nats-Msg-Id"]


async def test_a_read_without_a_leader_fails_after_its_time_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ScriptedLine(*[NO_LEADER] * 1_000)
    with pytest.raises(MeshError, match="temporarily unavailable"):
        await _store(line, monkeypatch).read("p00.a")


def _word(status: str) -> Msg:
    return Msg(_client=Client(), subject="reply", reply="", data=b"", headers={"Status": status})


def _stored(key: str, seq: int, pending: int) -> Msg:
    reply = f"$JS.ACK.KV_b.c.1.{seq}.{seq}.1700000000000000000.{pending}"
    return Msg(_client=Client(), subject=f"$KV.b.{key}", reply=reply, data=b"x")


async def test_a_listing_that_is_broken_off_at_once_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (_word("409"), _stored("p00.a", 1, 1), _stored("p00.b", 2, 0))
    line = ScriptedLine(Answer(num_pending=2), Answer(num_pending=2), words=words)
    entries = await _store(line, monkeypatch).scan("p00")
    assert entries == [Entry("p00.a", 1, b"x"), Entry("p00.b", 2, b"x")]


async def test_a_listing_goes_on_after_a_page_that_ended_early(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (_stored("p00.b", 1, 1), _word("409"), _stored("p00.a", 2, 0))
    line = ScriptedLine(Answer(num_pending=2), words=words)
    entries = await _store(line, monkeypatch).scan("p00")
    assert [entry.key for entry in entries] == ["p00.a", "p00.b"]


async def test_what_vanished_while_it_was_listed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ScriptedLine(Answer(num_pending=2), words=(_stored("p00.b", 1, 1), _word("404")))
    assert await _store(line, monkeypatch).scan("p00") == [Entry("p00.b", 1, b"x")]


async def test_only_current_and_living_replicas_count_as_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    where = Cluster(
        leader="a",
        replicas=(Replica("b", current=True), Replica("c", current=False), Replica("d", current=True, offline=True)),
    )
    line = ScriptedLine(Answer(cluster=where))
    assert await _store(line, monkeypatch).copies() == (2, "a, b")
