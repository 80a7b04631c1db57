"""The arithmetic of failure detection: whom to probe next, how far to trust ourselves, when a suspect is dead.

Invariant: pure leaves without a clock; each is told the time and the chance it needs. The more
nodes accuse, the shorter the wait; the worse we feel ourselves, the more patient we are (Lifeguard,
arXiv 1707.00788). Neighbour: `membership` decides with these.
"""

from collections.abc import Callable, Sequence
from math import gcd, log

from msgspec import Struct

from protocol import ids, limits
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId, Rng, chosen
from protocol.replica import Heard
from protocol.wire.gossip import Alive, Confirm, Dead, Suspect

ACCUSERS_MAX = 2  # so that one bad key kills nobody
PER_NODE_MAX = 4  # probes of one node that wait: the walk's, one to verify, and one or two in answer to its own
SAMPLE_MAX = 8  # last probes of distinct nodes, to tell a lost neighbour from a lost self


class Accusation(Struct, frozen=True):
    """One node's word against another; `frame` is its sealed fact, empty when it is our own."""

    evidence: str
    frame: bytes = b""


class Suspicion:
    """Who accuses one incarnation of one life of a node, and since when."""

    __slots__ = ("accusers", "incarnation", "since")

    def __init__(self, *, incarnation: int, since: Mono) -> None:
        self.incarnation = incarnation
        self.since = since
        self.accusers: dict[NodeId, Accusation] = {}

    def add(self, accuser: NodeId, accusation: Accusation) -> bool:
        """Count an accuser; False when it was counted before."""
        if accuser in self.accusers:
            return False
        self.accusers[accuser] = accusation
        return True

    @property
    def confirmations(self) -> int:
        """Accusers beyond the first."""
        return max(0, len(self.accusers) - 1)

    def count(self, evidence: str) -> int:
        """How many accuse on this evidence."""
        return sum(each.evidence == evidence for each in self.accusers.values())

    def due(self, seconds: float) -> Mono:
        """The monotonic time `seconds` after it began."""
        return self.since + int(seconds * NS_PER_S)

    @property
    def evidence(self) -> str:
        """`absent` when anybody was told so by the broker, else `timeout`."""
        return "absent" if self.count("absent") else "timeout"


def wait_s(*, confirmations: int, expected: int, min_s: float, max_s: float) -> float:
    """Seconds from the first suspicion to death: from `max_s` down to `min_s` as confirmations come in.

    `expected` is how many can be had at all; with none expected the wait is `min_s`
    (Lifeguard, section 4.2: the first confirmations count most).
    """
    if expected <= 0:
        return min_s
    share = log(min(confirmations, expected) + 1) / log(expected + 1)
    return max(min_s, max_s - (max_s - min_s) * share)


def accusers_needed(unsuspected: int) -> int:
    """How many distinct nodes must accuse before one is dead; `unsuspected` counts ourselves."""
    return max(1, min(ACCUSERS_MAX, unsuspected))


def verifiers(pool: Sequence[NodeId], *, suspect: NodeId, life: int, incarnation: int) -> list[NodeId]:
    """Who looks after a suspicion, the first first: the same order wherever it is computed."""
    return ids.ranked(pool, salt=f"verify {suspect} {life} {incarnation}")


def last_alive(body: Dead, carried: Sequence[Heard]) -> tuple[Heard, Alive] | None:
    """The dead node's own sealed word that it lived that life, near that incarnation."""
    for heard in carried:
        said = heard.body
        if not isinstance(said, Alive) or (heard.src, heard.life) != (body.peer, body.life):
            continue
        if 0 <= body.incarnation - said.incarnation < limits.INCARNATION_JUMP_MAX:
            return heard, said
    return None


def proof(heard: Heard, body: Dead, carried: Sequence[Heard]) -> dict[NodeId, Accusation]:
    """Distinct nodes that signed this very accusation; the declarer's signature is one."""
    accusers = {heard.src: Accusation(body.evidence)}
    for each in carried:
        said = each.body
        if not isinstance(said, Suspect | Confirm) or each.src == body.peer:
            continue
        if (said.peer, said.life, said.incarnation) == (body.peer, body.life, body.incarnation):
            accusers.setdefault(each.src, Accusation(said.evidence, each.frame))
    return accusers


class Probe(Struct, frozen=True):
    """One question on its way to one life of a node."""

    to: NodeId
    life: int
    sent: Mono


