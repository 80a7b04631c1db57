"""What accusers do with the answer: the first two tell it to all, for it may not reach those who have their word."""

from msgspec import structs

from protocol.effects import Carry, Emit
from protocol.events import PeerAlive
from protocol.wire.gossip import Suspect
from protocol.wire.swim import Ack
from tests.protocol.conversation import ANY, heard
from tests.protocol.views import alive, among, fails_to_answer, state


def test_who_accused_passes_the_answer_on_to_those_who_have_its_word_and_may_not_hear_the_accused() -> None:
    talk = fails_to_answer(among("b", "c", "d"), "b", evidence="timeout")
    talk.hears("b", alive("b", 1))
    (carried,) = [each.body.facts for each in talk.effects if isinstance(each, Carry)]
    assert carried == (heard("b", alive("b", 1)).frame,)
    talk.hears("b", alive("b", 1)).expects_no(Carry)
    others = among("b", "c", "d").hears("c", Suspect("b", 1, 0, "timeout"))
    others.hears("b", alive("b", 1)).expects_no(Carry)


def test_an_answer_is_passed_on_even_where_an_ack_has_told_it_already() -> None:
    talk = fails_to_answer(among("b", "c", "d"), "b", evidence="timeout")
    talk.gets("b", Ack(1, 1)).expects(Emit(PeerAlive("b", "b", 1, 1, "suspect", ANY)))
    talk.expects_no(Carry)  # an ack is for who asked: only its own word proves it to others
    talk.hears("b", alive("b", 2))  # what it said before may be lost
    (carried,) = [each.body.facts for each in talk.effects if isinstance(each, Carry)]
    assert carried == (heard("b", alive("b", 2)).frame,)
    talk.hears("b", alive("b", 2)).expects_no(Carry)


def test_an_answer_is_passed_on_by_the_first_two_accusers_for_without_theirs_no_other_word_counts() -> None:
    for earlier in ("c",), ("c", "d"):
        talk = among("b", "c", "d", "e")
        for accuser in earlier:
            talk.hears(accuser, Suspect("b", 1, 0, "timeout"))
        fails_to_answer(talk, "b", evidence="timeout").hears("b", alive("b", 1))
        carried = [each for each in talk.effects if isinstance(each, Carry)]
        assert len(carried) == (len(earlier) < 2)


def test_an_answer_that_came_by_others_is_passed_on_by_those() -> None:
    talk = fails_to_answer(among("b", "c", "d"), "b", evidence="timeout")
    talk.do("on_fact", structs.replace(heard("b", alive("b", 1)), is_relayed=True)).expects_no(Carry)
    assert state(talk, "b") == "alive"
