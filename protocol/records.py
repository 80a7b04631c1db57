"""How a task's record may change: the transition table and the functions that make the next record.

Invariant: only an award raises the epoch, only a retry follows an end; while awarded, only the end, the
next award or a cancel follows; an exclusive award also itself, once more. Pure leaf; `ledger` and `holder` decide
when, this says what.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Literal, TypeAlias

from msgspec import Struct, structs

from protocol import ids, limits
from protocol.errors import LocalError
from protocol.inputs import Submit
from protocol.primitives import Instant, NodeId, WallMs
from protocol.wire.auction import Attempt
from protocol.wire.lineage import Work
from protocol.wire.task import ENDED, Failure, Retried, TaskRecord, TaskState

PUT_BACK_S_MAX = 60.0  # between two writes over what is no good: whoever put it there may go on
DEADLINE_MS_MIN = 1_000  # of a task that is opened again, whatever the clocks said when it was submitted


class Standing(Struct, frozen=True):
    """What stands under a task's key: its record, or none. `revision` is 0 when there is nothing."""

    record: TaskRecord | None
    revision: int
    frame: bytes
    stranger: NodeId = ""  # who wrote what cannot be read, when nobody has shown us that this is a node of ours


Change: TypeAlias = Literal["award", "done", "fail", "cancel", "poison", "retry"]

_S = TaskState
TRANSITIONS: Mapping[TaskState, Mapping[Change, TaskState]] = {
    _S.OPEN: {"award": _S.AWARDED, "fail": _S.FAILED, "cancel": _S.CANCELLED},
    _S.AWARDED: {
        "award": _S.AWARDED,
        "done": _S.DONE,
        "fail": _S.FAILED,
        "cancel": _S.CANCELLED,
        "poison": _S.POISON,
    },
    _S.DONE: {},
    _S.FAILED: {"retry": _S.OPEN},
    _S.CANCELLED: {"retry": _S.OPEN},
    _S.POISON: {"retry": _S.OPEN},
}


def _moved(record: TaskRecord, change: Change) -> TaskState:
    try:
        return TRANSITIONS[record.state][change]
    except KeyError:
        raise LocalError(f"a task that is {record.state.value} cannot {change}") from None


def under(key: str, body: object) -> TaskRecord | None:
    """What stands under a key, when it is the record of the task that the key names."""
    if not isinstance(body, TaskRecord) or key.split(".")[:2] != ids.task_key(body.id).split("."):
        return None
    return body


def is_older(record: TaskRecord, known: TaskRecord) -> bool:
    """True for what stood there before what we know: nothing that has not ended goes back to an earlier award.

    A retry is what makes a record newer than an end.
    """
    if record.retries != known.retries:
        return record.retries < known.retries
    return record.state not in ENDED and record.epoch < known.epoch


def quiet_s(put_backs: int) -> float:
    """How long what was put back under its key so often before is not put back again, should it come undone."""
    return min(PUT_BACK_S_MAX, 2.0 ** min(put_backs, 6))


def work_digest(*, capability: str, input: bytes) -> bytes:
    """What tells a repeated submit (same work) from a reused key (other work): 16 bytes."""
    return blake2b(capability.encode() + b"\0" + input, digest_size=16).digest()


def cycle_of(lineage: tuple[Work, ...], *, capability: str, input: bytes) -> str:
    """How the same work came back to itself, as its path; "" when it is new. Other input is recursion, which ends."""
    work = Work(capability, work_digest(capability=capability, input=input))
    if work not in lineage:
        return ""
    return " → ".join(each.capability for each in (*lineage[lineage.index(work) :], work))


def keep_s(record: TaskRecord, own_s: float) -> float:
    """How long it stands after its end, as its home wants it; `own_s` if it does not say."""
    return record.keep_ms / 1_000 if record.keep_ms else own_s


def opened(
    order: Submit, *, task: str, iid: str, gid: str, home: NodeId, now: Instant, keep_s: float = 0.0
) -> TaskRecord:
    """The first record of a submitted task, given to nobody yet; it is kept for `keep_s` after its end."""
    return TaskRecord(
        id=task,
        iid=iid,
        gid=gid,
        parent_iid=order.parent_iid,
        capability=order.capability,
        submitter=order.submitter,
        key=order.key,
        home=home,
        state=TaskState.OPEN,
        epoch=0,
        owner="",
        owner_life=0,
        input=order.input,
        exclusive=order.exclusive,
        priority=order.priority,
        submitted_ms=now.wall_ms,
        deadline_ms=now.wall_ms + int(order.deadline_s * 1_000),
        hops=order.hops,
        ancestors=order.ancestors,
        digest=work_digest(capability=order.capability, input=order.input),
        route=order.route,
        lineage=order.lineage,
        keep_ms=min(int(keep_s * 1_000), limits.KEEP_MS_MAX),
    )


