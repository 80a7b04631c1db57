"""A bridge carries what is news from other regions into its own, once, and hears all only while it is one."""

from typing import Any

import pytest
from msgspec import structs

from protocol import limits
from protocol.bridging import AGAIN_S, BEHIND_S, CARRY_S, LOAD_S, NARROW_S, Bridging
from protocol.effects import Carry, Effect, Tune
from protocol.regions import Regions
from protocol.replica import Heard, Me
from protocol.subjects import Subjects
from protocol.wire.gossip import Alive, Capabilities, Carried, Dead, Left, Load, Suspect
from tests.protocol import conversation
from tests.protocol.conversation import instant

SUBJECTS = Subjects("m")
US = tuple(f"u{number}" for number in range(5))


def bridging(place: int = 0) -> tuple[Bridging, Regions]:
    """The node of region us at this place among its bridges; one of region eu is known."""
    view = Regions(Me(id="nobody", life=1, name="", region="us", domain=""))
    view.part("nobody")
    for node in US:
        view.settle(node, "us")
    order = [node for _, node in view._ranked["us"] if node != "nobody"]
    me = order[place]
    regions = Regions(Me(id=me, life=1, name=me, region="us", domain=""))
    for node in US:
        regions.settle(node, "us")
    regions.settle("e", "eu")
    return Bridging(regions=regions, subjects=SUBJECTS, tombstone_s=86_400.0), regions


def heard(src: str, body: Any, *, seq: int = 1, at: float = 0.0) -> Heard:
    fact = conversation.heard(src, body, seq=seq, at=at)
    return structs.replace(fact, subject=SUBJECTS.fact(region="eu", src=src))


def alive(incarnation: int = 0) -> Alive:
    return Alive(incarnation, "e", "eu", "", b"")


def carried(effects: list[Effect]) -> list[bytes]:
    assert all(isinstance(each, Carry) for each in effects)
    return [frame for each in effects if isinstance(each, Carry) for frame in each.body.facts]


def test_what_comes_within_a_moment_goes_in_one_message_as_it_was_sealed_and_can_be_opened_in_order() -> None:
    bridge, _ = bridging()
    cards, life = heard("e", Capabilities(1, ()), seq=2), heard("e", alive())
    bridge.on_news(cards, instant(0.0))
    bridge.on_news(life, instant(0.1))
    assert bridge.on_tick(instant(CARRY_S - 0.01)) == []
    assert bridge.on_tick(instant(CARRY_S)) == [Carry(Carried((life.frame, cards.frame)))]  # though one waits less


def test_what_was_carried_is_carried_once_more_together_for_who_lost_it() -> None:
    bridge, _ = bridging()
    life, left = heard("e", alive()), heard("f", Left(0))
    bridge.on_news(life, instant(0.0))
    assert carried(bridge.on_tick(instant(CARRY_S))) == [life.frame]
    bridge.on_news(left, instant(0.5))
    assert carried(bridge.on_tick(instant(0.5 + CARRY_S))) == [left.frame]
    assert bridge.on_tick(instant(AGAIN_S)) == []
    assert bridge.on_tick(instant(CARRY_S + AGAIN_S)) == [Carry(Carried((life.frame, left.frame)))]
    assert bridge.next_deadline() is None


def test_of_two_words_that_were_carried_the_newer_one_is_carried_once_more() -> None:
    bridge, _ = bridging()
    for incarnation in range(2):
        bridge.on_news(heard("e", alive(incarnation), seq=incarnation + 1), instant(incarnation / 2))
        bridge.on_tick(instant(incarnation / 2 + CARRY_S))
    assert carried(bridge.on_tick(instant(CARRY_S + AGAIN_S))) == [heard("e", alive(1), seq=2).frame]


def test_the_first_bridge_carries_all_loads_that_wait_in_one_message_and_each_once() -> None:
    bridge, _ = bridging()
    loads = [heard(f"e{number}", Load(1, (), 0, 0)) for number in range(30)]
    for number, load in enumerate(loads):
        bridge.on_news(load, instant(number / 10))
    life = heard("e", alive())
    bridge.on_news(life, instant(LOAD_S - 0.01))
    assert bridge.on_tick(instant(LOAD_S)) == [Carry(Carried(tuple(sorted(load.frame for load in loads))))]
    assert carried(bridge.on_tick(instant(LOAD_S + CARRY_S))) == [life.frame]  # in a hurry of its own
    assert carried(bridge.on_tick(instant(LOAD_S + CARRY_S + AGAIN_S))) == [life.frame]
    assert bridge.next_deadline() is None


