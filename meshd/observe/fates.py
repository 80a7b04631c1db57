"""What befalls nodes, in words, and the last of it for each node: how it came, was doubted, died, left and came back.

Invariant: says what an event says, and no more; bounded, the node that nothing happened to for longest goes first.
Neighbours: `logs` tells the same words, the API shows them as the story of a node.
"""

from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from protocol import events, limits
from protocol.events import Event
from protocol.primitives import NodeId, WallMs

KEPT = 32  # things that befell one node: a night of one that flaps every quarter of an hour
NODES_MAX = 2 * limits.PEERS_MAX

NameOf = Callable[[str], str]


class Befell(Struct, frozen=True):
    """One event about a node, and when this node heard of it."""

    at_ms: WallMs
    event: Event


class Fates:
    """The last things that befell each node."""

    def __init__(self, *, me: NodeId) -> None:
        self._me = me
        self._kept: dict[NodeId, deque[Befell]] = {}

    def note(self, event: Event, at_ms: WallMs) -> None:
        """Something happened."""
        node = self._whom(event)
        if node is None:
            return
        told = self._kept.pop(node, None) or deque(maxlen=KEPT)
        told.append(Befell(at_ms, event))
        self._kept[node] = told
        if len(self._kept) > NODES_MAX:
            del self._kept[next(iter(self._kept))]

    def _whom(self, event: Event) -> NodeId | None:
        match event:
            case events.StateChanged() | events.AccusationRefuted():
                return self._me
            case events.PeerAlive() | events.PeerSuspect() | events.PeerDead() | events.PeerLeft():
                return event.peer
            case events.PeerDamped() | events.PeerForgotten() | events.ClockOff() | events.ClockRight():
                return event.peer
            case _:
                return None

    def of(self, node: NodeId) -> tuple[Befell, ...]:
        """What befell it, the first first."""
        return tuple(self._kept.get(node, ()))


def fate(event: Event, name_of: NameOf) -> str:
    """What befell a node, as what follows its name; nothing for events about something else."""
    match event:
        case events.PeerAlive():
            return f"is alive: {_came(event)}"
        case events.PeerSuspect():
            return f"is suspect: {_doubt(event.evidence, (name_of(event.accuser),))}{_aside(event)}"
        case events.PeerDead():
            accusers = sorted(map(name_of, event.accusers))
            suspected = "" if event.after_s is None else f", and it was suspect for {_span(event.after_s)}"
            return f"is dead: {_doubt(event.evidence, accusers)}{suspected}{_aside(event)}"
        case events.PeerDamped():
            return _damped(event, name_of)
        case events.AccusationRefuted():
            who = name_of(event.accuser)
            return f"was called {event.said} by {who}: it refuted that (incarnation {event.incarnation})"
        case events.PeerLeft():
            return "left: it said goodbye"
        case events.PeerForgotten():
            return f"is shown no more: {name_of(event.by)} asked for it"
        case events.ClockOff():
            return f"has a clock that is off by {event.ahead_ms:+d} ms, so it gets no tasks"
        case events.ClockRight():
            return "has the right time again"
        case events.StateChanged():
            return f"is {event.state}" + (f": {event.reason}" if event.reason else "")
        case _:
            return ""


def _came(event: events.PeerAlive) -> str:
    span = _span(event.after_s)
    if event.restarted:
        return {
            "dead": f"it started again, {span} after its death",
            "left": f"it started again, {span} after it left",
        }.get(event.was, "it started again, and had said no goodbye")
    return {
        "": "seen for the first time",
        "suspect": f"it says so itself, after {span} as a suspect (incarnation {event.incarnation})",
        "dead": f"it was never gone: the same run is back, {span} after it was declared dead",
    }.get(event.was, f"it is back, {span} after it left")


def _damped(event: events.PeerDamped, name_of: NameOf) -> str:
    often = f"it died {event.deaths} times in {_span(event.within_s)}"
    if event.state == "dead":
        why = _doubt(event.evidence, sorted(map(name_of, event.accusers)))
        return f"is dead again, and damped: {often}; {why}{_aside(event)}"
    what = "is suspect no more, and still damped" if event.was == "suspect" else "is back, and damped"
    return f"{what}: {often}, so others get its work until it was quiet for {_span(event.quiet_s)}"


def _doubt(evidence: str, accusers: Iterable[str]) -> str:
    who = spoken(accusers)
    if evidence == "absent":
        return f"the server told {who} that nobody listens there"
    return f"{who} got no answer from it"


def _aside(event: events.PeerSuspect | events.PeerDead | events.PeerDamped) -> str:
    """How far this node's own word goes: when it heard of it last, and whether it is well itself."""
    heard = "never heard here" if event.unheard_s is None else f"last heard here {_span(event.unheard_s)} before"
    unwell = f"; this node was not well itself (health {event.health})" if event.health else ""
    return f"; {heard}{unwell}"


def spoken(names: Iterable[str]) -> str:
    """a; a and b; a, b and c."""
    told = tuple(names) or ("nobody",)
    return " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))


def _span(seconds: float) -> str:
    """0.4 s, 12 s, 5 min, 3 h, 2 d."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"
