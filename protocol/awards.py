"""What to do next with a task that nobody holds: pure decisions over what its watcher knows.

Invariant: the same knowledge gives the same decision, but for the jitter of a pause.
Pure leaf; `ledger` carries the decisions out.
"""

from collections.abc import Callable

from protocol import ids, limits, records
from protocol.bids import Wanted
from protocol.effects import Emit, Reply, Send
from protocol.events import TaskAwarded, TaskCancelled, TaskFailed, TaskPoison, TaskRetried, TaskSubmitted
from protocol.gears import ROUTES, Choice
from protocol.inputs import Submit
from protocol.primitives import Instant, NodeId, Rng
from protocol.routing import Candidate
from protocol.watched import Phase, TaskSettings, Watched
from protocol.wire.auction import Attempt
from protocol.wire.task import Decline, Failure, Result, TaskRecord, TaskState, Withdraw

NO_AGENT_S = 5.0  # a node that said it has no such agent is believed this long
PAUSE_MS_MAX = 60_000  # an owner may ask to be left alone this long
DOUBLINGS_MAX = 64  # of a pause: far above its limit, far below what a float can say
OVERDUE_S = 1.0  # until we look again at a task whose deadline came while a write was under way


def refused(request: int, code: str, **fields: object) -> Reply:
    """The reply that says no."""
    return Reply(request, code=code, fields=fields)


def problem_of(order: Submit, *, watched: int, watched_max: int) -> Reply | None:
    """Why a submit cannot be taken, whoever could do it; None when it can."""
    request = order.request
    if not ids.is_capability(order.capability):
        return refused(request, "bad_capability", capability=order.capability)
    if order.route not in ROUTES:
        return refused(request, "bad_route", route=order.route[: limits.REASON_CHARS_MAX], routes=", ".join(ROUTES))
    if len(order.input) > limits.INPUT_BYTES_MAX:
        sizes = {"bytes": len(order.input), "limit": limits.INPUT_BYTES_MAX}
        return refused(request, "too_large", what="the input", **sizes)
    if order.hops > limits.HOPS_MAX:
        what = f"this task would be number {order.hops} in a row of tasks that submit tasks"
        return refused(request, "bad_input", what=f"{what}; the limit is {limits.HOPS_MAX}")
    if path := records.cycle_of(order.lineage, capability=order.capability, input=order.input):
        return refused(request, "cycle", path=path)
    for what in (order.key, order.submitter, order.gid, order.parent_iid):
        if len(what) > limits.TEXT_CHARS_MAX:  # nobody would read the record
            return refused(request, "bad_input", what=f"an id has at most {limits.TEXT_CHARS_MAX} characters")
    if watched >= watched_max:
        limit = f"{watched_max} unfinished tasks, tasks.watched_max"
        return refused(request, "overloaded", what="the ledger of this node", limit=limit)
    return None


def ending(watched: Watched, *, settings: TaskSettings, now: Instant) -> TaskRecord | None:
    """The record of a task that has to end now, or None."""
    record, ended, started_ms = watched.record, tuple(watched.ended), watched.started_ms
    if watched.is_unwanted:
        return records.cancelled(record, now=now, started_ms=started_ms, ended=ended, parent=watched.ends_with)
    if now.wall_ms >= record.deadline_ms:
        failure = Failure("deadline", "the task did not end before its deadline")
        return records.failed(record, failure=failure, now=now, started_ms=started_ms, ended=ended)
    if watched.phase is not Phase.WAITING:
        return None
    if record.failures >= settings.attempts_max:
        last = ended[-1].detail if ended else ""
        failure = Failure("agent_failed", last or f"{record.failures} attempts failed")
        return records.failed(record, failure=failure, now=now, started_ms=started_ms, ended=ended)
    if len(record.died) >= limits.DEATHS_MAX and record.state is TaskState.AWARDED:
        return records.poisoned(record, now=now, started_ms=started_ms, ended=ended)
    return None


def usable(
    watched: Watched, candidates: list[Candidate], *, life_of: Callable[[NodeId], int | None], now: Instant
) -> list[Candidate]:
    """The candidates that have not lapsed or declined this task lately, free or not, in their order."""
    owner = watched.record.owner
    if life_of(owner) not in (None, watched.record.owner_life):
        watched.excluded.pop(owner, None)  # it began anew, so its silence is explained
    return [each for each in candidates if watched.excluded.get(each.node, 0) <= now.mono_ns and not each.is_off]


