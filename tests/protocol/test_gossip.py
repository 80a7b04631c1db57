"""Gossip as conversations: what is kept, repeated, answered and mended, and what is not."""

from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from protocol import limits
from protocol.effects import Emit, Send, Spread
from protocol.events import PeerMisbehaved
from protocol.gossip import Gossip
from protocol.ids import rendezvous
from protocol.replica import BUCKETS, Me
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, Capabilities, Confirm, Dead, Delta, Digest, Left, Load, Row, Suspect
from tests.protocol.conversation import ANY, Script, heard, script

CARD = Card("x", ("do@1",), 2)


def alive(name: str, incarnation: int = 0, *, is_fresh: bool = False) -> Alive:
    return Alive(incarnation, name, "r", "", b"", is_fresh)


def node(name: str = "a", *, seed: int = 7) -> Script:
    """A node that has just said hello."""
    talk = script(Gossip(me=Me(id=name, life=1, name=name, region="r", domain=""), rng=Random(seed)))
    return talk.do("keep_own", heard(name, alive(name)))


def among(*others: str, name: str = "a") -> Script:
    talk = node(name)
    for other in others:
        talk.hears(other, alive(other, is_fresh=True))
    return talk


def keeps(talk: Script, body: Any) -> bool:
    return any(str(body).encode() in frame for frame in talk.machine.facts.frames())


def is_news(talk: Script) -> bool:
    return bool(talk.is_news)


def deltas(talk: Script) -> list[bytes]:
    return [frame for body in talk.said(Delta) for frame in body.facts]


# --- own facts


def test_an_own_fact_is_sent_once_more_as_it_was_sealed() -> None:
    talk = node().until(0.9).expects_nothing()
    first = heard("a", alive("a"))
    talk.until(1.1).expects_only(Spread(alive("a"), first.subject, first.frame))
    talk.until(4.0).expects_nothing()


def test_an_own_accusation_is_repeated_but_not_kept() -> None:
    talk = node().until(2.0)
    body = Suspect("b", 1, 0, "timeout")
    said = heard("a", body)
    talk.do("keep_own", said)
    assert not keeps(talk, body)
    talk.until(3.1).expects_only(Spread(body, said.subject, said.frame))


def test_an_own_accusation_that_was_answered_is_not_repeated() -> None:
    talk = among("b").until(2.0)
    talk.do("keep_own", heard("a", Suspect("b", 1, 0, "timeout")))
    talk.hears("b", alive("b", 1)).until(3.1).expects_no(Spread)


def test_an_own_declaration_of_death_is_kept_and_relayed() -> None:
    talk = among("b")
    body = Dead("b", 1, 0, "timeout", ())
    talk.do("keep_own", heard("a", body))
    assert keeps(talk, body)
    assert not keeps(talk, alive("b", is_fresh=True))


def test_after_our_goodbye_only_the_goodbye_is_said() -> None:
    talk = among("b").until(2.0)
    bye = heard("a", Left(0), at=2.0)
    talk.do("keep_own", bye)
    talk.until(60.0).expects_only(Spread(Left(0), bye.subject, bye.frame))
    talk.do("on_digest", "b", 1, Digest(1, buckets=(1,) * BUCKETS)).expects_nothing()
    talk.hears("c", alive("c", is_fresh=True)).expects_nothing()


# --- what is news


def test_a_fact_is_news_once_and_an_older_one_never() -> None:
    talk = among("b")
    for version, expected in ((2, True), (2, False), (1, False), (3, True)):
        talk.hears("b", Capabilities(version, (CARD,)))
        assert is_news(talk) == expected
    assert keeps(talk, Capabilities(3, (CARD,)))
    assert not keeps(talk, Capabilities(2, (CARD,)))


