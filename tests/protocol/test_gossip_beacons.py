"""Beacons as conversations: when a node says again that it is there."""

from protocol.effects import Spread
from protocol.wire.gossip import Alive
from tests.protocol.conversation import heard
from tests.protocol.test_gossip import alive, among, node


def test_the_beacon_says_again_that_we_are_here_and_is_not_repeated_itself() -> None:
    talk = node().until(2.0)
    talk.until(5.1).expects_only(Spread(alive("a")))
    talk.do("keep_own", heard("a", alive("a"), at=5.1)).until(9.0).expects_nothing()


def test_in_a_large_mesh_the_beacon_is_slower() -> None:
    talk = among(*(f"n{index:03}" for index in range(24)))  # 25 nodes: every 15 s
    talk.until(5.1)
    beacons = 0
    for second in range(6, 66):
        talk.until(float(second))
        beacons += talk.said(Alive) != []
    assert 3 <= beacons <= 5


def test_of_many_who_start_together_each_has_its_first_beacon_at_another_time_of_the_round() -> None:
    firsts = []
    for seed in range(8):
        talk = node(seed=seed)
        for index in range(24):
            talk.hears(f"n{index:03}", alive(f"n{index:03}"))
        talk.until(4.9)
        firsts.append(next(second for second in range(5, 22) if talk.until(second + 1.0).said(Alive)))
    assert firsts.count(5) <= 2
    assert len(set(firsts)) >= 4
