"""Do others see what we see? A hash of the view that a change costs one step, and what others last said of theirs.

Invariant: two nodes that see the same lives in the same state have the same hash, whatever came first; what is said
of a view tells of its sender alone, and decides nothing. Neighbours: `roster` notes who lives, `membership` asks.
"""

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b
from statistics import median_low

from msgspec import Struct

from protocol import limits
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId

VIEW_BYTES = 8
GRACE_S = 2.0  # news is on its way to others that long: a view that was ours a moment ago is no other one
FORMER_MAX = 512  # own views of that time: more than a mass join makes, and a lookup each
STILL_S = 15.0  # digests bring what is lacking sooner: who claims to see more, and nothing comes, is not believed


class Convergence(Struct, frozen=True):
    """How far the views of those whom we probe are ours, as each of them said last.

    `unheard` have said nothing since our view changed; `differs_s` is how long the one in `slowest` has differed, and
    `proven_s` the part of it that it was heard to. `oldest_s` is the age of the oldest word that counts. `complete` is
    the share of the nodes seen by most that we see.
    """

    agreeing: int = 0
    differing: tuple[NodeId, ...] = ()  # longest first
    unheard: int = 0
    slowest: NodeId = ""
    differs_s: float = 0.0
    proven_s: float = 0.0
    complete: float | None = None
    oldest_s: float = 0.0

    @property
    def share(self) -> float | None:
        """Of those who said anything since, how many see what we see; None when nobody did."""
        heard = self.agreeing + len(self.differing)
        return self.agreeing / heard if heard else None


class _Said(Struct):
    """What one other node said last. Mutable."""

    view: bytes
    at: Mono
    since: Mono  # when it first said something else than we saw, as long as it does
    was_ours: bool  # when it said so
    wanted: int  # how many nodes must have come to us, from the first on, until we see as many as it does


class Agreement:
    """Our view as a number, and those of others beside it."""

    def __init__(self, *, me: NodeId, life: int) -> None:
        self._lives: dict[NodeId, int] = {}  # whoever is in the view, with the hash of how it is there
        self._sum = 0
        self._former: dict[bytes, Mono] = {}  # own views of the last moments, each until when, the oldest first
        self._changed: Mono = 0
        self._came = 0  # nodes that ever came into our view
        self._grew: Mono | None = None  # when the last one did, or when we first heard others after a silence
        self._said: dict[NodeId, _Said] = {}
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
        former = self._lives.get(node)
        if former == placed:
            return
        if former is None:
            self._came += 1
            self._grew = now.mono_ns
        self._change(node, placed, now)

    def drop(self, node: NodeId, now: Instant) -> None:
        """It is not in our view any more."""
        self._said.pop(node, None)
        if node in self._lives:
            self._change(node, 0, now)

    def _change(self, node: NodeId, placed: int, now: Instant) -> None:
        if now.mono_ns > self._changed:  # a view that lasted no time was nobody's
            self._former.pop(self.view, None)
            self._former[self.view] = self._changed = now.mono_ns
            self._forget(now)
        self._place(node, placed)

    def _forget(self, now: Instant) -> None:
        """Views that were ours before the last moments."""
        while self._former:
            oldest = next(iter(self._former))
            if len(self._former) <= FORMER_MAX and now.since_s(self._former[oldest]) <= GRACE_S:
                return
            del self._former[oldest]

    def _place(self, node: NodeId, placed: int) -> None:
        self._sum ^= self._lives.pop(node, 0) ^ placed
        if placed:
            self._lives[node] = placed
        self.view = self._sum.to_bytes(VIEW_BYTES, "big")

    def doubt(self) -> None:
        """We heard nobody for a while: what others see is not known any more."""
        self._said.clear()
        self._grew = None

    # --- those of others

    def hear(self, node: NodeId, view: bytes, count: int, now: Instant) -> None:
        """A node of our view says what it sees: the hash, and how many are in it. Nothing is said by no bytes."""
        if not view or node not in self._lives:
            return
        self._forget(now)
        is_ours = self._is_ours(view, now)
        former = self._said.get(node)
        is_new = former is None or former.was_ours or former.view == self.view
        since = now.mono_ns if former is None or is_new else former.since
        wanted = 0 if is_ours else self._came + count - self.count
        self._said[node] = _Said(view, now.mono_ns, since, is_ours, wanted)
        if self._grew is None:
            self._grew = now.mono_ns

    def _is_ours(self, view: bytes, now: Instant) -> bool:
        """It is our view, or was a moment ago: news is on its way."""
        until = self._former.get(view)
        return view == self.view or (until is not None and now.since_s(until) <= GRACE_S)

    def convergence(self, now: Instant, *, probed: Collection[NodeId] | None = None) -> Convergence:
        """How far they agree now; only those in `probed` count, if it is given.

        Who agreed when it was heard, with a view that is ours no more, has said nothing since.
        """
        said = self._said if probed is None else {node: self._said[node] for node in probed if node in self._said}
        agreeing: list[_Said] = []
        differing: list[tuple[Mono, NodeId]] = []
        for node, each in said.items():
            if self._is_ours(each.view, now):
                agreeing.append(each)
            elif not each.was_ours:
                differing.append((each.since, node))
        differing.sort()
        slowest = said[differing[0][1]] if differing else None
        heard = [each.at for each in (*agreeing, *(said[node] for _, node in differing))]
        return Convergence(
            agreeing=len(agreeing),
            differing=tuple(node for _, node in differing),
            unheard=(self.count - 1 if probed is None else len(probed)) - len(heard),
            slowest=differing[0][1] if differing else "",
            differs_s=0.0 if slowest is None else now.since_s(slowest.since),
            proven_s=0.0 if slowest is None else (slowest.at - slowest.since) / NS_PER_S,
            complete=self._complete(now),
            oldest_s=now.since_s(min(heard)) if heard else 0.0,
        )

    def _complete(self, now: Instant) -> float | None:
        if not self._said or self._grew is None:
            return None
        if now.since_s(self._grew) > STILL_S:
            return 1.0
        # No liar alone makes the view of several incomplete.
        lacking = max(0, median_low([each.wanted for each in self._said.values()]) - self._came)
        return self.count / (self.count + lacking)


@lru_cache(maxsize=4 * limits.PEERS_MAX)
def _hash(node: NodeId, life: int, state: str) -> int:
    return int.from_bytes(blake2b(f"{node}.{life}.{state}".encode(), digest_size=VIEW_BYTES).digest(), "big")
