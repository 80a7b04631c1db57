"""Edge cases of facts on their way: two that forgot at different times, changes in a row, one key twice."""

from msgspec import structs

from protocol.effects import Spread
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, Capabilities, Delta, Digest, Left
from tests.protocol.conversation import heard
from tests.protocol.test_gossip import among, keeps, node
from tests.protocol.views import LIFE, alive
from tests.protocol.views import among as among_members

DAY_S = 86_400.0


def test_who_forgot_a_tombstone_a_moment_earlier_does_not_take_it_back_and_they_soon_have_nothing_to_say() -> None:
    goodbye = heard("c", Left(0))
    early, late = among("b", "c", name="a"), among("a", "c", name="b")
    for talk in (early, late):
        talk.do("on_fact", goodbye)
    early.at(DAY_S + 30.0).tick()
    late.at(DAY_S + 30.0)
    assert (keeps(early, Left(0)), keeps(late, Left(0))) == (False, True)

    late.do("on_digest", "a", 1, Digest(1, buckets=early.machine.facts.hashes()))
    (fine,) = late.said(Digest)
    early.do("on_digest", "b", 1, fine)
    (lacking,) = early.said(Digest)
    assert {row.about for row in lacking.rows} == {"c"}, "of the living each has the same"
    late.do("on_digest", "a", 1, lacking)
    (delta,) = late.said(Delta)
    assert delta.facts == (goodbye.frame,)
    early.do("on_fact", structs.replace(goodbye, is_relayed=True)).expects_nothing()
    assert (bool(early.is_news), keeps(early, Left(0))) == (False, False)

    late.tick()
    assert not keeps(late, Left(0))
    early.at(DAY_S + 31.0).do("on_digest", "b", 1, Digest(2, buckets=late.machine.facts.hashes())).expects_nothing()


def test_of_two_changes_of_agents_in_a_row_the_newer_alone_is_repeated() -> None:
    talk = node().until(3.0)
    cards = [heard("a", Capabilities(version, (Card(f"x{version}", ("do@1",), 1),)), at=3.0) for version in (1, 2)]
    for fact in cards:
        talk.do("keep_own", fact)
    talk.until(4.5)
    repeated = [each.frame for each in talk.effects if isinstance(each, Spread) and isinstance(each.body, Capabilities)]
    assert repeated == [cards[1].frame]
    assert not keeps(talk, cards[0].body)


def test_what_one_with_our_key_and_life_says_of_itself_changes_nothing_of_ours() -> None:
    talk = among_members("b", "c")
    talk.hears("a", alive("another", 7), life=LIFE).expects_nothing()
    found = talk.machine.peer("a")
    assert (found.name, found.incarnation, found.state) == ("a", 0, "alive")


def test_another_word_at_the_same_incarnation_changes_nothing_that_is_shown() -> None:
    talk = among_members("b", "c")
    before = talk.machine.peer("b")
    other = Alive(before.incarnation, "impostor", "elsewhere", "d", b"", False)
    talk.hears("b", other, life=before.life, seq=2).expects_nothing()
    assert talk.machine.peer("b") == before
