"""Membership as conversations: who is probed, suspected and dead, and when nobody is."""

import pytest

from protocol.effects import Emit, Send, Spread
from protocol.events import PeerAlive, PeerDead, PeerSuspect, PeerUnreachable
from protocol.presets import MembershipSettings
from protocol.prober import TELLING
from protocol.wire.gossip import Confirm, Dead, Suspect
from protocol.wire.swim import Ack, Ping
from tests.protocol.conversation import ANY, heard, instant
from tests.protocol.views import LIFE, alive, among, dead, fails_to_answer, lives, node, number_of, pings, probed, state

# --- joining


def test_a_node_says_hello_and_asks_for_what_others_know() -> None:
    node().expects_only(Spread(alive("a", is_fresh=True)))


def test_who_is_heard_of_is_alive_and_said_once() -> None:
    talk = node()
    talk.hears("b", alive("b")).expects_only(Emit(PeerAlive("b", "b", 1, 0)))
    talk.hears("b", alive("b")).expects_nothing()
    assert talk.machine.alive() == ["a", "b"]
    assert [peer.name for peer in talk.machine.snapshot()] == ["a", "b"]
    assert talk.machine.life_of("b") == 1


def test_a_view_settles_when_others_are_heard_of_or_nobody_is_for_a_while() -> None:
    talk = node().at(3.0)
    assert talk.machine.settled_s(talk.now) == 0.0
    assert talk.machine.settled_s(instant(7.0)) == pytest.approx(2.0)
    talk.hears("b", alive("b"))
    assert talk.machine.settled_s(instant(7.0)) == pytest.approx(4.0)


def test_alone_there_is_nobody_to_probe_and_little_to_wake_for() -> None:
    talk = node()
    talk.until(59.0).expects_nothing()


# --- probing


def test_everybody_is_probed_in_turn_and_an_answer_is_timed() -> None:
    talk = lives(among("b", "c", "d"), 3.3)
    asked = [each.to for each in pings(talk)]
    assert sorted(asked[:3]) == sorted(asked[3:6]) == ["b", "c", "d"]
    assert [each.probe for each in pings(talk)] == [number_of(each) for each in pings(talk)]
    assert 0.004 < talk.machine.round_trip_s("b") < 0.025
    assert talk.machine.round_trip_s("unknown") == 0.025


def test_a_probe_is_answered_with_the_incarnation_even_to_a_stranger() -> None:
    node().gets("z", Ping(9), life=3).expects_only(Send(to="z", life=3, body=Ack(9, 0, ANY, 1)))


def test_an_unanswered_probe_makes_a_suspect_with_one_broadcast() -> None:
    talk = among("b", "c", "d", "e")
    fails_to_answer(talk, "b", evidence="timeout")
    talk.expects(Spread(Suspect("b", 1, 0, "timeout")), Emit(PeerSuspect("b", "b", 1, "a", "timeout", ANY, ANY, ANY)))
    assert state(talk, "b") == "suspect"
    assert talk.machine.life_of("b") == 1
    assert not talk.machine.is_alive("b")


def test_no_responders_makes_a_suspect_at_once_without_blaming_ourselves() -> None:
    talk = among("b", "c", "d", "e")
    fails_to_answer(talk, "b", evidence="absent").expects(Spread(Suspect("b", 1, 0, "absent")))
    assert talk.machine.health == 0


def test_an_answer_to_another_probe_or_of_another_life_is_none() -> None:
    talk = among("b")
    talk.until(0.5)
    number = number_of(probed(talk))
    talk.gets("b", Ack(number + 1, 0)).gets("c", Ack(number, 0)).gets("b", Ack(number, 0), life=2)
    talk.until(1.1)
    assert state(talk, "b") == "suspect"


def test_a_late_answer_at_the_suspected_incarnation_clears_nobody() -> None:
    talk = among("b", "c", "d", "e")
    fails_to_answer(talk, "b", evidence="timeout")
    talk.gets("b", Ack(1, 0)).expects_nothing()
    assert state(talk, "b") == "suspect"
    talk.gets("b", Ack(1, 1)).expects_only(Emit(PeerAlive("b", "b", 1, 1, "suspect", ANY)))


def test_an_answer_of_another_life_clears_nobody() -> None:
    talk = among("b", "c", "d").hears("c", Suspect("b", 1, 0, "timeout"))
    talk.gets("b", Ack(1, 5), life=2).expects_nothing()
    assert state(talk, "b") == "suspect"


def test_an_absence_of_a_probe_we_do_not_wait_for_means_nothing() -> None:
    among("b").do("on_absent", 99).expects_nothing()


# --- verification