def test_abilities_count_only_for_the_life_that_is_known_and_a_strange_one_is_a_sign_of_a_gap() -> None:
    talk = among("b").until(4.9)
    talk.hears("b", Load(1, (), 0, 0), life=2)
    assert not is_news(talk)
    talk.until(6.0).expects(Send(to="b", life=1, body=Digest(ANY, buckets=ANY)))
    talk.hears("b", alive("b"), life=2).hears("b", Load(1, (), 0, 0), life=2)
    assert is_news(talk)
    talk.hears("b", Load(9, (), 0, 0), life=1)
    assert not is_news(talk)


def test_a_new_life_forgets_what_the_former_could_do() -> None:
    talk = among("b").hears("b", Capabilities(1, (CARD,))).hears("b", alive("b"), life=2)
    assert not keeps(talk, Capabilities(1, (CARD,)))


def test_the_gone_can_do_nothing_but_their_tombstone_stays() -> None:
    talk = among("b", "c").hears("b", Capabilities(1, (CARD,))).hears("b", Load(1, (), 0, 0))
    talk.hears("b", Left(0))
    assert is_news(talk)
    assert keeps(talk, Left(0))
    assert not keeps(talk, Capabilities(1, (CARD,)))
    assert not keeps(talk, Load(1, (), 0, 0))
    talk.hears("b", Load(2, (), 0, 0))
    assert not is_news(talk)
    talk.hears("b", alive("b", 5))
    assert not is_news(talk)


def test_a_death_is_news_but_kept_only_once_membership_believes_it() -> None:
    talk = among("b", "c")
    death = heard("c", Dead("b", 1, 0, "timeout", ()))
    talk.do("on_fact", death)
    assert is_news(talk)
    assert not keeps(talk, death.body)
    talk.do("keep", death)
    assert keeps(talk, death.body)
    talk.do("on_fact", death)
    assert not is_news(talk)


def test_the_same_word_said_again_is_a_sign_of_life_and_keeps_the_frame_young() -> None:
    talk = among("b")
    talk.at(30.0).hears("b", alive("b", is_fresh=True), seq=2, is_relayed=True)
    assert not is_news(talk)
    talk.at(60.0).hears("b", alive("b", is_fresh=True), seq=2)
    assert is_news(talk)
    talk.do("on_fact", heard("b", alive("b", is_fresh=True), at=30.0, seq=3))
    (frame,) = [frame for frame in talk.machine.facts.frames() if frame.startswith(b"b/")]
    assert frame.endswith(b"#2")


def test_a_word_dated_ahead_by_a_clock_that_is_right_again_gives_way_to_todays() -> None:
    talk = among("b")
    talk.at(30.0).do("on_fact", heard("b", alive("b"), at=10_000.0, seq=2))
    talk.at(31.0).do("on_fact", heard("b", alive("b"), at=31.0, seq=3, is_relayed=True))
    talk.at(32.0).do("on_fact", heard("b", alive("b"), at=32.0, seq=4))
    (frame,) = [frame for frame in talk.machine.facts.frames() if frame.startswith(b"b/")]
    assert frame.endswith(b"#4")


def test_a_relayed_alive_that_is_older_than_tombstones_get_cannot_bring_anybody_back() -> None:
    talk = node().at(86_500.0)
    talk.do("on_fact", heard("b", alive("b"), at=0.0, is_relayed=True))
    assert not is_news(talk)


def test_tombstones_go_after_a_day_and_are_not_taken_back_from_others() -> None:
    talk = among("b")
    bye = heard("b", Left(0))
    talk.do("on_fact", bye)
    talk.at(86_000.0).tick()
    assert keeps(talk, Left(0))
    talk.at(86_500.0).tick()
    assert not keeps(talk, Left(0))
    talk.do("on_fact", structs.replace(bye, is_relayed=True))
    assert not is_news(talk)


def test_tombstones_go_after_the_time_that_was_set() -> None:
    talk = script(Gossip(me=Me(id="a", life=1, name="a", region="r", domain=""), rng=Random(7), tombstone_s=600.0))
    talk.do("keep_own", heard("a", alive("a"))).hears("b", alive("b", is_fresh=True))
    talk.do("on_fact", heard("b", Left(0)))
    talk.at(500.0).tick()
    assert keeps(talk, Left(0))
    talk.at(700.0).tick()
    assert not keeps(talk, Left(0))


