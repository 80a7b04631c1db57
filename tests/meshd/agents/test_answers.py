"""Answers of http agents, where no service is needed to tell them apart; `test_http` sends the rest."""

import pytest

from meshd import clock
from meshd.agents.answers import REST_S_MAX, RetryLater, body_bytes_max, outcome_of, refusal_of
from meshd.ports import Failed, Finished

JSON = {"content-type": "application/json"}


def rest_s(status: int, after: str) -> float:
    try:
        outcome_of(status, {"retry-after": after}, b"", 1_000)
    except RetryLater as failure:
        return failure.rest_s if failure.outcome.retry else -1.0
    return 0.0


def test_a_date_to_try_again_is_read_against_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall_ms", lambda: 1_445_412_470_000)  # 10 s before
    assert rest_s(503, "Wed, 21 Oct 2015 07:28:00 GMT") == 10.0
    assert rest_s(429, "Wed, 21 Oct 2015 07:27:00 GMT") == 0.0


@pytest.mark.parametrize(
    "after",
    ["", " ", "٣", "1.5", "-3", "0x10", "Wed, 99 Oct 2015 07:28:00 GMT", "\x00", "Wed, 21 Oct 2015 07:28:00 +9999999"],
)
def test_what_is_no_time_to_try_again_is_none(after: str) -> None:
    assert rest_s(503, after) == 0.0


def test_only_429_and_503_ask_to_be_left_alone_and_not_for_ever() -> None:
    assert rest_s(500, "7") == 0.0
    assert rest_s(404, "7") == 0.0
    assert rest_s(429, "9" * 5_000) == REST_S_MAX


def test_a_body_of_exactly_the_limit_is_read() -> None:
    text = "x" * 997
    assert outcome_of(200, JSON, b'{"result": "%s"}' % text.encode(), 1_000) == Finished(text)
    over = outcome_of(200, JSON, b" " * (body_bytes_max(1_000) + 1), 1_000)
    assert over == Failed("agent_output", "the agent answers more than 7024 bytes", retry=False)
    assert refusal_of(200, {"content-length": "7024"}, 1_000) is None
    assert refusal_of(200, {"content-length": "7025"}, 1_000) == over


def test_an_unknown_status_is_shown_as_it_is() -> None:
    assert outcome_of(599, {}, b"", 1_000) == Failed("agent_failed", "the agent answered 599", retry=True)
    assert outcome_of(199, {}, b"", 1_000) == Failed("agent_failed", "the agent answered 199", retry=False)
