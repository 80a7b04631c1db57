"""Views side by side: who has which, and whom they have otherwise."""

import msgspec

from meshd.api.view_schemas import OneView, Sighting
from meshd.sights import SUBJECTS_MAX, UNKNOWN, Group, compared, of_peers, told
from protocol import limits
from protocol.replica import Peer
from protocol.wire.ops import Sight

OURS, THEIRS = b"ours....", b"theirs.."


def group(view: bytes, holder: str, *sights: Sight) -> Group:
    return Group(view, (holder,), len(sights), told(sights))


def sight(name: str, state: str = "alive", life: int = 1, incarnation: int = 0) -> Sight:
    return Sight(name * 32, name, state, life, incarnation)


def test_when_all_see_the_same_nobody_is_seen_otherwise() -> None:
    found = compared(group(OURS, "a", sight("a"), sight("b")), (), is_all=False)
    assert found.views == (OneView(OURS.hex(), ("a",), 2, ours=True),)
    assert found.subjects == ()
    assert [each.name for each in compared(group(OURS, "a", sight("b"), sight("a")), (), is_all=True).subjects] == [
        "a",
        "b",
    ]


def test_who_is_seen_otherwise_is_shown_as_each_view_has_it() -> None:
    ours = group(OURS, "a", sight("a"), sight("b"), sight("c"), sight("d"), sight("e"))
    theirs = group(THEIRS, "b", sight("a"), sight("b", incarnation=7), sight("c", "dead"), sight("d", life=2))
    found = compared(ours, (theirs,), is_all=False)
    assert [(each.name, each.seen) for each in found.subjects] == [
        ("c", (Sighting("alive", 1, 0), Sighting("dead", 1, 0))),
        ("d", (Sighting("alive", 1, 0), Sighting("alive", 2, 0))),
        ("e", (Sighting("alive", 1, 0), UNKNOWN)),
    ]


def test_the_gone_are_no_part_of_a_view_so_who_never_heard_of_one_sees_the_same() -> None:
    found = compared(group(OURS, "a", sight("a"), sight("c", "dead")), (group(THEIRS, "b", sight("a")),), is_all=False)
    assert found.subjects == ()


def test_views_that_were_not_told_stand_last_and_have_no_column() -> None:
    mute = Group(b"mute....", ("d", "e"), 3)
    found = compared(group(OURS, "a", sight("a")), (mute, group(THEIRS, "b", sight("c"))), is_all=False)
    assert [(each.held_by, each.told) for each in found.views] == [(("a",), True), (("b",), True), (("d", "e"), False)]
    assert {len(each.seen) for each in found.subjects} == {2}


def test_a_state_that_nobody_knows_and_a_missing_name_are_shown_for_what_they_are() -> None:
    lied = Sight("c" * 32, "", "immortal", 1, 0)
    found = compared(group(OURS, "a", sight("a")), (group(THEIRS, "b", lied, sight("z")),), is_all=True)
    (shown,) = (each for each in found.subjects if each.id == "c" * 32)
    assert (shown.name, shown.seen) == ("c" * 8, (UNKNOWN, Sighting("unknown", 1, 0)))


def test_our_name_for_a_node_counts_before_a_strangers() -> None:
    renamed = Sight("b" * 32, "evil", "dead", 1, 0)
    found = compared(group(OURS, "a", sight("b")), (group(THEIRS, "c", renamed),), is_all=False)
    assert [each.name for each in found.subjects] == ["b"]


def test_of_the_nodes_that_only_others_see_no_more_are_shown_than_can_be_looked_at_at_once() -> None:
    invented = tuple(Sight(f"{number:032x}", "x", "alive", 1, 0) for number in range(SUBJECTS_MAX + 9))
    others = (group(THEIRS, "b", sight("a"), *invented), group(b"third...", "c", sight("a"), sight("c", "dead")))
    found = compared(group(OURS, "a", sight("a"), sight("c")), others, is_all=True)
    assert [each.name for each in found.subjects[:2]] == ["c", "x"], "whom all see the same stand last"
    assert (len(found.subjects), found.more) == (SUBJECTS_MAX, 11)


def test_of_a_mesh_as_large_as_can_be_who_is_seen_otherwise_is_shown_first_and_the_others_are_counted() -> None:
    same = [Sight(f"{number:032x}", f"n{number}", "alive", 1, 0) for number in range(limits.PEERS_MAX)]
    ours, theirs = sight("z"), sight("z", "suspect")
    found = compared(group(OURS, "a", ours, *same), (group(THEIRS, "b", theirs, *same),), is_all=True)
    assert [each.name for each in found.subjects[:2]] == ["z", "n0"]
    assert (len(found.subjects), found.more) == (SUBJECTS_MAX, limits.PEERS_MAX + 1 - SUBJECTS_MAX)
    others = [
        group(bytes([number]) * 8, "b", *(Sight(each.peer, each.name, "alive", 10**12 + number, 0) for each in same))
        for number in range(2, 18)
    ]
    found = compared(group(OURS, "a", *same), others, is_all=False)
    assert (len(found.subjects), found.more) == (SUBJECTS_MAX, limits.PEERS_MAX - SUBJECTS_MAX)
    assert len(msgspec.json.encode(found)) < 1_500_000


def test_what_liars_invent_takes_no_place_of_those_whom_we_know() -> None:
    invented = tuple(Sight(f"{number:032x}", "a", "alive", 1, 0) for number in range(SUBJECTS_MAX + 9))
    others = (group(THEIRS, "b", *invented), group(b"third...", "c", sight("z", "dead")))
    found = compared(group(OURS, "a", sight("z")), others, is_all=False)
    assert (found.subjects[0].name, found.subjects[1].name) == ("z", "a")
    assert (len(found.subjects), found.more) == (SUBJECTS_MAX, 10)


def test_what_this_node_sees_is_told_as_others_tell_theirs() -> None:
    peer = Peer("b" * 32, "b", 7, "suspect", 3, "r", "d", 0)
    assert of_peers((peer,)) == told((Sight("b" * 32, "b", "suspect", 7, 3),))


def test_of_the_gone_this_node_shows_no_more_than_it_would_tell_others() -> None:
    gone = [Peer(f"{number:032x}", "x", 7, "dead", 3, "r", "d", 0) for number in range(limits.SIGHTS_MAX)]
    shown = of_peers((*gone, Peer("b" * 32, "b", 7, "alive", 3, "r", "d", 0)))
    assert (len(shown.sights), next(iter(shown.sights))) == (limits.SIGHTS_MAX, "b" * 32)
