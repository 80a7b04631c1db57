"""The view that ledger and calls are given: only the living, ordered by the policy of the settings."""

from random import Random
from typing import Any

import pytest

from protocol.catalogue import Catalogue
from protocol.clocks import Clocks
from protocol.events import PeerAlive, PeerDead
from protocol.flaps import Flaps
from protocol.places import Places
from protocol.replica import Me
from protocol.timekeeping import Timekeeping
from protocol.wire.gossip import Capabilities, Load
from tests.oracles import Oracle
from tests.protocol.conversation import heard, instant
from tests.protocol.work import CARD, ECHO, LIFE, ME, B, C

WHO = Me(ME, LIFE, "a", "r", "")


def _time(membership: Any) -> Timekeeping:
    return Timekeeping(me=WHO, clocks=Clocks(), membership=membership)


def _places(policy: str = "local-first") -> tuple[Places, Oracle]:
    """This node and two others have the capability; B is alive."""
    catalogue, oracle = Catalogue(me=WHO), Oracle(me=WHO)
    for node in (B, C):
        catalogue.on_fact(heard(node, Capabilities(1, (CARD,)), life=LIFE), instant(0))
    catalogue.advertise((CARD,), instant(0))
    oracle.tell(B, LIFE)
    membership: Any = oracle
    return Places(
        me=WHO, membership=membership, catalogue=catalogue, time=_time(membership), policy=policy, rng=Random(7)
    ), oracle


def test_only_the_living_are_candidates_and_our_own_agent_is_first() -> None:
    view, oracle = _places()
    assert [each.node for each in view.candidates(ECHO, instant(0))] == [ME, B]
    oracle.tell(C, LIFE)
    assert {each.node for each in view.candidates(ECHO, instant(0))} == {ME, B, C}
    assert view.candidates("other@1", instant(0)) == []


def test_who_flaps_gets_what_nobody_else_can_do_and_nothing_else() -> None:
    catalogue, oracle, flaps = Catalogue(me=WHO), Oracle(me=WHO), Flaps(quiet_s=30.0)
    catalogue.on_fact(heard(B, Capabilities(1, (CARD,)), life=LIFE), instant(0))
    oracle.tell(B, LIFE)
    membership: Any = oracle
    time = _time(membership)
    view = Places(
        me=WHO, membership=membership, catalogue=catalogue, time=time, policy="local-first", rng=Random(7), flaps=flaps
    )
    for number in range(3):
        flaps.told(PeerDead(B, "b", LIFE, (C,), "timeout", 6.0), instant(10 * number))
    flaps.told(PeerAlive(B, "b", LIFE, 3, "dead", 5.0), instant(25))
    assert [each.node for each in view.candidates(ECHO, instant(26))] == [B]
    catalogue.advertise((CARD,), instant(26))
    assert [each.node for each in view.candidates(ECHO, instant(26))] == [ME]
    flaps.on_tick(instant(56))
    assert [each.node for each in view.candidates(ECHO, instant(56))] == [ME, B]


def test_an_award_under_way_takes_a_slot_until_it_is_off() -> None:
    view, _ = _places("least-loaded")

    def free() -> dict[str, int]:
        return {each.node: each.free for each in view.candidates(ECHO, instant(0))}

    view.reserve(B, "echo", "t1")
    assert free() == {ME: 2, B: 1}
    view.release(B, "echo", "t1", 0, instant(0))
    assert free() == {ME: 2, B: 2}
    view.reserve(B, "echo", "t2")
    view.accepted(B, "echo", "t2", 9)
    assert free() == {ME: 2, B: 1}, "its load will show it"
    view.reserve(B, "echo", "t3")
    view.refused(B, "echo", "t3")
    assert free()[B] == 0


def test_a_living_node_that_takes_no_new_work_is_named_and_no_candidate() -> None:
    catalogue, oracle = Catalogue(me=WHO), Oracle(me=WHO)
    membership: Any = oracle
    view = Places(
        me=WHO, membership=membership, catalogue=catalogue, time=_time(membership), policy="local-first", rng=Random(7)
    )
    catalogue.on_fact(heard(B, Capabilities(1, (CARD,)), life=LIFE), instant(0))
    oracle.tell(B, LIFE)
    assert view.draining(ECHO, instant(0)) == ()
    catalogue.on_fact(heard(B, Load(1, (("echo", 2),), 0, 0, draining=True), life=LIFE), instant(0))
    assert view.draining(ECHO, instant(0)) == (oracle.me.name,)
    assert view.candidates(ECHO, instant(0)) == []
    assert view.draining("other@1", instant(0)) == ()
    oracle.tell(B, None)
    assert view.draining(ECHO, instant(0)) == ()


def test_work_can_wait_for_a_node_that_is_suspected_or_takes_nothing_new_and_for_no_other() -> None:
    catalogue, oracle = Catalogue(me=WHO), Oracle(me=WHO)
    membership: Any = oracle
    view = Places(
        me=WHO, membership=membership, catalogue=catalogue, time=_time(membership), policy="local-first", rng=Random(7)
    )
    for node in (B, C):
        catalogue.on_fact(heard(node, Capabilities(1, (CARD,)), life=LIFE), instant(0))
    oracle.tell(B, LIFE)
    assert not view.can_wait(ECHO, instant(0)), "those who are alive can do it now, and c is gone"
    oracle.lives[C] = LIFE
    oracle.doubted.add(C)
    assert view.can_wait(ECHO, instant(0))
    assert not view.can_wait("other@1", instant(0))
    oracle.doubted.clear()
    catalogue.on_fact(heard(C, Load(1, (("echo", 2),), 0, 0, draining=True), life=LIFE), instant(0))
    assert view.can_wait(ECHO, instant(0))


def test_lives_and_distances_are_those_of_the_membership_but_for_ourselves() -> None:
    view, _ = _places()
    assert (view.life_of(ME), view.life_of(B), view.life_of(C)) == (LIFE, LIFE, None)
    assert view.round_trip_s(ME) == 0.0
    assert view.round_trip_s(B) > 0


def test_an_unknown_policy_is_a_mistake_of_whoever_composes() -> None:
    with pytest.raises(KeyError):
        _places("nearest")


def test_only_a_node_that_is_seen_alive_is_living() -> None:
    view, _ = _places()
    assert (view.living(B), view.living(C)) == (LIFE, None)


def test_who_is_suspected_has_a_place_as_guardian_but_for_when_nobody_is_declared_dead() -> None:
    view, oracle = _places()
    membership: Any = oracle
    membership.suspects = lambda: (C,)
    assert view.homes(instant(0)).guards == (ME, B, C)
    membership.is_frozen = lambda: True
    assert view.homes(instant(0)).guards == (ME, B)
