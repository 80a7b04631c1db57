"""Who can do what, and how many slots are free when awards are on their way."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits
from protocol.catalogue import Catalogue
from protocol.effects import Emit, Spread
from protocol.errors import MeshError
from protocol.events import CapabilitiesChanged
from protocol.primitives import Instant
from protocol.replica import Me
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, Capabilities, Load
from tests.protocol.conversation import Script, heard, script

SCORER = Card("scorer", ("score@2", "rank@1"), slots=4, latency_ms=20, cost_per_call=0.5)
CLERK = Card("clerk", ("score@2",), slots=1)


def catalogue() -> Script:
    return script(Catalogue(me=Me(id="a", life=1, name="a", region="r", domain="sales")))


def with_scorer(node: str = "b") -> Script:
    return catalogue().hears(node, Capabilities(1, (SCORER,)))


def free(talk: Script, capability: str = "score@2") -> list[tuple[str, str, int]]:
    return [(each.node, each.agent, each.free) for each in talk.machine.match(capability, talk.now)]


def load(version: int, slots: int, *, is_draining: bool = False) -> Load:
    return Load(version, (("scorer", slots),), max(0, 4 - slots), 0, is_draining)


def is_busy(talk: Script, slots: int, *, running: int = 0) -> Script:
    return talk.do("set_load", (("scorer", slots),), running=running, waiting=0, is_draining=False)


# --- others


def test_an_announced_agent_is_found_by_each_of_its_capabilities() -> None:
    talk = with_scorer().expects_only(Emit(CapabilitiesChanged("b", "", 1, ("score@2", "rank@1"))))
    (found,) = talk.at(2.0).machine.match("rank@1", talk.now)
    assert (found.node, found.agent, found.free, found.slots) == ("b", "scorer", 4, 4)
    assert (found.latency_ms, found.cost, found.is_self) == (20, 0.5, False)
    assert found.age_s == pytest.approx(2.0)
    assert free(talk, "rank@2") == []


def test_candidates_come_sorted_by_node_and_agent() -> None:
    talk = with_scorer("c").hears("b", Capabilities(1, (SCORER, CLERK)))
    assert free(talk) == [("b", "clerk", 1), ("b", "scorer", 4), ("c", "scorer", 4)]


def test_a_new_announcement_replaces_the_old_one_and_an_old_one_nothing() -> None:
    talk = with_scorer().hears("b", Capabilities(3, (CLERK,)))
    talk.hears("b", Capabilities(2, (SCORER,))).expects_nothing()
    assert free(talk) == [("b", "clerk", 1)]
    assert free(talk, "rank@1") == []


def test_a_load_says_how_many_slots_are_free_within_what_the_card_allows() -> None:
    talk = with_scorer().hears("b", load(1, 3))
    assert free(talk) == [("b", "scorer", 3)]
    talk.hears("b", load(2, 99))
    assert free(talk) == [("b", "scorer", 4)]
    talk.hears("b", Load(3, (("nobody", 3),), 0, 0))
    assert free(talk) == [("b", "scorer", 4)]


def test_a_draining_node_takes_nothing_but_is_still_listed() -> None:
    talk = with_scorer().hears("b", load(1, 4, is_draining=True))
    assert free(talk) == []
    assert [row.is_draining for row in talk.machine.capabilities(talk.now)] == [True, True]
    talk.hears("b", load(2, 4))
    assert free(talk) == [("b", "scorer", 4)]


def test_a_new_life_begins_with_nothing_until_it_says_so() -> None:
    talk = with_scorer().hears("b", load(1, 1))
    talk.machine.meet("b", 1)
    assert free(talk) == [("b", "scorer", 1)]
    talk.machine.meet("b", 2)
    assert free(talk) == []
    talk.hears("b", Capabilities(1, (SCORER,)), life=2)
    assert free(talk) == [("b", "scorer", 4)]
    talk.hears("b", load(9, 0), life=1)
    talk.hears("b", Capabilities(9, (CLERK,)), life=1)
    assert free(talk) == [("b", "scorer", 4)]


def test_who_is_gone_can_do_nothing() -> None:
    talk = with_scorer()
    talk.machine.forget("b")
    talk.machine.forget("b")
    assert free(talk) == []
    assert talk.machine.capabilities(talk.now) == ()
    assert talk.machine.cards_of("b") == ()
    assert talk.machine.business_of("b", talk.now) is None


def test_an_agent_shown_to_its_domain_is_seen_in_that_domain_only() -> None:
    cards = tuple(
        Card(f"x{index}", ("do@1",), 1, domain=domain, visibility=visibility)
        for index, (domain, visibility) in enumerate(
            [("sales", "mesh"), ("sales", "domain"), ("ops", "domain"), ("sales", "private"), ("sales", "?")]
        )
    )
    talk = catalogue().hears("b", Capabilities(1, cards))
    assert [agent for _, agent, _ in free(talk, "do@1")] == ["x0", "x1"]


# --- ourselves


def test_own_agents_are_announced_when_they_change_and_only_then() -> None:
    talk = catalogue().do("advertise", (SCORER,))
    talk.expects_only(Spread(Capabilities(1, (SCORER,))), Emit(CapabilitiesChanged("a", "", 1, ("score@2", "rank@1"))))
    talk.do("advertise", (SCORER,)).expects_nothing()
    talk.do("advertise", ()).expects(Spread(Capabilities(2, ())))
    assert free(talk) == []


@pytest.mark.parametrize(("others", "interval_s"), [(1, 0.2), (19, 0.2), (99, 1.0), (999, 10.0)])
def test_the_more_nodes_hear_of_it_the_less_often_a_node_says_how_busy_it_is(others: int, interval_s: float) -> None:
    talk = catalogue().do("advertise", (SCORER,))
    for number in range(others):
        talk.machine.on_fact(heard(f"n{number}", Capabilities(1, (SCORER,))), talk.now)
    assert is_busy(talk, 3).said(Load)
    is_busy(talk.at(0.1), 2).expects_no(Load)
    is_busy(talk.at(0.15), 1).expects_no(Load)
    talk.until(interval_s - 0.01).expects_no(Load)
    assert [each.free for each in talk.until(interval_s + 0.01).said(Load)] == [(("scorer", 1),)]
    assert is_busy(talk.at(3 * interval_s), 4).said(Load)


def test_a_private_agent_is_found_here_and_told_to_nobody() -> None:
    secret = Card("secret", ("do@1",), 1, visibility="private")
    talk = catalogue().do("advertise", (SCORER, secret))
    assert talk.said(Capabilities) == [Capabilities(1, (SCORER,))]
    assert free(talk, "do@1") == [("a", "secret", 1)]
    talk.do("set_load", (("scorer", 4), ("secret", 0)), running=1, waiting=0, is_draining=False)
    assert [each.free for each in talk.said(Load)] == [(("scorer", 4),)]
    assert free(talk, "do@1") == [("a", "secret", 0)]


@pytest.mark.parametrize(
    ("cards", "code"),
    [
        ((Card("Bad", ("do@1",), 1),), "bad_input"),
        ((Card("x", ("do",), 1),), "bad_input"),
        ((SCORER, SCORER), "bad_input"),
        ((Card("secret", ("do",), 1, visibility="private"),), "bad_input"),
        (tuple(Card(f"x{index}", ("do@1",), 1, purpose="x" * 512) for index in range(128)), "too_large"),
    ],
)
def test_cards_that_others_would_refuse_are_refused_here(cards: tuple[Card, ...], code: str) -> None:
    talk = catalogue().do("advertise", (CLERK,))
    with pytest.raises(MeshError) as failure:
        talk.do("advertise", cards)
    assert failure.value.code == code
    assert free(talk) == [("a", "clerk", 1)]


def test_why_agents_are_down_is_left_out_where_there_is_no_room_for_it() -> None:
    cards = tuple(Card(f"x{index}", ("do@1",), 0, purpose="x" * 300, problem="x" * 120) for index in range(128))
    (said,) = catalogue().do("advertise", cards).said(Capabilities)
    assert {card.problem for card in said.cards} == {""}


def test_the_largest_announcement_allowed_fits_into_a_fact() -> None:
    cards = tuple(Card(f"x{index}", ("do@1",), 1, purpose="x" * 300) for index in range(limits.CARDS_PER_NODE_MAX))
    (said,) = catalogue().do("advertise", cards).said(Capabilities)
    assert len(said.cards) == limits.CARDS_PER_NODE_MAX


def test_loads_go_out_at_most_five_times_a_second_and_the_newest_wins() -> None:
    talk = catalogue().do("advertise", (SCORER,))
    assert [each.free for each in is_busy(talk, 4).said(Load)] == [(("scorer", 4),)]
    is_busy(talk.at(0.05), 3, running=1).expects_nothing()
    is_busy(talk.at(0.10), 2, running=2).expects_nothing()
    assert free(talk) == [("a", "scorer", 2)], "our own load is known here at once"
    talk.until(0.25)
    assert [(each.version, each.free) for each in talk.said(Load)] == [(2, (("scorer", 2),))]
    assert talk.machine.next_deadline() is None


def test_a_load_that_did_not_change_is_not_said_again() -> None:
    talk = is_busy(catalogue().do("advertise", (SCORER,)), 4)
    is_busy(talk.at(5.0), 4).expects_nothing()
    is_busy(talk, 3, running=1)
    is_busy(talk.at(5.05), 4).expects_nothing()
    is_busy(talk.at(5.1), 3, running=1).expects_nothing()
    talk.until(6.0).expects_nothing()


# --- awards on their way


def award(talk: Script, task: str, node: str = "b") -> Script:
    talk.machine.reserve(node, "scorer", task)
    return talk


def test_an_award_counts_at_once_until_a_load_shows_it() -> None:
    talk = award(award(with_scorer(), "t1"), "t2")
    assert free(talk) == [("b", "scorer", 2)]
    talk.machine.accepted("b", "scorer", "t1", 11)
    talk.hears("b", load(1, 3), seq=12)
    assert free(talk) == [("b", "scorer", 2)], "t1 shows in the load, t2 is on its way"
    talk.machine.accepted("b", "scorer", "t2", 13)
    assert free(talk) == [("b", "scorer", 2)], "accepted, but no load shows it"
    talk.hears("b", load(2, 2), seq=14)
    assert free(talk) == [("b", "scorer", 2)]


def test_an_accept_that_comes_after_the_load_that_shows_it_is_not_counted_twice() -> None:
    talk = award(with_scorer(), "t1").hears("b", load(1, 3), seq=12)
    assert free(talk) == [("b", "scorer", 2)]
    talk.machine.accepted("b", "scorer", "t1", 11)
    assert free(talk) == [("b", "scorer", 3)]


def test_an_award_that_never_took_its_slot_frees_it_at_once() -> None:
    talk = award(with_scorer(), "t1")
    talk.machine.release("b", "scorer", "t1", 0, talk.now)
    assert free(talk) == [("b", "scorer", 4)]


def test_work_known_to_have_ended_frees_a_slot_before_the_load_says_so() -> None:
    talk = award(with_scorer(), "t1")
    talk.machine.accepted("b", "scorer", "t1", 11)
    talk.hears("b", load(1, 3), seq=12)
    talk.at(5.0).machine.release("b", "scorer", "t1", 20, talk.now)
    assert free(talk) == [("b", "scorer", 4)]
    talk.at(5.1).hears("b", load(2, 3), seq=21)
    assert free(talk) == [("b", "scorer", 3)], "somebody else was quicker"


def test_work_whose_end_a_load_already_shows_frees_no_second_slot() -> None:
    talk = with_scorer().hears("b", load(1, 3), seq=30)
    talk.machine.release("b", "scorer", "t1", 20, talk.now)
    assert free(talk) == [("b", "scorer", 3)]


def test_a_slot_believed_free_is_not_believed_for_long() -> None:
    talk = with_scorer().hears("b", load(1, 0), seq=12).at(5.0)
    talk.machine.release("b", "scorer", "t1", 20, talk.now)
    assert free(talk) == [("b", "scorer", 1)]
    assert free(talk.at(5.6)) == [("b", "scorer", 0)]


def test_where_an_award_found_no_room_none_is_seen_until_a_load_says_so() -> None:
    talk = award(with_scorer(), "t1").hears("b", load(1, 4), seq=2)
    talk.machine.refused("b", "scorer", "t1")
    assert free(talk) == [("b", "scorer", 0)]
    talk.hears("b", load(2, 1), seq=3)
    assert free(talk) == [("b", "scorer", 1)]


def test_our_own_slots_are_counted_exactly() -> None:
    talk = award(is_busy(catalogue().do("advertise", (SCORER,)), 4), "t1", node="a")
    assert free(talk) == [("a", "scorer", 3)]
    talk.machine.accepted("a", "scorer", "t1", 9)
    is_busy(talk, 3, running=1)
    assert free(talk) == [("a", "scorer", 3)]
    talk.at(3.0).machine.release("a", "scorer", "t1", 10, talk.now)
    assert free(is_busy(talk, 4)) == [("a", "scorer", 4)]


def test_awards_to_strangers_change_nothing() -> None:
    talk = award(with_scorer(), "t1", node="z")
    talk.machine.accepted("z", "scorer", "t1", 1)
    talk.machine.release("b", "nobody", "t1", 1, talk.now)
    talk.machine.refused("b", "nobody", "t1")
    assert free(talk) == [("b", "scorer", 4)]


# --- for readers


def test_listings_show_every_capability_with_its_agent() -> None:
    talk = with_scorer().do("advertise", (CLERK,)).hears("b", load(1, 1))
    rows = [(row.capability, row.node, row.card.name, row.free) for row in talk.machine.capabilities(talk.now)]
    assert rows == [("rank@1", "b", "scorer", 1), ("score@2", "a", "clerk", 1), ("score@2", "b", "scorer", 1)]
    assert talk.machine.cards_of("b") == (SCORER,)
    business = talk.at(3.0).machine.business_of("b", talk.now)
    assert (business.running, business.waiting, business.is_draining) == (3, 0, False)
    assert business.age_s == pytest.approx(3.0)


NODES = st.sampled_from(["a", "b", "c"])
CARDS = st.lists(st.sampled_from([SCORER, CLERK]), max_size=2, unique=True).map(tuple)
STEPS = st.one_of(
    st.tuples(st.just("cards"), NODES, st.integers(0, 2), st.integers(-1, 5), CARDS),
    st.tuples(st.just("load"), NODES, st.integers(0, 2), st.integers(-9, 9), st.integers(-9, 9)),
    st.tuples(
        st.sampled_from(["reserve", "accepted", "release", "refused"]),
        NODES,
        st.sampled_from(["scorer", "clerk"]),
        st.sampled_from(["t1", "t2", "t3"]),
        st.integers(0, 9),
    ),
    st.tuples(st.just("advertise"), CARDS),
    st.tuples(st.sampled_from(["forget", "meet"]), NODES),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(STEPS, st.floats(0.0, 1.0)), max_size=40))
def test_whatever_is_said_no_agent_has_more_free_slots_than_slots(steps: list[Any]) -> None:
    talk = catalogue()
    for step, pause_s in steps:
        talk.at(talk.seconds + pause_s)
        match step:
            case ("cards", node, life, version, cards):
                talk.hears(node, Capabilities(version, cards), life=life)
            case ("load", node, life, version, slots):
                talk.hears(node, load(version, slots), life=life, seq=abs(version))
            case ("reserve", node, agent, task, _):
                talk.machine.reserve(node, agent, task)
            case ("accepted", node, agent, task, said):
                talk.machine.accepted(node, agent, task, said)
            case ("release", node, agent, task, said):
                talk.machine.release(node, agent, task, said, talk.now)
            case ("refused", node, agent, task, _):
                talk.machine.refused(node, agent, task)
            case ("advertise", cards):
                talk.do("advertise", cards)
            case ("forget", node):
                talk.machine.forget(node)
            case (_, node):
                talk.machine.meet(node, 2)
        for capability in ("score@2", "rank@1"):
            for found in talk.machine.match(capability, talk.now):
                assert 0 <= found.free <= found.slots
                card = next(card for card in talk.machine.cards_of(found.node) if card.name == found.agent)
                assert capability in card.capabilities


def test_facts_that_are_not_for_the_catalogue_pass_it_by() -> None:
    catalogue().hears("b", Alive(0, "b", "r", "", b"")).expects_nothing()
    talk = catalogue()
    talk.machine.on_fact(heard("a", Capabilities(1, (SCORER,))), talk.now)
    assert free(talk) == []


def test_an_agent_that_can_nothing_and_only_listens_is_listed_with_the_others() -> None:
    catalogue = Catalogue(me=Me(id="a" * 32, life=1, name="a", region="r", domain="d"))
    ear = Card("ear", (), 1, topics=("sales.all",))
    catalogue.advertise((ear,), Instant(0, 0))
    assert [(each.card, each.free) for each in catalogue.agents(Instant(0, 0))] == [(ear, 1)]
    assert catalogue.capabilities(Instant(0, 0)) == ()


def test_able_are_those_who_have_it_and_take_work() -> None:
    talk = catalogue().hears("b", Capabilities(1, (SCORER,))).hears("c", Capabilities(1, (SCORER,)))
    assert talk.machine.able("score@2") == {"b", "c"}
    talk.hears("c", Load(1, (), 0, 0, draining=True))
    assert talk.machine.able("score@2") == {"b"}
    assert talk.machine.able("rank@9") == set()
