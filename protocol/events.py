"""What happened, said once. Log, metrics, audit and the live stream are readers of these.

Invariant: an event is complete by itself: whoever reads it needs no other state. Its kind is its tag.
"""

from typing import TypeAlias, TypeGuard

from msgspec import Struct

from protocol.primitives import NodeId


class PeerAlive(Struct, frozen=True, tag_field="kind", tag="peer_alive"):
    """A node was seen for the first time (`was` is empty), or is alive again after `after_s` seconds of being that."""

    peer: NodeId
    name: str
    life: int
    incarnation: int
    was: str = ""  # suspect | dead | left, or alive in the life before
    after_s: float = 0.0
    restarted: bool = False  # this is another life than the one that was known
    was_damped: bool = False  # its return was told as `PeerDamped` then, and it was quiet since


class PeerSuspect(Struct, frozen=True, tag_field="kind", tag="peer_suspect"):
    """A node did not answer. `evidence` is timeout or absent; `accuser` said so."""

    peer: NodeId
    name: str
    life: int
    accuser: NodeId
    evidence: str
    incarnation: int = 0
    unheard_s: float | None = None  # since this node itself last heard from it
    health: int = 0  # of this node then: 0 is well


class PeerDead(Struct, frozen=True, tag_field="kind", tag="peer_dead"):
    """A node was declared dead by enough accusers, `after_s` seconds after it became suspect here; None: it had not."""

    peer: NodeId
    name: str
    life: int
    accusers: tuple[NodeId, ...]
    evidence: str
    after_s: float | None
    unheard_s: float | None = None  # since this node itself last heard from it
    health: int = 0  # of this node then: 0 is well


class PeerLeft(Struct, frozen=True, tag_field="kind", tag="peer_left"):
    """A node said goodbye."""

    peer: NodeId
    name: str
    life: int
    was: str = ""  # suspect, if it was


class PeerDamped(Struct, frozen=True, tag_field="kind", tag="peer_damped"):
    """A node that died `deaths` times in `within_s` is back, or dead again: `state` is alive or dead.

    It is told as alive, and gets work that others can do, after `quiet_s` of quiet. What follows that is of a death,
    as in `PeerDead`; and then of a return, as in `PeerAlive`: it `was` suspect only if that was told.
    """

    peer: NodeId
    name: str
    life: int
    state: str
    deaths: int
    within_s: float
    quiet_s: float
    evidence: str = ""
    accusers: tuple[NodeId, ...] = ()
    after_s: float | None = None
    unheard_s: float | None = None
    health: int = 0
    was: str = ""
    incarnation: int = 0
    restarted: bool = False


class AccusationRefuted(Struct, frozen=True, tag_field="kind", tag="accusation_refuted"):
    """`accuser` said that this node is `said` (suspect or dead); it is not, and says so, as this incarnation."""

    accuser: NodeId
    said: str
    life: int
    incarnation: int


class PeerUnreachable(Struct, frozen=True, tag_field="kind", tag="peer_unreachable"):
    """More than half of the view does not answer: it may be us, so nobody is declared dead."""

    peers: tuple[NodeId, ...]


class ClockOff(Struct, frozen=True, tag_field="kind", tag="clock_off"):
    """A node's clock, this one's perhaps, is `ahead_ms` ahead of most others, or of ours; behind when negative."""

    peer: NodeId
    name: str
    ahead_ms: int


class ClockRight(Struct, frozen=True, tag_field="kind", tag="clock_right"):
    """A node's clock is right again."""

    peer: NodeId
    name: str


class NameConflict(Struct, frozen=True, tag_field="kind", tag="name_conflict"):
    """Two live nodes use one name; the first keeps it."""

    name: str
    holder: NodeId
    claimant: NodeId


class PeerMisbehaved(Struct, frozen=True, tag_field="kind", tag="peer_misbehaved"):
    """A node said what no honest node says; it had no effect. `code` names the rule, `detail` the value."""

    peer: NodeId
    code: str
    detail: str = ""


