"""Our own health: while our link or loop may be at fault we accuse nobody, and are patient as Lifeguard is.

Neighbour: `test_membership` has what others are asked and told when we are well.
"""

from protocol.effects import Spread
from protocol.events import PeerDead, PeerSuspect
from protocol.wire.gossip import Confirm, Suspect
from tests.protocol.views import alive, among, lives, node, pings, probed, state


def test_while_our_link_is_down_we_probe_and_accuse_nobody() -> None:
    talk = among("b", "c", "d")
    talk.until(0.5).do("on_link", is_up=False).expects_nothing()
    assert talk.machine.next_deadline() is None
    assert talk.machine.is_frozen()
    talk.at(600.0).tick().expects_nothing()
    assert [state(talk, each) for each in "bcd"] == ["alive"] * 3


def test_when_our_link_is_back_we_outbid_what_was_said_of_us_and_accuse_nobody_for_a_while() -> None:
    talk = among("b", "c", "d")
    talk.until(0.5).do("on_link", is_up=False)
    talk.at(100.0).do("on_link", is_up=True).expects_only(Spread(alive("a", 1)))
    assert not talk.machine.is_frozen()
    assert talk.machine.settled_s(talk.now) == 0.0
    for _ in range(18):
        talk.until(talk.seconds + 0.1)
        for ping in pings(talk):
            talk.do("on_absent", ping.probe).expects_nothing()
    assert [state(talk, each) for each in "bcd"] == ["alive"] * 3


def test_a_suspicion_stands_still_while_our_link_is_down() -> None:
    talk = among("b", "c", "d", "e")
    talk.hears("c", Suspect("b", 1, 0, "absent")).hears("d", Confirm("b", 1, 0, "absent"))
    talk.until(1.0).do("on_link", is_up=False).at(500.0).do("on_link", is_up=True).expects_no(PeerDead)
    talk.until(501.8)
    assert state(talk, "b") == "suspect"


def test_who_is_still_alone_when_its_link_is_back_asks_again_for_all_that_others_know() -> None:
    talk = node().do("on_link", is_up=False)
    talk.at(3.0).do("on_link", is_up=True).expects_only(Spread(alive("a", 1, is_fresh=True)))


def test_a_suspicion_goes_on_where_it_stood_when_our_link_went_down() -> None:
    talk = among("b", "c", "d", "e", "f", "g", "h")
    for accuser in "cdef":
        talk.hears(accuser, Confirm("b", 1, 0, "timeout"))
    lives(talk, 1.0, silent="b").do("on_link", is_up=False).at(500.0).do("on_link", is_up=True)
    assert state(lives(talk, 503.9, silent="b"), "b") == "suspect"
    assert state(lives(talk, 504.6, silent="b"), "b") == "dead"


def test_when_others_see_what_we_see_we_are_not_ill() -> None:
    talk = among("b", "c", "d", "e").until(0.5)
    silent = probed(talk).to
    talk.until(1.05)
    assert talk.machine.health == 1
    other = next(node for node in "bcde" if node != silent)
    assert talk.hears(other, Confirm(silent, 1, 0, "timeout")).machine.health == 0


def test_many_who_see_what_we_see_make_us_no_better_than_one() -> None:
    talk = among("b", "c", "d", "e").until(0.5)
    silent = probed(talk).to
    talk.until(1.05).do("on_lag", 300).do("on_lag", 300)
    assert talk.machine.health == 3
    for other in (each for each in "bcde" if each != silent):
        talk.hears(other, Confirm(silent, 1, 0, "timeout"))
    assert talk.machine.health == 2


def test_an_answer_that_came_by_our_patience_alone_leaves_us_patient() -> None:
    talk = among("b", "c", "d").do("on_lag", 300)  # everybody is slow, as while many daemons start on one machine
    assert lives(talk, 20.0, took_s=0.6).said(PeerSuspect) == []
    assert talk.machine.health == 1
    assert lives(talk, 30.0).machine.health == 0


def test_who_looks_after_a_suspicion_and_gets_no_answer_either_is_not_ill() -> None:
    talk = among("b", "c", "d").hears("c", Suspect("b", 1, 0, "timeout"))
    assert lives(talk, 0.501, silent="b").said(Confirm)
    assert talk.machine.health == 0


def test_a_link_that_was_never_down_changes_nothing_when_it_is_up() -> None:
    among("b").do("on_link", is_up=True).expects_nothing()


def test_a_stopped_process_accuses_nobody_when_it_goes_on() -> None:
    talk = among("b", "c", "d", "e")
    talk.until(0.5)
    talk.at(15.5).do("on_lag", 15_000).expects_nothing()
    talk.tick().expects_no(Suspect)
    talk.until(16.2)
    assert [state(talk, each) for each in "bcde"] == ["alive"] * 4
    assert talk.machine.health == 1


def test_a_little_lag_is_none() -> None:
    talk = among("b").do("on_lag", 249)
    assert talk.machine.health == 0


def test_health_slows_probes_down_and_recovers() -> None:
    talk = among("b")
    for _ in range(20):
        talk.do("on_lag", 300)
    assert talk.machine.health == 8
    assert lives(talk, 60.0).machine.health == 0


def test_who_is_late_all_the_time_finds_the_dead_all_the_same() -> None:
    talk = among("b", "c", "d")
    for turn in range(1, 401):
        talk.at(0.5 + turn * 0.3).do("on_lag", 300).tick()
    assert {state(talk, each) for each in "bcd"} == {"suspect"}, "no answers at all: it may be us"
