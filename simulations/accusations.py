"""Who said when that another is gone, as lines of the trace: they lead to the messages that tell it, and to the death.

Invariant: a death that a timer declared has the last accusation it needed for its cause, not the timer.
Neighbours: `broker` tells what is said of others, `world` notes deaths here; `deaths` explains one.
"""

from collections.abc import Mapping

from protocol.effects import Spread
from protocol.envelope import Frames, Peeked
from protocol.events import PeerDamped, PeerDead
from protocol.primitives import NodeId
from protocol.wire.gossip import Confirm, Dead, Suspect
from simulations.host import Host
from simulations.seen import Happened
from simulations.trace import Trace

ACCUSES = "accuses"  # the kind of such a line; the first word of what it says is the name of the accused
ACCUSING = Suspect | Confirm | Dead

_Charge = tuple[str, NodeId, int]  # who says it, of whom, in which life


class Accusations:
    """All of one world."""

    def __init__(self, *, trace: Trace, frames: Frames, hosts: Mapping[str, Host]) -> None:
        self._timeline = trace.timeline
        self._trace = trace
        self._frames = frames
        self._hosts = hosts
        self._lines: dict[_Charge, tuple[int, int]] = {}  # the last suspicion of each: its incarnation and line
        self._verdicts: dict[_Charge, tuple[int, int]] = {}  # and the last death that each declared
        self._names: dict[NodeId, str] = {}

    def said(self, src: str, fact: Spread) -> None:
        """A node says of another that it is suspect, or dead: what is sent because of it has this line for its cause.

        What is said once more has the cause it has.
        """
        body = fact.body
        if not isinstance(body, ACCUSING):
            return
        whom, charge = self._name_of(body.peer), (src, body.peer, body.life)
        known = self._verdicts if isinstance(body, Dead) else self._lines
        if known.get(charge, (-1, 0))[0] == body.incarnation:
            return
        what = f"{whom} suspect{' too' * isinstance(body, Confirm)}, {body.evidence}"
        if isinstance(body, Dead):
            accusers = self._accusers(src, body)
            self._timeline.cause = self._last(accusers, body.peer, body.life) or self._timeline.cause
            what = f"{whom} dead, {body.evidence}, as {' and '.join(accusers)} say"
        known[charge] = body.incarnation, self._trace.note(self._timeline.now_ns, src, ACCUSES, what)

    def note(self, seen: Happened, death: PeerDead | PeerDamped) -> int:
        """A node takes another for dead; the line that says so."""
        timeline = self._timeline
        former = timeline.cause
        if self._trace.is_tick(former):
            _, declared = self._verdicts.get((seen.node, death.peer, death.life), (0, 0))
            accusers = [self._name_of(accuser) for accuser in death.accusers]
            # A node whose words wait in its buffers has not said yet what it found out.
            timeline.cause = declared or self._last(accusers, death.peer, death.life) or former
        line = self._trace.note(timeline.now_ns, seen.node, "event", str(death))
        timeline.cause = former
        return line

    def _accusers(self, src: str, body: Dead) -> list[str]:
        """Whose words come along, and whose this is."""
        peeked = [self._frames.peek(frame) for frame in body.accusations]
        return sorted({src, *(self._name_of(each.src) for each in peeked if isinstance(each, Peeked))})

    def _last(self, accusers: list[str], peer: NodeId, life: int) -> int:
        """The line of the last of these accusations; 0 when there is none."""
        charges = [(accuser, peer, life) for accuser in accusers]
        return max(
            (lines.get(each, (0, 0))[1] for each in charges for lines in (self._lines, self._verdicts)), default=0
        )

    def _name_of(self, node: NodeId) -> str:
        if node not in self._names:  # somebody may have begun with the key of another since
            self._names = {host.id: host.name for host in self._hosts.values()}
        return self._names.get(node, node)
