"""Whose clock is off, in worlds of real nodes whose hosts' clocks are set."""

from typing import cast

import pytest

from protocol.clocks import Clocks, spoken
from protocol.effects import Effect
from protocol.events import ClockOff, ClockRight, PeerDead, PeerSuspect
from protocol.membership import Membership
from protocol.primitives import Instant
from protocol.replica import Me
from protocol.timekeeping import ASKED_MAX, Timekeeping
from simulations.scenario import parsed
from simulations.seen import Happened, Seen
from simulations.timeline import ns
from simulations.world import World

HOUR_MS = 3_600_000


class Watched(World):
    """A world without work that keeps what its nodes say of clocks and of death."""

    def __init__(self, nodes: int) -> None:
        self.said: list[tuple[str, ClockOff | ClockRight | PeerSuspect | PeerDead]] = []
        super().__init__(parsed(f'about = "clocks"\nnodes = {nodes}\nrun_s = 1000', origin="here"), seed=3)
        for host in self.hosts.values():
            host.start()
        self.passes(6.0)

    def see(self, seen: Seen) -> None:
        if isinstance(seen, Happened) and isinstance(seen.event, ClockOff | ClockRight | PeerSuspect | PeerDead):
            self.said.append((seen.node, seen.event))
        super().see(seen)

    def passes(self, seconds: float) -> "Watched":
        """Let so much time pass."""
        end_ns = self.timeline.now_ns + ns(seconds)
        self.timeline.run(end_ns)
        return self

    def sets(self, name: str, *, ahead_s: float = 0.0) -> "Watched":
        """Somebody sets a clock, and a moment passes."""
        self.hosts[name].clock.set(ahead_s=ahead_s)
        return self.passes(3.0)


def off(of: Watched, name: str) -> dict[str, int]:
    """Whose clock this node holds for wrong, and by how many hours."""
    names = {host.id: host.name for host in of.hosts.values()}
    return {names[node]: round(ms / HOUR_MS) for node, ms in of.hosts[name].node.time.off.items()}


def is_right(of: Watched) -> dict[str, bool]:
    """Does this node hold its own clock for right?"""
    return {name: host.node.time.is_right for name, host in of.hosts.items()}


@pytest.mark.parametrize("hours", [3, -3, 100 * 24, -100 * 24, -24 * 365 * 50])
def test_of_three_the_one_whose_clock_was_set_is_named_on_all_sides_and_nobody_is_suspected(hours: int) -> None:
    mesh = Watched(3).sets("n2", ahead_s=hours * 3_600)
    assert {name: off(mesh, name) for name in mesh.hosts} == {name: {"n2": hours} for name in mesh.hosts}
    assert is_right(mesh) == {"n1": True, "n2": False, "n3": True}
    mesh.passes(60.0).sets("n2")
    assert {name: off(mesh, name) for name in mesh.hosts} == {name: {} for name in mesh.hosts}
    assert all(is_right(mesh).values())
    kinds = [(node, type(event), event.name) for node, event in mesh.said]
    assert sorted(kinds, key=str) == sorted(
        ((name, kind, "n2") for name in mesh.hosts for kind in (ClockOff, ClockRight)), key=str
    )


def test_of_two_nobody_knows_who_is_right_and_each_names_the_other() -> None:
    mesh = Watched(2).sets("n2", ahead_s=3 * 3_600)
    assert (off(mesh, "n1"), off(mesh, "n2")) == ({"n2": 3}, {"n1": -3})
    assert all(is_right(mesh).values())
    mesh.sets("n2", ahead_s=-3 * 3_600)
    assert (off(mesh, "n1"), off(mesh, "n2")) == ({"n2": -3}, {"n1": 3})
    mesh.sets("n2")
    assert (off(mesh, "n1"), off(mesh, "n2")) == ({}, {})