def test_a_further_bridge_carries_only_what_is_due_for_the_rest_is_on_its_way() -> None:
    bridge, _ = bridging(1)
    first, second = heard("e", Load(1, (), 0, 0)), heard("f", Load(1, (), 0, 0))
    bridge.on_news(first, instant(0.0))
    bridge.on_news(second, instant(1.0))
    assert carried(bridge.on_tick(instant(LOAD_S + BEHIND_S))) == [first.frame]


def test_a_newer_word_replaces_the_one_that_waits() -> None:
    bridge, _ = bridging()
    for incarnation in range(3):
        bridge.on_news(heard("e", alive(incarnation), seq=incarnation + 1), instant(0.0))
    assert carried(bridge.on_tick(instant(1))) == [heard("e", alive(2), seq=3).frame]


def test_how_busy_somebody_is_is_carried_at_most_every_few_seconds() -> None:
    bridge, _ = bridging()
    for version in range(1, 20):
        bridge.on_news(heard("e", Load(version, (), 0, 0), seq=version), instant(version / 10))
    assert bridge.on_tick(instant(LOAD_S)) == []
    assert carried(bridge.on_tick(instant(LOAD_S + 0.1))) == [heard("e", Load(19, (), 0, 0), seq=19).frame]


def test_the_second_bridge_carries_later_and_only_what_it_did_not_hear_carried() -> None:
    bridge, _ = bridging(1)
    left, life = heard("e", Left(0)), heard("f", Alive(0, "f", "eu", "", b""))
    bridge.on_news(left, instant(0.0))
    bridge.on_news(life, instant(0.0))
    assert bridge.on_tick(instant(CARRY_S)) == []
    bridge.on_carried(left)
    assert carried(bridge.on_tick(instant(CARRY_S + BEHIND_S + 0.01))) == [life.frame]


def test_what_was_carried_in_an_older_version_is_carried_still() -> None:
    bridge, _ = bridging(1)
    bridge.on_news(heard("e", alive(5), seq=5), instant(0.0))
    bridge.on_carried(heard("e", alive(4), seq=4))
    assert carried(bridge.on_tick(instant(1))) == [heard("e", alive(5), seq=5).frame]


def test_who_is_no_bridge_or_has_nobody_near_carries_nothing() -> None:
    bridge, _ = bridging(4)
    bridge.on_news(heard("e", Left(0)), instant(0.0))
    assert bridge.next_deadline() is None
    alone, regions = bridging()
    for node in US:
        regions.part(node)
    alone.on_news(heard("e", Left(0)), instant(0.0))
    assert alone.next_deadline() is None


def test_who_stops_being_a_bridge_does_not_carry_what_waits() -> None:
    bridge, regions = bridging(2)
    regions.settle("e", "eu")
    bridge.on_news(heard("e", Left(0)), instant(0.0))
    number = 0
    while regions.is_bridge:  # somebody joins who comes before us
        number += 1
        regions.settle(f"v{number}", "us")
    assert bridge.on_tick(instant(2)) == []


def test_an_accusation_is_carried_into_the_region_of_the_accused_alone_and_once() -> None:
    bridge, regions = bridging()
    ours, theirs = Suspect(regions.near[0], 1, 0, "timeout"), Suspect("f", 1, 0, "timeout")
    regions.settle("f", "eu")
    bridge.on_news(heard("e", theirs), instant(0.0))
    assert bridge.next_deadline() is None
    bridge.on_news(heard("e", ours), instant(0.0))
    assert carried(bridge.on_tick(instant(1))) == [heard("e", ours).frame]
    bridge.on_news(heard("e", ours), instant(1.0))  # repeated by its accuser
    assert carried(bridge.on_tick(instant(1 + AGAIN_S))) == [heard("e", ours).frame]
    assert bridge.next_deadline() is None
    bridge.on_news(heard("e", Suspect(ours.peer, 1, 1, "timeout"), seq=2), instant(3.0))
    assert bridge.next_deadline() is not None


def test_a_death_is_carried_in_place_of_the_life_that_waits() -> None:
    bridge, _ = bridging()
    death = heard("f", Dead("e", 1, 0, "timeout", ()))
    bridge.on_news(heard("e", alive()), instant(0.0))
    bridge.on_news(death, instant(0.1))
    assert carried(bridge.on_tick(instant(1))) == [death.frame]