def test_a_chosen_verifier_probes_at_once_and_confirms_what_it_sees() -> None:
    talk = among("b", "c", "d")  # three could look after b; the accuser c may not, so a and d do
    talk.hears("c", Suspect("b", 1, 0, "timeout"))
    talk.expects(Emit(PeerSuspect("b", "b", 1, "c", "timeout", ANY, ANY, ANY)))
    ping = probed(talk)
    assert ping == Send(to="b", life=1, body=Ping(number_of(ping), 0), probe=ANY)
    talk.do("on_absent", ping.probe).expects(Spread(Confirm("b", 1, 0, "absent")))


def test_of_many_nodes_three_verify_a_suspicion_and_the_others_stay_silent() -> None:
    names = [f"n{index:02}" for index in range(20)]
    verifying = 0
    for name in names[2:]:
        talk = node(name)
        for other in names:
            talk.hears(other, alive(other))
        talk.hears(names[0], Suspect(names[1], 1, 0, "timeout"))
        verifying += any(isinstance(each, Send) for each in talk.effects)
    assert verifying == 3


def test_the_same_accusation_twice_makes_nobody_probe_twice() -> None:
    talk = among("b", "c", "d")
    talk.hears("c", Suspect("b", 1, 0, "timeout")).hears("c", Suspect("b", 1, 0, "timeout")).expects_nothing()
    assert talk.machine.peer("b").accusers == ("c",)


def test_a_confirmed_suspicion_gets_no_further_voices_than_it_needs() -> None:
    talk = among("b", "c", "d", "e", "f", "g")
    for accuser in ("c", "d", "e", "f"):
        talk.hears(accuser, Confirm("b", 1, 0, "timeout"))
    lives(talk, 4.0, silent="b").expects(Send(to="b", life=1, body=Ping(ANY, 0), probe=ANY)).expects_no(Confirm)


def test_what_a_stranger_or_an_old_life_says_about_others_does_not_count() -> None:
    talk = among("b", "c", "d")
    talk.hears("z", Suspect("b", 1, 0, "timeout")).expects_nothing()
    talk.hears("c", Suspect("b", 1, 0, "timeout"), life=0).expects_nothing()
    talk.hears("b", Suspect("b", 1, 0, "timeout")).expects_nothing()
    assert state(talk, "b") == "alive"


# --- death


def test_a_suspect_with_two_accusers_dies_when_its_time_is_up_and_the_proof_travels_along() -> None:
    talk = among("b", "c", "d", "e")
    fails_to_answer(talk, "b", evidence="absent")
    talk.hears("c", Confirm("b", 1, 0, "absent"))
    begun = talk.seconds
    assert state(lives(talk, begun + 1.9, silent="b"), "b") == "suspect"
    lives(talk, begun + 2.1, silent="b")
    said = talk.said(Dead)
    assert [(each.peer, each.life, each.incarnation, each.evidence) for each in said] == [("b", 1, 0, "absent")]
    assert said[0].accusations == (heard("c", Confirm("b", 1, 0, "absent")).frame,)
    assert said[0].alive == heard("b", alive("b")).frame
    assert talk.said(PeerDead)[0].accusers == ("a", "c")
    assert state(talk, "b") == "dead"
    assert talk.machine.life_of("b") is None


def test_one_word_from_the_broker_among_time_outs_does_not_shorten_the_wait() -> None:
    talk = among("b", "c", "d", "e", "f")
    talk.hears("c", Suspect("b", 1, 0, "absent")).hears("d", Confirm("b", 1, 0, "timeout"))
    assert state(lives(talk, 4.5), "b") == "suspect"


def test_who_only_counts_lets_the_accusers_speak_first() -> None:
    talk = among("b", "c", "d", "e", "f")
    talk.hears("c", Suspect("b", 1, 0, "absent"))
    for ping in pings(talk):
        talk.gets("b", Ack(number_of(ping), 0))  # an answer at the suspected incarnation clears nothing
    talk.hears("d", Confirm("b", 1, 0, "absent"))
    assert state(lives(talk, 2.24), "b") == "suspect"
    lives(talk, 2.6, silent="b").expects(Spread(Dead("b", 1, 0, "absent", ANY, ANY)))


def test_an_accuser_says_so_once() -> None:
    talk = fails_to_answer(among("b", "c", "d", "e"), "b", evidence="timeout")
    lives(talk, talk.seconds + 10.0, silent="b").expects_no(Suspect).expects_no(Confirm)


def test_two_voices_do_not_kill_a_life_that_nobody_can_show_to_have_begun() -> None:
    talk = among("b", "c", "d")
    carried = (heard("d", Confirm("b", 5, 0, "timeout")),)
    talk.hears("c", Dead("b", 5, 0, "timeout", ()), accusations=carried).expects_nothing()
    assert talk.machine.life_of("b") == 1


def test_two_voices_and_its_last_word_kill_a_life_that_we_had_not_heard_of() -> None:
    talk = dead(among("b", "c", "d"), "b", ["c", "d"], life=5)
    talk.expects(Emit(PeerDead("b", "b", 5, ("c", "d"), "timeout", None, ANY, ANY)))


