"""How long a suspect has, and when the verdict may be given."""

from pathlib import Path

import pytest

import protocol
from protocol.presets import MembershipSettings
from protocol.replica import Me
from protocol.roster import Member, Roster
from protocol.suspects import Spans, Suspects, spans_of
from protocol.suspicion import Accusation, Evidence, Suspicion
from protocol.wire.gossip import Dead, Suspect
from tests.protocol.conversation import heard, instant

GUIDE = Path(protocol.__file__).with_name("README.md")
SPANS = Spans(min_s=5.0, max_s=30.0, absent_s=2.0, patience_s=0.5, again_s=1.0, verifiers=3)


def view(*accusers: str, evidence: Evidence = "timeout", others: str = "bcd") -> tuple[Suspects, Member, Suspicion]:
    """Ourselves, others, and e, which is suspect since the beginning, by the word of these."""
    roster = Roster(Me(id="a", life=1, name="a", region="r", domain=""))
    for name in (*others, "e"):
        roster.raise_up(Member(name), "alive", instant(0.0))
    member = roster.get("e")
    assert member is not None
    roster.raise_up(member, "suspect", instant(0.0))
    suspicion = member.suspicion = Suspicion(incarnation=0, since=instant(0.0).mono_ns)
    for accuser in accusers:
        suspicion.add(accuser, Accusation(evidence, accuser.encode()))
    suspicion.in_vain = instant(0.0).mono_ns if "a" in accusers else None
    suspects = Suspects(me="a", roster=roster, spans=SPANS)
    suspects.arm(member, suspicion, instant(0.0))
    return suspects, member, suspicion


def due_s(suspects: Suspects) -> float:
    at = suspects.next_deadline()
    assert at is not None
    return (at - instant(0.0).mono_ns) / 1e9


def test_who_does_not_accuse_itself_waits_longer_than_the_accusers() -> None:
    ours, theirs = view("a", "b")[0], view("b", "c")[0]
    assert due_s(theirs) == due_s(ours) + SPANS.patience_s / 2, "and then it is asked, and has as long to answer"


def test_a_suspect_that_the_broker_calls_absent_has_less_time() -> None:
    assert due_s(view("a", "b", evidence="absent")[0]) == SPANS.absent_s


@pytest.mark.parametrize(("others", "after_s"), [("bcd", [17.5, 10.2, 5.0]), ("bc", [14.2, 5.0]), ("b", [5.0])])
def test_the_more_accuse_a_suspect_the_less_time_it_has(others: str, after_s: list[float]) -> None:
    accusers = f"a{others}"
    views = [view(*accusers[:words], others=others) for words in range(2, len(accusers) + 1)]
    assert [round(due_s(suspects), 1) for suspects, _, _ in views] == after_s


def test_the_guide_tells_the_time_of_a_suspect_by_the_defaults() -> None:
    spans = spans_of(MembershipSettings())
    assert (spans.min_s, spans.max_s, spans.verifiers) == (SPANS.min_s, SPANS.max_s, SPANS.verifiers)
    two, three, four = (due_s(view(*accusers)[0]) for accusers in ("ab", "abc", "abcd"))
    said = f"{two:.1f} s on two words, {three:.1f} s on three, {four:g} s (`suspicion_s_min`) on four"
    assert said in " ".join(GUIDE.read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("first", "answered_s", "begins_s"),
    [("a", 0.0, 4.0), ("b", 0.0, 1.0), ("a", 2.5, 1.0)],
    ids=["our own word, and nothing was heard", "another's word, which we heard", "our server answered meanwhile"],
)
def test_the_time_of_whom_we_accused_while_we_heard_nobody_begins_when_we_hear_again(
    first: str, answered_s: float, begins_s: float
) -> None:
    suspects, _, suspicion = view(first, "c" if first == "a" else "a")
    suspects.heard(instant(0.0))
    suspicion.since = instant(1.0).mono_ns
    suspects.answered(instant(answered_s))
    suspects.heard(instant(4.0))
    assert suspicion.since == instant(begins_s).mono_ns
    suspects.heard(instant(9.0))
    assert suspicion.since == instant(begins_s).mono_ns, "once: then it is known that we hear"


def test_who_hears_somebody_now_and_then_counts_from_its_own_suspicion() -> None:
    suspects, _, suspicion = view("a", "b")
    suspects.heard(instant(0.0))
    suspicion.since = instant(1.0).mono_ns
    suspects.heard(instant(SPANS.deaf_s - 0.1))
    assert suspicion.since == instant(1.0).mono_ns


def test_the_word_of_one_is_no_verdict_and_is_looked_at_again() -> None:
    suspects, _, suspicion = view("b")
    suspicion.is_followed = True
    assert suspects.due(instant(60.0)) == []
    assert due_s(suspects) == 60.0 + SPANS.again_s


def test_the_verdict_carries_the_accusations_of_others_as_proof() -> None:
    suspects, member, _ = view("a", "b", "c")
    ((judged, _, dead),) = suspects.due(instant(60.0))
    assert judged is member
    assert dead is not None
    assert (dead.peer, dead.accusations) == ("e", (b"a", b"b", b"c"))
    assert suspects.next_deadline() is None


