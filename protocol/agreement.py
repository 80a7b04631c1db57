"""Do others see what we see? A hash of the view that a change costs one step, and what others last said of theirs.

Invariant: two nodes that see the same lives in the same state have the same hash, whatever came first; what is said
of a view tells of its sender alone, and decides nothing. Neighbours: `roster` notes who lives, `membership` asks.
"""

from collections import deque
from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b
from statistics import median_low

from msgspec import Struct

from protocol import limits
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId

VIEW_BYTES = 8
GRACE_S = 2.0  # news is on its way to others that long: a view that was ours a moment ago is no other one
FORMER_KEPT = 64  # own views that were so a moment ago


class Standing(Struct, frozen=True):
    """How far the views of those whom we probe are ours, as each of them said last.

    `unheard` have said nothing yet; `differs_s` is how long the one in `slowest` has differed, and `proven_s` the part
    of it that it was heard to. `complete` is the share of the nodes seen by most that we see, 1 once all were.
    """

    agreeing: int = 0
    differing: tuple[NodeId, ...] = ()  # longest first
    unheard: int = 0
    slowest: NodeId = ""
    differs_s: float = 0.0
    proven_s: float = 0.0
    complete: float | None = None

    @property
    def share(self) -> float | None:
        """Of those who said anything, how many see what we see; None when nobody did."""
        heard = self.agreeing + len(self.differing)
        return self.agreeing / heard if heard else None


class _Said(Struct):
    """What one other node said last. Mutable."""

    view: bytes
    count: int
    at: Mono
    since: Mono  # when it first said something else than we saw, as long as it does
    is_ours: bool


class Agreement:
    """Our view as a number, and those of others beside it."""

    def __init__(self, *, me: NodeId, life: int) -> None:
        self._lives: dict[NodeId, int] = {}  # whoever is in the view, with the hash of how it is there
        self._sum = 0
        self._former: deque[tuple[bytes, Mono]] = deque(maxlen=FORMER_KEPT)  # own views, each until when
        self._said: dict[NodeId, _Said] = {}
        self._is_complete = False
        self.view = b""
        self._place(me, _hash(me, life, "alive"))

    @property
    def count(self) -> int:
        """How many nodes are in the view, alive or suspect, ourselves included."""
        return len(self._lives)

    # --- our view

    def note(self, node: NodeId, life: int, state: str, now: Instant) -> None:
        """That life of it is in our view now, in this state."""
        placed = _hash(node, life, state)
        if self._lives.get(node) != placed:
            self._former.append((self.view, now.mono_ns))
            self._place(node, placed)

    def drop(self, node: NodeId, now: Instant) -> None:
        """It is not in our view any more."""
        self._said.pop(node, None)
        if node in self._lives:
            self._former.append((self.view, now.mono_ns))
            self._place(node, 0)

    def _place(self, node: NodeId, placed: int) -> None:
        self._sum ^= self._lives.pop(node, 0) ^ placed
        if placed:
            self._lives[node] = placed
        self.view = self._sum.to_bytes(VIEW_BYTES, "big")

    def doubt(self) -> None:
        """We heard nobody for a while: what others see is not known any more."""
        self._said.clear()
        self._is_complete = False

    # --- those of others

    def hear(self, node: NodeId, view: bytes, count: int, now: Instant) -> None:
        """A node of our view says what it sees: the hash, and how many are in it. Nothing is said by no bytes."""
        if not view or node not in self._lives:
            return
        is_ours = view == self.view or self._was_ours(view, now)
        former = self._said.get(node)
        is_new = former is None or former.is_ours or former.view == self.view
        since = now.mono_ns if former is None or is_new else former.since
        self._said[node] = _Said(view, count, now.mono_ns, since, is_ours)
        if not self._is_complete and count <= self.count:
            self._is_complete = self._seen_by_most() <= self.count

    def _was_ours(self, view: bytes, now: Instant) -> bool:
        return any(each == view and now.since_s(until) <= GRACE_S for each, until in self._former)

    def _seen_by_most(self) -> int:
        return median_low([each.count for each in self._said.values()])  # no liar alone makes a view incomplete

    def standing(self, now: Instant, *, probed: Collection[NodeId] | None = None) -> Standing:
        """How far they agree now; only those in `probed` count, if it is given."""
        said = self._said if probed is None else {node: self._said[node] for node in probed if node in self._said}
        differing = sorted(
            (each.since, node) for node, each in said.items() if not (each.is_ours or each.view == self.view)
        )
        slowest = self._said[differing[0][1]] if differing else None
        return Standing(
            agreeing=len(said) - len(differing),
            differing=tuple(node for _, node in differing),
            unheard=(self.count - 1 if probed is None else len(probed)) - len(said),
            slowest=differing[0][1] if differing else "",
            differs_s=0.0 if slowest is None else now.since_s(slowest.since),
            proven_s=0.0 if slowest is None else (slowest.at - slowest.since) / NS_PER_S,
            complete=self._complete(),
        )

    def _complete(self) -> float | None:
        if self._is_complete:
            return 1.0
        return min(1.0, self.count / max(1, self._seen_by_most())) if self._said else None


@lru_cache(maxsize=4 * limits.PEERS_MAX)
def _hash(node: NodeId, life: int, state: str) -> int:
    return int.from_bytes(blake2b(f"{node}.{life}.{state}".encode(), digest_size=VIEW_BYTES).digest(), "big")
