"""What a transport takes as a subject, and which subscriptions a subject reaches.

Invariant: nothing passes that the text protocol of NATS would read as something else.
Neighbours: `memory` and `nats` check every call here.
"""

import re

from protocol.errors import LocalError
from protocol.limits import FRAME_BYTES_MAX

_WORD = r"[!-)+,\-/-=?-~]+"  # printable ASCII without blank, dot, * and >
_SUBJECT = re.compile(rf"{_WORD}(\.{_WORD})*")
_PATTERN = re.compile(rf"({_WORD}|\*)(\.({_WORD}|\*))*(\.>)?|>")
_PROBE = re.compile(r"[0-9]{1,19}")


def check_publish(subject: str, frame: bytes, reply: str) -> None:
    """Raises LocalError unless both are plain subjects and `frame` is within the limit."""
    for given in (subject, reply) if reply else (subject,):
        if _SUBJECT.fullmatch(given) is None:
            raise LocalError(f"{given!a} is no subject to publish to")
    if len(frame) > FRAME_BYTES_MAX:
        raise LocalError(f"a frame of {len(frame)} bytes is over {FRAME_BYTES_MAX}")


def check_pattern(pattern: str) -> None:
    """Raises LocalError unless `pattern` may be subscribed to."""
    if _PATTERN.fullmatch(pattern) is None:
        raise LocalError(f"{pattern!a} is nothing to subscribe to")


def check_absences(pattern: str) -> None:
    """Raises LocalError unless `pattern` ends in a wildcard for the probe's number."""
    check_pattern(pattern)
    if not pattern.endswith(".*"):
        raise LocalError(f"{pattern!a} leaves no place for a probe's number")


def probe_of(subject: str) -> int | None:
    """The number in the last token, or None when there is none: anyone may publish there."""
    token = subject.rpartition(".")[2]
    return int(token) if _PROBE.fullmatch(token) else None


def matches(pattern: str, subject: str) -> bool:
    """True when a subscription to `pattern` receives what is published to `subject`."""
    wanted, given = pattern.split("."), subject.split(".")
    for place, word in enumerate(wanted):
        if word == ">":
            return len(given) > place
        if place >= len(given) or word not in ("*", given[place]):
            return False
    return len(wanted) == len(given)
