"""Family `call`: request and reply to an agent, without a record.

Invariant: a call that was not answered may have run; only one that nobody received is tried elsewhere.
"""

from typing import Annotated

from msgspec import Meta, Struct

from protocol import limits
from protocol.wire.bounds import Ability, Ancestors, Hops, Input
from protocol.wire.lineage import Lineage


class Call(Struct, frozen=True, array_like=True, tag="call"):
    """Asker to node: run this now or refuse. `input` is msgpack."""

    request: int
    capability: Ability
    input: Input
    timeout_ms: Annotated[int, Meta(ge=0, le=int(limits.DEADLINE_S_MAX * 1_000))]
    hops: Hops
    ancestors: Ancestors = ()
    agent: Annotated[str, Meta(max_length=64)] = ""  # only this agent, when named
    lineage: Lineage = ()  # what its ancestors were to do
    by: Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)] = ""  # who asks there, as its node says


class CallReply(Struct, frozen=True, array_like=True, tag="call_reply"):
    """Node to asker: the result as msgpack, or a code of the error table and a sentence."""

    request: int
    result: bytes = b""
    code: str = ""
    message: str = ""
