"""Other versions: what they say is read for what is known of it, whatever its kind."""

from typing import cast

import pytest

from protocol.envelope import Envelope, Header, Peeked, Refusal
from protocol.wire.kinds import KINDS
from simulations.accents import LATER, Accent, AccentedFrames, unheard_of
from simulations.frames import frames_of
from simulations.signing import Keys
from tests.protocol.bodies import EXAMPLES

FRAMES, SIGNER = frames_of("mac"), Keys("mac").signer("n1")


def _made(accent: Accent, number: int) -> tuple[object, Envelope]:
    body = EXAMPLES[number]
    header = Header(SIGNER.public_key, "mesh.m.fact.r1.x", str(body.__struct_config__.tag), 1, 1, 1, 1, "i", "g", "c")
    frame = AccentedFrames(FRAMES, accent).make(header, body, SIGNER)
    return body, cast(Envelope, FRAMES.open(cast(Peeked, FRAMES.peek(frame)), frame))


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=lambda number: type(EXAMPLES[number]).__name__)
def test_of_a_later_version_all_is_understood_that_is_known(number: int) -> None:
    body, opened = _made("newer", number)
    assert opened.body == body
    assert (opened.header.iid, opened.header.gid, opened.header.cause) == ("i", "g", "c")


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=lambda number: type(EXAMPLES[number]).__name__)
def test_what_an_earlier_version_does_not_say_is_as_usual(number: int) -> None:
    body, opened = _made("older", number)
    assert type(opened.body) is type(body)
    assert (opened.header.gid, opened.header.cause) == ("g", "")


def test_a_kind_of_a_later_version_is_none_here() -> None:
    header = Header(SIGNER.public_key, "mesh.m.fact.r1.x", "ping", 1, 1, 1, 1)
    body = next(body for body in EXAMPLES if body.__struct_config__.tag == "ping")
    frame = unheard_of(FRAMES.make(header, body, SIGNER))
    assert LATER not in KINDS
    assert FRAMES.peek(frame) == Refusal("unknown_kind", SIGNER.id, "")
