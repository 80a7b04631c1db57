"""The view as a number, and how far others see the same: what is said, when, and by whom."""

from itertools import permutations

import pytest

from protocol.agreement import Agreement
from protocol.wire.gossip import Left
from protocol.wire.swim import Ack, Ping
from tests.protocol.conversation import instant
from tests.protocol.views import alive, among, lives, node, number_of, probed

OTHER = b"another."


def view(*others: str, life: int = 1) -> Agreement:
    made = Agreement(me="a", life=1)
    for each in others:
        made.note(each, life, "alive", instant(0.0))
    return made


def test_the_same_lives_in_the_same_state_are_one_number_in_whatever_order_they_came() -> None:
    assert len({view(*order).view for order in permutations("bcd")}) == 1
    assert view("b").view != view("c").view
    assert view("b").view != view("b", life=2).view
    assert len(view().view) == 8


def test_what_came_and_went_leaves_no_trace_in_the_number() -> None:
    one = view("b")
    one.note("c", 1, "alive", instant(1.0))
    one.note("c", 1, "suspect", instant(2.0))
    one.drop("c", instant(3.0))
    one.drop("c", instant(4.0))
    assert (one.view, one.count) == (view("b").view, 2)


def test_a_suspect_makes_another_view_than_a_living_node_or_none() -> None:
    one = view("b")
    one.note("b", 1, "suspect", instant(1.0))
    assert one.view not in (view("b").view, view().view)


def test_nobody_has_said_anything_yet_so_nothing_is_known_of_agreement() -> None:
    convergence = view("b", "c").convergence(instant(1.0))
    assert (convergence.share, convergence.complete, convergence.unheard) == (None, None, 2)


def test_only_those_count_whom_we_probe_once_they_are_named() -> None:
    one = view("b", "c", "d", "e")
    one.hear("b", one.view, 5, instant(1.0))
    one.hear("e", OTHER, 5, instant(1.0))  # was probed while we were a bridge
    convergence = one.convergence(instant(4.0), probed=("b", "c"))
    assert (convergence.share, convergence.agreeing, convergence.differing, convergence.unheard) == (1.0, 1, (), 1)


def test_of_those_who_said_something_the_share_that_sees_the_same_is_told() -> None:
    one = view("b", "c", "d", "e")
    one.hear("b", one.view, 5, instant(1.0))
    one.hear("c", one.view, 5, instant(1.0))
    one.hear("d", OTHER, 5, instant(1.0))
    convergence = one.convergence(instant(4.0))
    assert convergence.share == pytest.approx(2 / 3)
    assert (convergence.agreeing, convergence.differing, convergence.unheard) == (2, ("d",), 1)
    assert (convergence.slowest, convergence.differs_s, convergence.proven_s) == ("d", 3.0, 0.0)


def test_the_slowest_is_who_has_differed_longest_and_its_age_is_told_from_when_it_began() -> None:
    one = view("b", "c")
    one.hear("c", OTHER, 3, instant(1.0))
    one.hear("b", OTHER, 3, instant(2.0))
    one.hear("c", b"a third ", 3, instant(9.0))
    convergence = one.convergence(instant(11.0))
    assert convergence.differing == ("c", "b")
    assert (convergence.slowest, convergence.differs_s, convergence.proven_s) == ("c", 10.0, 8.0)
    one.hear("c", one.view, 3, instant(12.0))
    one.hear("c", OTHER, 3, instant(13.0))
    assert one.convergence(instant(14.0)).slowest == "b"


def test_news_that_is_on_its_way_is_no_disagreement() -> None:
    one = view("b", "c")
    before = one.view
    one.drop("c", instant(10.0))
    one.hear("b", before, 3, instant(11.0))  # it has not heard of that yet
    assert one.convergence(instant(11.0)).share == 1.0
    one.hear("b", before, 3, instant(13.0))  # by now it should have
    assert one.convergence(instant(13.0)).share == 0.0


def test_who_was_ahead_of_us_agrees_as_soon_as_we_have_followed() -> None:
    one, ahead = view("b", "c"), view("b")
    one.hear("b", ahead.view, 2, instant(5.0))
    assert one.convergence(instant(5.0)).share == 0.0
    one.drop("c", instant(5.1))
    assert one.convergence(instant(5.2)).share == 1.0


def test_what_we_saw_since_is_not_held_against_who_agreed_when_it_was_heard_last() -> None:
    one = view("b", "c")
    one.hear("b", one.view, 3, instant(1.0))
    one.note("d", 1, "alive", instant(30.0))
    convergence = one.convergence(instant(31.0))
    assert (convergence.share, convergence.unheard) == (1.0, 2)


def test_a_joiner_says_how_much_of_what_most_others_see_it_sees() -> None:
    one = view("b", "c", "d")
    one.hear("b", OTHER, 8, instant(1.0))
    assert one.convergence(instant(1.0)).complete == 0.5
    for each in "efgh":
        one.note(each, 1, "alive", instant(2.0))
    one.hear("b", one.view, 8, instant(3.0))
    assert one.convergence(instant(3.0)).complete == 1.0