@pytest.mark.parametrize("nodes", [2, 3])
@pytest.mark.parametrize("hours", [3, -3, -24 * 365])
def test_who_starts_with_a_wrong_clock_joins_and_is_named(nodes: int, hours: int) -> None:
    mesh = Watched(nodes)
    mesh.hosts["n2"].crash(noticed_ns=0)
    mesh.passes(20.0).said.clear()
    mesh.hosts["n2"].clock.set(ahead_s=hours * 3_600)
    mesh.hosts["n2"].start()
    mesh.passes(8.0)
    up = sorted(host.id for host in mesh.hosts.values())
    assert [host.node.membership.alive() for host in mesh.hosts.values()] == [up] * nodes
    assert off(mesh, "n1") == {"n2": hours}
    mesh.sets("n2")
    assert off(mesh, "n1") == {}
    assert not [event for _, event in mesh.said if isinstance(event, PeerDead)]


def test_when_all_clocks_are_set_alike_one_after_the_other_the_last_ones_follow() -> None:
    mesh = Watched(4)
    for name in mesh.hosts:
        mesh.sets(name, ahead_s=3_600)
    assert {name: off(mesh, name) for name in mesh.hosts} == {name: {} for name in mesh.hosts}
    assert all(is_right(mesh).values())
    assert not [event for _, event in mesh.said if isinstance(event, PeerSuspect | PeerDead)]


def test_of_three_that_all_differ_the_one_in_the_middle_is_right() -> None:
    mesh = Watched(3).sets("n2", ahead_s=3_600).sets("n3", ahead_s=-2 * 3_600)
    assert is_right(mesh) == {"n1": True, "n2": False, "n3": False}
    assert {name: off(mesh, name) for name in mesh.hosts} == {name: {"n2": 1, "n3": -2} for name in mesh.hosts}
    mesh.sets("n1", ahead_s=2 * 3_600)
    assert is_right(mesh) == {"n1": False, "n2": True, "n3": False}


def test_a_clock_that_is_off_has_to_come_closer_than_it_had_to_go_before_it_is_called_right() -> None:
    mesh = Watched(3).sets("n2", ahead_s=5.5)
    assert {event.name for _, event in mesh.said if isinstance(event, ClockOff)} == {"n2"}
    mesh.sets("n2", ahead_s=4.5).passes(20.0)
    assert not [event for _, event in mesh.said if isinstance(event, ClockRight)], "it is at the bound, and may go on"
    mesh.sets("n2", ahead_s=3.5).passes(20.0)
    assert {event.name for _, event in mesh.said if isinstance(event, ClockRight)} == {"n2"}


def test_a_node_whose_clock_was_set_asks_some_of_the_others_at_once_and_not_all() -> None:
    clocks, asked = Clocks(), []

    class View:
        def living(self) -> tuple[str, ...]:
            return tuple(f"n{number}" for number in range(ASKED_MAX + 9))

        def ask(self, node: str, now: Instant) -> list[Effect]:
            asked.append(node)
            return []

    time = Timekeeping(
        me=Me(id="a", life=1, name="a", region="r", domain=""), clocks=clocks, membership=cast("Membership", View())
    )
    time.by_the_mesh(Instant(0, 0))
    assert asked == []
    time.by_the_mesh(Instant(0, HOUR_MS))
    assert len(asked) == ASKED_MAX


def test_a_node_alone_goes_by_its_own_clock() -> None:
    mesh = Watched(1).sets("n1", ahead_s=86_400)
    assert all(is_right(mesh).values())
    assert mesh.said == []


@pytest.mark.parametrize(
    ("ahead_ms", "text"),
    [
        (3 * HOUR_MS, "3 h 0 min ahead of"),
        (-12_400, "12 s behind"),
        (-61_000, "1 min 1 s behind"),
        (50 * HOUR_MS, "2 d 2 h ahead of"),
    ],
)
def test_an_amount_is_said_in_two_units(ahead_ms: int, text: str) -> None:
    assert spoken(ahead_ms) == text


def test_what_waits_is_given_out_when_a_clock_is_right_again() -> None:
    mesh = Watched(3).sets("n2", ahead_s=3 * 3_600)
    ledger, looks = mesh.hosts["n1"].node.ledger, list[int]()
    give_out = ledger.on_capacity

    def looking(now: Instant) -> list[Effect]:
        looks.append(now.mono_ns)
        return give_out(now)

    ledger.on_capacity = looking  # type: ignore[method-assign]  # to see when it is asked
    mesh.sets("n2")
    assert looks
