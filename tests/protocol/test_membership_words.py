"""What nodes say of themselves and each other: refutations, lives, goodbyes, names; and that no word breaks it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits
from protocol.effects import Emit, Send, Spread
from protocol.events import AccusationRefuted, NameConflict, PeerAlive, PeerDead, PeerLeft, PeerMisbehaved, PeerSuspect
from protocol.membership import Membership
from protocol.presets import MembershipSettings
from protocol.replica import Heard
from protocol.wire.gossip import Alive, Confirm, Dead, Left, Suspect
from protocol.wire.swim import Ack, Ping
from tests.protocol.conversation import ANY, WALL_MS, heard, instant
from tests.protocol.views import LIFE, alive, among, dead, fails_to_answer, lives, node, probed, state

# --- refutation


def test_an_accused_node_outbids_the_accusation_and_speaks_up_until_it_is_quiet() -> None:
    talk = among("b", "c", "d")
    refuted = Emit(AccusationRefuted("b", "suspect", LIFE, 1))
    talk.hears("b", Suspect("a", LIFE, 0, "timeout")).expects_only(Spread(alive("a", 1)), refuted)
    talk.until(0.55).expects(Spread(alive("a", 1)))
    talk.until(3.0)
    assert talk.said(Alive) == []


def test_an_accused_node_outbids_its_own_death_too() -> None:
    talk = among("b", "c", "d")
    refuted = Emit(AccusationRefuted(ANY, "dead", LIFE, 5))
    dead(talk, "a", ["b", "c"], life=LIFE, incarnation=4).expects_only(Spread(alive("a", 5)), refuted)
    assert talk.machine.peer("a").incarnation == 5
    assert talk.machine.is_alive("a")


def test_an_old_accusation_is_answered_again_but_raises_nothing() -> None:
    talk = among("b", "c", "d")
    talk.hears("b", Suspect("a", LIFE, 0, "timeout"))
    talk.until(4.0).hears("c", Suspect("a", LIFE, 0, "timeout")).expects_nothing()
    talk.until(4.2).expects(Spread(alive("a", 1)))


def test_a_probe_that_carries_a_suspicion_is_answered_and_refuted() -> None:
    talk = among("b", "c")
    answer, refuted = Send(to="b", life=1, body=Ack(5, 1, ANY, ANY)), Emit(AccusationRefuted("b", "suspect", LIFE, 1))
    talk.gets("b", Ping(5, 0)).expects_only(answer, Spread(alive("a", 1)), refuted)
    talk.gets("b", Ping(6, 0)).expects_only(Send(to="b", life=1, body=Ack(6, 1, ANY, ANY)))


def test_a_suspect_that_asks_after_us_is_told_that_it_is_one() -> None:
    talk = among("b", "c", "d")
    talk.hears("c", Suspect("b", 1, 0, "timeout")).gets("b", Ack(1, 0))
    talk.gets("b", Ping(5)).expects(
        Send(to="b", life=1, body=Ack(5, 0, ANY, ANY)), Send("b", 1, Ping(ANY, 0), probe=ANY)
    )
    for number in range(6, 50):
        talk.gets("b", Ping(number))
    talk.expects_only(Send(to="b", life=1, body=Ack(49, 0, ANY, ANY)))


def test_without_the_buddy_message_a_suspect_is_asked_and_told_nothing() -> None:
    talk = node(preset=MembershipSettings(buddy=False))
    for other in ("b", "c", "d"):
        talk.hears(other, alive(other))
    talk.hears("c", Suspect("b", 1, 0, "timeout")).gets("b", Ack(1, 0))
    talk.gets("b", Ping(5)).expects(
        Send(to="b", life=1, body=Ack(5, 0, ANY, ANY)), Send("b", 1, Ping(ANY, -1), probe=ANY)
    )


def test_a_suspect_that_asks_after_us_is_not_asked_twice_at_once() -> None:
    talk = among("b", "c", "d")
    talk.hears("c", Suspect("b", 1, 0, "timeout"))
    talk.gets("b", Ping(5)).gets("b", Ping(6)).expects_only(Send(to="b", life=1, body=Ack(6, 0, ANY, ANY)))


def test_who_refutes_has_answered_whatever_it_was_asked_before() -> None:
    talk = among("b", "c", "d").hears("c", Suspect("b", 1, 0, "timeout"))
    talk.until(0.15).hears("b", alive("b", 1))
    lives(talk, 0.64, silent="b").expects_no(PeerSuspect)
    assert state(talk, "b") == "alive"


def test_who_says_that_it_lives_has_answered_and_a_suspect_that_says_nothing_new_has_not() -> None:
    talk = among("b").until(0.5)
    asked_s = talk.seconds
    assert probed(talk).to == "b"
    talk.at(0.6).hears("b", alive("b"))
    talk.until(asked_s + 0.51).expects_no(PeerSuspect)
    assert state(talk, "b") == "alive"
    talk = among("b", "c", "d").hears("c", Suspect("b", 1, 0, "timeout"))
    talk.at(0.2).hears("b", alive("b"))
    assert lives(talk, 0.6, silent="b").said(Confirm)


def test_an_accusation_of_an_earlier_life_is_answered_with_the_present_one() -> None:
    talk = among("b")
    talk.at(2.0).hears("b", Suspect("a", LIFE - 10, 3, "timeout")).expects_nothing()
    talk.until(2.1).expects(Spread(alive("a", 0)))


def test_an_accusation_of_a_life_that_never_began_is_named_as_such() -> None:
    among("b").hears("b", Suspect("a", LIFE + 10, 0, "timeout")).expects_only(
        Emit(PeerMisbehaved("b", "unknown_life", ANY))
    )


def test_a_refuted_suspect_is_alive_again_and_its_accusers_are_forgotten() -> None:
    talk = among("b", "c", "d")
    talk.hears("c", Suspect("b", 1, 0, "timeout")).hears("d", Confirm("b", 1, 0, "timeout"))
    talk.hears("b", alive("b", 1)).expects(Emit(PeerAlive("b", "b", 1, 1, "suspect", ANY)))
    assert talk.machine.peer("b").accusers == ()
    talk.hears("c", Confirm("b", 1, 0, "timeout")).expects_nothing()
    talk.until(0.4).expects_no(Dead)


def test_a_suspect_that_is_heard_of_is_asked_and_the_same_word_refutes_nothing() -> None:
    talk = among("b", "c", "d").hears("c", Suspect("b", 1, 0, "timeout")).gets("b", Ack(1, 0))
    talk.hears("b", alive("b"), is_relayed=True).expects_nothing()
    talk.hears("b", alive("b")).expects_only(Send(to="b", life=1, body=Ping(ANY, 0), probe=ANY))
    assert state(talk, "b") == "suspect"


def test_a_suspicion_at_a_higher_incarnation_begins_anew_once_the_node_has_said_it() -> None:
    talk = among("b", "c", "d", "e")
    talk.hears("c", Suspect("b", 1, 0, "absent")).hears("d", Confirm("b", 1, 0, "absent"))
    talk.at(1.9).hears("b", alive("b", 1)).hears("e", Suspect("b", 1, 1, "absent"))
    assert talk.machine.peer("b").accusers == ("e",)
    talk.until(3.0).expects_no(PeerDead)


def test_an_incarnation_that_the_node_never_said_undoes_neither_the_accusers_nor_the_time() -> None:
    talk = among("b", "c", "d", "e")
    talk.hears("c", Suspect("b", 1, 0, "timeout")).hears("d", Confirm("b", 1, 0, "timeout"))
    for step in range(1, 40):
        talk.at(step / 2).hears("e", Suspect("b", 1, 2 * step, "timeout"))
        talk.hears("e", Dead("b", 1, 2 * step + 1, "timeout", ()))
        assert {"c", "d", "e"} <= set(talk.machine.peer("b").accusers)
        if lives(talk, step / 2 + 0.4, silent="b").said(PeerDead):
            return
    raise AssertionError(f"one liar keeps it alive\n{talk}")


def test_an_accuser_of_an_incarnation_that_is_not_known_here_proves_nothing_to_others() -> None:
    talk = among("b", "c", "d", "e")
    talk.hears("c", Suspect("b", 1, 5, "absent")).hears("d", Confirm("b", 1, 0, "absent"))
    (said,) = lives(talk, 6.0, silent="b").said(Dead)
    assert said.incarnation == 0
    assert said.accusations == (heard("d", Confirm("b", 1, 0, "absent")).frame,)


def test_one_liar_beside_one_who_is_mistaken_leaves_a_suspect_its_time() -> None:
    talk = among("b", "c", "d", "e").hears("c", Suspect("b", 1, 0, "timeout"))
    dead(talk.at(0.5), "b", ["e", "c"]).expects_no(PeerDead)
    lives(talk, 4.5, silent="b").expects_no(PeerDead)
    talk.hears("b", alive("b", 1))
    assert state(talk, "b") == "alive"


# --- deaths of those who are not known here


def test_one_accuser_buries_nobody_who_is_not_known_here_and_its_own_word_lives() -> None:
    talk = dead(among("c", "d", "e"), "b", ["c"], incarnation=1_000)
    assert state(talk, "b") == "suspect"
    talk.hears("b", alive("b", 1))
    assert state(talk, "b") == "alive"


def test_one_accuser_buries_no_new_life_of_who_is_gone() -> None:
    talk = dead(among("b", "c", "d", "e").hears("b", Left(0)), "b", ["c"], life=2)
    assert state(talk, "b") == "suspect"
    talk.hears("b", alive("b", 1), life=2)
    assert state(talk, "b") == "alive"


def test_two_accusers_bury_who_is_not_known_here() -> None:
    talk = dead(among("c", "d", "e"), "b", ["c", "d"])
    assert talk.machine.peer("b") is None
    talk.hears("b", alive("b"), is_relayed=True).expects_no(PeerAlive)


def test_an_old_word_of_who_is_long_forgotten_brings_it_back_by_no_accusation() -> None:
    talk = among("c", "d", "e").at(86_400.0 + 1)
    old = heard("b", alive("b"), life=1, at=0.0)
    talk.hears("c", Dead("b", 1, 0, "timeout", ()), accusations=(old,))
    assert state(talk, "b") == ""


def test_a_known_incarnation_is_no_news_and_an_older_one_neither() -> None:
    talk = among("b")
    talk.hears("b", alive("b", 3))
    talk.hears("b", alive("b", 3)).expects_nothing()
    talk.hears("b", alive("b", 2)).expects_nothing()
    assert talk.machine.peer("b").incarnation == 3


def test_who_was_accused_far_ahead_while_we_could_not_hear_it_is_believed_all_the_same() -> None:
    far = 3 * limits.INCARNATION_JUMP_MAX  # it has outbid three such accusations
    talk = among("b", "c", "d")
    talk.hears("b", alive("b", far))
    assert talk.machine.peer("b").incarnation == far
    talk.hears("c", Suspect("b", 1, far, "timeout")).hears("d", Confirm("b", 1, far, "timeout"))
    assert state(talk, "b") == "suspect"
    talk.hears("b", alive("b", 2 * far))
    assert state(talk, "b") == "alive"


def test_a_forged_incarnation_is_bounded() -> None:
    far = limits.INCARNATION_JUMP_MAX
    talk = among("b", "c", "d")
    talk.hears("c", Suspect("b", 1, far, "timeout")).expects_only(Emit(PeerMisbehaved("c", "incarnation_jump", ANY)))
    talk.hears("c", Suspect("a", LIFE, far, "timeout")).expects_only(Emit(PeerMisbehaved("c", "incarnation_jump", ANY)))
    dead(talk, "b", ["c", "d"], incarnation=far, last=far).expects_only(
        Emit(PeerMisbehaved("c", "incarnation_jump", ANY))
    )
    assert state(talk, "b") == "alive"
    assert talk.machine.peer("a").incarnation == 0


def test_what_can_be_claimed_of_us_can_be_outbid() -> None:
    far = limits.INCARNATION_JUMP_MAX
    talk = among("b")
    refuted = Emit(AccusationRefuted("b", "suspect", LIFE, far))
    talk.hears("b", Suspect("a", LIFE, far - 1, "timeout")).expects_only(Spread(alive("a", far)), refuted)


# --- lives


def test_a_new_life_wins_at_once_whatever_the_incarnations() -> None:
    talk = among("b", "c", "d")
    talk.hears("b", alive("b", 100))
    talk.hears("b", alive("b", 0), life=2).expects(Emit(PeerAlive("b", "b", 2, 0, ANY, ANY, True)))
    assert talk.machine.life_of("b") == 2
    talk.hears("b", alive("b", 200)).expects_nothing()
    talk.hears("c", Suspect("b", 1, 200, "timeout")).expects_nothing()


def test_a_new_life_wins_over_a_tombstone() -> None:
    talk = among("b", "c").hears("c", Suspect("b", 1, 100, "timeout"))
    dead(talk.at(5.0), "b", ["c", "a"], incarnation=100, last=100)
    assert state(talk, "b") == "dead"
    talk.hears("b", alive("b", 0), life=2).expects(Emit(PeerAlive("b", "b", 2, 0, ANY, ANY, True)))


def test_a_probe_of_the_former_life_says_nothing_about_the_new_one() -> None:
    talk = among("b")
    talk.until(0.5)
    ping = probed(talk)
    talk.hears("b", alive("b"), life=2).do("on_absent", ping.probe).expects_nothing()
    assert state(talk, "b") == "alive"


def test_a_life_a_year_ahead_is_the_fault_of_a_clock_and_taken_for_what_it_is() -> None:
    talk = node()
    year = WALL_MS + 365 * 86_400_000
    talk.hears("b", alive("b"), life=year).expects(Emit(PeerAlive("b", "b", year, 0)))
    talk.hears("b", alive("b"), life=WALL_MS).expects_nothing()
    talk.hears("b", alive("b"), life=year + 1).expects(Emit(PeerAlive("b", "b", year + 1, 0, "alive", ANY, True)))


def test_our_own_former_life_is_never_listed_nor_probed() -> None:
    talk = node()
    talk.hears("a", alive("a"), life=LIFE - 100).expects_nothing()
    assert [peer.id for peer in talk.machine.snapshot()] == ["a"]
    talk.until(30.0).expects_no(Ping)


# --- leaving


def test_who_says_goodbye_while_it_is_suspect_is_told_as_such_for_its_suspicion_ends_with_it() -> None:
    talk = lives(among("b", "c"), 3.0, silent="b")
    assert talk.machine.suspects() == ("b",)
    talk.hears("b", Left(0)).expects(Emit(PeerLeft("b", "b", 1, was="suspect")))


def test_a_goodbye_is_final_at_once_for_that_life() -> None:
    talk = among("b", "c")
    talk.hears("b", Left(0)).expects_only(Emit(PeerLeft("b", "b", 1)))
    assert state(talk, "b") == "left"
    talk.hears("b", alive("b", 7)).expects_nothing()
    talk.hears("c", Suspect("b", 1, 0, "timeout")).expects_nothing()
    dead(talk, "b", ["c", "d"]).expects_nothing()
    talk.hears("b", alive("b"), life=2).expects(Emit(PeerAlive("b", "b", 2, 0, ANY, ANY, True)))


def test_who_left_is_not_probed_any_more() -> None:
    talk = among("b")
    talk.hears("b", Left(0)).until(20.0).expects_no(Ping)


def test_a_node_that_left_is_silent_and_refutes_nothing() -> None:
    talk = among("b")
    talk.do("leave").expects_only(Spread(Left(0, b"")))
    talk.do("leave").expects_nothing()
    talk.hears("b", Suspect("a", LIFE, 0, "timeout")).expects_nothing()
    talk.gets("b", Ping(1)).expects_nothing()
    talk.at(100.0).tick().expects_nothing()
    assert talk.machine.next_deadline() is None
    assert talk.machine.alive() == ["b"]


def test_the_gone_are_remembered_for_a_day_and_then_forgotten() -> None:
    talk = among("b")
    talk.hears("b", Left(0))
    talk.at(80_000.0).tick()
    assert state(talk, "b") == "left"
    talk.at(86_500.0).tick()
    assert talk.machine.peer("b") is None


def test_tombstones_are_bounded_and_the_oldest_go_first() -> None:
    talk = node()
    for index in range(limits.TOMBSTONES_MAX + 10):
        talk.machine.on_fact(heard(f"n{index:04}", alive(f"n{index:04}")), talk.now)
        talk.machine.on_fact(heard(f"n{index:04}", Left(0)), talk.now)
    gone = [peer.id for peer in talk.machine.snapshot() if peer.state == "left"]
    assert len(gone) == limits.TOMBSTONES_MAX
    assert gone[0] == "n0010"


# --- names


def test_two_nodes_of_one_name_are_told_apart_by_their_ids_until_one_goes() -> None:
    talk = node()
    talk.hears("b1234567890", alive("twin")).hears("c1234567890", alive("twin", 9))
    talk.expects(Emit(NameConflict("twin", "b1234567890", "c1234567890")))
    shown = {peer.id: peer.name for peer in talk.machine.snapshot()}
    assert shown["b1234567890"] == "twin#b1234567"
    assert shown["c1234567890"] == "twin#c1234567"
    talk.hears("b1234567890", Left(0))
    assert talk.machine.peer("c1234567890").name == "twin"


def test_a_conflict_of_names_is_said_once_and_again_when_the_second_comes_back() -> None:
    talk = node().hears("b", alive("twin")).hears("c", alive("twin")).hears("d", alive("d"))
    talk.hears("d", Suspect("c", 1, 0, "timeout")).hears("c", alive("twin", 1)).expects_no(NameConflict)
    talk.hears("c", alive("twin"), life=2).expects_no(NameConflict)
    talk.hears("c", Left(0), life=2).hears("c", alive("twin"), life=3).expects(Emit(NameConflict("twin", "b", "c")))


def test_of_a_newcomer_and_who_bore_its_name_before_it_began_the_newcomer_is_the_second_for_itself_too() -> None:
    talk = node().hears("b", alive("a"), life=LIFE - 1)
    talk.expects(Emit(NameConflict("a", "b", "a")))
    talk.hears("c", alive("a"), life=LIFE + 1).expects(Emit(NameConflict("a", "b", "c")))
    talk.hears("b", alive("a", 1), life=LIFE - 1).expects_no(NameConflict)


def test_our_own_name_stays_ours_when_another_comes_to_bear_it() -> None:
    talk = node().at(40.0).hears("b", alive("a")).expects(Emit(NameConflict("a", "a", "b")))
    assert [peer.name for peer in talk.machine.snapshot()] == ["a", "a#b"]
    assert talk.machine.peer("a").name == "a"
    talk.hears("b", alive("b", 1))
    assert [peer.name for peer in talk.machine.snapshot()] == ["a", "b"]


# --- totality and laws

NODES = st.sampled_from("abcd")
NUMBERS = st.one_of(st.integers(-2, 3), st.sampled_from([LIFE, 1 << 20, 1 << 53, 1 << 63]))
EVIDENCE = st.sampled_from(["timeout", "absent", "?"])
FACTS = st.one_of(
    st.builds(Alive, NUMBERS, NODES, st.just("r"), st.just(""), st.just(b""), st.booleans()),
    st.builds(Suspect, NODES, NUMBERS, NUMBERS, EVIDENCE),
    st.builds(Confirm, NODES, NUMBERS, NUMBERS, EVIDENCE),
    st.builds(Left, NUMBERS),
    st.builds(Dead, NODES, NUMBERS, NUMBERS, EVIDENCE, st.just(())),
)
STEPS = st.one_of(
    st.tuples(st.just("fact"), NODES, NUMBERS, FACTS, st.lists(st.tuples(NODES, NUMBERS, FACTS), max_size=3)),
    st.tuples(st.just("ping"), NODES, NUMBERS, st.builds(Ping, NUMBERS, NUMBERS)),
    st.tuples(st.just("ack"), NODES, NUMBERS, st.builds(Ack, st.integers(0, 9), NUMBERS)),
    st.tuples(st.just("absent"), st.integers(0, 9)),
    st.tuples(st.just("link"), st.booleans()),
    st.tuples(st.just("lag"), st.integers(0, 20_000)),
    st.tuples(st.just("tick")),
)


def take(machine: Membership, step: Any, seconds: float) -> None:
    now = instant(seconds)
    match step:
        case ("fact", src, life, body, carried):
            proof: tuple[Heard, ...] = tuple(heard(each, fact, life=begun) for each, begun, fact in carried)
            machine.on_fact(heard(src, body, life=life), now, proof)
        case ("ping" | "ack", src, life, body):
            machine.on_message(src, life, body, now)
        case ("absent", number):
            machine.on_absent(number, now)
        case ("link", is_up):
            machine.on_link(is_up=is_up, now=now)
        case ("lag", late_ms):
            machine.on_lag(late_ms, now)
        case _:
            machine.on_tick(now)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(STEPS, st.floats(0.0, 3.0)), max_size=60), st.integers(0, 5))
def test_whatever_is_said_no_incarnation_goes_down_and_the_readers_agree(steps: Any, seed: int) -> None:
    talk = node(seed=seed)
    machine, seconds = talk.machine, 0.0
    seen: dict[str, tuple[int, int]] = {}
    for step, pause_s in steps:
        seconds += pause_s
        take(machine, step, seconds)
        peers = machine.snapshot()
        for peer in peers:
            standing = (peer.life, peer.incarnation)
            assert standing >= seen.get(peer.id, standing) or peer.state == "left"
            seen[peer.id] = standing
        living = [peer for peer in peers if peer.state in ("alive", "suspect")]
        assert machine.alive() == sorted(peer.id for peer in peers if peer.state == "alive")
        assert {peer.id: peer.life for peer in living} == {peer.id: machine.life_of(peer.id) for peer in living}
        assert len({peer.name for peer in living}) == len(living)


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_in_which_a_nodes_own_words_arrive_does_not_matter(order: list[int]) -> None:
    words = [
        (1, alive("b", 0)),
        (1, alive("b", 4)),
        (1, Left(4)),
        (2, alive("b", 0)),
        (2, alive("b", 1)),
        (2, alive("b", 2)),
    ]
    talk = node()
    for index in order:
        life, body = words[index]
        talk.hears("b", body, life=life)
    peer = talk.machine.peer("b")
    assert (peer.life, peer.incarnation, peer.state) == (2, 2, "alive")


# --- what is told of it


def test_a_suspicion_says_who_accuses_of_what_how_long_it_was_silent_and_how_well_we_were() -> None:
    talk = fails_to_answer(lives(among("b", "c", "d", "e"), 2.5), "b", evidence="timeout")
    (said,) = talk.said(PeerSuspect)
    assert (said.accuser, said.evidence, said.incarnation) == ("a", "timeout", 0)
    assert said.unheard_s is not None
    assert 0.5 <= said.unheard_s <= 5.0
    assert said.health == 1  # an unanswered probe may be our own fault


def test_who_comes_back_is_told_with_what_it_was_for_how_long_and_whether_it_started_again() -> None:
    talk = among("b", "c", "d").hears("c", Suspect("b", 1, 0, "timeout")).at(2.0)
    talk.hears("b", alive("b", 1)).expects(Emit(PeerAlive("b", "b", 1, 1, "suspect", 2.0)))
    dead(talk.hears("c", Suspect("b", 1, 1, "timeout")).at(7.0), "b", ["c", "d"], incarnation=1, last=1)
    talk.at(10.0).hears("b", alive("b", 2)).expects(Emit(PeerAlive("b", "b", 1, 2, "dead", 3.0)))
    talk.at(11.0).hears("b", alive("b"), life=2).expects(Emit(PeerAlive("b", "b", 2, 0, "alive", 1.0, True)))
    talk.at(12.0).hears("b", Left(0), life=2)
    talk.at(14.0).hears("b", alive("b"), life=3).expects(Emit(PeerAlive("b", "b", 3, 0, "left", 2.0, True)))


def test_a_death_says_how_long_we_had_not_heard_of_it_and_nothing_when_we_never_did() -> None:
    doubt = Suspect("b", 1, 0, "timeout")
    talk = among("b", "c", "d").at(3.0)
    dead(talk.hears("c", doubt).at(8.0), "b", ["c", "d"])
    assert talk.said(PeerDead)[0].unheard_s == 8.0
    talk = node().hears("c", alive("c")).hears("d", alive("d")).hears("b", alive("b"), is_relayed=True)
    dead(talk.hears("c", doubt).at(5.0), "b", ["c", "d"])
    assert talk.said(PeerDead)[0].unheard_s is None