def test_one_accuser_kills_nobody_in_a_view_of_four() -> None:
    talk = among("b", "c", "d")
    fails_to_answer(talk, "b", evidence="absent")
    lives(talk, 60.0, silent="b").expects_no(Dead)
    assert state(talk, "b") == "suspect"


def test_one_accuser_is_enough_where_the_settings_say_so() -> None:
    talk = node(preset=MembershipSettings(accusers=1, suspicion_stretch=1.0))
    for other in ("b", "c", "d"):
        talk.hears(other, alive(other))
    fails_to_answer(talk, "b", evidence="timeout")
    talk.do("on_answered")
    lives(talk, talk.seconds + 6.0, silent="b")
    assert state(talk, "b") == "dead"


def test_of_two_nodes_the_survivor_declares_alone() -> None:
    talk = among("b")
    talk.until(0.5).do("on_absent", probed(talk).probe)
    talk.until(talk.seconds + 2.1)
    assert talk.said(Dead)[0].accusations == ()
    assert state(talk, "b") == "dead"


def test_of_two_nodes_a_silent_one_gets_the_full_time_to_answer() -> None:
    talk = among("b")
    talk.until(0.5)
    suspected = talk.seconds
    talk.until(1.1)
    assert state(talk, "b") == "suspect"
    talk.until(suspected + 5.0).do("on_answered")
    assert state(talk, "b") == "suspect"
    talk.until(suspected + 6.2)
    assert state(talk, "b") == "dead"


def test_of_two_nodes_one_whose_server_is_silent_too_declares_nobody() -> None:
    talk = among("b").do("on_answered")
    assert state(talk.until(60.0), "b") == "suspect"
    talk.do("on_answered")
    assert state(talk.until(talk.seconds + 0.6), "b") == "dead"


def test_of_three_nodes_the_two_survivors_together_declare() -> None:
    talk = among("b", "c")
    fails_to_answer(talk, "b", evidence="absent")
    talk.until(talk.seconds + 0.01)
    assert state(talk, "b") == "suspect"
    talk.hears("c", Confirm("b", 1, 0, "absent"))
    assert state(lives(talk, talk.seconds + 2.1, silent="b"), "b") == "dead"


def test_when_most_of_the_view_is_suspect_nobody_dies_and_it_is_said_once() -> None:
    talk = among("b", "c", "d")
    lives(talk, 60.0, silent="bcd").expects_no(Dead)
    assert talk.said(PeerUnreachable) == [PeerUnreachable(ANY)]
    assert talk.machine.is_frozen()
    assert [state(talk, each) for each in "bcd"] == ["suspect"] * 3


def test_a_death_by_two_voices_is_believed_when_its_time_is_up_and_one_by_a_single_voice_is_a_suspicion() -> None:
    talk = among("b", "c", "d")
    dead(talk, "b", ["c"]).expects(Emit(PeerSuspect("b", "b", 1, "c", "timeout", ANY, ANY, ANY)))
    assert state(talk, "b") == "suspect"
    assert not talk.machine.has_buried(Dead("b", 1, 0, "timeout", ()))
    dead(talk.at(5.0), "b", ["d"]).expects(Emit(PeerDead("b", "b", 1, ("c", "d"), "timeout", ANY, ANY, ANY)))
    assert talk.machine.has_buried(Dead("b", 1, 0, "timeout", ()))


def test_a_death_without_a_suspicion_that_we_heard_of_is_one_first_and_who_lives_outbids_it() -> None:
    talk = among("b", "c", "d")  # as after a partition: the others could not reach b, and we can
    dead(talk, "b", ["c", "d"]).expects(Send(to="b", life=1, body=Ping(ANY, 0), probe=ANY))
    assert [each.peer for each in talk.said(PeerSuspect)] == ["b"]
    assert state(talk, "b") == "suspect"
    assert not talk.machine.has_buried(Dead("b", 1, 0, "timeout", ()))
    talk.gets("b", Ack(number_of(probed(talk)), 1))
    assert [each.incarnation for each in talk.said(PeerAlive)] == [1]
    assert lives(talk, 40.0).said(PeerDead) == []


def test_a_death_without_a_suspicion_that_we_heard_of_is_believed_after_the_least_time() -> None:
    talk = dead(among("b", "c", "d", "e", "f"), "b", ["c", "d"])
    assert lives(talk, 4.9, silent="b").said(PeerDead) == []
    assert [each.peer for each in lives(talk, 5.6, silent="b").said(PeerDead)] == ["b"]


