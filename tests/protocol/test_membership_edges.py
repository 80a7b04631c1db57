"""Edge cases of names, burials and lives that others got wrong, each by its own name."""

from protocol.events import NameConflict, PeerAlive
from protocol.primitives import NodeId
from protocol.wire.gossip import Left
from tests.protocol.conversation import ANY, WALL_MS, Script
from tests.protocol.little_mesh import LittleMesh
from tests.protocol.views import alive, among, dead, lives, node, state

YEAR_MS = 365 * 86_400_000


def shown(talk: Script, peer: NodeId) -> str:
    found = talk.machine.peer(peer)
    return "" if found is None else str(found.name)


def test_the_name_of_who_left_is_free_at_once() -> None:
    talk = among("d").hears("b1234567890", alive("web")).hears("b1234567890", Left(0))
    talk.hears("c1234567890", alive("web")).expects_no(NameConflict)
    assert shown(talk, "c1234567890") == "web"


def test_the_name_of_a_dead_node_is_free_and_when_that_is_back_both_are_told_apart() -> None:
    talk = among("b", "c", "d").hears("b", alive("web"), life=2)
    lives(dead(talk, "b", ["c", "d"], life=2), 40.0, silent="b")
    assert state(talk, "b") == "dead"
    talk.hears("e", alive("web")).expects_no(NameConflict)
    assert shown(talk, "e") == "web"
    (said,) = talk.hears("b", alive("web"), life=3).said(NameConflict)
    assert (said.holder, said.claimant) == ("e", "b")
    assert (shown(talk, "b"), shown(talk, "e")) == ("web#b", "web")


def test_the_first_stays_the_first_however_high_the_life_and_incarnation_of_the_second() -> None:
    talk = node().at(60.0).hears("b", alive("web"))
    (said,) = talk.hears("c", alive("web", 1_000), life=WALL_MS).said(NameConflict)
    assert (said.holder, said.claimant) == ("b", "c")
    assert (shown(talk, "b"), shown(talk, "c")) == ("web", "web#c")
    talk.hears("b", Left(0))
    assert shown(talk, "c") == "web"


def test_two_sides_that_buried_each_other_say_no_more_than_before_soon_after_they_meet() -> None:
    mesh = LittleMesh(seed=3).start("n0", "n1", "n2", "n3").run(15.0)

    def said_in(seconds: float) -> int:
        before = mesh.sent
        mesh.run(seconds)
        return mesh.sent - before

    quiet = said_in(60.0)
    mesh.cut("n0", "n1")
    mesh.run(60.0)
    assert {whom for _, whom, _ in mesh.deaths()} == {"n0", "n1", "n2", "n3"}
    mesh.heal()
    mesh.run(10.0)
    assert mesh.agrees()
    assert said_in(60.0) <= 1.1 * quiet


def test_who_began_a_life_a_year_ahead_goes_on_with_a_clock_that_is_right_again_and_touches_nobody() -> None:
    talk, year = among("c", "d"), WALL_MS + YEAR_MS
    talk.hears("b", alive("b"), life=year)
    assert [each.peer for each in talk.said(PeerAlive)] == ["b"]
    lives(dead(talk, "b", ["c", "d"], life=year), 40.0, silent="b")
    assert state(talk, "b") == "dead"
    talk.hears("b", alive("b"), life=WALL_MS + 40_000).expects_nothing()  # an image of its disk from before
    talk.hears("b", alive("b"), life=year + 1)
    assert talk.said(PeerAlive) == [PeerAlive("b", "b", year + 1, 0, "dead", ANY, True)]
    assert [state(talk, other) for other in ("c", "d")] == ["alive", "alive"]
