"""One message of every kind, with every field set to something that is not its default.

Invariant: an example is only ever changed to show a new field; the vector of the shape without it stays, under
another name.
"""

from protocol.wire import agents, auction, audit, call, gossip, lineage, ops, swim, task, topic
from protocol.wire.kinds import AnyBody

NODE_A = "a" * 32
NODE_B = "b" * 32
TASK = "t" * 26
MS = 1_800_000_000_000

CARD = agents.Card(
    name="sales",
    capabilities=("scoring@2", "ranking@1"),
    slots=4,
    kind="python",
    domain="sales",
    version="2.1.0",
    purpose="Rank offers for one customer",
    owner_team="growth",
    latency_ms=1_200,
    cost_per_call=0.003,
    confidence=0.85,
    visibility="domain",
    topics=("sales.price_changed", "sales.all"),
    problem="restarting: ended with exit code 3",
)

RECORD = task.TaskRecord(
    id=TASK,
    iid="i" * 26,
    gid="g" * 26,
    parent_iid="p" * 26,
    capability="scoring@2",
    submitter="operator",
    key="order-17",
    home=NODE_A,
    state=task.TaskState.FAILED,
    epoch=3,
    owner=NODE_B,
    owner_life=MS,
    input=b"\x81\xa1a\x01",
    exclusive=True,
    priority=7,
    submitted_ms=MS + 1,
    deadline_ms=MS + 2,
    hops=2,
    ancestors=("u" * 26, "v" * 26),
    attempts=(
        auction.Attempt(1, NODE_A, "silent", MS + 3, "for 3 s"),
        auction.Attempt(2, NODE_B, "agent_failed", MS + 4),
    ),
    result=b"\xc0",
    failure=task.Failure("agent_failed", "no such customer"),
    awarded_ms=MS + 5,
    started_ms=MS + 6,
    finished_ms=MS + 7,
    failures=1,
    died=(NODE_A,),
    digest=bytes(range(16)),
    not_before_ms=MS + 8,
    route="bids",
    rounds=(
        auction.Round(
            3,
            "bids",
            "asked for",
            MS + 5,
            7,
            3,
            (
                auction.Answered(
                    NODE_B, "bid", "", 2, "sales", 3, 10, 900, 80, 17.5, 0.5, 0.85, 0.003, 990.0, 0.9, 3.0, 0.0, 1103.0
                ),
                auction.Answered(NODE_A, "pass", "busy", 3),
            ),
            NODE_B,
            1,
        ),
    ),
    retries=1,
    retried=(task.Retried(MS + 9, "operator", task.TaskState.POISON, 2, NODE_B, "poison", "three nodes were lost"),),
    lineage=(lineage.Work("pricing@1", bytes(range(16, 32))), lineage.Work("scoring@2", bytes(range(16)))),
    keep_ms=86_400_000,
    lease_ms=3_000,
)

EXAMPLES: tuple[AnyBody, ...] = (
    swim.Ping(probe=17, suspect_incarnation=2),
    swim.Ack(probe=17, incarnation=3, view=bytes(range(8)), sees=40),
    gossip.Alive(4, "node-a", "eu", "sales", b"\x93admission", fresh=True, version="0.1.0"),
    gossip.Suspect(NODE_B, MS, 5, "timeout"),
    gossip.Confirm(NODE_B, MS, 5, "absent"),
    gossip.Dead(NODE_B, MS, 5, "timeout", (b"one frame", b"another"), b"its alive fact"),
    gossip.Left(6, b"\x93admission"),
    gossip.Capabilities(7, (CARD, agents.Card("plain", ("echo@1",), 1))),
    gossip.Load(8, (("sales", 3), ("plain", 0)), 2, 1, draining=True),
    gossip.Digest(9, tuple(range(64)), (1, 2), (gossip.Row(NODE_A, "standing", MS, 4),), more=True),
    gossip.Carried((b"one frame", b"another")),
    gossip.Delta(9, (b"one frame", b"another")),
    task.Award(TASK, 3, 41, b"the sealed record"),
    task.Accept(TASK, 3),
    task.Decline(TASK, 3, "busy", "every slot is taken", 200, counts=True),
    task.Ask(12, (task.Held(TASK, 3, 41), task.Held("s" * 26, 1, 7))),
    task.Answer(12, (task.Running(TASK, 3, MS, b"\x01"),), ("s" * 26,), ("r" * 26,)),
    task.Result(TASK, 3, 42, b"the sealed record"),
    task.Withdraw(TASK, 3),
    task.Inquire(5, (TASK, "s" * 26)),
    task.Account(5, (task.Status(TASK, True, MS, b"\x01"), task.Status("s" * 26, False, 0, b"", True, MS + 5))),
    auction.Offer(17, TASK, 3, "scoring@2", 4_096, MS),
    auction.Bid(17, TASK, 3, "sales", 2, 10, 900, 80, 17.5, 0.5, 0.85, 0.003),
    auction.Pass(17, TASK, 3, "busy"),
    auction.Reserve(
        TASK,
        41,
        b"the sealed record",
        4,
        "nobody seems free",
        auction.Unwritten((auction.Attempt(1, NODE_A, "silent", MS + 3),), 1, (NODE_A,), RECORD.rounds),
    ),
    auction.Unreserve(TASK, 41),
    auction.Taken(TASK, 3, 42, b"the sealed record"),
    call.Call(
        6,
        "scoring@2",
        b"\xa1x",
        30_000,
        1,
        (TASK,),
        "sales",
        (lineage.Work("pricing@1", bytes(range(16))),),
        "operator",
    ),
    call.CallReply(6, b"\x02", "agent_failed", "no such customer"),
    ops.Survey(13),
    ops.Steer(14, draining=True),
    ops.Forget(15, NODE_B),
    ops.Describe(16, "scoring@2"),
    ops.Description(16, (ops.Shape("sales", "scoring@2", b'{"type":"string"}', b"true"),)),
    ops.Look(17),
    ops.Sights(17, bytes(range(8)), (ops.Sight(NODE_B, "node-b", "suspect", MS, 3),), more=True),
    ops.Report(
        15, MS, bytes(range(16)), 3, draining=True, version="0.1.0", obeyed=False, held_by=("operator", "audit")
    ),
    ops.Refused(18),
    audit.AuditBatch(41, '\n{"v":1}\n{"v":1}\n'),
    topic.Published("sales", b"\xa1x", 2, "domain"),
    RECORD,
    task.Presence(MS, 11, "node-a", b"\x93admission"),
)