class PeerForgotten(Struct, frozen=True, tag_field="kind", tag="peer_forgotten"):
    """A node that was gone is shown no more: an operator of the node `by` asked for it."""

    peer: NodeId
    by: NodeId


class StateChanged(Struct, frozen=True, tag_field="kind", tag="state_changed"):
    """This node is now joined, detached, islanded or draining."""

    state: str
    reason: str


class FrameRefused(Struct, frozen=True, tag_field="kind", tag="frame_refused"):
    """Frames had no effect; `code` says which rule the last of `count` broke."""

    code: str
    src: str
    subject: str
    count: int = 1


class CapabilitiesChanged(Struct, frozen=True, tag_field="kind", tag="capabilities_changed"):
    """A node announced another set of agents."""

    peer: NodeId
    name: str
    version: int
    capabilities: tuple[str, ...]


class TaskSubmitted(Struct, frozen=True, tag_field="kind", tag="task_submitted"):
    """The first write of a task's record stands."""

    task: str
    iid: str
    gid: str
    capability: str
    submitter: str
    parent: str = ""  # the IID of the task that submitted it


class AuctionOpened(Struct, frozen=True, tag_field="kind", tag="auction_opened"):
    """These nodes are asked whether they would do a task."""

    task: str
    iid: str
    epoch: int  # of the award that it would become
    gear: str
    asked: tuple[NodeId, ...]
    gid: str = ""


class BidReceived(Struct, frozen=True, tag_field="kind", tag="bid_received"):
    """One of them would; the lowest score wins."""

    task: str
    iid: str
    epoch: int
    bidder: NodeId
    agent: str
    score: float
    gid: str = ""


class AuctionClosed(Struct, frozen=True, tag_field="kind", tag="auction_closed"):
    """No more bids are waited for; `best` is empty when there was none."""

    task: str
    iid: str
    epoch: int
    best: NodeId
    bids: int
    took_ms: int
    gid: str = ""


class TaskAwarded(Struct, frozen=True, tag_field="kind", tag="task_awarded"):
    """A write that gives the task to `owner` stands. `why` is the gear, or what ended the award before."""

    task: str
    iid: str
    epoch: int
    owner: NodeId
    why: str
    former: NodeId = ""
    gid: str = ""
    parent: str = ""


class TaskStarted(Struct, frozen=True, tag_field="kind", tag="task_started"):
    """An agent of this node began."""

    task: str
    iid: str
    epoch: int
    agent: str
    submitter: str = ""
    gid: str = ""
    parent: str = ""


class TaskDone(Struct, frozen=True, tag_field="kind", tag="task_done"):
    """The result was committed. `took_ms` is the run, `waited_ms` what went before since the submit or the retry."""

    task: str
    iid: str
    epoch: int
    owner: NodeId
    took_ms: int
    gid: str = ""
    parent: str = ""
    waited_ms: int = 0


class TaskFailed(Struct, frozen=True, tag_field="kind", tag="task_failed"):
    """The task ended without a result."""

    task: str
    iid: str
    epoch: int
    code: str
    message: str
    gid: str = ""
    parent: str = ""


class TaskCancelled(Struct, frozen=True, tag_field="kind", tag="task_cancelled"):
    """The task was cancelled: `by` asked for it, or its ancestor `ended_with` was cancelled, and led to it."""

    task: str
    iid: str
    epoch: int
    gid: str = ""
    parent: str = ""
    by: str = ""
    ended_with: str = ""


class TaskRetried(Struct, frozen=True, tag_field="kind", tag="task_retried"):
    """A task that had ended in `state` was opened again, as `by` asked."""

    task: str
    iid: str
    epoch: int
    state: str
    by: str
    gid: str = ""
    parent: str = ""


class TaskPoison(Struct, frozen=True, tag_field="kind", tag="task_poison"):
    """Too many nodes died of the task; it is set aside with its history."""

    task: str
    iid: str
    epoch: int
    died: tuple[NodeId, ...]
    gid: str = ""
    parent: str = ""


