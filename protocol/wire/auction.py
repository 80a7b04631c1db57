"""Family `auction`: who could do a task, asked and answered, and the evidence that its record keeps of it.

Invariant: no message here gives a task to anybody; a write of the record does, and these only find out
whose write it should be. Every number is finite and has its range: a reader refuses the rest.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from protocol import limits
from protocol.wire.bounds import NAME_CHARS_MAX, Ability, Count, Moment, Name, NobodyOr, Text, Token, Word

Span: TypeAlias = Annotated[int, Meta(ge=0, le=limits.SPAN_MS_MAX)]  # milliseconds
Weight: TypeAlias = Annotated[float, Meta(ge=0.0, le=limits.WEIGHT_MAX)]  # neither NaN nor infinite
Share: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]


class Offer(Struct, frozen=True, array_like=True, tag="offer"):
    """Watcher to candidate: would you do this, and how well? `epoch` is the award it would become."""

    auction: Count
    task: Token
    epoch: Count
    capability: Ability
    input_bytes: Count
    deadline_ms: Moment


class Bid(Struct, frozen=True, array_like=True, tag="bid"):
    """Candidate to asker alone: I could, at once. Times are of this agent's own runs, or its manifest's claim."""

    auction: Count
    task: Token
    epoch: Count
    agent: Name
    free: Annotated[int, Meta(ge=1, le=limits.SLOTS_MAX)]
    queue_delay_ms: Span
    latency_ms: Span
    deviation_ms: Span
    successes: Weight  # of its last runs, the older the less
    failures: Weight
    confidence: Share
    price: Weight


class Pass(Struct, frozen=True, array_like=True, tag="pass"):
    """Candidate to asker: not me, because (busy | no_agent | draining | deadline)."""

    auction: Count
    task: Token
    epoch: Count
    reason: Word


class Answered(Struct, frozen=True, array_like=True):
    """One who was asked, and what came of it; the terms of a bid and its score, the lowest of which wins.

    `finish_ms` is queue delay, latency and one deviation, or what is usual when its node saw none end well;
    `success` the sure share of runs that do, by which it is divided, each other one costing a second;
    `cost_ms` the price in milliseconds; `lapses_ms` what the asker holds against the node.
    """

    node: Token
    said: Word  # bid | pass | silent | absent | late | unheard | unasked | reserved
    reason: Word = ""  # of a pass
    at_ms: Span = 0  # after the round began
    agent: Annotated[str, Meta(pattern=rf"^[a-z0-9_-]{{0,{NAME_CHARS_MAX}}}\Z")] = ""
    free: Count = 0
    queue_delay_ms: Span = 0
    latency_ms: Span = 0
    deviation_ms: Span = 0
    successes: Weight = 0.0
    failures: Weight = 0.0
    confidence: Share = 0.0
    price: Weight = 0.0
    finish_ms: Weight = 0.0
    success: Share = 0.0
    cost_ms: Weight = 0.0
    lapses_ms: Weight = 0.0
    score: Weight = 0.0


class Round(Struct, frozen=True, array_like=True):
    """One search for an owner: how, why so, who was asked, what each said, and who was given the task.

    `strays` counts answers that changed nothing: late, twice, or of somebody who was not asked.
    """

    epoch: Count  # of the award that it led to, or would have
    gear: Word  # local | gossip | bids | broadcast | late
    why: Annotated[str, Meta(max_length=limits.WHY_CHARS_MAX)]
    at_ms: Moment
    took_ms: Span = 0
    asked: Count = 0
    answers: Annotated[tuple[Answered, ...], Meta(max_length=limits.ANSWERS_KEPT)] = ()
    owner: NobodyOr = ""
    strays: Count = 0


Rounds: TypeAlias = Annotated[tuple[Round, ...], Meta(max_length=limits.ROUNDS_KEPT)]


class Attempt(Struct, frozen=True, array_like=True):
    """One award that ended without an end of the task: who held it, and why it moved on."""

    epoch: Count
    owner: Token
    ended: Text  # silent | absent | node_restarted | the `reason` of a decline
    at_ms: Moment
    detail: Text = ""


class Unwritten(Struct, frozen=True, array_like=True):
    """What became of a task since its record was written, and only its watcher knows; `failures` and `died` are all."""

    attempts: Annotated[tuple[Attempt, ...], Meta(max_length=limits.ATTEMPTS_KEPT)] = ()
    failures: Count = 0
    died: Annotated[tuple[Token, ...], Meta(max_length=limits.ATTEMPTS_KEPT)] = ()
    rounds: Rounds = ()


class Reserve(Struct, frozen=True, array_like=True, tag="reserve"):
    """Watcher to a candidate: whoever of you has a slot first takes this, by a write on `revision`.

    `record` is the sealed record, open or lost by its owner; `asked` are reserved with, and `why` stands in the
    record, as does all of `unwritten`.
    """

    task: Token
    revision: Count
    record: bytes
    asked: Count
    why: Annotated[str, Meta(max_length=limits.WHY_CHARS_MAX)] = ""
    unwritten: Unwritten = Unwritten()


class Unreserve(Struct, frozen=True, array_like=True, tag="unreserve"):
    """Watcher to a candidate: somebody has it, or nobody needs it any more."""

    task: Token
    revision: Count


class Taken(Struct, frozen=True, array_like=True, tag="taken"):
    """Owner to watcher: my write stands, and it is mine. `record` is the sealed record at `revision`."""

    task: Token
    epoch: Count
    revision: Count
    record: bytes
