"""What a scenario must bring about at least once: a test that never sees its danger tests nothing.

Invariant: a sight is recognised from one thing seen. Neighbours: `scenario` names them; a run
that shows one not at all ends with an exit code of its own.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import structs

from protocol.events import (
    AuctionClosed,
    AuctionOpened,
    AwardDeclined,
    ClockOff,
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
    TaskRetried,
    TasksAdopted,
)
from protocol.wire.task import TaskRecord, TaskState
from simulations.seen import Answered, Happened, Seen, Sight, Span, Stored

Glance: TypeAlias = Callable[[Seen], bool]


def _state(state: str) -> Glance:
    def glance(seen: Seen) -> bool:
        return isinstance(seen, Happened) and isinstance(seen.event, StateChanged) and seen.event.state == state

    return glance


def _event(*kinds: type) -> Glance:
    return lambda seen: isinstance(seen, Happened) and isinstance(seen.event, kinds)


def _refused(*codes: str) -> Glance:
    return lambda seen: isinstance(seen, Happened) and isinstance(seen.event, FrameRefused) and seen.event.code in codes


def _below(kind: str) -> Glance:
    return lambda seen: isinstance(seen, Sight) and seen.kind == kind


def _moved(seen: Seen) -> bool:
    return isinstance(seen, Happened) and isinstance(seen.event, TaskAwarded) and seen.event.epoch > 1


def _adopted(why: str) -> Glance:
    def glance(seen: Seen) -> bool:
        return isinstance(seen, Happened) and isinstance(seen.event, TasksAdopted) and seen.event.why == why

    return glance


def _lapsed(evidence: str) -> Glance:
    def glance(seen: Seen) -> bool:
        return isinstance(seen, Happened) and isinstance(seen.event, LeaseLapsed) and seen.event.evidence == evidence

    return glance


def _asked_all(seen: Seen) -> bool:
    return isinstance(seen, Happened) and isinstance(seen.event, AuctionOpened) and seen.event.gear == "broadcast"


def _bid(seen: Seen) -> bool:
    return isinstance(seen, Happened) and isinstance(seen.event, AuctionClosed) and seen.event.bids > 0


def _found(*gears: str) -> Glance:
    """A write gives a task to somebody who was found in this way."""

    def glance(seen: Seen) -> bool:
        record = seen.record if isinstance(seen, Stored) else None
        if record is None or record.state is not TaskState.AWARDED or not record.rounds:
            return False
        last = record.rounds[-1]
        return (last.epoch, last.owner) == (record.epoch, record.owner) and last.gear in gears

    return glance


def _silent(seen: Seen) -> bool:
    record = seen.record if isinstance(seen, Stored) else None
    return record is not None and any(
        answer.said in ("silent", "absent") for each in record.rounds for answer in each.answers
    )


def _refuted(seen: Seen) -> bool:
    return isinstance(seen, Happened) and isinstance(seen.event, PeerAlive) and seen.event.incarnation > 0


def _accepted(seen: Seen) -> bool:
    return isinstance(seen, Answered) and isinstance(seen.reply.value, TaskRecord)


SIGHTS: Mapping[str, Glance] = {
    "peer-suspect": _event(PeerSuspect),
    "peer-dead": _event(PeerDead),
    "peer-damped": _event(PeerDamped),
    "peer-left": _event(PeerLeft),
    "peer-unreachable": _event(PeerUnreachable),
    "suspicion-refuted": _refuted,
    "clock-off": _event(ClockOff),
    "refused-by-clock": lambda seen: isinstance(seen, Answered) and seen.reply.code == "clock_off",
    "frame-refused": _event(FrameRefused),
    "replay-refused": _refused("replayed", "old_life", "expired"),
    "stranger-refused": _refused("not_admitted"),
    "forgery-refused": _refused("wrong_signer"),
    "twin-seen": _refused("twin"),
    "kind-unknown": _refused("unknown_kind"),
    "peer-misbehaved": _event(PeerMisbehaved),
    "name-conflict": _event(NameConflict),
    "record-lost": _event(RecordLost),
    "detached": _state("detached"),
    "islanded": _state("islanded"),
    "task-accepted": _accepted,
    "task-moved": _moved,
    "task-retried": _event(TaskRetried),
    "award-declined": _event(AwardDeclined),
    "asked-all": _asked_all,
    "bids-heard": _bid,
    "bidder-silent": _silent,
    "won-by-bid": _found("bids", "broadcast"),
    "won-from-gossip": _found("gossip"),
    "taken-late": _found("late"),
    "owner-silent": _lapsed("silent"),
    "owner-absent": _lapsed("absent"),
    "result-refused": _event(ResultRefused),
    "guardian-adopted": _adopted("guardian"),
    "home-resumed": _adopted("restarted"),
    "ack-lost": _below("ack-lost"),
    "stale-read": _below("stale-read"),
    "message-lost": _below("lost"),
    "message-doubled": _below("doubled"),
    "message-harmed": _below("harmed"),
    "inbox-overrun": _below("overrun"),
    "fault-began": lambda seen: isinstance(seen, Span) and seen.is_on,
}


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