def claimed_ms(candidates: list[Candidate]) -> float:
    """How long a run takes as the manifests say: the claim in the middle, 0 when nobody claims anything."""
    claims = sorted(each.latency_ms for each in candidates)
    return float(claims[len(claims) // 2]) if claims else 0.0


def wanted(record: TaskRecord, choice: Choice, candidates: list[Candidate], usual_ms: float) -> Wanted:
    """What an auction for this task is to ask, and whom."""
    return Wanted(
        task=record.id,
        epoch=record.epoch + 1,
        capability=record.capability,
        gear=choice.gear,
        why=choice.why,
        input_bytes=len(record.input),
        deadline_ms=record.deadline_ms,
        usual_ms=usual_ms,
        candidates=tuple(candidates),
        iid=record.iid,
        gid=record.gid,
    )


def backoff_s(failures: int, *, settings: TaskSettings, rng: Rng) -> float:
    """Full jitter (Brooker 2015): anything between nothing and the doubled pause."""
    doublings = min(max(failures - 1, 0), DOUBLINGS_MAX)
    return rng.random() * min(settings.backoff_s_max, settings.backoff_s_min * 2.0**doublings)


def pause_s(body: Decline, failures: int, *, settings: TaskSettings, rng: Rng) -> float:
    """How long who declined is left alone, and a task that failed is left to rest."""
    if body.counts:
        return backoff_s(failures, settings=settings, rng=rng)
    if body.reason == "no_agent":
        return NO_AGENT_S
    return min(max(body.retry_after_ms, 0), PAUSE_MS_MAX) / 1_000 or settings.lease_s


def unrenewed(watched: Watched) -> int:
    """How often in a row, until now, an owner gave it back because the record was too slow for its lease."""
    reasons = [attempt.ended for attempt in (*watched.record.attempts, *watched.ended)]
    others = (number for number, reason in enumerate(reversed(reasons)) if reason != "unrenewed")
    return next(others, len(reasons))


def is_early(record: TaskRecord, now: Instant) -> bool:
    """True while its deadline lies ahead by the wall, whose clock may have stepped since a timer was set."""
    return now.wall_ms < record.deadline_ms


def left_s(record: TaskRecord, now: Instant) -> float:
    """When to look at its deadline: when it comes by the wall, or soon when it has passed."""
    left = (record.deadline_ms - now.wall_ms) / 1_000 if is_early(record, now) else OVERDUE_S
    return min(left, limits.DEADLINE_S_MAX)


def given_back(body: Decline, *, owner: NodeId, now: Instant) -> Attempt:
    """The attempt that its owner ended; what it says of its reasons stays in the record, so it is short."""
    reason, detail = body.reason[: limits.REASON_CHARS_MAX], body.detail[: limits.TEXT_CHARS_MAX]
    return Attempt(body.epoch, owner, reason, now.wall_ms, detail)


def repeated(order: Submit, record: TaskRecord) -> Reply:
    """The answer to a submit whose task is known: that task when the work is the same, else a conflict."""
    if record.digest != records.work_digest(capability=order.capability, input=order.input):
        return refused(order.request, "key_reused", key=order.key, task=record.id)
    return Reply(order.request, value=record)


def begun(record: TaskRecord) -> Emit:
    """What its home says once the task is on record."""
    return Emit(
        TaskSubmitted(record.id, record.iid, record.gid, record.capability, record.submitter, record.parent_iid)
    )


def reopened(record: TaskRecord) -> Emit:
    """What its new home says once an ended task is open again."""
    last = record.retried[-1]
    return Emit(
        TaskRetried(record.id, record.iid, record.epoch, last.state.value, last.by, record.gid, record.parent_iid)
    )


def awarded(record: TaskRecord, *, why: str, former: NodeId) -> Emit:
    """What its watcher says once an award stands."""
    task, owner = record.id, record.owner
    return Emit(TaskAwarded(task, record.iid, record.epoch, owner, why, former, record.gid, record.parent_iid))


def end_events(watched: Watched) -> list[Emit]:
    """What its watcher says of an end that it wrote; "done" is said by the owner."""
    record = watched.record
    task, iid, epoch, gid, parent = record.id, record.iid, record.epoch, record.gid, record.parent_iid
    failure = record.failure or Failure("", "")
    if record.state is TaskState.FAILED:
        return [Emit(TaskFailed(task, iid, epoch, failure.code, failure.message, gid, parent))]
    if record.state is TaskState.CANCELLED:
        by = next((order.by for order in watched.cancels if order.by), "")
        return [Emit(TaskCancelled(task, iid, epoch, gid, parent, by, watched.ends_with))]
    if record.state is TaskState.POISON:
        return [Emit(TaskPoison(task, iid, epoch, record.died, gid, parent))]
    return []


def withdrawn(former: TaskRecord) -> list[Send]:
    """Tell who held the task until now that it need not go on."""
    if former.state is not TaskState.AWARDED:
        return []
    return [Send(to=former.owner, life=former.owner_life, body=Withdraw(former.id, former.epoch))]


def told_home(record: TaskRecord, *, revision: int, frame: bytes, life: int | None) -> list[Send]:
    """An end that we wrote for a task of another home, which lives its `life`."""
    if life is None:
        return []
    body = Result(record.id, record.epoch, revision, frame)
    return [Send(to=record.home, life=life, body=body, iid=record.iid, gid=record.gid)]


def settled(watched: Watched) -> list[Reply]:
    """The task has ended: the answers to everyone who waits for its end, or wants it cancelled."""
    record, waits, cancels = watched.record, watched.waits, [order.request for order in watched.cancels]
    watched.waits, watched.cancels = [], []
    if record.state is TaskState.CANCELLED:
        return [Reply(request, value=record) for request in (*waits, *cancels)]
    state = record.state.value
    late = [refused(request, "already_ended", task=record.id, state=state) for request in cancels]
    return [*(Reply(request, value=record) for request in waits), *late]


def has_restarted(record: TaskRecord, life: int | None) -> bool:
    """The owner lives a later life than the award's: its agents died with that one.

    An exclusive task waits for silence all the same: an agent may outlive its daemon for a moment.
    """
    return life is not None and life > record.owner_life and not record.exclusive
