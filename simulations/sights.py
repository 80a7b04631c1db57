"""What a scenario must bring about at least once: a test that never sees its danger tests nothing.

Invariant: a sight is recognised from one thing seen; what only shows in how things hang together `glimpses`
makes such a thing of. There is no rotation of keys to be seen: a node is its key. Neighbours: `scenario` names
them; a run that shows one not at all ends with an exit code of its own.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from protocol.events import (
    AuctionClosed,
    AuctionOpened,
    AwardDeclined,
    ClockOff,
    Event,
    FrameRefused,
    LeaseLapsed,
    NameConflict,
    PeerAlive,
    PeerDamped,
    PeerDead,
    PeerLeft,
    PeerMisbehaved,
    PeerSuspect,
    PeerUnreachable,
    RecordLost,
    ResultRefused,
    StateChanged,
    TaskAwarded,
    TaskCancelled,
    TaskFailed,
    TaskPutBack,
    TaskRetried,
    TasksAdopted,
)
from protocol.wire.task import TaskRecord, TaskState
from simulations.seen import Answered, Happened, Seen, Sight, Span, Stored


class Glance(Struct, frozen=True):
    """By what a sight is recognised: the kinds of what is seen, or of its event, and which of these."""

    of: tuple[type, ...]
    is_it: Callable[[Any], bool] = bool  # what is seen is never false


def _event(*kinds: type[Event]) -> Glance:
    return Glance(kinds)


def _says(kind: type[Event], field: str, *values: str) -> Glance:
    return Glance((kind,), lambda seen: getattr(seen.event, field) in values)


def _below(kind: str) -> Glance:
    return Glance((Sight,), lambda seen: seen.kind == kind)


def _found(*gears: str) -> Glance:
    """A write gives a task to somebody who was found in this way."""

    def glance(seen: Stored) -> bool:
        record = seen.record
        if record is None or record.state is not TaskState.AWARDED or not record.rounds:
            return False
        last = record.rounds[-1]
        return (last.epoch, last.owner) == (record.epoch, record.owner) and last.gear in gears

    return Glance((Stored,), glance)


def _silent(seen: Stored) -> bool:
    rounds = () if seen.record is None else seen.record.rounds
    return any(answer.said in ("silent", "absent") for each in rounds for answer in each.answers)


SIGHTS: Mapping[str, Glance] = {
    "peer-suspect": _event(PeerSuspect),
    "peer-dead": _event(PeerDead),
    "peer-damped": _event(PeerDamped),
    "peer-left": _event(PeerLeft),
    "peer-unreachable": _event(PeerUnreachable),
    "suspicion-refuted": Glance((PeerAlive,), lambda seen: seen.event.incarnation > 0),
    "suspect-told": _below("suspect-told"),  # by a question that says so (Lifeguard's buddy system), and it answers
    "saved-by-verifier": _below("saved-by-verifier"),  # who asked it because another accused it
    "takes-itself-for-slow": Glance((PeerSuspect, PeerDead, PeerDamped), lambda seen: seen.event.health > 0),
    "gap-repaired": _below("gap-repaired"),
    "clock-off": _event(ClockOff),
    "clock-set-back": _below("clock-set-back"),
    "refused-by-clock": Glance((Answered,), lambda seen: seen.reply.code == "clock_off"),
    "disk-old": _below("disk-old"),
    "disk-lost": _below("disk-lost"),
    "frame-refused": _event(FrameRefused),
    "replay-refused": _says(FrameRefused, "code", "replayed", "old_life", "expired"),
    "stranger-refused": _says(FrameRefused, "code", "not_admitted"),
    "forgery-refused": _says(FrameRefused, "code", "wrong_signer"),
    "twin-seen": _says(FrameRefused, "code", "twin"),
    "kind-unknown": _says(FrameRefused, "code", "unknown_kind"),
    "peer-misbehaved": _event(PeerMisbehaved),
    "name-conflict": _event(NameConflict),
    "record-lost": _event(RecordLost),
    "task-put-back": _event(TaskPutBack),
    "detached": _says(StateChanged, "state", "detached"),
    "islanded": _says(StateChanged, "state", "islanded"),
    "task-accepted": Glance((Answered,), lambda seen: isinstance(seen.reply.value, TaskRecord)),
    "task-moved": Glance((TaskAwarded,), lambda seen: seen.event.epoch > 1),
    "task-retried": _event(TaskRetried),
    "task-failed": _event(TaskFailed),
    "task-cancelled": _event(TaskCancelled),
    "award-declined": _event(AwardDeclined),
    "asked-all": _says(AuctionOpened, "gear", "broadcast"),
    "bids-heard": Glance((AuctionClosed,), lambda seen: seen.event.bids > 0),
    "bids-in-a-cut": _below("bids-in-a-cut"),
    "bidder-silent": Glance((Stored,), _silent),
    "won-by-bid": _found("bids", "broadcast"),
    "won-from-gossip": _found("gossip"),
    "taken-late": _found("late"),
    "owner-silent": _says(LeaseLapsed, "evidence", "silent"),
    "owner-absent": _says(LeaseLapsed, "evidence", "absent"),
    "exclusive-cut-off": _below("exclusive-cut-off"),  # at work when a cut began that lasted for two leases, and longer
    "crashed-at-work": _below("crashed-at-work"),
    "crashed-before-work": _below("crashed-before-work"),  # it had been awarded a task, and no agent had begun
    "result-refused": _event(ResultRefused),
    "guardian-adopted": _says(TasksAdopted, "why", "guardian"),
    "home-resumed": _says(TasksAdopted, "why", "restarted"),
    "write-refused": _below("write-refused"),  # two raced one compare-and-set, or one was late
    "ack-lost": _below("ack-lost"),
    "stale-read": _below("stale-read"),
    "message-lost": _below("lost"),
    "message-doubled": _below("doubled"),
    "message-harmed": _below("harmed"),
    "inbox-overrun": _below("overrun"),
    "fault-began": Glance((Span,), lambda seen: seen.is_on),
}


def by_kind() -> Mapping[type, Sequence[tuple[str, Callable[[Any], bool]]]]:
    """The sights that one thing seen may be, by its kind, or by that of its event."""
    kinds: dict[type, list[tuple[str, Callable[[Any], bool]]]] = {}
    for name, glance in SIGHTS.items():
        for kind in glance.of:
            kinds.setdefault(kind, []).append((name, glance.is_it))
    return kinds


def kind_of(seen: Seen) -> type:
    """What `by_kind` has it under."""
    return type(seen.event) if isinstance(seen, Happened) else type(seen)


def told(seen: Seen, names: Mapping[str, str]) -> str:
    """What was seen, in words; `names` are those of nodes by their ids."""
    match seen:
        case Happened(node=node, event=event):
            kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(event).__name__).lower()
            fields = {field: _word(value, names) for field, value in structs.asdict(event).items()}
            said = [f"{field.replace('_', ' ')} {word}" for field, word in fields.items() if word]
            return f"{node} said {kind}: {', '.join(said)}" if said else f"{node} said {kind}"
        case Stored(record=TaskRecord() as record):
            return f"{seen.node} wrote that {record.id} is {record.state.value} in epoch {record.epoch}"
        case Answered(reply=reply):
            return f"{seen.node} answered request {reply.request}: {reply.code or 'ok'}"
        case Span():
            return f"{seen.fault} {'began' if seen.is_on else 'ended'} {' '.join(seen.nodes)}".rstrip()
        case Sight():
            return f"{seen.kind} at {seen.node}"
        case _:
            return f"{type(seen).__name__.lower()} at {seen.node}"


def _word(value: object, names: Mapping[str, str]) -> str:
    match value:
        case str():
            return names.get(value, value)
        case bool():
            return "yes" if value else ""
        case float():
            return f"{value:.6g}"
        case tuple() | list():
            return " and ".join(_word(each, names) for each in value)
        case _:
            return str(value)
