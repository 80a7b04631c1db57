"""The table of one view: states, names, tombstones; and our own word, repeated until it is quiet."""

import pytest
from msgspec import structs

from protocol import limits
from protocol.effects import Emit, Spread
from protocol.events import AccusationRefuted, PeerMisbehaved
from protocol.primitives import NS_PER_S
from protocol.replica import Me
from protocol.roster import Member, Own, Roster
from protocol.wire.gossip import Alive
from tests.protocol.conversation import ANY, WALL_MS, heard, instant

ME = Me(id="me", life=9, name="me", region="r", domain="d", admission=b"proof", version="1")


def member(roster: Roster, node: str, name: str = "") -> Member:
    """A living member."""
    found = Member(node)
    bears(roster, found, name or node)
    roster.raise_up(found, "alive", instant(0.0))
    return found


def bears(roster: Roster, member: Member, name: str) -> tuple[str, str] | None:
    """It says that it is called so."""
    return roster.take(member, heard(member.id, None), Alive(0, name, "r", "", b""), instant(0.0))


def test_living_holds_the_alive_and_the_suspect_in_order() -> None:
    roster = Roster(ME)
    for node in ("c", "a", "b"):
        member(roster, node)
    suspect, gone = roster.get("b"), roster.get("a")
    assert suspect is not None
    assert gone is not None
    roster.raise_up(suspect, "suspect", instant(1.0))
    roster.bury(gone, "left", instant(2.0))
    assert roster.living == ("b", "c")
    assert roster.alive() == ["c"]
    assert roster.suspects() == ("b",)
    assert [roster.life_of(node) for node in ("a", "b", "z")] == [None, 1, None]
    assert [roster.is_living("a"), roster.is_living("b"), roster.is_alive("b")] == [False, True, False]


def test_of_several_of_one_name_the_first_keeps_it_and_the_others_are_shown_with_their_ids() -> None:
    roster = Roster(ME)
    first, second, third = all_three = [member(roster, f"{letter}bcdefghijk", "twin") for letter in "abc"]
    assert [roster.shown_name(each) for each in all_three] == ["twin", "twin#bbcdefgh", "twin#cbcdefgh"]
    roster.bury(first, "dead", instant(1.0))
    assert [roster.shown_name(each) for each in all_three] == ["twin#abcdefgh", "twin", "twin#cbcdefgh"]
    assert bears(roster, first, "twin") == (second.id, first.id)
    roster.bury(first, "dead", instant(1.0))
    roster.bury(second, "dead", instant(1.0))
    assert roster.shown_name(third) == "twin"
    assert roster.shown_name(second) == "twin#bbcdefgh", "the dead do not pass for the living"


def test_of_two_of_one_name_whom_we_met_when_we_began_both_are_shown_with_their_ids() -> None:
    roster = Roster(structs.replace(ME, life=WALL_MS))
    first, second = both = [member(roster, f"{letter}bcdefghijk", "twin") for letter in "ab"]
    assert [roster.shown_name(each) for each in both] == ["twin#abcdefgh", "twin#bbcdefgh"]
    roster.bury(second, "left", instant(1.0))
    assert roster.shown_name(first) == "twin"


def test_our_own_name_is_ours_unless_another_bore_it_when_we_began() -> None:
    roster = Roster(ME)
    assert roster.shown_name(ME) == "me"
    other = member(roster, "other", "me")
    assert [roster.shown_name(each) for each in (ME, other)] == ["me", "me#other"]
    roster.bury(other, "left", instant(1.0))
    assert roster.shown_name(ME) == "me"


def test_tombstones_are_forgotten_by_age_and_by_number_the_oldest_first() -> None:
    roster = Roster(ME)
    for index in range(limits.TOMBSTONES_MAX + 3):
        roster.bury(member(roster, f"n{index:04}"), "dead", instant(float(index)))
    assert roster.get("n0002") is None
    assert roster.get("n0003") is not None
    roster.sweep(instant(1_000.0), 500.0)
    assert roster.get("n0499") is None
    assert roster.get("n0500") is not None


def test_a_tombstone_of_somebody_never_seen_is_not_shown_and_a_return_is() -> None:
    roster = Roster(ME)
    ghost = Member("z")
    roster.bury(ghost, "dead", instant(0.0))
    assert roster.peer("z") is None
    assert roster.peers() == []
    roster.raise_up(ghost, "alive", instant(1.0))
    assert [peer.id for peer in roster.peers()] == ["z"]
    roster.sweep(instant(1e6), 60.0)
    assert roster.get("z") is ghost, "whoever came back is no tombstone any more"


