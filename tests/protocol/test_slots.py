"""Slots: never overcommitted, whatever is taken, given back or advertised in whatever order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from protocol.slots import Slots
from protocol.wire.agents import Card

CAPABILITIES = ("x@1", "y@1")
CARDS = st.lists(
    st.builds(
        Card,
        name=st.sampled_from(["one", "two", "three"]),
        capabilities=st.sampled_from([("x@1",), ("y@1",), CAPABILITIES]),
        slots=st.integers(1, 3),
    ),
    max_size=3,
    unique_by=lambda card: card.name,
).map(tuple)
TAKE = st.tuples(st.just("take"), st.integers(0, 9), st.sampled_from(CAPABILITIES), st.sampled_from(["", "one", "two"]))
GIVE = st.tuples(st.just("give"), st.integers(0, 9))
ADVERTISE = st.tuples(st.just("advertise"), CARDS)


@given(CARDS, st.lists(st.one_of(TAKE, GIVE, ADVERTISE), max_size=40))
def test_no_agent_is_given_more_than_its_card_has(cards: tuple[Card, ...], steps: list[tuple[object, ...]]) -> None:
    slots, held = Slots(), dict[int, str]()
    slots.advertise(cards)
    for step in steps:
        match step:
            case ("take", int(key), str(capability), str(agent)):
                taken = slots.take(key, capability, agent)
                able = [
                    card.name
                    for card in cards
                    if capability in card.capabilities
                    and agent in ("", card.name)
                    and card.slots > Counter(name for other, name in held.items() if other != key)[card.name]
                ]
                assert (taken is not None) == bool(able)
                assert slots.has(capability, agent) or not able
                held.pop(key, None)
                if taken is not None:
                    assert taken in able
                    held[key] = taken
            case ("give", int(key)):
                slots.give_back(key)
                held.pop(key, None)
            case ("advertise", tuple(given)):
                cards = given
                slots.advertise(cards)
        counts = Counter(held.values())
        assert slots.taken == len(held)
        assert slots.free() == tuple((card.name, max(0, card.slots - counts[card.name])) for card in cards)


def test_the_agent_with_most_room_is_taken() -> None:
    slots = Slots()
    slots.advertise((Card("one", ("x@1",), 1), Card("two", ("x@1",), 2)))
    assert [slots.take(key, "x@1") for key in range(4)] == ["two", "one", "two", None]


def test_what_was_told_to_stop_holds_its_slot_until_it_has() -> None:
    slots = Slots()
    slots.advertise((Card("one", ("x@1",), 1),))
    slots.take("t", "x@1")
    slots.wind_down("t", 3)
    slots.wind_down("t", 3)
    slots.give_back("t")
    assert slots.take("u", "x@1") is None
    slots.give_back(("t", 2))
    assert slots.taken == 1
    slots.give_back(("t", 3))
    assert slots.take("u", "x@1") == "one"
