"""Family `call`: request and reply to an agent, without a record.

Invariant: a call that was not answered may have run; only one that nobody received is tried elsewhere.
"""

from msgspec import Struct


class Call(Struct, frozen=True, array_like=True, tag="call"):
    """Asker to node: run this now or refuse. `input` is msgpack."""

    request: int
    capability: str
    input: bytes
    timeout_ms: int
    hops: int
    ancestors: tuple[str, ...] = ()
    agent: str = ""  # only this agent, when named


class CallReply(Struct, frozen=True, array_like=True, tag="call_reply"):
    """Node to asker: the result as msgpack, or a code of the error table and a sentence."""

    request: int
    result: bytes = b""
    code: str = ""
    message: str = ""
