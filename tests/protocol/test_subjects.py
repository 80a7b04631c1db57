"""Subjects: made here, taken apart here, and each covered by exactly one subscription."""

import pytest

from protocol import ids
from protocol.subjects import Subjects, source

SUBJECTS = Subjects("nvynvc3zdflv")
A, B = "a" * 32, "b" * 32


def _covers(pattern: str, subject: str) -> bool:
    one, other = pattern.split("."), subject.split(".")
    return len(one) == len(other) and all(a in ("*", b) for a, b in zip(one, other, strict=True))


PUBLISHED = {
    "fact": (SUBJECTS.facts(), SUBJECTS.fact(region="eu", src=A)),
    "node": (SUBJECTS.inbox(dst=B, life=7), SUBJECTS.node(dst=B, life=7, src=A)),
    "absent": (SUBJECTS.absences(src=A), SUBJECTS.absent(src=A, probe=9)),
    "event": (SUBJECTS.events(), SUBJECTS.event(src=A, kind="task_done")),
    "topic": (SUBJECTS.topic("sales.price_changed"), SUBJECTS.topic("sales.price_changed")),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_published_is_heard_by_its_own_subscription_alone(name: str) -> None:
    subject = PUBLISHED[name][1]
    assert [other for other, (pattern, _) in PUBLISHED.items() if _covers(pattern, subject)] == [name]


def test_the_signer_of_a_fact_or_message_is_the_last_token() -> None:
    assert source(SUBJECTS.fact(region="eu", src=A)) == A
    assert source(SUBJECTS.node(dst=B, life=7, src=A)) == A


def test_the_topic_of_a_subject_is_what_its_domain_and_name_say() -> None:
    assert SUBJECTS.topic_of(SUBJECTS.topic("sales.price_changed")) == "sales.price_changed"
    assert SUBJECTS.topic_of(Subjects("another").topic("sales.price_changed")) == ""


def test_an_inbox_hears_nothing_for_another_life_or_node() -> None:
    inbox = SUBJECTS.inbox(dst=B, life=7)
    assert not _covers(inbox, SUBJECTS.node(dst=B, life=8, src=A))
    assert not _covers(inbox, SUBJECTS.node(dst=A, life=7, src=A))


def test_a_record_stands_under_its_key_in_the_bucket_of_the_mesh() -> None:
    assert SUBJECTS.record(ids.task_key("t" * 26)) == f"$KV.nvynvc3zdflv-tasks.{ids.task_key('t' * 26)}"


@pytest.mark.parametrize("subject", [subject for _, subject in PUBLISHED.values()])
def test_every_token_of_a_subject_is_one(subject: str) -> None:
    assert all(ids.is_token(token) for token in subject.split("."))
