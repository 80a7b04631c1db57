"""What a node makes of frames that it has heard before, that were changed, or that are not for it.

Invariant: rehearsed now and then on a copy of the node, so that the world goes on as if nobody had
asked. Neighbour: `checks` lists this.
"""

import copy
from collections import deque
from typing import ClassVar

from protocol.effects import Effect, Emit
from protocol.envelope import FRESH_MS
from protocol.events import FrameRefused
from protocol.inputs import Received, Tick
from protocol.node import Node
from protocol.primitives import NS_PER_MS, Instant
from simulations.host import Host
from simulations.seen import Handled, Routine, Seen, Span, Unmoved
from simulations.setting import Setting, Wanted
from simulations.timeline import ns

FRAMES_KEPT = 24  # the last that each node heard
FIRST_S = 6.0
PAUSE_S = 15.0  # between two rehearsals, in small worlds
SOON_S = 0.5  # after a fault has ended
OWED_MAX = 3
PAUSE_PER_NODE_S = 1.0  # a node that knows more takes longer to copy
SOON_PER_NODE_S = 0.1  # and where there are many something ends all the time
AHEAD_NS = ns(1.0)
LISTENS_NS = ns(5.0)  # so long before a rehearsal frames are kept for it


class Rehearsed:
    """A15, A16, A17: a frame takes effect once, unchanged, where it was sent; like inputs have like effects."""

    wants: ClassVar[Wanted] = (Handled, Routine, Unmoved, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._heard: dict[str, deque[tuple[int, Received]]] = {}
        self._due_ns = ns(FIRST_S)
        self._not_before_ns = 0
        self._rounds = 0
        self._owed = 0  # rehearsals soon after this one: somebody began a new life
        self._last = ""

    def on(self, seen: Seen) -> str | None:
        """Remember what is heard; now and then hear it once more, on a copy."""
        now_ns = self._setting.timeline.now_ns
        if isinstance(seen, Span) and not seen.is_on and now_ns >= ns(FIRST_S):
            soon_ns = max(now_ns + ns(SOON_S), self._not_before_ns)
            self._due_ns, self._owed = min(self._due_ns, soon_ns), len(self._setting.hosts) - 1
        if now_ns < self._due_ns - LISTENS_NS or not isinstance(seen, Handled | Unmoved):
            return None
        if not isinstance(seen.input, Received) or not seen.input.frame:
            return None  # of a frame that was cut to nothing no bit can be turned
        kept = self._heard.get(seen.node)
        if kept is None:
            kept = self._heard[seen.node] = deque(maxlen=FRAMES_KEPT)
        kept.append((now_ns, seen.input))
        if now_ns < self._due_ns or seen.node == self._last:
            return None
        return self._rehearse(seen.node, now_ns)

    def _rehearse(self, name: str, now_ns: int) -> str | None:
        """One copy hears it all: what has no effect leaves it as it was."""
        heard = self._lately(name)
        many = len(self._setting.hosts)
        soon_ns = ns(max(SOON_S, SOON_PER_NODE_S * many))
        self._due_ns = now_ns + (soon_ns if self._owed else ns(max(PAUSE_S, PAUSE_PER_NODE_S * many)))
        self._not_before_ns, self._rounds, self._last = now_ns + soon_ns, self._rounds + 1, name
        self._owed = min(max(0, self._owed - 1), OWED_MAX)
        host = self._setting.hosts[name]
        others = (each for other in self._heard if other != name for each in self._lately(other))
        node = copy.deepcopy(host.node)
        # What was refused then, and would not be now, takes effect first; and what counts by that alone next.
        for each in (*heard, *filter(_is_fact, heard)):
            node.handle(each, host.now())
        return (
            self._twice(host)
            or _refused(host, node, "that it has heard before", [each for each in heard if not _is_fact(each)])
            or _refused(host, node, "with two bits turned", [self._bent(each) for each in heard])
            or _refused(host, node, "that was cut short", [Received(each.subject, each.frame[:-9]) for each in heard])
            or _refused(host, node, "for another node", [each for each in others if not _is_for(host, each)])
            or _changed(host, node, [each for each in heard if _is_fact(each)])
        )

    def _lately(self, name: str) -> list[Received]:
        """What is too old to take effect anyway proves nothing."""
        since_ns = self._setting.timeline.now_ns - FRESH_MS * NS_PER_MS
        return [received for at_ns, received in self._heard[name] if at_ns >= since_ns]

    def _bent(self, heard: Received) -> Received:
        """Two bits of a byte are others, elsewhere in each frame and each time; one might mend what a link has bent."""
        frame = bytearray(heard.frame)
        at = (self._rounds * 131 + sum(frame[-8:])) % len(frame)
        frame[at] ^= 1 << self._rounds % 8 | 1 << (self._rounds + 1) % 8
        return Received(heard.subject, bytes(frame))

    def _twice(self, host: Host) -> str | None:
        """Two copies, one future."""
        now = host.now()
        later = Instant(now.mono_ns + AHEAD_NS, now.wall_ms + 1_000)
        one, other = (copy.deepcopy(host.node).handle(Tick(), later) for _ in range(2))
        return None if one == other else f"{host.name} does now this, now that about the same: {one} or {other}"


def state_of(node: Node) -> tuple[object, ...]:
    """What a node believes, knows and holds: what no frame without effect may change."""
    members, catalogue = node.membership, node.catalogue
    agents = [(peer.id, catalogue.cards_of(peer.id)) for peer in members.snapshot()]
    return members.snapshot(), node.gossip.facts.hashes(), agents, node.ledger.watched, node.holder.in_hand


def _refused(host: Host, node: Node, what: str, frames: list[Received]) -> str | None:
    """What a copy of a node does because of these; nothing, it should be."""
    now, before = host.now(), state_of(node)
    for each in frames:
        done = [effect for effect in node.handle(each, now) if not _is_refusal(effect)]
        if done:
            return f"{host.name} was given a frame {what}, on {each.subject}, and did this: {done[0]}"
    return None if state_of(node) == before else f"{host.name} was given a frame {what}, and it changed something"


def _changed(host: Host, node: Node, facts: list[Received]) -> str | None:
    """A fact of which nothing was known any more is news once."""
    before = state_of(node)
    for each in facts:
        node.handle(each, host.now())
    if state_of(node) == before:
        return None
    return f"{host.name} was told {len(facts)} facts twice, on {facts[0].subject} and others, and it changed something"


def _is_fact(heard: Received) -> bool:
    """Facts carry a version, and may be said again."""
    return heard.subject.split(".")[2] == "fact"


def _is_for(host: Host, heard: Received) -> bool:
    """What is carried is for all of a region."""
    kind, region = heard.subject.split(".")[2:4]
    return kind == "fact" or (kind == "carry" and region == host.node.regions.own)


def _is_refusal(effect: Effect) -> bool:
    return isinstance(effect, Emit) and isinstance(effect.event, FrameRefused)