def lease_s(record: TaskRecord, own_s: float) -> float:
    """How long its owner may go on without having written an exclusive award anew; `own_s` if it does not say."""
    return record.lease_ms / 1_000 if record.lease_ms else own_s


def awarded(
    record: TaskRecord,
    *,
    owner: NodeId,
    owner_life: int,
    now: Instant,
    lease_s: float = 0.0,
    ended: tuple[Attempt, ...] = (),
) -> TaskRecord:
    """The next award: epoch + 1. `ended` are the attempts that ended since the last write."""
    return structs.replace(
        record,
        state=_moved(record, "award"),
        epoch=record.epoch + 1,
        owner=owner,
        owner_life=owner_life,
        awarded_ms=now.wall_ms,
        lease_ms=int(lease_s * 1_000) if record.exclusive else 0,
        attempts=(record.attempts + ended)[-limits.ATTEMPTS_KEPT :],
    )


def retried(record: TaskRecord, *, by: str, home: NodeId, deadline_s: float, now: Instant) -> TaskRecord:
    """Open again, watched by `home`: what counted against it counts no more, what happened is kept.

    The deadline is `deadline_s` from now; with 0 it has as long as it had before.
    """
    failure = record.failure or Failure("", "")
    end = Retried(now.wall_ms, by, record.state, record.epoch, record.owner, failure.code, failure.message)
    length_ms = int(deadline_s * 1_000) or max(record.deadline_ms - record.opened_ms, DEADLINE_MS_MIN)
    return structs.replace(
        record,
        state=_moved(record, "retry"),
        home=home,
        owner="",
        owner_life=0,
        deadline_ms=now.wall_ms + length_ms,
        failure=None,
        awarded_ms=0,
        started_ms=0,
        finished_ms=0,
        failures=0,
        died=(),
        not_before_ms=0,
        retries=record.retries + 1,
        retried=(*record.retried, end)[-limits.RETRIES_KEPT :],
    )


def may_run_still(record: TaskRecord) -> bool:
    """True for an exclusive task, open again, whose end its owner did not write, and may not know of."""
    ends = [each for each in record.retried if each.epoch == record.epoch and each.owner]  # no award since
    is_open = record.exclusive and record.state is TaskState.OPEN
    by_others = (TaskState.CANCELLED, TaskState.POISON)
    return is_open and any(each.state in by_others or each.code == "deadline" for each in ends)


def done(record: TaskRecord, *, result: bytes, started_ms: WallMs, now: Instant) -> TaskRecord:
    """Ended with a result (msgpack)."""
    return structs.replace(
        record, state=_moved(record, "done"), result=result, started_ms=started_ms, finished_ms=now.wall_ms
    )


def failed(
    record: TaskRecord, *, failure: Failure, now: Instant, started_ms: WallMs = 0, ended: tuple[Attempt, ...] = ()
) -> TaskRecord:
    """Ended without a result, for a reason. `started_ms` is when an agent last began, 0 when none did."""
    return _given_up(record, "fail", failure, now, started_ms, ended)


def cancelled(
    record: TaskRecord,
    *,
    now: Instant,
    started_ms: WallMs = 0,
    ended: tuple[Attempt, ...] = (),
    parent: str = "",
) -> TaskRecord:
    """Ended because somebody asked for it, or for the end of `parent`, which led to it."""
    failure = Failure("cancelled", _cancel_note(record.id, parent))
    return _given_up(record, "cancel", failure, now, started_ms, ended)


def is_cancelled_with(record: TaskRecord, parent: str) -> bool:
    """True for what was cancelled because this ancestor was."""
    message = "" if record.failure is None else record.failure.message
    return record.state is TaskState.CANCELLED and message == _cancel_note(record.id, parent)


def _cancel_note(task: str, parent: str) -> str:
    why = f" together with {parent}, which led to it" if parent else ""
    return f"the task {task} was cancelled{why}"


def poisoned(
    record: TaskRecord, *, now: Instant, started_ms: WallMs = 0, ended: tuple[Attempt, ...] = ()
) -> TaskRecord:
    """Set aside: too many nodes were lost while they held it."""
    failure = Failure("poison", f"{len(record.died)} nodes were lost while they held this task")
    return _given_up(record, "poison", failure, now, started_ms, ended)


def _given_up(
    record: TaskRecord, change: Change, failure: Failure, now: Instant, started_ms: WallMs, ended: tuple[Attempt, ...]
) -> TaskRecord:
    return structs.replace(
        record,
        state=_moved(record, change),
        failure=failure,
        started_ms=started_ms,
        finished_ms=now.wall_ms,
        attempts=(record.attempts + ended)[-limits.ATTEMPTS_KEPT :],
    )


def diagram() -> str:
    """The transition table as text, one line a state; the README shows this."""
    rows = []
    for state, changes in TRANSITIONS.items():
        moves = ", ".join(f"{change} ─▶ {after.value}" for change, after in changes.items())
        rows.append(f"{state.value:<10} {moves or 'ended'}")
    return "\n".join(rows)
