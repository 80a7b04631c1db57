"""How a daemon of another version speaks: each array has one more field at its end, or lacks the newest.

Invariant: a struct is turned into one of the same kind, and what it holds too; nothing else changes.
Who hears such frames reads what it knows of them. Neighbours: `host` lets a life speak so, `frames` is
how the rest speak.
"""

from functools import cache
from typing import Any, Literal, TypeAlias, cast

import msgspec
from msgspec import NODEFAULT, Struct, structs

from protocol.envelope import PREAMBLE_BYTES, Frames, Header, Signer
from protocol.wire.kinds import AnyBody

Accent: TypeAlias = Literal["newer", "older"]
LATER = "later"  # the field that no version has yet, and a kind too
KIND_AT = Header.__struct_fields__.index("kind")


class AccentedFrames(Frames):
    """Makes frames as another version would; reads none."""

    def __init__(self, frames: Frames, accent: Accent) -> None:
        super().__init__()
        self._inner = frames
        self._accent = accent

    def make(self, header: Header, body: AnyBody, signer: Signer) -> bytes:
        """The frame of a header and a body, as the other version says it."""
        said = _said(header, self._accent), _said(body, self._accent)
        return self._inner.make(cast(Header, said[0]), cast(AnyBody, said[1]), signer)


def unheard_of(frame: bytes) -> bytes:
    """The frame as one of a kind that only a later version knows."""
    body_at = PREAMBLE_BYTES + int.from_bytes(frame[4:6], "big")
    header = msgspec.msgpack.decode(frame[PREAMBLE_BYTES:body_at])
    header[KIND_AT] = LATER
    encoded = msgspec.msgpack.encode(header)
    return b"".join((frame[:4], len(encoded).to_bytes(2, "big"), encoded, frame[body_at:]))


def _said(value: object, accent: Accent) -> object:
    if isinstance(value, Struct):
        kind, count = _kind(type(value), accent)
        fields = [_said(getattr(value, name), accent) for name in value.__struct_fields__[:count]]
        return kind(*fields, *[LATER] * (accent == "newer"))
    return tuple(_said(each, accent) for each in value) if isinstance(value, tuple) else value


@cache
def _kind(known: type[Struct], accent: Accent) -> tuple[type[Struct], int]:
    """The same kind in another version, and how many of its fields it has there: of optional ones, one less."""
    names = known.__struct_fields__
    fields = structs.fields(known)
    is_optional = bool(fields) and (fields[-1].default, fields[-1].default_factory) != (NODEFAULT, NODEFAULT)
    count = len(names) - (accent == "older" and is_optional)
    kept: list[tuple[str, Any]] = [(name, Any) for name in names[:count]]
    kept += [(LATER, Any)] * (accent == "newer")
    tag = known.__struct_config__.tag
    made = msgspec.defstruct(known.__name__, kept, frozen=True, array_like=True, tag=tag)
    return made, count
