"""The laws of the merge, over the gossip that runs: whatever order, repetition or grouping, replicas end the same."""

from collections.abc import Iterable
from functools import reduce
from random import Random
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from protocol.gossip import Gossip
from protocol.replica import Heard, Me
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, Capabilities, Dead, Left, Load
from tests.protocol.conversation import heard, instant

NOW = instant(0.0)
NAMED = (st.sampled_from("bcde"), st.integers(1, 3), st.integers(0, 3))  # a node, a life of it, a number in that
CARD = Card("x", ("do@1",), 1)
ALIVE = st.builds(lambda node, life, number: heard(node, Alive(number, node, "r", "", b""), life=life), *NAMED)
LEFT = st.builds(lambda node, life, number: heard(node, Left(number), life=life), *NAMED)
DEAD = st.builds(lambda node, life, number: heard("f", Dead(node, life, number, "timeout", ())), *NAMED)
CARDS = st.builds(lambda node, life, number: heard(node, Capabilities(number, (CARD,)), life=life), *NAMED)
LOAD = st.builds(lambda node, life, number: heard(node, Load(number, (), 0, 0), life=life), *NAMED)
Facts: TypeAlias = list[Heard]
STANDINGS: st.SearchStrategy[Facts] = st.lists(ALIVE | LEFT | DEAD, max_size=20)
ABILITIES: st.SearchStrategy[Facts] = st.lists(CARDS | LOAD, max_size=20)


def knowing(facts: Iterable[Heard]) -> Gossip:
    """A node that heard these, and believed each death."""
    gossip = Gossip(me=Me(id="a", life=1, name="a", region="r", domain=""), rng=Random(7))
    for fact in facts:
        gossip.on_fact(fact, NOW)
        gossip.keep(fact, NOW)
    return gossip


def kept(gossip: Gossip, facts: Facts) -> Facts:
    """What it would pass on of these, as another takes it."""
    frames = {fact.frame: structs.replace(fact, is_relayed=True) for fact in facts}
    return [frames[frame] for frame in gossip.facts.frames()]


def twice_in_any_order(facts: Facts, rng: Random) -> Facts:
    return rng.sample(facts, len(facts)) + rng.sample(facts, len(facts) // 2)


@given(STANDINGS, ABILITIES, st.randoms(use_true_random=False))
def test_who_heard_the_same_knows_the_same_whatever_came_first_or_twice(
    standings: Facts, abilities: Facts, rng: Random
) -> None:
    """What the living can do is taken once they are known to live; until then digests bring it again."""
    one = knowing(standings + abilities)
    other = knowing(twice_in_any_order(standings, rng) + twice_in_any_order(abilities, rng))
    assert one.facts.hashes() == other.facts.hashes()


@given(STANDINGS, STANDINGS, STANDINGS)
def test_who_is_told_what_others_kept_knows_what_they_heard_in_whatever_groups(
    some: Facts, more: Facts, most: Facts
) -> None:
    facts = some + more + most

    def merged(one: Gossip, other: Gossip) -> Gossip:
        return knowing(kept(one, facts) + kept(other, facts))

    first, second, third = map(knowing, (some, more, most))
    left, right = merged(merged(first, second), third), merged(first, merged(second, third))
    assert left.facts.hashes() == right.facts.hashes() == knowing(facts).facts.hashes()
    assert reduce(merged, (first, first, first)).facts.hashes() == first.facts.hashes()