def test_tombstones_and_members_are_bounded() -> None:
    talk = node()
    machine, now = talk.machine, talk.now
    for index in range(limits.TOMBSTONES_MAX + 5):
        machine.on_fact(heard(f"n{index:04}", alive(f"n{index:04}"), is_relayed=True), now)
        machine.on_fact(heard(f"n{index:04}", Left(0)), now)
    assert len(machine.facts.frames()) == limits.TOMBSTONES_MAX + 1
    for index in range(limits.PEERS_MAX + 5):
        machine.on_fact(heard(f"m{index:04}", alive(f"m{index:04}"), is_relayed=True), now)
    assert len(machine.facts.frames()) == limits.TOMBSTONES_MAX + 1 + limits.PEERS_MAX


def test_our_own_echo_and_what_no_honest_node_says_have_no_effect() -> None:
    talk = among("b")
    talk.hears("a", alive("a", 9)).expects_nothing()
    assert not is_news(talk)
    talk.hears("b", alive("b", -1)).expects_only(Emit(PeerMisbehaved("b", "bad_incarnation")))
    assert not is_news(talk)
    big = structs.replace(heard("b", Capabilities(1, (CARD,))), frame=bytes(limits.FACT_BYTES_MAX + 1))
    talk.do("on_fact", big).expects_only(Emit(PeerMisbehaved("b", "fact_too_large")))


# --- answering what everybody hears


def test_three_of_all_welcome_a_newcomer_and_send_it_what_they_know() -> None:
    names = [f"n{index}" for index in range(10)]
    welcoming = []
    for name in names:
        talk = among(*(each for each in names if each != name), name=name)
        talk.hears("n1" if name != "n1" else "n2", Capabilities(1, (CARD,)))
        talk.hears("new", alive("new", is_fresh=True), life=5)
        assert is_news(talk)
        if talk.effects:
            welcoming.append(name)
            talk.expects(Spread(alive(name)), Send(to="new", life=5, body=Delta(ANY, ANY)))
            assert len(deltas(talk)) == 11
            assert not any(frame.startswith(b"new/") for frame in deltas(talk))
    assert sorted(welcoming) == sorted(sorted(names, key=partial(rendezvous, salt="welcome new"))[:3])


def test_the_first_two_nodes_find_each_other_by_one_hello() -> None:
    node().hears("b", alive("b", is_fresh=True)).expects(Spread(alive("a")), Send(to="b", life=1, body=Delta(ANY, ANY)))


def test_a_newcomer_that_says_hello_again_and_again_is_answered_now_and_then() -> None:
    talk = node()
    answered = 0
    for index in range(100):
        talk.at(index * 0.01).hears("b", alive("b", index, is_fresh=True))
        answered += talk.effects != []
    assert 1 <= answered <= 4


@pytest.mark.parametrize("why", ["meet", "tell"])
def test_three_of_all_answer_what_everybody_hears(why: str) -> None:
    names = [f"n{index}" for index in range(10)]
    answering = []
    for name in names:
        talk = among(*(each for each in names if each != name), name=name)
        if why == "tell":
            talk.do("keep", heard("n0", Dead("x", 1, 5, "timeout", ())))
        talk.at(1.0).hears("x", alive("x", 4))
        if talk.effects:
            answering.append(name)
    assert sorted(answering) == sorted(sorted(names, key=partial(rendezvous, salt=f"{why} x"))[:3])


def test_whoever_was_there_all_along_but_not_for_us_is_compared_with() -> None:
    talk = among("b").hears("c", alive("c", 4))
    talk.expects_only(Spread(alive("a")), Send(to="c", life=1, body=Digest(ANY, buckets=ANY)))


