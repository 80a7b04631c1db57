"""Who died again and again is told as back, and used, after a quiet while; and nobody else is touched."""

from msgspec import structs

from protocol.events import Event, PeerAlive, PeerDamped, PeerDead, PeerForgotten, PeerLeft, PeerSuspect
from protocol.flaps import WINDOW_S, Damped, Flaps
from protocol.limits import PEERS_MAX
from tests.protocol.conversation import Script, instant, script

QUIET_S = 30.0
DIED = PeerDead("b", "b", 1, ("c", "d"), "timeout", 6.0, 7.5, 1)
BACK = PeerAlive("b", "b", 1, 5, "dead", 20.0)
DOUBTED = PeerSuspect("b", "b", 1, "c", "timeout")
REFUTED = PeerAlive("b", "b", 1, 6, "suspect", 1.0)


def flaps(quiet_s: float = QUIET_S) -> Script:
    return script(Flaps(quiet_s=quiet_s))


def told(talk: Script, event: Event) -> list[Event]:
    found: list[Event] = talk.machine.told(event, talk.now)
    return found


def dies(talk: Script, *at_s: float) -> Script:
    """It dies and is back ten seconds later, each time; the last time it stays dead."""
    for number, seconds in enumerate(at_s):
        if number:
            told(talk.at(seconds - 1), BACK)
        told(talk.at(seconds), DIED)
    return talk


def back(deaths: int, event: PeerAlive = BACK) -> PeerDamped:
    told_as = PeerDamped("b", "b", event.life, "alive", deaths, WINDOW_S, QUIET_S)
    return structs.replace(told_as, was=event.was, incarnation=event.incarnation, restarted=event.restarted)


def dead(deaths: int, *, life: int = 1) -> PeerDamped:
    told_as = PeerDamped("b", "b", life, "dead", deaths, WINDOW_S, QUIET_S)
    return structs.replace(told_as, evidence="timeout", accusers=("c", "d"), after_s=6.0, unheard_s=7.5, health=1)


def test_two_deaths_in_ten_minutes_change_nothing() -> None:
    assert told(dies(flaps(), 0, 60).at(80), BACK) == [BACK]


def test_who_is_back_from_its_third_death_in_ten_minutes_is_told_after_thirty_quiet_seconds() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    assert told(talk, BACK) == [back(3)]
    assert talk.machine.of("b", instant(110)) == Damped(3, 20.0)
    assert talk.until(129.9).said(PeerAlive) == []
    assert talk.until(130.1).said(PeerAlive) == [PeerAlive("b", "b", 1, 5, "dead", 50.0, was_damped=True)]
    assert not talk.machine.damped
    assert talk.machine.of("b", talk.now) is None


def test_three_deaths_in_more_than_ten_minutes_are_no_flapping() -> None:
    assert told(dies(flaps(), 0, 300, WINDOW_S + 1).at(WINDOW_S + 20), BACK) == [BACK]


def test_a_doubt_that_is_refuted_makes_the_quiet_begin_again_and_neither_is_told() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    told(talk, BACK)
    assert told(talk.at(120), DOUBTED) == []
    assert talk.machine.of("b", talk.now) == Damped(3, None)
    assert talk.until(131).said(PeerAlive) == []
    assert told(talk.at(132), REFUTED) == []
    assert talk.until(161.9).said(PeerAlive) == []
    assert talk.until(162.1).said(PeerAlive) == [PeerAlive("b", "b", 1, 6, "dead", 82.0, was_damped=True)]


def test_who_dies_while_it_is_damped_is_told_as_damped_with_who_said_so() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    told(talk, BACK)
    told(talk.at(115), DOUBTED)
    assert told(talk.at(120), DIED) == [dead(4)]
    assert talk.until(200).said(PeerAlive) == []
    assert told(talk, BACK) == [back(4)]


def test_the_first_doubt_and_death_of_each_life_are_told_however_often_it_begins_anew() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    began = PeerAlive("b", "b", 2, 0, "dead", 20.0, True)
    assert told(talk, began) == [back(3, began)]
    doubted, died = structs.replace(DOUBTED, life=2), structs.replace(DIED, life=2)
    assert told(talk.at(110), doubted) == [doubted]
    assert told(talk.at(112), died) == [died]
    returned = PeerAlive("b", "b", 2, 1, "dead", 5.0)
    assert told(talk.at(117), returned) == [back(4, returned)]
    assert told(talk.at(120), doubted) == []
    assert told(talk.at(125), died) == [dead(5, life=2)]


def test_a_doubt_that_was_told_is_told_as_over() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    told(talk, PeerAlive("b", "b", 2, 0, "dead", 20.0, True))
    doubted, refuted = structs.replace(DOUBTED, life=2), PeerAlive("b", "b", 2, 1, "suspect", 1.0)
    assert told(talk.at(110), doubted) == [doubted]
    assert told(talk.at(111), refuted) == [back(3, refuted)]
    assert talk.until(140.9).said(PeerAlive) == [], "and it is still to be quiet"
    assert talk.until(141.1).said(PeerAlive)


def test_of_a_doubt_that_was_not_told_no_end_is_told() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    told(talk, BACK)
    assert told(talk.at(110), DOUBTED) == []
    again = PeerAlive("b", "b", 2, 0, "suspect", 1.0, True)
    assert told(talk.at(111), again) == [back(3, structs.replace(again, was="alive"))]


def test_another_life_has_to_be_quiet_as_well_and_is_told_as_what_it_is() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    told(talk, BACK)
    again = PeerAlive("b", "b", 2, 0, "alive", 5.0, True)
    assert told(talk.at(120), again) == [back(3, again)]
    told(talk.at(125), DOUBTED)
    told(talk.at(126), PeerAlive("b", "b", 2, 1, "suspect", 1.0))
    assert talk.until(157).said(PeerAlive) == [PeerAlive("b", "b", 2, 1, "dead", 76.0, True, was_damped=True)]


def test_who_was_shown_again_and_is_doubted_once_stays_shown() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    told(talk, BACK)
    talk.until(131)
    assert told(talk, DOUBTED) == [DOUBTED]
    assert told(talk, REFUTED) == [REFUTED]


def test_a_goodbye_is_told_at_once_and_ends_it() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    told(talk, BACK)
    left = PeerLeft("b", "b", 1)
    assert told(talk, left) == [left]
    assert talk.until(200).said(PeerAlive) == []


def test_others_and_other_events_are_told_as_they_are() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    told(talk, BACK)
    for event in (
        PeerAlive("c", "c", 1, 0, "dead", 9.0),
        PeerSuspect("c", "c", 1, "d", "absent"),
        PeerForgotten("b", "c"),
    ):
        assert told(talk, event) == [event]


def test_nothing_is_damped_where_no_quiet_is_asked_for() -> None:
    assert told(dies(flaps(quiet_s=0.0), 0, 40, 80).at(100), BACK) == [BACK]


def test_the_deaths_of_so_many_nodes_are_remembered_and_no_more() -> None:
    talk = dies(flaps(), 0, 40, 80).at(100)
    for number in range(PEERS_MAX):
        told(talk, PeerDead(f"n{number}", f"n{number}", 1, ("c",), "timeout", 6.0))
    assert len(talk.machine._deaths) == PEERS_MAX
    assert told(talk, BACK) == [BACK]  # the least recent death is forgotten first
