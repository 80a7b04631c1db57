"""What is next for a task that nobody holds, and how long it rests after a failure."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from protocol import awards, limits
from protocol.inputs import Cancel
from protocol.routing import Candidate
from protocol.watched import Phase, Watched
from protocol.wire.auction import Attempt
from protocol.wire.task import Decline, Result, TaskState, Withdraw
from tests.protocol.conversation import instant
from tests.protocol.work import LIFE, ME, SETTINGS, B, C, D, awarded, record

NOW = instant(0)


def _watched(**fields: object) -> Watched:
    return Watched(structs.replace(awarded(), **fields), revision=3, frame=b"")


def _candidate(node: str, free: int = 1) -> Candidate:
    return Candidate(node, "echo", free, 2, 0.0)


def test_a_task_that_is_well_does_not_end() -> None:
    assert awards.ending(_watched(), settings=SETTINGS, now=NOW) is None


@pytest.mark.parametrize(
    ("fields", "state", "code"),
    [
        ({"deadline_ms": NOW.wall_ms}, TaskState.FAILED, "deadline"),
        ({"failures": SETTINGS.attempts_max}, TaskState.FAILED, "agent_failed"),
        ({"died": (B, C, D)}, TaskState.POISON, "poison"),
    ],
)
def test_a_task_ends_for_a_reason_that_its_record_gives(fields: dict[str, object], state: TaskState, code: str) -> None:
    ended = awards.ending(_watched(**fields), settings=SETTINGS, now=NOW)
    assert ended is not None
    assert ended.failure is not None
    assert (ended.state, ended.failure.code) == (state, code)
    is_due = code == "deadline"
    held = _watched(**fields)
    held.phase = Phase.HELD
    assert (awards.ending(held, settings=SETTINGS, now=NOW) is not None) == is_due, "its owner may still end it"


def test_a_cancel_goes_before_every_other_end() -> None:
    watched = _watched(deadline_ms=0)
    watched.cancels.append(Cancel(1, watched.record.id))
    ended = awards.ending(watched, settings=SETTINGS, now=NOW)
    assert ended is not None
    assert ended.state is TaskState.CANCELLED


def test_who_refused_or_lost_the_task_lately_is_not_asked_again() -> None:
    watched = _watched()
    candidates = [_candidate(B, free=0), _candidate(C), _candidate(D)]
    watched.excluded = {C: NOW.mono_ns + 1}
    assert awards.usable(watched, candidates, life_of=lambda node: LIFE, now=NOW) == [candidates[0], candidates[2]]
    watched.excluded = {C: NOW.mono_ns, D: NOW.mono_ns + 1}
    assert awards.usable(watched, candidates, life_of=lambda node: LIFE, now=NOW) == candidates[:2]


def test_an_owner_that_began_a_new_life_may_have_it_again() -> None:
    watched = _watched()
    watched.excluded = {B: NOW.mono_ns + 1}
    assert awards.usable(watched, [_candidate(B)], life_of=lambda node: LIFE, now=NOW) == []
    assert awards.usable(watched, [_candidate(B)], life_of=lambda node: LIFE + 1, now=NOW) == [_candidate(B)]


def test_the_claim_in_the_middle_says_how_long_a_run_takes() -> None:
    claims = [structs.replace(_candidate(B), latency_ms=each) for each in (900, 10, 100)]
    assert awards.claimed_ms(claims) == 100.0
    assert awards.claimed_ms([]) == 0.0


@given(st.integers(0, 100), st.integers())
def test_a_pause_never_exceeds_its_bound_nor_the_doubled_pause(failures: int, seed: int) -> None:
    pause_s = awards.backoff_s(failures, settings=SETTINGS, rng=Random(seed))
    assert 0 <= pause_s <= min(SETTINGS.backoff_s_max, SETTINGS.backoff_s_min * 2.0 ** max(failures - 1, 0))


def test_an_attempt_keeps_a_word_and_a_sentence() -> None:
    attempt = awards.given_back(Decline("t", 2, "busy", "all slots are taken"), owner=B, now=NOW)
    assert attempt == Attempt(2, B, "busy", NOW.wall_ms, "all slots are taken")
    swollen = awards.given_back(Decline("t", 2, "r" * 9_999, "d" * 9_999), owner=B, now=NOW)
    assert (len(swollen.ended), len(swollen.detail)) == (limits.REASON_CHARS_MAX, limits.TEXT_CHARS_MAX)


def test_only_who_holds_a_task_is_told_to_stop() -> None:
    (send,) = awards.withdrawn(awarded())
    assert (send.to, send.life, send.body) == (B, LIFE, Withdraw(awarded().id, 1))
    assert awards.withdrawn(record()) == []


def test_a_home_is_told_of_an_end_when_it_is_there() -> None:
    (send,) = awards.told_home(record(home=C), revision=5, frame=b"sealed", life=LIFE)
    assert (send.to, send.body) == (C, Result(record().id, 0, 5, b"sealed"))
    assert awards.told_home(record(home=ME), revision=5, frame=b"sealed", life=None) == []


def test_a_pause_stays_below_its_limit_however_often_a_record_says_that_the_task_failed() -> None:
    assert awards.backoff_s(1 << 53, settings=SETTINGS, rng=Random(7)) <= SETTINGS.backoff_s_max
