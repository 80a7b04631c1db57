"""What an agent may say on its pipe: one JSON object a line, one verb an object.

Invariant: a line that decodes has fields of the right types; whether it has one verb, and is about a task in hand, is
for `pipe` to see, the only one who reads these. What cannot be read is named by a reason and an excerpt.
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from meshd.ports import Schema
from protocol.errors import UNREADABLE

EXCERPT_BYTES = 80  # how much of a wrong line an error repeats


class Error(Struct):
    """Why an agent could not; `bad_input`: for what it was given, and not by a fault of its own."""

    message: str
    retry: bool = False
    bad_input: bool = False


class Wanted(Struct):
    """What an agent asks of another. `wait` and `key` are of a submit, `timeout_s` and `agent` of a call."""

    capability: str
    input: Any = None
    wait: bool = False
    key: str = ""
    timeout_s: float | None = None
    agent: str = ""


class Saying(Struct):
    """What an agent publishes."""

    topic: str
    value: Any = None


class Offers(Struct, frozen=True):
    """What a worker can do, each with what it takes and gives, and the topics that it listens to.

    `note`: what it could not offer, and why.
    """

    capabilities: dict[str, Schema]
    note: str = ""
    topics: tuple[str, ...] = ()


class Said(Struct):
    """One line of an agent. Exactly one of the fields after `task` and `request` is set."""

    task: str = ""
    request: str | int = ""
    result: Raw | UnsetType = UNSET
    error: Error | UnsetType = UNSET
    progress: Any | UnsetType = UNSET
    part: Raw | UnsetType = UNSET
    call: Wanted | UnsetType = UNSET
    submit: Wanted | UnsetType = UNSET
    publish: Saying | UnsetType = UNSET
    oversize: int | UnsetType = UNSET  # of workers only: so many bytes has a result or part that is not sent
    offers: Offers | UnsetType = UNSET  # of workers only: what it can do, as of now
    ready: bool | UnsetType = UNSET  # of workers only: user code is imported


class _Named(Struct):
    task: str


VERBS = tuple(field for field in Said.__struct_fields__ if field not in ("task", "request"))
OF_ALL = VERBS[:-3]  # that are not of workers alone

decode = msgspec.json.Decoder(Said).decode
_decode_named = msgspec.json.Decoder(_Named).decode


def task_of(line: bytes) -> str:
    """The task that an unfit line names, or nothing."""
    try:
        return _decode_named(line).task
    except UNREADABLE:
        return ""


def reason_of(failure: Exception) -> str:
    """Why a line cannot be read, one clause."""
    match failure:
        case RecursionError():
            return "nested too deep"
        case UnicodeDecodeError():
            return "not UTF-8"
        case msgspec.ValidationError():
            return re.sub("`", "", str(failure))
        case _:
            return "not JSON"


def excerpt(line: bytes) -> str:
    """The beginning of a line, quoted."""
    cut = line[:EXCERPT_BYTES].decode("utf-8", "backslashreplace")
    return ascii(cut) + ("…" if len(line) > EXCERPT_BYTES else "")
