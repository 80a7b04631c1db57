"""The table of all message kinds: tag → class, family, size. One class is one kind.

Invariant: a signature of one family never verifies as another; a tag is never reused.
"""

from typing import TypeAlias

from msgspec import Struct

from protocol.limits import (
    ASK_BYTES_MAX,
    AUDIT_BATCH_BYTES_MAX,
    EVENT_BYTES_MAX,
    FACT_BYTES_MAX,
    FRAME_BYTES_MAX,
    GOSSIP_BYTES_MAX,
    RECORD_BYTES_MAX,
    SMALL_FACT_BYTES_MAX,
    SMALL_TASK_BYTES_MAX,
    SWIM_BYTES_MAX,
)
from protocol.wire import auction, audit, call, gossip, ops, swim, task, topic

Fact: TypeAlias = gossip.AnyFact
Record: TypeAlias = task.TaskRecord | task.Presence
AnySwim: TypeAlias = swim.Ping | swim.Ack
AnyGossip: TypeAlias = gossip.Digest | gossip.Delta
AnyTask: TypeAlias = (
    task.Award
    | task.Accept
    | task.Decline
    | task.Ask
    | task.Answer
    | task.Result
    | task.Withdraw
    | task.Inquire
    | task.Account
)
AnyAuction: TypeAlias = auction.Offer | auction.Bid | auction.Pass | auction.Reserve | auction.Unreserve | auction.Taken
AnyCall: TypeAlias = call.Call | call.CallReply
AnyOps: TypeAlias = ops.AnyOrder | ops.AnyReport
Body: TypeAlias = AnySwim | AnyGossip | AnyTask | AnyAuction | AnyCall | AnyOps
AnyBody: TypeAlias = Body | Fact | gossip.Carried | Record | audit.AuditBatch | topic.Published


class Kind(Struct, frozen=True):
    """One row: the class of the body, its family, and the largest frame that may carry it (bytes)."""

    body: type[Struct]
    family: str
    frame_bytes_max: int


def _rows(family: str, frame_bytes_max: int, *bodies: type[Struct]) -> dict[str, Kind]:
    return {str(body.__struct_config__.tag): Kind(body, family, frame_bytes_max) for body in bodies}


KINDS: dict[str, Kind] = {
    **_rows("swim", SWIM_BYTES_MAX, swim.Ping, swim.Ack),
    **_rows("fact", SMALL_FACT_BYTES_MAX, gossip.Alive, gossip.Suspect, gossip.Confirm, gossip.Left),
    **_rows("fact", FACT_BYTES_MAX, gossip.Dead, gossip.Capabilities, gossip.Load),
    **_rows("gossip", GOSSIP_BYTES_MAX, gossip.Digest, gossip.Delta),
    **_rows("carry", GOSSIP_BYTES_MAX, gossip.Carried),
    **_rows("task", SMALL_TASK_BYTES_MAX, task.Accept, task.Decline, task.Withdraw),
    **_rows("task", ASK_BYTES_MAX, task.Ask),
    **_rows("task", FRAME_BYTES_MAX, task.Award, task.Answer, task.Result, task.Inquire, task.Account),
    **_rows("auction", SWIM_BYTES_MAX, auction.Offer, auction.Bid, auction.Pass, auction.Unreserve),
    **_rows("auction", FRAME_BYTES_MAX, auction.Reserve, auction.Taken),
    **_rows("call", FRAME_BYTES_MAX, call.Call, call.CallReply),
    **_rows("ops", SWIM_BYTES_MAX, ops.Survey, ops.Steer, ops.Forget, ops.Describe, ops.Look, ops.Report, ops.Refused),
    **_rows("ops", FRAME_BYTES_MAX, ops.Description, ops.Sights),
    **_rows("audit", AUDIT_BATCH_BYTES_MAX + 4_096, audit.AuditBatch),
    **_rows("topic", EVENT_BYTES_MAX + 4_096, topic.Published),
    **_rows("record", RECORD_BYTES_MAX, task.TaskRecord, task.Presence),
}
