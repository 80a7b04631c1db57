"""Which event becomes which record of the audit, as one table; and which does not, and why.

Invariant: every event stands in exactly one of the two tables; a test holds them complete.
Pure leaf: the daemon's audit reads it, and nothing here keeps state.
"""

from collections.abc import Mapping

from msgspec import Struct

from protocol import events
from protocol.audit import Act, Detail
from protocol.events import Event


class Row(Struct, frozen=True):
    """How an event is recorded: its action, the fields that name the resource and who asked, and those kept beside.

    `of` is the kind of resource; `by` the field that names it, empty for this node itself.
    """

    action: str
    decision: str
    of: str
    by: str
    more: tuple[str, ...] = ()
    who: str = ""


AUDITED: Mapping[type[Struct], Row] = {
    events.PeerAlive: Row("peer.admit", "allow", "node", "peer", ("name", "life")),
    events.PeerDead: Row("peer.declare_dead", "done", "node", "peer", ("name", "life", "evidence", "accusers")),
    events.PeerDamped: Row(
        "peer.damp", "done", "node", "peer", ("name", "life", "state", "deaths", "evidence", "accusers")
    ),
    events.PeerLeft: Row("peer.leave", "done", "node", "peer", ("name", "life")),
    events.PeerMisbehaved: Row("peer.refuse", "deny", "node", "peer", ("code", "detail")),
    events.PeerForgotten: Row("peer.forget", "done", "node", "peer", ("by",)),
    events.NameConflict: Row("peer.name", "deny", "node", "claimant", ("name", "holder")),
    events.FrameRefused: Row("frame.refuse", "deny", "node", "src", ("code", "subject", "count")),
    events.StateChanged: Row("node.change", "done", "node", "", ("state", "reason")),
    events.TaskSubmitted: Row("task.submit", "allow", "task", "task", ("capability",), "submitter"),
    events.TaskAwarded: Row("task.award", "allow", "task", "task", ("epoch", "owner", "why", "former")),
    events.TaskStarted: Row("task.run", "allow", "task", "task", ("epoch", "agent"), "submitter"),
    events.TaskDone: Row("task.commit", "done", "task", "task", ("epoch", "took_ms")),
    events.TaskFailed: Row("task.fail", "done", "task", "task", ("epoch", "code", "message")),
    events.TaskCancelled: Row("task.cancel", "done", "task", "task", ("epoch", "ended_with"), "by"),
    events.TaskRetried: Row("task.retry", "allow", "task", "task", ("epoch", "state"), "by"),
    events.TaskPoison: Row("task.set_aside", "done", "task", "task", ("epoch", "died")),
    events.AwardDeclined: Row("award.decline", "deny", "task", "task", ("epoch", "owner", "reason", "detail")),
    events.LeaseLapsed: Row("lease.lapse", "done", "task", "task", ("epoch", "owner", "evidence", "silent_s")),
    events.ResultRefused: Row("result.refuse", "deny", "task", "task", ("epoch", "stands_epoch", "stands_state")),
    events.TasksAdopted: Row("tasks.adopt", "done", "node", "home", ("tasks", "why")),
    events.TaskPutBack: Row("task.put_back", "done", "task", "task", ("epoch", "why")),
    events.RecordLost: Row("record.lose", "done", "node", "", ("revision",)),
    events.AuditDamaged: Row("audit.find", "done", "journal", "", ("chain", "how", "seq", "text")),
    events.AgentChanged: Row("agent.change", "done", "agent", "agent", ("state", "detail")),
}

NOT_AUDITED: Mapping[type[Struct], str] = {
    events.PeerSuspect: "a doubt that others weigh; the verdict is recorded",
    events.AccusationRefuted: "a doubt that is answered; nothing follows from it",
    events.ClockOff: "a measure of a clock, no decision: what follows for a task stands in its record",
    events.ClockRight: "a measure of a clock, as well",
    events.PeerUnreachable: "nothing is decided by it: nobody is declared dead",
    events.EventsLost: "agents' events are best effort, and nothing is decided by them",
    events.AuctionOpened: "a question that decides nothing; the award is recorded",
    events.BidReceived: "an answer that binds nobody; it stands in the task's own record",
    events.AuctionClosed: "the award that follows is recorded, and the bids stand in the task's record",
    events.AuditRestarted: "it is the first record of the chain that begins",
    events.CapabilitiesChanged: "said by another node, which records its own agents",
}


def act_of(event: Event) -> Act | None:
    """What is recorded of an event; None when nothing is."""
    row = AUDITED.get(type(event))
    if row is None:
        return None
    name = getattr(event, row.by) if row.by else ""
    return Act(
        action=row.action,
        resource=f"{row.of}/{name}" if row.by else row.of,
        decision=row.decision,
        who=getattr(event, row.who) if row.who else "",
        iid=getattr(event, "iid", ""),
        gid=getattr(event, "gid", ""),
        parent=getattr(event, "parent", ""),
        more={field: _detail(getattr(event, field)) for field in row.more},
    )


def _detail(value: object) -> Detail:
    match value:
        case str() | int() | float():
            return value
        case tuple():
            return ", ".join(str(each) for each in value)
        case _:
            raise TypeError(value)