def test_a_view_that_was_complete_is_not_made_incomplete_by_who_has_not_heard_of_a_death() -> None:
    one = view("b", "c", "d")
    one.hear("b", one.view, 4, instant(1.0))
    one.drop("d", instant(60.0))
    one.hear("c", OTHER, 4, instant(60.1))
    assert one.convergence(instant(60.1)).complete == 1.0


def test_who_agreed_with_what_is_not_our_view_any_more_has_said_nothing_since() -> None:
    one = view("b", "c", "d")
    for at_s, each in enumerate("bcd", start=1):
        one.hear(each, one.view, 4, instant(at_s))
    assert (one.convergence(instant(9.0)).share, one.convergence(instant(9.0)).oldest_s) == (1.0, 8.0)
    one.note("d", 1, "suspect", instant(10.0))
    assert one.convergence(instant(11.0)).share == 1.0  # news is on its way
    convergence = one.convergence(instant(600.0))
    assert (convergence.share, convergence.agreeing, convergence.differing, convergence.unheard) == (None, 0, (), 3)
    one.hear("c", one.view, 4, instant(601.0))
    convergence = one.convergence(instant(605.0))
    assert (convergence.share, convergence.unheard, convergence.oldest_s) == (1.0, 2, 4.0)


def test_a_view_of_a_moment_ago_is_known_through_a_mass_join_and_forgotten_after_it() -> None:
    one = view("b")
    one.note("c", 1, "alive", instant(1.0))
    seen = one.view
    for number in range(300):
        one.note(f"n{number}", 1, "alive", instant(1.001 + number / 1_000))
    one.hear("b", seen, 3, instant(1.4))
    assert one.convergence(instant(1.4)).share == 1.0
    one.hear("b", seen, 3, instant(4.0))
    assert one.convergence(instant(4.0)).share == 0.0
    assert not one._former


def test_the_first_word_of_another_joiner_makes_no_view_complete() -> None:
    one = view("b")
    one.hear("b", OTHER, 2, instant(0.1))  # it has just come, too
    for each in "cdefg":
        one.note(each, 1, "alive", instant(0.2))
        one.hear(each, OTHER, 100, instant(1.0))
    assert one.convergence(instant(2.0)).complete == pytest.approx(7 / 100)


def test_who_claims_to_see_more_than_ever_comes_is_not_believed_for_long() -> None:
    one = view("b")
    one.hear("b", one.view, 5_000, instant(1.0))  # a view that is ours is no larger, whatever is said of it
    assert one.convergence(instant(1.0)).complete == 1.0
    one.hear("b", OTHER, 5_000, instant(2.0))
    one.hear("b", OTHER, 5_000, instant(20.0))
    assert one.convergence(instant(3.0)).complete == pytest.approx(2 / 5_000)
    assert one.convergence(instant(20.0)).complete == 1.0


def test_one_liar_makes_no_view_look_incomplete() -> None:
    one = view("b", "c", "d")
    one.hear("d", OTHER, 1 << 53, instant(1.0))
    for each in "bc":
        one.hear(each, one.view, 4, instant(1.0))
    assert one.convergence(instant(1.0)).complete == 1.0


def test_after_our_own_link_was_down_nothing_is_known_of_what_others_see() -> None:
    one = view("b")
    one.hear("b", one.view, 2, instant(1.0))
    one.doubt()
    assert (one.convergence(instant(2.0)).share, one.convergence(instant(2.0)).complete) == (None, None)


def test_an_older_node_that_says_nothing_and_a_stranger_are_not_counted() -> None:
    one = view("b")
    one.hear("b", b"", 0, instant(1.0))
    one.hear("z", one.view, 2, instant(1.0))
    one.drop("b", instant(2.0))
    one.hear("b", one.view, 2, instant(3.0))
    assert (one.convergence(instant(3.0)).share, one.convergence(instant(3.0)).unheard) == (None, 0)


# --- as membership has it


def test_an_answer_carries_the_view_and_is_believed_of_who_was_asked() -> None:
    talk = among("b", "c")
    talk.gets("b", Ping(9))
    (ack,) = talk.said(Ack)
    assert (ack.view, ack.sees) == (talk.machine.agreement.view, 3)
    talk.until(0.5)
    ping = probed(talk)
    talk.gets(ping.to, Ack(number_of(ping) + 1, 0, ack.view, 3))  # nobody asked this
    assert talk.machine.agreement.convergence(talk.now).share is None
    talk.gets(ping.to, Ack(number_of(ping), 0, ack.view, 3))
    assert talk.machine.agreement.convergence(talk.now).share == 1.0


def test_a_new_life_a_suspicion_and_a_goodbye_are_other_views() -> None:
    talk = among("b", "c")
    seen = [talk.machine.agreement.view]
    talk.hears("b", alive("b"), life=2)
    seen.append(talk.machine.agreement.view)
    lives(talk, 3.0, silent="b")
    seen.append(talk.machine.agreement.view)
    assert talk.machine.suspects() == ("b",)
    assert len(set(seen)) == 3
    talk.hears("c", Left(0))
    talk.hears("b", Left(0), life=2)
    assert (talk.machine.agreement.count, talk.machine.agreement.view) == (1, node("a").machine.agreement.view)