def test_an_alive_fact_that_says_nothing_new_is_carried_before_it_grows_old() -> None:
    bridge, _ = bridging()
    for hours in range(6):
        bridge.on_beacon(heard("e", alive(), at=hours * 3_600.0), instant(hours * 3_600.0))
        assert bridge.next_deadline() is None
    bridge.on_beacon(heard("e", alive(), seq=7, at=6 * 3_600.0), instant(6 * 3_600.0))
    assert carried(bridge.on_tick(instant(6 * 3_600.0 + 1))) == [heard("e", alive(), seq=7).frame]
    bridge.on_tick(instant(6 * 3_600.0 + 1 + AGAIN_S))
    bridge.on_beacon(heard("e", alive(), seq=8, at=7 * 3_600.0), instant(7 * 3_600.0))
    assert bridge.next_deadline() is None


def test_many_facts_go_in_pages_that_fit_into_a_frame() -> None:
    bridge, _ = bridging()
    for number in range(200):
        bridge.on_news(heard(f"e{number}", Left(0)), instant(0.0))
    effects = bridge.on_tick(instant(1))
    assert len(effects) == 4
    assert len(carried(effects)) == 200


def test_while_the_link_is_down_what_waits_is_forgotten() -> None:
    bridge, _ = bridging()
    bridge.on_news(heard("e", Left(0)), instant(0.0))
    bridge.on_link(is_up=False)
    assert bridge.next_deadline() is None
    assert bridge.on_tick(instant(9)) == []


def test_a_bridge_hears_all_and_who_is_none_its_own_region_after_a_while() -> None:
    wide, narrow = SUBJECTS.facts(), SUBJECTS.facts_of("us")
    bridge, regions = bridging(3)
    assert bridge.tune(instant(0)) == []
    assert bridge.tune(instant(NARROW_S - 0.1)) == []
    assert bridge.tune(instant(NARROW_S)) == [Tune(on=narrow, off=wide)]
    assert bridge.hears == narrow
    for node in regions.bridges("us"):
        regions.doubt(node)
    assert bridge.tune(instant(20)) == [Tune(on=wide, off=narrow)]
    assert bridge.tune(instant(21)) == []


def test_who_is_a_bridge_again_in_time_goes_on_hearing_all() -> None:
    bridge, regions = bridging(3)
    first = regions.bridges("us")[0]
    bridge.tune(instant(0))
    regions.doubt(first)
    assert bridge.tune(instant(9)) == []
    regions.trust(first)
    bridge.tune(instant(10))
    assert bridge.tune(instant(19)) == []
    assert bridge.tune(instant(20)) == [Tune(on=SUBJECTS.facts_of("us"), off=SUBJECTS.facts())]


def test_a_fact_is_from_afar_when_it_was_said_to_another_region() -> None:
    bridge, _ = bridging()
    assert bridge.is_from_afar(heard("e", Left(0)))
    assert not bridge.is_from_afar(structs.replace(heard("e", Left(0)), subject=SUBJECTS.fact(region="us", src="e")))


def test_an_older_word_does_not_replace_the_one_that_waits() -> None:
    bridge, _ = bridging()
    bridge.on_news(heard("e", alive(2), seq=3), instant(0.0))
    bridge.on_news(heard("e", alive(1), seq=2), instant(0.0))
    assert carried(bridge.on_tick(instant(1))) == [heard("e", alive(2), seq=3).frame]


def test_of_two_deaths_of_one_life_the_one_that_came_first_is_carried_with_its_proof() -> None:
    bridge, _ = bridging(1)
    first, other = (heard(src, Dead("e", 1, 0, "timeout", (src.encode(),))) for src in "fg")
    bridge.on_news(first, instant(0.0))
    bridge.on_news(other, instant(0.0))
    bridge.on_carried(other)
    assert carried(bridge.on_tick(instant(1))) == [first.frame]


def test_what_waits_is_bounded_in_number_and_in_bytes_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [heard(f"e{number}", Left(0)) for number in range(9)]
    for bound, most in ("CARRIED_MAX", 4), ("CARRIED_BYTES_MAX", 4 * len(facts[0].frame)):
        bridge, _ = bridging()
        with monkeypatch.context() as patched:
            patched.setattr(limits, bound, most)
            for fact in facts:
                bridge.on_news(fact, instant(0.0))
                bridge.on_news(fact, instant(0.0))
            assert carried(bridge.on_tick(instant(1))) == [fact.frame for fact in facts[-4:]]


def test_the_dates_of_alive_facts_are_kept_of_as_many_as_a_view_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEERS_MAX", 3)
    bridge, _ = bridging()
    for number in range(9):
        life = Alive(0, f"e{number}", "eu", "", b"")
        bridge.on_carried(heard(f"e{number}", life))
        bridge.on_news(heard(f"f{number}", life), instant(0.0))
        bridge.on_beacon(heard(f"g{number}", life), instant(0.0))
        assert len(bridge._dated) <= 3
