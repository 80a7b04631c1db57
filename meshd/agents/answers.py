"""What the answers of an `http` agent mean; pure. The README's table says the same to authors.

Invariant: every answer, whatever it is, is one outcome: a result, or a failure that says what was wrong with it
and whether another try may help. Neighbour: `http` asks and reads.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from meshd import clock, values
from meshd.agents.pipe import ENVELOPE_BYTES, ESCAPED_BYTES
from meshd.ports import Failed, Finished, Outcome
from meshd.quoting import quoted
from protocol.errors import UNREADABLE, MeshError
from protocol.limits import TEXT_CHARS_MAX

REST_S_MAX = 300.0  # a service may ask to be left alone for so long, not for ever

_WORTH_ANOTHER_TRY = frozenset((408, 425, 429))  # of the 4xx; and every 5xx
_ASKS_FOR_REST = frozenset((429, 503))


class Why(Struct):
    """Why a service could not. `retry` unsaid: what the status says."""

    message: str
    retry: bool | UnsetType = UNSET


class Answer(Struct):
    """The body. Exactly one of the two is there."""

    result: Raw | UnsetType = UNSET
    error: Why | UnsetType = UNSET


class RetryLater(Exception):
    """The service asks to be left alone for `rest_s`."""

    def __init__(self, outcome: Failed, rest_s: float) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome
        self.rest_s = rest_s


_decode = msgspec.json.Decoder(Answer).decode


def body_bytes_max(output_bytes_max: int) -> int:
    """How much of a body is read: JSON may write one byte as six."""
    return ESCAPED_BYTES * output_bytes_max + ENVELOPE_BYTES


def refusal_of(status: int, headers: Mapping[str, str], output_bytes_max: int) -> Failed | None:
    """What can be told before the body is read; None: read it."""
    if 300 <= status < 400:
        place = quoted(headers.get("location", "nowhere"))
        return _unfit(f"answered {status}, a redirect to {place}, which is not followed; set url to where it is")
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        return _unfit(f"answers in the encoding {quoted(encoding)}, which it was not offered")
    length = headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > body_bytes_max(output_bytes_max):
        return _too_large(output_bytes_max)
    return None


def outcome_of(status: int, headers: Mapping[str, str], body: bytes, output_bytes_max: int) -> Outcome:
    """What a whole answer says. Raises RetryLater for a failure that comes with Retry-After."""
    if len(body) > body_bytes_max(output_bytes_max):
        return _too_large(output_bytes_max)
    if not 200 <= status < 300:
        failure = _refused(status, body)
        if status in _ASKS_FOR_REST and (rest_s := _rest_s(headers.get("retry-after", ""))):
            raise RetryLater(failure, rest_s)
        return failure
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        return _unfit(f"answers {quoted(media) if media else 'no content type'} instead of application/json")
    try:
        answer = _decode(body)
    except UNREADABLE as failure:
        return _unfit(f"answers what is none ({str(failure)[:TEXT_CHARS_MAX]}): {_excerpt(body)}")
    if answer.error is not UNSET and answer.result is UNSET:
        return Failed("agent_failed", _said(answer.error), retry=answer.error.retry is True)
    if answer.result is UNSET or answer.error is not UNSET:
        return _unfit(f"must answer either result or error: {_excerpt(body)}")
    return _result(answer.result, output_bytes_max)


def _result(raw: Raw, output_bytes_max: int) -> Outcome:
    try:
        value = msgspec.json.decode(raw)
        values.packed(value, what="the result", bytes_max=output_bytes_max)
    except UNREADABLE as failure:
        return _unfit(f"gives a result that cannot be read: {str(failure)[:TEXT_CHARS_MAX]}")
    except MeshError as failure:
        return Failed("agent_output", failure.message, retry=False)
    return Finished(value)


def _refused(status: int, body: bytes) -> Failed:
    """A status that is no success: its own words when it has some, and whether the status is worth another try."""
    may_help = status >= 500 or status in _WORTH_ANOTHER_TRY
    try:
        why = _decode(body).error
    except UNREADABLE:
        why = UNSET
    if why is UNSET:
        said = f": {_excerpt(body)}" if body.strip() else ""
        return Failed("agent_failed", f"the agent answered {_named(status)}{said}", retry=may_help)
    return Failed("agent_failed", _said(why), retry=may_help if why.retry is UNSET else why.retry)


def _rest_s(text: str) -> float:
    """Retry-After in seconds, within bounds; 0 when there is none that can be read (RFC 9110 10.2.3)."""
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), REST_S_MAX)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    left_s = (
        at.replace(tzinfo=at.tzinfo or UTC) - datetime.fromtimestamp(clock.wall_ms() / 1_000, UTC)
    ).total_seconds()
    return min(max(left_s, 0.0), REST_S_MAX)


def _said(why: Why) -> str:
    return why.message[:TEXT_CHARS_MAX] or "the agent gave no reason"


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _too_large(output_bytes_max: int) -> Failed:
    return _unfit(f"answers more than {body_bytes_max(output_bytes_max)} bytes")


def _unfit(what: str) -> Failed:
    return Failed("agent_output", f"the agent {what}", retry=False)


def _excerpt(body: bytes) -> str:
    return quoted(body[:200].decode("utf-8", "backslashreplace"))