def test_of_two_that_meet_again_and_ask_each_other_at_once_both_are_answered() -> None:
    talk = among("b").at(1.0).hears("c", alive("c", 4)).do("on_digest", "c", 1, Digest(1, buckets=(1,) * BUCKETS))
    talk.expects_only(Send(to="c", life=1, body=ANY))
    talk.do("on_digest", "c", 1, Digest(2, buckets=(1,) * BUCKETS)).expects_nothing()


def test_an_alive_fact_that_is_buried_here_is_answered_with_its_tombstone() -> None:
    talk = among("b")
    death = heard("c", Dead("b", 1, 3, "timeout", ()))
    talk.do("keep", death).at(7.0).hears("b", alive("b", 3))
    assert not is_news(talk)
    talk.expects_only(Send(to="b", life=1, body=Delta(ANY, (death.frame,))))
    talk.hears("b", alive("b", 4))
    assert is_news(talk)
    assert not keeps(talk, death.body)


def test_who_accuses_somebody_that_left_is_told_so() -> None:
    talk = among("b", "c").hears("b", Left(0))
    talk.hears("c", Suspect("b", 1, 0, "timeout"))
    talk.expects_only(Send(to="c", life=1, body=Delta(ANY, (heard("b", Left(0)).frame,))))
    talk.hears("c", Confirm("b", 2, 0, "timeout")).expects_nothing()


# --- digests


def test_now_and_then_one_other_is_compared_with() -> None:
    talk = among("b", "c", "d").until(3.0)
    talk.until(303.0)
    asked = [each.to for each in talk.effects if isinstance(each, Send)]
    assert 20 <= len(asked) <= 45
    assert set(asked) == {"b", "c", "d"}


def test_equal_digests_end_the_exchange() -> None:
    talk = among("b").at(1.0)
    talk.do("on_digest", "b", 1, Digest(1, buckets=talk.machine.facts.hashes())).expects_nothing()
    talk.at(2.0).do("on_digest", "b", 1, Digest(2, buckets=(0,) * BUCKETS)).expects_no(Delta)
    assert talk.machine.compared == {"asked": 0, "same": 1, "other": 1}


def exchange(one: Script, other: Script) -> list[Digest | Delta]:
    """One node begins to compare with the other; all messages until nothing is left to say."""
    one.do("on_gap", node=other.machine._me.id).until(one.seconds + 1.5)
    messages: list[Digest | Delta] = []
    queue = [(one, other, each) for each in one.effects if isinstance(each, Send)]
    while queue:
        source, target, send = queue.pop(0)
        body = send.body
        assert isinstance(body, Digest | Delta)
        messages.append(body)
        if isinstance(body, Digest):
            target.do("on_digest", source.machine._me.id, 1, body)
            queue += [(target, source, each) for each in target.effects if isinstance(each, Send)]
        else:
            known = {fact.frame: fact for fact in FACTS}
            for frame in body.facts:
                target.do("on_fact", structs.replace(known[frame], is_relayed=True))
    return messages


FACTS = [heard(name, alive(name, is_fresh=True)) for name in "abcdefgh"]
FACTS += [heard(name, alive(name)) for name in "abcdefgh"]
FACTS += [heard(name, Capabilities(version, (CARD,))) for name in "abcdefgh" for version in range(4)]
FACTS += [heard(name, Left(0)) for name in "gh"]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(16, len(FACTS) - 1)), st.sets(st.integers(16, len(FACTS) - 1)))
def test_one_exchange_leaves_both_with_the_newest_of_everything(some: set[int], others: set[int]) -> None:
    def knowing(name: str, chosen: set[int]) -> Script:
        talk = among(*(each for each in "abcdef" if each != name), name=name)
        talk.do("keep_own", FACTS[8 + "ab".index(name)])
        for index in sorted(chosen):
            if FACTS[index].src != name:
                talk.do("on_fact", FACTS[index])
        return talk.until(3.0)

    one, other = knowing("a", some), knowing("b", others)
    messages = exchange(one, other)
    # What each knows of itself is its own to tell; of the rest both know the same.
    rest_one = {frame for frame in one.machine.facts.frames() if frame[:1] not in b"ab"}
    rest_other = {frame for frame in other.machine.facts.frames() if frame[:1] not in b"ab"}
    assert rest_one == rest_other
    assert len(messages) <= 6


