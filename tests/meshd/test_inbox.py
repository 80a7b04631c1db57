"""The queue in front of the engine: order, bound, and what finds room whatever happens."""

import pytest

from meshd.inbox import Inbox
from protocol.inputs import (
    Absent,
    Advertise,
    AgentFailed,
    AgentFinished,
    AgentProgress,
    Await,
    Cancel,
    Drain,
    Found,
    Input,
    Inquiry,
    Leave,
    LinkChanged,
    Listed,
    Lost,
    MakeCall,
    Publish,
    Received,
    Submit,
    Unsent,
    Written,
)
from protocol.subjects import Subjects

MESSAGE = Received("s", b"f")


def full(capacity: int = 8) -> Inbox:
    inbox = Inbox(capacity)
    while inbox.put(MESSAGE):
        pass
    return inbox


def test_inputs_are_taken_in_the_order_they_came() -> None:
    inbox = Inbox()
    for probe in range(5):
        inbox.put(Absent(probe))
    assert [inbox.take() for _ in range(5)] == [Absent(number) for number in range(5)]
    assert not len(inbox)


@pytest.mark.parametrize(
    "input",
    [
        Written("k", 1),
        Lost("k", 1, b""),
        Unsent("k", "r"),
        Found("k", 1, b""),
        Listed((1,), ()),
        LinkChanged(up=True),
        AgentFinished("t", 1, b""),
        AgentFailed("t", 1, "agent_failed", "m", retry=False),
        Advertise(()),
        Drain(on=True),
        Leave(),
    ],
    ids=lambda input: type(input).__name__,
)
def test_what_work_hangs_on_finds_room_in_a_full_inbox(input: Input) -> None:
    inbox = full()
    assert inbox.put(input)
    assert [inbox.take() for _ in range(len(inbox))][-1] == input


@pytest.mark.parametrize(
    "input", [MESSAGE, Absent(1), AgentProgress("t", 1, b"")], ids=lambda input: type(input).__name__
)
def test_what_will_be_said_again_is_refused_and_counted_when_it_is_full(input: Input) -> None:
    inbox = full()
    refused = inbox.refused
    assert not inbox.put(input)
    assert len(inbox) == 8
    assert inbox.refused == refused + 1


@pytest.mark.parametrize(
    "request_",
    [Submit(1, "a@1", b"", "s", "k"), Cancel(1, "t"), Await(1, "t"), MakeCall(1, "a@1", b""), Inquiry(1, "h", ())],
    ids=lambda request: type(request).__name__,
)
def test_requests_leave_the_last_quarter_to_messages(request_: Input) -> None:
    inbox = Inbox(8)
    while inbox.put(request_):
        pass
    assert len(inbox) == 6
    assert inbox.put(MESSAGE)


def test_a_flood_of_events_leaves_room_for_messages_and_requests() -> None:
    inbox, subjects = Inbox(8), Subjects("mesh")
    event = Received(subjects.topic("sales.all"), b"")
    assert [inbox.put(event) for _ in range(3)] == [True, True, False]
    assert not inbox.put(Publish(1, "shop", "sales.all", b""))
    message = Received(subjects.node(dst="b", life=1, src="a"), b"")
    assert [inbox.put(message) for _ in range(7)] == [True] * 6 + [False]
