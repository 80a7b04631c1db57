"""`peers --all-views`, the story of a peer and how far all agree, as people read them."""

import msgspec
import pytest

from meshd.api.view_schemas import Agreement, FoundDead, OneView, Sighting, StoryLine, Subject, Views
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import LIFE, FakeBackend, Served, a_status

EVIL = "d\n\x1b[31m\u202e"


def test_all_views_shows_who_has_which_and_how_each_has_whom_they_differ_in(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("peers", "--all-views")
    assert said.code == 0
    assert said.out.splitlines() == [
        "3 nodes have 2 views of the mesh; no answer from f",
        "",
        "VIEW  HELD BY  ALIVE  WHO HAS IT",
        "1 *   2        3      a, b",
        "2     1        2      c",
        "",
        "NODE  1 *    2",
        "d     alive  dead",
    ]
    assert "e     alive  alive" in meshctl("peers", "--all-views", "--all").out


def test_one_view_is_one_sentence(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.upkeep.views_ = Views((OneView("01", ("a", "b", "c"), 3, ours=True),), ())
    assert meshctl("peers", "--all-views").out == "all 3 nodes that answered see the same 3 nodes\n"
    backend.upkeep.views_ = Views((OneView("01", ("a",), 1, ours=True),), (), silent=("b",), unasked=4)
    said = "no other node said what it sees; no answer from b; 4 were not asked\n"
    assert meshctl("peers", "--all-views").out == said
    backend.upkeep.views_ = Views((OneView("01", ("a", "b"), 2, ours=True),), (), refused=("c", "d"), again_s=1.0)
    said = "all 2 nodes that answered see the same 2 nodes; c, d refused, asked too often: ask again in 1 s\n"
    assert meshctl("peers", "--all-views").out == said
    backend.upkeep.views_ = Views((OneView("01", ("a",), 1, ours=True),), ())
    assert meshctl("peers", "--all-views").out == "there is no other node in view\n"


def test_many_holders_and_many_silent_ones_are_counted_and_other_lives_are_told_apart(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    many = tuple(f"n{number:02}" for number in range(40))
    backend.upkeep.views_ = Views(
        (
            OneView("01", many, 41, ours=True),
            OneView("02", ("x",), 41, ours=False),
            OneView("03", ("y",), 2, False, False),
        ),
        (Subject("d", "d" * 32, (Sighting("alive", 7), Sighting("alive", 8))),),
        silent=many,
        more=3_072,
    )
    out = meshctl("peers", "--all-views").out
    assert "n06, n07 and 32 more\n" in out
    assert "no answer from n00, n01, n02, n03, n04, n05, n06, n07 and 32 more\n" in out
    assert "3     1        2      y (whom they see was not told)\n" in out
    assert out.splitlines()[-3:] == [
        "NODE  1 *             2",
        "d     alive (life 7)  alive (life 8)",
        "and 3072 nodes more",
    ]
    names = meshctl("peers", "--all-views", "-o", "name")
    assert (names.out, names.err) == ("d\n", "and 3072 nodes more\n")


def test_a_hostile_name_moves_no_cursor(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.upkeep.views_ = Views(
        (OneView("01", ("a", EVIL), 1, ours=True), OneView("02", (EVIL,), 1, ours=False)),
        (Subject(EVIL, "d" * 32, (Sighting("alive", 1), Sighting("unknown"))),),
        silent=(EVIL,),
    )
    out = meshctl("peers", "--all-views").out
    assert "\x1b" not in out
    assert "\u202e" not in out
    backend.peers_[1] = msgspec.structs.replace(backend.peers_[1], story=(StoryLine(LIFE, "peer_alive", EVIL),))
    assert "\x1b" not in meshctl("peers", "show", "b").out


def test_all_views_as_json_and_as_names(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    assert msgspec.json.decode(meshctl("peers", "--all-views", "-o", "json").out, type=Views).silent == ("f",)
    assert meshctl("peers", "--all-views", "--all", "-o", "name").out == "d\ne\n"


@pytest.mark.parametrize("arguments", [("--all",), ("--all-views", "show", "b")])
def test_all_views_stands_alone(meshctl: Meshctl, served: Served, arguments: tuple[str, ...]) -> None:
    assert meshctl("peers", *arguments).code == 2


def test_the_story_of_a_peer_stands_below_what_is_known_of_it(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    told = StoryLine(LIFE, "peer_suspect", "is suspect: a got no answer from it; last heard here 0.8 s before")
    backend.peers_[1] = msgspec.structs.replace(backend.peers_[1], accusers=("a", "c"), story=(told,))
    out = meshctl("peers", "show", "b").out
    assert "accused by   a, c\n" in out
    assert out.splitlines()[-1].endswith("d ago  is suspect: a got no answer from it; last heard here 0.8 s before")


@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        (Agreement(), "3 peers alive; here"),
        (
            Agreement(share=1.0, agreeing=2, complete=1.0, heard=2, oldest_s=19.6),
            "3 peers alive, all of one view (heard within 20 s); here",
        ),
        (
            Agreement(share=1.0, agreeing=1, unheard=1, complete=1.0, heard=1, oldest_s=3.0),
            "3 peers alive, all of one view (heard within 3 s, 1 peer not since it changed); here",
        ),
        (Agreement(share=0.0, differing=("b",), complete=0.5), "3 peers alive, 50% of the mesh in view so far; here"),
        (
            Agreement(
                share=0.0003,
                agreeing=1,
                differing=("b",),
                slowest="b",
                slowest_s=12.4,
                slowest_heard_s=3.4,
                complete=1.0,
                heard=3_000,
                unheard=7,
                oldest_s=17.6,
            ),
            "3 peers alive, 1 of 3000 others of this view (as heard up to 18 s ago: "
            "b has differed for 12 s, heard 3 s ago, 7 peers not since it changed); here",
        ),
        (
            Agreement(
                share=0.0,
                differing=("b",),
                slowest="b",
                slowest_s=12.4,
                slowest_heard_s=12.4,
                complete=1.0,
                heard=1,
                oldest_s=12.4,
            ),
            "3 peers alive, 0 of 1 other of this view (as heard up to 12 s ago: b differed 12 s ago); here",
        ),
    ],
)
def test_status_says_how_far_all_see_the_same(
    meshctl: Meshctl, served: Served, backend: FakeBackend, agreement: Agreement, said: str
) -> None:
    backend.status_ = a_status(agreement=agreement)
    out = meshctl("status").out
    assert said in out
    assert ("to ask them: meshctl peers --all-views" in out) is (" of this view " in said)
    assert "all-views" not in meshctl("status", "-q").out


def test_status_says_that_somebody_is_suspect(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.status_ = a_status(peers_suspect=2)
    assert "3 peers alive, 2 suspect" in meshctl("status").out
    backend.status_ = a_status(peers_unreachable=2)
    assert "3 peers alive, 2 unreachable; here" in meshctl("status").out


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (FoundDead(1, ("b",), 12.4), "3 peers alive, 1 found dead 12 s ago (b); here"),
        (
            FoundDead(9, tuple("bcdefghij"), 7.0),
            "3 peers alive, 9 found dead, the last 7 s ago (b, c, d, e, ...); here",
        ),
    ],
)
def test_status_says_who_was_just_found_dead(
    meshctl: Meshctl, served: Served, backend: FakeBackend, found: FoundDead, said: str
) -> None:
    backend.status_ = a_status(found_dead=found)
    assert said in meshctl("status").out


def test_waiting_for_a_node_waits_until_the_mesh_is_in_view(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    backend.status_ = a_status(agreement=Agreement(share=0.0, complete=0.25))
    said = meshctl("status", "--wait", "0.1")
    assert said.code == 9
    assert "still joined with 25% of the mesh in view after 0.1 s" in said.err
    backend.status_ = a_status(outlived=True)
    said = meshctl("status", "--wait", "0.1")
    assert (said.code, "still outlived by a newer daemon with its key" in said.err) == (9, True)
    backend.status_ = a_status(agreement=Agreement(share=0.0, complete=1.0))
    assert meshctl("status", "--wait", "0.1").code == 0