def test_only_what_differs_travels() -> None:
    one, other = among("b", "c", "d", name="a"), among("a", "c", "d", name="b")
    for talk in (one, other):
        talk.hears("c", Capabilities(1, (CARD,)))
    other.hears("d", Capabilities(1, (CARD,)))
    messages = exchange(one.until(3.0), other.until(3.0))
    frames = [frame for body in messages if isinstance(body, Delta) for frame in body.facts]
    assert frames == [heard("d", Capabilities(1, (CARD,))).frame]


def test_a_fine_digest_is_bounded_and_says_when_there_is_more() -> None:
    talk = node()
    for index in range(limits.ROWS_PER_DIGEST_MAX + 400):
        talk.machine.on_fact(heard(f"n{index:04}", alive(f"n{index:04}"), is_relayed=True), talk.now)
    talk.do("on_digest", "n0001", 1, Digest(1, buckets=(1,) * BUCKETS))
    (fine,) = talk.said(Digest)
    assert 0 < len(fine.rows) <= limits.ROWS_PER_DIGEST_MAX
    assert fine.more
    assert len(fine.scope) < BUCKETS


def test_more_to_come_is_asked_for_soon() -> None:
    talk = among("b", "c").until(3.0)
    talk.do("on_digest", "b", 1, Digest(1, scope=(), rows=(), more=True))
    talk.until(4.1).expects(Send(to="b", life=1, body=Digest(ANY, buckets=ANY)))


@pytest.mark.parametrize("buckets", [(1,), (1,) * 63, (1,) * 65])
def test_a_digest_of_another_shape_is_named_and_ignored(buckets: tuple[int, ...]) -> None:
    talk = among("b").do("on_digest", "b", 1, Digest(1, buckets=buckets))
    talk.expects_only(Emit(PeerMisbehaved("b", "bad_digest")))


def test_who_compares_too_often_is_answered_now_and_then() -> None:
    talk = among("b").at(3.0)
    answers = 0
    for index in range(100):
        talk.at(3.0 + index * 0.01).do("on_digest", "b", 1, Digest(index, buckets=(1,) * BUCKETS))
        answers += talk.effects != []
    assert answers <= 4


# --- the link


def test_while_the_link_is_down_nothing_is_sent_and_nothing_piles_up() -> None:
    talk = among("b").do("keep_own", heard("a", Suspect("b", 1, 0, "timeout"))).do("on_link", is_up=False)
    assert talk.machine.next_deadline() is None
    talk.at(600.0).tick().expects_nothing()
    talk.do("on_link", is_up=True).until(602.0).expects_no(Suspect)


def test_when_the_link_is_back_we_compare_and_say_again_what_we_can_do() -> None:
    talk = among("b").do("keep_own", heard("a", Capabilities(3, (CARD,)))).until(4.0)
    talk.do("on_link", is_up=False).at(600.0).do("on_link", is_up=True).until(601.1)
    assert talk.said(Capabilities) == [Capabilities(3, (CARD,))]
    assert [type(body) for body in talk.said(Digest)] == [Digest]


def test_who_was_buried_by_mistake_says_again_what_it_can_do() -> None:
    talk = among("b").do("keep_own", heard("a", Capabilities(3, (CARD,)))).until(4.0)
    talk.hears("b", Dead("a", 1, 0, "timeout", ()))
    assert is_news(talk)
    talk.until(5.1)
    assert talk.said(Capabilities) == [Capabilities(3, (CARD,))]


