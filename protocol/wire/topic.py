"""Family `topic`: what agents publish for whoever listens.

Invariant: an event is said once and kept by nobody: who does not listen at that moment never hears of it. The
topic is the end of the subject, `<domain>.<name>`, to which the frame is bound like every other.
Neighbour: `topics` sends and hears these.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol import limits
from protocol.ids import AGENT_NAME
from protocol.wire.bounds import Hops


class Published(Struct, frozen=True, array_like=True, tag="published"):
    """An agent of the signer says `value` (msgpack). `visibility` domain: only for agents of the topic's domain."""

    agent: Annotated[str, Meta(pattern=rf"^{AGENT_NAME.pattern}\Z")]
    value: Annotated[bytes, Meta(max_length=limits.EVENT_BYTES_MAX)]
    hops: Hops = 0  # how many events and tasks in a row led to this one
    visibility: Literal["mesh", "domain"] = "mesh"