def test_a_new_life_is_timed_anew() -> None:
    node = Member("b")
    node.take(heard("b", None), Alive(0, "b", "r", "", b""))
    for _ in range(100):
        node.measure(0.2)
    assert node.round_trip_s == pytest.approx(0.2, rel=1e-3)
    node.take(heard("b", None), Alive(1, "b", "r", "", b""))
    assert node.round_trip_s == pytest.approx(0.2, rel=1e-3)
    node.take(heard("b", None, life=2), Alive(0, "b", "r", "", b""))
    assert node.round_trip_s == 0.025


def said(incarnation: int, *, is_fresh: bool = False) -> Spread:
    return Spread(Alive(incarnation, "me", "r", "d", b"proof", is_fresh, "1"))


def test_our_own_word_carries_all_that_we_are() -> None:
    own = Own(ME, repeat_s=0.5)
    assert own.say(instant(0.0), is_fresh=True) == [said(0, is_fresh=True)]
    assert own.next_deadline() is None
    peer = own.peer("me#me")
    assert (peer.id, peer.name, peer.life, peer.state, peer.is_self) == ("me", "me#me", 9, "alive", True)


def test_an_accusation_is_outbid_and_repeated_for_as_long_as_it_is_heard() -> None:
    own = Own(ME, repeat_s=0.5)
    refuted = Emit(AccusationRefuted("b", "suspect", 9, 1))
    assert own.accused("b", "suspect", life=9, incarnation=0, now=instant(0.0)) == [said(1), refuted]
    assert own.on_tick(instant(0.4)) == []
    assert own.on_tick(instant(0.5)) == [said(1)]
    assert own.accused("c", "suspect", life=9, incarnation=0, now=instant(0.9)) == []
    assert own.on_tick(instant(1.0)) == [said(1)]
    assert own.on_tick(instant(1.5)) == [said(1)]
    assert own.on_tick(instant(2.0)) == []
    assert own.next_deadline() is None


def test_who_accuses_us_whenever_we_speak_up_makes_us_speak_no_oftener_than_we_would_anyway() -> None:
    own = Own(ME, repeat_s=0.5)
    spoken = told_of = 0
    for step in range(200):
        now = instant(step * 0.01)
        told = own.accused("b", "suspect", life=9, incarnation=own.incarnation, now=now) + own.on_tick(now)
        spoken += sum(isinstance(effect, Spread) for effect in told)
        told_of += sum(isinstance(effect, Emit) for effect in told)
    assert told_of == 1, "the first: a flood would push all else out of a node's story"
    assert own.incarnation == 200
    assert spoken == 4
    assert own.next_deadline() is not None, "the last word is still to be said"


def test_old_accusations_are_answered_no_oftener_than_we_may_speak() -> None:
    own = Own(ME, repeat_s=0.5)
    own.say(instant(1.0))
    for step in range(10):
        assert own.accused("b", "suspect", life=8, incarnation=7, now=instant(1.0 + step * 0.01)) == []
    deadline = own.next_deadline()
    assert deadline is not None
    assert (deadline - instant(0.0).mono_ns) / NS_PER_S == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("life", "incarnation", "code"),
    [(10, 0, "unknown_life"), (9, limits.INCARNATION_JUMP_MAX, "incarnation_jump"), (9, 1 << 63, "incarnation_jump")],
)
def test_an_accusation_that_nobody_can_honestly_make_is_named_and_ignored(
    life: int, incarnation: int, code: str
) -> None:
    own = Own(ME, repeat_s=0.5)
    assert own.accused("b", "suspect", life=life, incarnation=incarnation, now=instant(0.0)) == [
        Emit(PeerMisbehaved("b", code, ANY))
    ]
    assert own.incarnation == 0
    assert own.next_deadline() is None


def test_a_view_is_settled_since_the_first_other_or_since_a_while_alone() -> None:
    own = Own(ME, repeat_s=0.5)
    own.began = instant(0.0).mono_ns
    assert own.settled_s(instant(4.0), alone_s=5.0) == 0.0
    assert own.settled_s(instant(7.0), alone_s=5.0) == pytest.approx(2.0)
    own.meet(instant(1.0))
    own.meet(instant(6.0))
    assert own.settled_s(instant(7.0), alone_s=5.0) == pytest.approx(6.0)


def test_the_gone_are_hidden_when_told_to_and_their_graves_stay() -> None:
    roster = Roster(ME)
    gone, alive = member(roster, "gone"), member(roster, "alive")
    roster.bury(gone, "dead", instant(1.0))
    assert roster.hide("gone")
    assert [peer.id for peer in roster.peers()] == ["alive"]
    assert roster.get("gone") is gone, "old news of it is still known as old"
    assert not roster.hide(alive.id)
    assert not roster.hide(ME.id)
    assert roster.hide("never seen")
    roster.raise_up(gone, "alive", instant(2.0))
    assert len(roster.peers()) == 2, "who comes back is shown"