def test_whom_somebody_buried_who_then_heard_it_live_says_again_what_it_can_do_for_all() -> None:
    talk = among("b").do("keep_own", heard("a", Capabilities(3, (CARD,)))).until(4.0)
    heard_of = Digest(1, rows=(Row("a", "capabilities", 0, 0),))  # it raised its incarnation before it heard of that
    talk.do("on_digest", "b", 1, heard_of).expects(Send(to="b", life=1, body=ANY))
    talk.at(4.6).do("on_digest", "b", 1, heard_of).until(5.1)
    assert talk.said(Capabilities) == [Capabilities(3, (CARD,))]
    talk.do("on_digest", "b", 1, Digest(2, rows=(Row("a", "capabilities", 1, 3),))).until(6.9)
    assert talk.said(Capabilities) == []


# --- totality

NODES = st.sampled_from("abcd")
NUMBERS = st.one_of(st.integers(-2, 3), st.sampled_from([1 << 20, 1 << 53, (1 << 63) - 1]))
BODIES = st.one_of(
    st.builds(Alive, NUMBERS, NODES, st.just("r"), st.just(""), st.just(b""), st.booleans()),
    st.builds(Suspect, NODES, NUMBERS, NUMBERS, st.just("timeout")),
    st.builds(Dead, NODES, NUMBERS, NUMBERS, st.just("absent"), st.just(())),
    st.builds(Left, NUMBERS),
    st.builds(Capabilities, NUMBERS, st.lists(st.just(CARD), max_size=2).map(tuple)),
    st.builds(Load, NUMBERS, st.just((("x", 1),)), NUMBERS, NUMBERS),
)
ROWS = st.lists(st.builds(Row, NODES, st.sampled_from(["standing", "load", "?"]), NUMBERS, NUMBERS), max_size=5)
SCOPES = st.lists(st.integers(0, BUCKETS - 1), max_size=9).map(tuple)  # all others are no body
DIGESTS = st.one_of(
    st.builds(Digest, NUMBERS, st.lists(NUMBERS, max_size=70).map(tuple)),
    st.builds(Digest, NUMBERS, st.just(()), SCOPES, ROWS.map(tuple), st.booleans()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.tuples(NODES, NUMBERS, BODIES, st.booleans()), st.tuples(NODES, DIGESTS)), max_size=40))
def test_whatever_is_said_the_digest_stays_true_to_the_facts(said: list[Any]) -> None:
    talk = node()
    for index, step in enumerate(said):
        talk.at(index * 0.3)
        match step:
            case (src, life, body, is_relayed):
                talk.hears(src, body, life=life, is_relayed=is_relayed)
                if isinstance(body, Dead) and talk.is_news:
                    talk.do("keep", heard(src, body, life=life))
            case (src, digest):
                talk.do("on_digest", src, 1, digest)
        talk.tick()
        replica = talk.machine.facts.replica
        again = type(replica)()
        for about, slot, entry in replica.entries():
            again.put((about, slot), entry)
        assert again.hashes() == talk.machine.facts.hashes()


@pytest.mark.parametrize(
    ("body", "life", "is_newer"),
    [
        (alive("b"), 1, True),
        (alive("b", 1), 1, None),
        (alive("b"), 2, None),
        (Alive(0, "other", "r", "", b""), 1, None),
        (Left(0, b""), 1, None),
        (Capabilities(1, (CARD,)), 1, False),
        (Capabilities(1, ()), 1, None),
        (Load(1, (), 0, 0), 1, None),
    ],
)
def test_only_the_same_words_of_the_same_life_are_no_news(body: Any, life: int, is_newer: bool | None) -> None:
    talk = node().hears("b", alive("b")).hears("b", Capabilities(1, (CARD,)))
    assert talk.machine.facts.renewed(heard("b", body, life=life, at=3.0), talk.now) is is_newer


def test_what_is_said_again_is_kept_in_place_of_the_older_frame_and_never_the_other_way_round() -> None:
    talk = node().hears("b", alive("b")).at(10.0)
    newer, older = (heard("b", alive("b"), at=sent_s, seq=seq) for sent_s, seq in ((9.0, 3), (4.0, 2)))
    assert [talk.machine.facts.renewed(said, talk.now) for said in (newer, older, newer)] == [True, False, False]
    assert newer.frame in talk.machine.facts.frames()