def test_a_death_that_we_heard_no_suspicion_of_is_believed_as_soon_as_the_broker_tells_us_the_same() -> None:
    talk = among("b", "c", "d", "e", "f", "g")  # as who began while the others waited: it has nothing to wait for
    dead(talk, "b", ["c", "d", "e", "f"])
    number = number_of(probed(talk))
    talk.do("on_absent", number).expects_no(Confirm)
    assert state(talk, "b") == "suspect"
    assert [each.peer for each in lives(talk, talk.seconds + 0.01).said(PeerDead)] == ["b"]


def test_who_hears_that_it_was_buried_tells_those_it_doubted_meanwhile() -> None:
    talk = among(*"bcdefghijk")  # cut off from all, we doubted b; they buried us
    fails_to_answer(talk, "b", evidence="absent")
    talk.hears("c", Suspect("d", 1, 0, "timeout"))
    dead(talk, "a", ["c"], life=LIFE).expects(Send(to="b", life=1, body=Ping(ANY, 0), probe=ANY))
    assert [each.to for each in pings(talk)] == ["b"], "d is not our doubt, and who is well has nothing to say"
    dead(talk, "a", ["c"], life=LIFE).expects_no(Ping)


def test_who_is_buried_and_asks_us_is_told_so_and_who_tells_is_not_told() -> None:
    talk = among(*"bcdefghijk")
    fails_to_answer(talk, "b", evidence="absent")
    lives(dead(talk, "b", ["c", "d"]), talk.seconds + 12.0, silent="b")
    assert state(talk, "b") == "dead"
    told = Send(to="b", life=1, body=Ping(TELLING, 0))
    talk.gets("b", Ping(9)).expects_only(Send(to="b", life=1, body=Ack(9, 0, ANY, ANY)), told)
    talk.gets("b", Ping(TELLING, 0)).expects_no(Ping)
    talk.gets("b", Ack(TELLING, 1)).expects_nothing()


def test_who_is_told_that_it_is_buried_speaks_up_and_tells_those_it_doubts() -> None:
    talk = among(*"bcdefghijk")
    fails_to_answer(talk, "b", evidence="absent")
    talk.gets("c", Ping(TELLING, 0)).expects(Spread(alive("a", 1)))
    talk.expects(Send(to="b", life=1, body=Ping(ANY, 0), probe=ANY))


def test_who_suspects_most_of_its_view_believes_no_death_at_once_either() -> None:
    talk = among("b", "c", "d", "e")  # as after a long stop: it reads what was true a while ago
    for peer in "bcd":
        talk.hears("e", Suspect(peer, 1, 0, "timeout"))
    assert talk.machine.is_frozen()
    dead(talk, "b", ["c", "d"])
    assert state(talk, "b") == "suspect"
    for peer in "cdb":
        talk.hears(peer, alive(peer, 1))
    assert [state(talk, each) for each in "bcde"] == ["alive"] * 4


def test_a_forged_proof_kills_nobody() -> None:
    talk = among("b", "c", "d")
    body = Dead("b", 1, 0, "timeout", ())
    carried = (
        heard("c", Suspect("b", 1, 0, "timeout")),  # the declarer again
        heard("d", Suspect("c", 1, 0, "timeout")),  # about somebody else
        heard("d", Suspect("b", 1, 1, "timeout")),  # about another incarnation
        heard("b", Suspect("b", 1, 0, "timeout")),  # by the accused
    )
    talk.hears("c", body, accusations=carried)
    assert state(talk, "b") == "suspect"


def test_news_of_a_stranger_never_adds_it() -> None:
    talk = among("b", "c")
    talk.hears("b", Suspect("z", 1, 0, "timeout")).expects_nothing()
    talk.hears("b", Dead("z", 1, 0, "timeout", ())).expects_nothing()
    assert talk.machine.peer("z") is None
    assert not talk.machine.has_buried(Dead("z", 1, 0, "timeout", ()))


def test_a_proven_death_of_a_stranger_is_remembered_but_not_shown() -> None:
    talk = dead(among("b", "c"), "z", ["b", "c"])
    talk.expects_nothing()
    assert talk.machine.has_buried(Dead("z", 1, 0, "timeout", ()))
    assert talk.machine.peer("z") is None
    talk.hears("z", alive("z")).expects_nothing()
    talk.hears("z", alive("z", 1)).expects(Emit(PeerAlive("z", "z", 1, 1)))


def test_a_later_death_raises_the_floor_against_old_news() -> None:
    talk = among("b", "c").hears("c", Suspect("b", 1, 1, "timeout"))
    dead(talk.at(5.0), "b", ["c", "a"], incarnation=1)
    assert state(talk, "b") == "dead"
    dead(talk, "b", ["c"], incarnation=10, last=10)
    talk.hears("b", alive("b", 2)).expects_nothing()
    talk.hears("b", alive("b", 10)).expects_nothing()
    talk.hears("b", alive("b", 11)).expects(Emit(PeerAlive("b", "b", 1, 11, "dead", ANY)))
