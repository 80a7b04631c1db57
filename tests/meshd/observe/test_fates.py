"""What befalls nodes, in words and bounded."""

import pytest

from meshd.observe.fates import KEPT, NODES_MAX, Fates, fate, spoken
from protocol import events
from protocol.events import Event

NAMES = {"p": "b", "q": "c", "r": "d"}

CASES: dict[str, Event] = {
    "is alive: seen for the first time": events.PeerAlive("p", "b", 1, 0),
    "is alive: it says so itself, after 1.2 s as a suspect (incarnation 4)": events.PeerAlive(
        "p", "b", 1, 4, "suspect", 1.21
    ),
    "is alive: it was never gone: the same run is back, 12 s after it was declared dead": events.PeerAlive(
        "p", "b", 1, 4, "dead", 12.3
    ),
    "is alive: it started again, 5 min after its death": events.PeerAlive("p", "b", 2, 0, "dead", 300.0, True),
    "is alive: it started again, 3 h after it left": events.PeerAlive("p", "b", 2, 0, "left", 10_800.0, True),
    "is alive: it started again, and had said no goodbye": events.PeerAlive("p", "b", 2, 0, "suspect", 1.0, True),
    "is suspect: c got no answer from it; last heard here 0.8 s before": events.PeerSuspect(
        "p", "b", 1, "q", "timeout", 0, 0.8, 0
    ),
    "is suspect: the server told c that nobody listens there; never heard here; "
    "this node was not well itself (health 3)": events.PeerSuspect("p", "b", 1, "q", "absent", 0, None, 3),
    "is dead: c and d got no answer from it, and it was suspect for 5.0 s; "
    "last heard here 6.1 s before": events.PeerDead("p", "b", 1, ("q", "r"), "timeout", 5.0, 6.1),
    "is dead: c and d got no answer from it; never heard here": events.PeerDead(
        "p", "b", 1, ("q", "r"), "timeout", None
    ),
    "is back, and damped: it died 3 times in 10 min, so others get its work until it was quiet for 30 s": (
        events.PeerDamped("p", "b", 1, "alive", 3, 600.0, 30.0)
    ),
    "is suspect no more, and still damped: it died 3 times in 10 min, so others get its work until it was quiet for "
    "30 s": events.PeerDamped("p", "b", 2, "alive", 3, 600.0, 30.0, was="suspect", incarnation=1),
    "is dead again, and damped: it died 4 times in 10 min; c and d got no answer from it; "
    "last heard here 6.1 s before": (
        events.PeerDamped("p", "b", 1, "dead", 4, 600.0, 30.0, "timeout", ("q", "r"), 5.0, 6.1)
    ),
    "was called suspect by c: it refuted that (incarnation 4)": events.AccusationRefuted("q", "suspect", 1, 4),
    "left: it said goodbye": events.PeerLeft("p", "b", 1),
    "is shown no more: c asked for it": events.PeerForgotten("p", "q"),
    "is joined": events.StateChanged("joined", ""),
}


@pytest.mark.parametrize("text", CASES)
def test_what_befell_a_node_is_a_plain_sentence_after_its_name(text: str) -> None:
    assert fate(CASES[text], NAMES.__getitem__) == text


def test_names_are_listed_as_people_do() -> None:
    assert [spoken(names) for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == [
        "nobody",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_the_last_things_are_kept_of_each_node_in_their_order() -> None:
    fates = Fates(me="me")
    for number in range(KEPT + 5):
        fates.note(events.PeerAlive("p", "b", 1, number), number)
    fates.note(events.PeerLeft("q", "c", 1), 99)
    fates.note(events.TasksAdopted("p", 1, "guardian"), 100)  # not what befell it
    assert [each.at_ms for each in fates.of("p")] == list(range(5, KEPT + 5))
    assert len(fates.of("q")) == 1
    assert fates.of("unknown") == ()


def test_what_this_node_went_through_is_its_own_story() -> None:
    fates = Fates(me="me")
    fates.note(events.StateChanged("detached", "no server answers"), 1)
    assert [fate(each.event, str) for each in fates.of("me")] == ["is detached: no server answers"]


def test_of_too_many_nodes_the_one_that_nothing_happened_to_for_longest_is_forgotten() -> None:
    fates = Fates(me="me")
    for number in range(NODES_MAX):
        fates.note(events.PeerLeft(f"n{number}", "x", 1), number)
    fates.note(events.PeerLeft("n0", "x", 1), 1)
    fates.note(events.PeerLeft("another", "x", 1), 2)
    assert fates.of("n1") == ()
    assert len(fates.of("n0")) == 2
