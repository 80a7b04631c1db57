"""What stands of a node follows from its standing: the living can do things, the gone are remembered for a while."""

import pytest

from protocol import limits
from protocol.facts import Facts
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, AnyFact, Capabilities, Confirm, Dead, Left, Load, Suspect
from tests.protocol.conversation import heard, instant

CARDS, LOAD = Capabilities(1, (Card("x", ("do@1",), 2),)), Load(1, (), 0, 0)


def alive(name: str, incarnation: int = 0) -> Alive:
    return Alive(incarnation, name, "r", "", b"")


def knowing(*others: str, tombstone_s: float = 86_400.0) -> Facts:
    """Each of the others is alive and can do something."""
    facts = Facts(me="a", tombstone_s=tombstone_s)
    for other in others:
        for body in (alive(other), CARDS, LOAD):
            facts.keep(heard(other, body))
    return facts


def slots_of(facts: Facts, node: str) -> set[str]:
    return {slot for about, slot, _ in facts.replica.entries() if about == node}


def test_who_lives_is_known_with_its_life_and_with_what_it_can_do() -> None:
    facts = knowing("b", "c")
    assert facts.living == {"b": 1, "c": 1}
    assert slots_of(facts, "b") == {"standing", "capabilities", "load"}


@pytest.mark.parametrize(("src", "body"), [("b", Left(0)), ("c", Dead("b", 1, 0, "timeout", ()))])
def test_of_who_is_gone_the_tombstone_alone_stands(src: str, body: AnyFact) -> None:
    facts = knowing("b", "c")
    facts.keep(heard(src, body))
    assert (slots_of(facts, "b"), facts.living, facts.gone) == ({"standing"}, {"c": 1}, 1)
    facts.keep(heard("b", alive("b"), life=2))
    assert (facts.living, facts.gone) == ({"c": 1, "b": 2}, 0)


def test_another_life_has_other_agents() -> None:
    facts = knowing("b")
    facts.keep(heard("b", alive("b"), life=2))
    assert slots_of(facts, "b") == {"standing"}


def test_we_ourselves_are_neither_among_the_living_nor_among_the_gone() -> None:
    facts = Facts(me="a")
    for body in (alive("a"), CARDS, Left(0)):
        facts.keep(heard("a", body))
        assert (facts.living, facts.gone) == ({}, 0)
    assert slots_of(facts, "a") == {"standing", "capabilities"}


def test_the_oldest_tombstones_go_first_when_there_are_too_many() -> None:
    facts = Facts(me="a")
    for index in range(limits.TOMBSTONES_MAX + 2):
        facts.keep(heard(f"n{index}", Left(0)))
    assert facts.gone == limits.TOMBSTONES_MAX
    assert [slots_of(facts, f"n{index}") for index in range(3)] == [set(), set(), {"standing"}]


def test_the_gone_are_forgotten_once_their_time_is_over_and_the_living_are_not() -> None:
    facts = knowing("b", "c", tombstone_s=600.0)
    for index, at in enumerate((0.0, 300.0)):
        facts.keep(heard("bc"[index], Left(0), life=instant(at).wall_ms, at=at))
    facts.sweep(instant(700.0))
    assert [slots_of(facts, node) for node in "bc"] == [set(), {"standing"}]
    facts = knowing("b", tombstone_s=600.0)
    facts.sweep(instant(700.0))
    assert facts.living == {"b": 1}


def test_news_is_what_is_newer_than_what_stands_and_is_kept() -> None:
    facts = knowing("b")
    assert facts.is_news(heard("b", alive("b", 1)))
    assert facts.is_news(heard("x", alive("x")))
    assert not facts.is_news(heard("b", alive("b")))
    assert not facts.is_news(heard("b", Suspect("c", 1, 0, "timeout"))), "an accusation has no place"


@pytest.mark.parametrize("accusation", [Suspect, Confirm, Dead])
def test_an_accusation_is_about_nobody_unless_that_life_is_known(accusation: type) -> None:
    facts = knowing("b")
    proof = ((),) if accusation is Dead else ()

    def is_about_nobody(node: str, life: int) -> bool:
        return facts.is_about_nobody(heard("c", accusation(node, life, 0, "timeout", *proof)))

    assert [is_about_nobody("b", 1), is_about_nobody("b", 2), is_about_nobody("x", 1)] == [False, True, True]
    assert not is_about_nobody("a", 9), "we know ourselves"


def test_what_a_life_can_do_is_about_nobody_unless_that_life_lives() -> None:
    facts = knowing("b")
    assert not facts.is_about_nobody(heard("b", CARDS))
    assert facts.is_about_nobody(heard("b", CARDS, life=2))
    assert facts.is_about_nobody(heard("x", CARDS))
    facts.keep(heard("b", Left(0)))
    assert facts.is_about_nobody(heard("b", CARDS))