class Probes:
    """Questions that wait for an answer, and how the last ones went."""

    __slots__ = ("_asked", "_number", "_open", "_sample")

    def __init__(self) -> None:
        self._number = 0
        self._open: dict[int, Probe] = {}
        self._asked: dict[NodeId, int] = {}  # how many questions to this node are open
        self._sample: dict[NodeId, bool] = {}  # was the last probe of this node answered

    def send(self, node: NodeId, life: int, now: Instant) -> int | None:
        """The number of a new probe, or None when too many wait."""
        asked = self._asked.get(node, 0)
        if len(self._open) >= limits.PROBES_OPEN_MAX or asked >= PER_NODE_MAX:
            return None
        self._number += 1
        self._open[self._number] = Probe(node, life, now.mono_ns)
        self._asked[node] = asked + 1
        return self._number

    def answered(self, number: int, node: NodeId, life: int, now: Instant) -> float | None:
        """Seconds from the probe to this answer; None when nobody asked that life of that node this."""
        probe = self._open.get(number)
        if probe is None or (probe.to, probe.life) != (node, life):
            return None
        self.unanswered(number)
        self._note(node, is_answered=True)
        return now.since_s(probe.sent)

    def unanswered(self, number: int) -> Probe | None:
        """This probe will not be waited for any more."""
        probe = self._open.pop(number, None)
        if probe is not None:
            self._asked[probe.to] -= 1
            if not self._asked[probe.to]:
                del self._asked[probe.to]
        return probe

    def failed(self, probe: Probe) -> None:
        """Nobody answered, and it was not our fault as far as we know."""
        self._note(probe.to, is_answered=False)

    def forget(self, node: NodeId) -> None:
        """What is known of this node says nothing about us any more."""
        self._sample.pop(node, None)

    def clear(self) -> list[int]:
        """Wait for nothing and know nothing; the numbers that were open."""
        numbers = list(self._open)
        self._open.clear()
        self._asked.clear()
        self._sample.clear()
        return numbers

    @property
    def is_doubtful(self) -> bool:
        """More than half of the nodes last probed, ourselves counted, did not answer: it may be us."""
        failed = sum(not is_answered for is_answered in self._sample.values())
        return 2 * failed > len(self._sample) + 1

    def _note(self, node: NodeId, *, is_answered: bool) -> None:
        self._sample.pop(node, None)
        self._sample[node] = is_answered
        if len(self._sample) > SAMPLE_MAX:
            del self._sample[next(iter(self._sample))]


class Health:
    """How far we may trust our own probes: 0 is well, up to `worst`. Slow nodes accuse slowly."""

    __slots__ = ("_worst", "score")

    def __init__(self, worst: int) -> None:
        self._worst = worst
        self.score = 0

    def better(self) -> None:
        """A probe was answered, or others see what we see."""
        self.score = max(0, self.score - 1)

    def worse(self, by: int = 1) -> None:
        """A probe went unanswered, we were accused, or our loop ran late."""
        self.score = min(self._worst, self.score + by)

    @property
    def factor(self) -> int:
        """What to multiply waits with."""
        return self.score + 1


class ProbeWalk:
    """Everybody once a round, in another order each round, without shuffling a list.

    Step i of a round visits position (offset + i × stride) mod n, the stride prime to n. Who
    joins is visited in the next round, so within 2n - 1 steps of joining (SWIM, section 4.3).
    """

    __slots__ = ("_index", "_offset", "_round", "_stride")

    def __init__(self) -> None:
        self._round: Sequence[NodeId] = ()
        self._index = 0
        self._offset = 0
        self._stride = 1

    def next(self, members: Sequence[NodeId], is_member: Callable[[NodeId], bool], rng: Rng) -> NodeId | None:
        """The next of `members` to probe, or None when there is none; leavers are passed over."""
        for _ in range(2):
            while self._index < len(self._round):
                node = self._round[(self._offset + self._index * self._stride) % len(self._round)]
                self._index += 1
                if is_member(node):
                    return node
            if not members:
                break
            self._begin(members, rng)
        return None

    def _begin(self, members: Sequence[NodeId], rng: Rng) -> None:
        count = len(members)
        self._round = tuple(members)
        self._index = 0
        self._offset = chosen(rng, count)
        self._stride = 1 + chosen(rng, count)
        while gcd(self._stride, count) != 1:
            self._stride += 1