class AwardDeclined(Struct, frozen=True, tag_field="kind", tag="award_declined"):
    """The owner said no, or gave the task back."""

    task: str
    iid: str
    epoch: int
    owner: NodeId
    reason: str
    detail: str
    gid: str = ""


class LeaseLapsed(Struct, frozen=True, tag_field="kind", tag="lease_lapsed"):
    """The owner stayed silent for its lease, or the broker says that it is gone."""

    task: str
    iid: str
    epoch: int
    owner: NodeId
    evidence: str  # silent | absent | node_restarted
    silent_s: float
    gid: str = ""


class ResultRefused(Struct, frozen=True, tag_field="kind", tag="result_refused"):
    """A result came too late: its award is not the one that stands. Kept with the task."""

    task: str
    iid: str
    epoch: int
    owner: NodeId
    stands_epoch: int
    stands_state: str
    gid: str = ""


class TasksAdopted(Struct, frozen=True, tag_field="kind", tag="tasks_adopted"):
    """This node watches tasks whose home is gone, or took up its own again after a restart."""

    home: NodeId
    tasks: int
    why: str  # guardian | restarted


class RecordLost(Struct, frozen=True, tag_field="kind", tag="record_lost"):
    """The bucket of the record came back without what stood there: it was removed, or put back from an older copy."""

    revision: int  # of what stands there now, 0 for nothing


class TaskPutBack(Struct, frozen=True, tag_field="kind", tag="task_put_back"):
    """What stood under the task's key was no good; this node has written what it knew of it there."""

    task: str
    iid: str
    epoch: int
    why: str  # missing | unreadable | older
    gid: str = ""


class AgentChanged(Struct, frozen=True, tag_field="kind", tag="agent_changed"):
    """An agent of this node starts, became ready, went down, was given up, stopped or removed; or was refused.

    What is refused is a manifest: `agent` is then its file, when it names no agent.
    """

    agent: str
    state: str  # starting | ready | restarting | failed | stopped | removed | refused
    detail: str


class EventsLost(Struct, frozen=True, tag_field="kind", tag="events_lost"):
    """Events did not reach an agent of this node, or it failed with them: the last of `count`, and why."""

    agent: str
    topic: str
    why: str  # overrun | the code of the agent's failure
    detail: str = ""
    count: int = 1


class AuditDamaged(Struct, frozen=True, tag_field="kind", tag="audit_damaged"):
    """This node's own audit is no longer what it wrote, from record `seq` on: `how` is cut, forked or altered."""

    chain: int
    how: str
    seq: int
    text: str


class AuditRestarted(Struct, frozen=True, tag_field="kind", tag="audit_restarted"):
    """Chain `former` of this node's audit was set aside by `who`, and the next one began."""

    chain: int
    former: int
    who: str
    reason: str


Event: TypeAlias = (
    PeerAlive
    | PeerSuspect
    | PeerDead
    | PeerLeft
    | PeerDamped
    | AccusationRefuted
    | PeerUnreachable
    | ClockOff
    | ClockRight
    | NameConflict
    | PeerMisbehaved
    | PeerForgotten
    | StateChanged
    | FrameRefused
    | CapabilitiesChanged
    | TaskSubmitted
    | AuctionOpened
    | BidReceived
    | AuctionClosed
    | TaskAwarded
    | TaskStarted
    | TaskDone
    | TaskFailed
    | TaskCancelled
    | TaskRetried
    | TaskPoison
    | AwardDeclined
    | LeaseLapsed
    | ResultRefused
    | TasksAdopted
    | RecordLost
    | TaskPutBack
    | AgentChanged
    | EventsLost
    | AuditDamaged
    | AuditRestarted
)


def is_death(event: Event) -> TypeGuard[PeerDead | PeerDamped]:
    """Does it tell that a node was declared dead, damped or not?"""
    return isinstance(event, PeerDead) or (isinstance(event, PeerDamped) and event.state == "dead")
