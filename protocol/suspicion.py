"""The arithmetic of suspicion: who accuses whom, who looks after it, when a suspect is dead.

Invariant: pure leaves without a clock; each is told the time it needs. The more nodes accuse, the
shorter the wait (Lifeguard, arXiv 1707.00788). Neighbour: `membership` decides with these.
"""

from collections.abc import Sequence
from math import log
from typing import Literal, TypeAlias

from msgspec import Struct

from protocol import ids, limits
from protocol.primitives import Mono, NodeId, WallMs
from protocol.replica import Heard
from protocol.wire.gossip import Alive, Confirm, Dead, Suspect

Evidence: TypeAlias = Literal["timeout", "absent"]  # it did not answer; the broker says that nobody listens there


class Accusation(Struct, frozen=True):
    """One node's word against another; `frame` is its sealed fact, empty when it is our own."""

    evidence: str
    frame: bytes = b""


class Suspicion:
    """Who accuses one incarnation of one life of a node, and since when."""

    __slots__ = ("accusers", "has_answered", "in_vain", "incarnation", "is_followed", "is_judged", "since")

    def __init__(self, *, incarnation: int, since: Mono) -> None:
        self.incarnation = incarnation
        self.since = since
        self.accusers: dict[NodeId, Accusation] = {}
        self.is_judged = False  # others waited for it already, and declared it dead
        self.is_followed = False  # nobody else had a word on it for a while, so we asked it ourselves
        self.in_vain: Mono | None = None  # from when on our own question to it was in vain; None: ask it first
        self.has_answered = False  # since that question, if only as it was

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

    def count(self, evidence: Evidence) -> int:
        """How many accuse on this evidence."""
        return sum(each.evidence == evidence for each in self.accusers.values())

    @property
    def evidence(self) -> Evidence:
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


def accusers_needed(unsuspected: int, *, most: int) -> int:
    """How many distinct nodes must accuse before one is dead; `unsuspected` counts ourselves."""
    return max(1, min(most, unsuspected))


def is_verifier(
    node: NodeId, pool: Sequence[NodeId], *, suspect: NodeId, life: int, incarnation: int, most: int
) -> bool:
    """Is it among the first `most` of a pool to look after a suspicion? The same wherever it is computed."""
    return node in pool and ids.is_ranked(node, pool, salt=f"verify {suspect} {life} {incarnation}", within=most)


def last_alive(body: Dead, carried: Sequence[Heard], *, since_ms: WallMs) -> tuple[Heard, Alive] | None:
    """The dead node's own sealed word that it lived that life, near that incarnation, and not long ago."""
    for heard in carried:
        said = heard.body
        if not isinstance(said, Alive) or (heard.src, heard.life) != (body.peer, body.life):
            continue
        if max(heard.sent_ms, heard.life) < since_ms:
            continue  # as gossip has it: somebody long forgotten does not come back by that
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
