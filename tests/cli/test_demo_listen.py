"""Following a node's events over breaks."""

import queue
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from cli.client import Client
from cli.demo_listen import Event, Listener
from cli.exits import of
from protocol.errors import MeshError

WAIT_S = 20.0

Line = tuple[str, str, bytes]


class _Streams:
    """Stands in for the client: each connection gives one of `streams`, then breaks; after them it stays quiet."""

    def __init__(self, *streams: list[Line]) -> None:
        self._streams = list(streams)
        self.asked: list[str] = []
        self.is_quiet = threading.Event()
        self.let_go = threading.Event()

    def client(self) -> Client:
        return cast(Client, self)

    def events(self, last_id: str = "") -> Iterator[Line]:
        self.asked.append(last_id)
        if not self._streams:
            self.is_quiet.set()
            self.let_go.wait(WAIT_S)
        else:
            yield from self._streams.pop(0)
        raise of(MeshError("unreachable", where="the node"))


@pytest.fixture
def heard() -> "queue.SimpleQueue[Event]":
    return queue.SimpleQueue()


def line(number: int, life: int = 1) -> Line:
    return f"{life}.{number}", "message", b'{"seq": %d, "kind": "task_done"}' % number


def test_a_stream_that_breaks_is_taken_up_where_it_stopped(heard: "queue.SimpleQueue[Event]") -> None:
    streams = _Streams([line(1), line(2)], [], [line(3)])
    listener = Listener("a", streams.client, heard)
    got = [heard.get(timeout=WAIT_S)["seq"] for _ in range(3)]
    assert streams.is_quiet.wait(WAIT_S)
    listener.close()
    streams.let_go.set()
    assert got == [1, 2, 3]
    assert streams.asked == ["0", "1.2", "1.2", "1.3"]


def test_what_is_no_event_is_left_out(heard: "queue.SimpleQueue[Event]") -> None:
    gap = ("", "missed", b'{"from": 3, "to": 9}')
    streams = _Streams(
        [("", "lagged", b"{}"), ("1.1", "message", b"no json"), gap, ("1.2", "message", b"[]"), line(10)]
    )
    listener = Listener("a", streams.client, heard)
    assert heard.get(timeout=WAIT_S)["seq"] == 10
    listener.close()
    streams.let_go.set()
    assert heard.empty()


def test_after_it_is_closed_nothing_more_is_heard(heard: "queue.SimpleQueue[Event]") -> None:
    streams = _Streams()
    listener = Listener("a", streams.client, heard)
    assert streams.is_quiet.wait(WAIT_S)
    streams._streams.append([line(1)])
    listener.close()
    streams.let_go.set()
    assert listener.has_ended(WAIT_S)
    assert heard.empty()
