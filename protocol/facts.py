"""Every fact that this node knows, and what follows from keeping one: who lives, who is gone, what the living can do.

Invariant: a node has one standing (alive, dead or left); what it can do and how busy it is stands only while it is
alive, for that life. The gone are remembered for `tombstone_s` and as long as there is room, the latest longest.
Neighbours: `replica` tells which of two facts is newer; `gossip` keeps one `Facts` and spreads what is in it.
"""

from collections.abc import Mapping

from protocol import limits
from protocol.primitives import Instant, NodeId
from protocol.replica import Entry, Heard, Replica, Slot, in_opening_order
from protocol.wire.gossip import Alive, Capabilities, Confirm, Dead, Load, Suspect

_SAID_AGAIN: Mapping[type, Slot] = {Alive: "standing", Capabilities: "capabilities", Load: "load"}


class Facts:
    """The newest facts about all nodes, as their sources sealed them."""

    def __init__(self, *, me: NodeId, tombstone_s: float = 86_400.0) -> None:
        self._me = me
        self._tombstone_s = tombstone_s
        self.replica = Replica()
        self.living: dict[NodeId, int] = {}  # others that stand alive, with their life, in the order we met them
        self._tombstones: dict[NodeId, None] = {}  # others that stand dead or left, oldest first

    # --- what is asked of a fact before it is kept

    def is_news(self, heard: Heard) -> bool:
        """Is it newer than what stands here? What is not kept is not."""
        place = heard.place
        if place is None:
            return False
        key, version = place
        standing = self.replica.get(*key)
        return standing is None or standing.version < version

    def is_outdated(self, heard: Heard, now: Instant) -> bool:
        """Older than tombstones are kept: an alive fact that old could bring back somebody long forgotten.

        A fact is no older than the life that says it, whatever its clock was set back to.
        """
        return max(heard.sent_ms, heard.life) + self._tombstone_s * 1_000 < now.wall_ms

    def is_about_nobody(self, heard: Heard) -> bool:
        """Is it about a life that is not known here, or not any more?"""
        body = heard.body
        if isinstance(body, Suspect | Confirm | Dead) and body.peer != self._me:
            standing = self.replica.get(body.peer, "standing")
            return standing is None or standing.version.life < body.life
        is_ability = isinstance(body, Capabilities | Load) and heard.src != self._me
        return is_ability and self.living.get(heard.src) != heard.life

    # --- keeping and forgetting

    def keep(self, heard: Heard) -> None:
        """Let it stand, whatever stood before: ask `is_news` first. A fact of no slot is not kept."""
        if heard.kept is None:
            return
        key, entry = heard.kept
        (about, slot), version = key, entry.version
        former = self.replica.get(about, slot)
        self.replica.put(key, entry)
        if slot != "standing":
            return
        if former is not None and former.version.life < version.life:
            self.forget(about)  # another life, other agents
        if isinstance(heard.body, Alive):
            self._tombstones.pop(about, None)
            if about != self._me:
                self.living[about] = version.life
        elif about != self._me:
            self._bury(about)

    def _bury(self, node: NodeId) -> None:
        self.forget(node)
        self.living.pop(node, None)
        self._tombstones.pop(node, None)
        self._tombstones[node] = None
        while len(self._tombstones) > limits.TOMBSTONES_MAX + 4 * len(self.living):
            self._drop_tombstone(next(iter(self._tombstones)))

    def renewed(self, heard: Heard, now: Instant) -> bool | None:
        """Of what is heard again in the words that stand: was it said later, of a standing? None for any other fact."""
        slot = _SAID_AGAIN.get(type(heard.body))
        former = None if slot is None else self.replica.get(heard.src, slot)
        if former is None or former.version.life != heard.life or former.heard.body != heard.body:
            return None
        return self.refresh(former, heard, now) if slot == "standing" else False

    def refresh(self, former: Entry, heard: Heard, now: Instant) -> bool:
        """Keep the newer of two frames with one word: an alive fact must not grow old."""
        is_ahead = former.heard.sent_ms > now.wall_ms and not heard.is_relayed  # its clock was, and is right again
        if heard.sent_ms <= former.heard.sent_ms and not is_ahead:
            return False
        if heard.kept is not None:
            self.replica.put(*heard.kept)
        return True

    def forget(self, node: NodeId) -> None:
        """The node is gone: what it could do is no news any more. Its tombstone stays."""
        self.replica.drop(node, "capabilities")
        self.replica.drop(node, "load")

    def sweep(self, now: Instant) -> None:
        """Forget the gone whose time is over."""
        for node in list(self._tombstones):
            standing = self.replica.get(node, "standing")
            if standing is None or self.is_outdated(standing.heard, now):
                self._drop_tombstone(node)

    def _drop_tombstone(self, node: NodeId) -> None:
        del self._tombstones[node]
        self.replica.drop(node, "standing")

    # --- for readers

    def frames(self) -> tuple[bytes, ...]:
        """Every fact kept here, as sealed, in an order in which each can be opened."""
        entries = in_opening_order(entry for _, _, entry in self.replica.entries())
        return tuple(entry.heard.frame for entry in entries)

    @property
    def gone(self) -> int:
        """How many are remembered that are dead or left."""
        return len(self._tombstones)

    def hashes(self) -> tuple[int, ...]:
        """The coarse digest: equal on two nodes that know the same."""
        return self.replica.hashes()
