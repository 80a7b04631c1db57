"""Events on their way to others: in order, once, and together."""

import msgspec
import pytest

from meshd.observe import outlet
from meshd.observe.outlet import Outlet
from protocol import limits
from protocol.events import PeerLeft
from tests.waiting import until


def _left(number: int) -> PeerLeft:
    return PeerLeft("p", "b", number)


class Wire:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.lives: list[int] = []

    def publish(self, kind: str, encoded: bytes) -> None:
        self.kinds.append(kind)
        self.lives.append(msgspec.json.decode(encoded)["life"])


async def test_events_leave_by_themselves_in_order_and_once() -> None:
    wire = Wire()
    told = Outlet(wire.publish)
    for number in range(3):
        told.tell(_left(number))
    assert wire.kinds == []
    await until(lambda: wire.kinds, what="the events")
    assert (wire.kinds, wire.lives) == (["peer_left"] * 3, [0, 1, 2])
    told.tell(_left(3))
    await until(lambda: len(wire.kinds) == 4, what="the next event")
    told.flush()
    assert wire.lives == [0, 1, 2, 3]


async def test_a_daemon_that_stops_lets_go_of_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "GATHER_S", 3_600.0)
    wire = Wire()
    told = Outlet(wire.publish)
    told.tell(_left(1))
    told.flush()
    assert wire.lives == [1]


async def test_no_more_events_wait_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "GATHER_S", 3_600.0)
    monkeypatch.setattr(limits, "EVENTS_KEPT", 4)
    wire = Wire()
    told = Outlet(wire.publish)
    for number in range(6):
        told.tell(_left(number))
    assert wire.lives == [0, 1, 2, 3]