def test_nobody_is_judged_while_the_view_is_held_or_before_the_grace_is_over() -> None:
    held = view("a", "b")[0]
    held.is_held = True
    assert held.due(instant(60.0)) == []
    suspects, member, suspicion = view("a", "b")
    suspects.hold_until(instant(90.0).mono_ns)
    suspects.arm(member, suspicion, instant(1.0))
    assert due_s(suspects) == 90.0


def test_who_does_not_accuse_it_asks_it_before_the_verdict_and_gives_it_time_to_answer() -> None:
    suspects, member, suspicion = view("b", "c")
    at_s = due_s(suspects)
    assert suspects.due(instant(at_s)) == [(member, suspicion, None)]
    assert due_s(suspects) == at_s + SPANS.patience_s / 2
    suspects.arm(member, suspicion, instant(at_s))
    assert due_s(suspects) == at_s + SPANS.patience_s / 2, "one more accuser does not take that time away"
    ((_, _, dead),) = suspects.due(instant(at_s + SPANS.patience_s / 2))
    assert isinstance(dead, Dead)


def test_a_question_whose_answer_may_have_come_in_a_lag_is_put_again() -> None:
    suspects, member, suspicion = view("b", "c")
    at_s = due_s(suspects)
    assert suspects.due(instant(at_s)) == [(member, suspicion, None)]
    suspects.stood_still(300_000_000, instant(at_s + 0.3))
    assert suspects.due(instant(at_s + 0.3 + SPANS.patience_s)) == [(member, suspicion, None)]


def test_a_word_that_nobody_takes_up_or_refutes_is_looked_after_by_all_who_heard_it() -> None:
    suspects, member, suspicion = view("b")
    assert due_s(suspects) == SPANS.follow_s
    assert suspects.due(instant(SPANS.follow_s)) == [(member, suspicion, None)]
    assert due_s(suspects) == SPANS.max_s + SPANS.patience_s / 2, "once"
    assert due_s(view("a")[0]) == SPANS.max_s, "our own question it did not answer"
    assert due_s(view("b", "c")[0]) > SPANS.follow_s, "another has looked after it"


def test_of_whom_is_suspect_too_no_confirmation_is_expected() -> None:
    suspects, _, suspicion = view("a", "b")
    before_s = due_s(suspects)
    for name in "cd":
        peer = suspects._roster.get(name)
        assert peer is not None
        suspects._roster.raise_up(peer, "suspect", instant(1.0))
    suspects.look(instant(1.0), is_doubtful=False)
    assert suspicion.confirmations == 1
    assert (before_s, due_s(suspects)) == (17.5, SPANS.min_s)


def test_time_in_which_nobody_could_be_heard_is_not_counted() -> None:
    suspects, _, suspicion = view("a", "b")
    before_s = due_s(suspects)
    suspects.stood_still(10_000_000_000, instant(10.0))
    assert due_s(suspects) == before_s + 10.0
    assert suspicion.since == instant(10.0).mono_ns


def test_who_accuses_asks_anew_when_it_may_have_been_cut_off_itself_and_signs_no_later_for_that() -> None:
    suspects, member, suspicion = view("a", "b")
    at_s = due_s(suspects)
    suspects.stood_still(500_000_000, instant(0.5))
    at_s += 0.5
    assert due_s(suspects) == at_s, "a lag since is no reason"
    suspects.hold_until(instant(1.0).mono_ns)
    suspects.arm(member, suspicion, instant(1.0))
    assert due_s(suspects) == at_s - SPANS.answer_s
    assert suspects.due(instant(at_s - SPANS.answer_s)) == [(member, suspicion, None)], "it is asked, not judged"
    assert due_s(suspects) == at_s
    suspicion.has_answered = True
    assert suspects.due(instant(at_s)) == [], "it lives, if it says nothing new"
    ((_, _, nothing),) = suspects.due(instant(at_s + SPANS.again_s))
    assert nothing is None, "and is asked once more"


def test_a_word_against_a_suspect_is_believed_while_it_counts_and_a_death_once_it_was_judged_or_stands() -> None:
    suspects, member, suspicion = view("b")
    said, other = (
        heard("b", Suspect("e", member.life, 0, "timeout")),
        heard("c", Suspect("e", member.life, 0, "timeout")),
    )
    assert suspects.believes(said)
    assert not suspects.believes(other), "it was not counted"
    assert not suspects.believes(heard("b", Suspect("e", member.life, 1, "timeout")))
    assert not suspects.believes(heard("b", Suspect("x", 1, 0, "timeout"))), "nobody knows it"
    death = Dead("e", member.life, 0, "timeout", ())
    assert not suspects.believes(heard("b", death))
    suspicion.is_judged = True
    assert suspects.believes(heard("b", death))
    member.suspicion = None
    assert not suspects.believes(heard("b", death))
