"""What a node asks a suspect itself before it signs its death, when the answer or its lack counts, and in what time."""

import pytest

from protocol import limits
from protocol.effects import Emit
from protocol.presets import PRESETS
from protocol.wire.gossip import Confirm, Dead, Suspect
from protocol.wire.swim import Ack
from tests.protocol.conversation import ANY, Script
from tests.protocol.views import among, fails_to_answer, lives, number_of, pings, state


def test_who_has_only_heard_of_a_suspicion_asks_the_suspect_before_it_signs_its_death() -> None:
    talk = among(*"bcdefghijkl")
    for accuser in "bc":
        talk.hears(accuser, Suspect("l", 1, 0, "absent"))
    assert "l" not in [ping.to for ping in pings(talk)], "others look after it"
    lives(talk, 2.2, silent="l")
    assert "l" not in [ping.to for ping in pings(talk)], "nor was it its turn"
    lives(talk, 2.3, silent="l")
    (asked,) = [ping for ping in pings(talk) if ping.to == "l"]
    assert talk.said(Dead) == []
    talk.gets("l", Ack(number_of(asked), 1)).expects(Emit(ANY)).expects_no(Dead)
    assert state(talk, "l") == "alive"
    assert lives(talk, 10.0).said(Dead) == []


def test_a_suspect_that_does_not_answer_that_either_is_dead_when_the_patience_is_over() -> None:
    talk = among(*"bcdefghijkl")
    for accuser in "bc":
        talk.hears(accuser, Suspect("l", 1, 0, "absent"))
    lives(talk, 2.49, silent="l")
    assert talk.said(Dead) == []
    assert [each.peer for each in lives(talk, 2.51, silent="l").said(Dead)] == ["l"]


def test_who_only_counts_signs_no_death_of_one_that_answers_it_even_as_it_was() -> None:
    talk = among("b", "c", "d", "e", "f")
    for accuser in "cd":
        talk.hears(accuser, Suspect("b", 1, 0, "absent"))
    assert lives(talk, 20.0).said(Dead) == []
    assert state(talk, "b") == "suspect"


def test_a_question_whose_answer_could_not_be_heard_is_put_anew() -> None:
    talk = among(*"bcdefghijkl")
    for accuser in "bc":
        talk.hears(accuser, Suspect("l", 1, 0, "absent"))
    assert "l" in [ping.to for ping in pings(lives(talk, 2.3, silent="l"))]
    talk.do("on_link", is_up=False).at(12.0).do("on_link", is_up=True)
    back_s = 12.0 + PRESETS["lan"].grace_s
    assert lives(talk, back_s - 0.01, silent="l").said(Dead) == []
    lives(talk, back_s + 0.2, silent="l")
    assert "l" in [ping.to for ping in pings(talk)]
    assert talk.said(Dead) == []


def test_a_lag_between_the_last_question_and_the_verdict_puts_the_question_anew() -> None:
    talk = among(*"bcdefghijkl")
    for accuser in "bc":
        talk.hears(accuser, Suspect("l", 1, 0, "absent"))
    lives(talk, 2.3, silent="l")
    talk.at(2.8).do("on_lag", 500)
    assert lives(talk, 2.99, silent="l").said(Dead) == []


def test_nothing_is_signed_while_too_many_questions_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = among(*"bcdefghijkl")
    for accuser in "bc":
        talk.hears(accuser, Suspect("l", 1, 0, "absent"))
    monkeypatch.setattr(limits, "PROBES_OPEN_MAX", 0)
    assert lives(talk, 6.0, silent="l").said(Dead) == []


def _accused_by_us_first() -> Script:
    talk = fails_to_answer(among("b", "c", "d", "e", "f", "g", "h"), "b", evidence="timeout")
    lives(talk, talk.seconds + 1.5, silent="b")
    assert state(talk, "b") == "suspect"
    for accuser in "cde":
        talk.hears(accuser, Confirm("b", 1, 0, "timeout"))
    return talk


def test_whom_we_accused_ourselves_gets_no_time_anew_when_our_link_is_back() -> None:
    talk = _accused_by_us_first()
    lives(talk, talk.seconds + 1.0, silent="b").do("on_link", is_up=False).at(500.0).do("on_link", is_up=True)
    assert state(lives(talk, 504.6, silent="b"), "b") == "dead"


def test_who_stands_still_again_and_again_finds_the_dead_in_the_end() -> None:
    talk = _accused_by_us_first()
    for _ in range(10):
        lives(talk, talk.seconds + 3.0, silent="b")
        talk.at(talk.seconds + 6.0).do("on_lag", 6_000)
    assert state(talk, "b") == "dead"
