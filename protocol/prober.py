"""Asking whether others are there: whom next, how patiently, and which questions wait for an answer.

Invariant: a question goes to one life of one node; it is asked `ASKS` times within its timeout, so
that a lost message is no silence, and then given up once. Everybody has their turn once a round
(SWIM, section 4.3); who does not trust itself asks slower (Lifeguard, arXiv 1707.00788).
Neighbours: `membership` draws conclusions; `roster` says who lives.
"""

from collections.abc import Callable, Iterable, Sequence
from math import gcd
from typing import Literal, TypeAlias

from msgspec import Struct

from protocol import limits
from protocol.effects import Effect, Send
from protocol.primitives import Instant, Mono, NodeId, Rng, chosen
from protocol.roster import Member, Roster
from protocol.suspicion import Evidence
from protocol.timers import Timers
from protocol.wire.swim import Ping

ASKS = 4  # of one question: at 5 % loss one try in ten fails both ways, four in a row one time in ten thousand
TELLING = 0  # the number of no question: it tells whom it reaches that it is buried, and nobody waits for the answer
PER_NODE_MAX = 4  # probes of one node that wait: the walk's, one to verify, and one or two in answer to its own
SAMPLE_MAX = 8  # last probes of distinct nodes, to tell a lost neighbour from a lost self

_Timer: TypeAlias = tuple[Literal["turn", "answer"], int]
_TURN: _Timer = ("turn", 0)


class Prober:
    """This node's questions. Those in answer to somebody's word are asked out of turn."""

    def __init__(
        self, *, roster: Roster, health: "Health", rng: Rng, interval_s: float, timeout_s: float, tells: bool = True
    ) -> None:
        self._roster = roster
        self._health = health
        self._rng = rng
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._tells = tells  # a suspect that it is one
        self._walk, self._far_walk = ProbeWalk(), ProbeWalk()
        self._is_far = False  # was the last one asked of another region
        self._timers: Timers[_Timer] = Timers()
        self.probes = Probes()
        self.sent = {"turn": 0, "word": 0, "again": 0}  # everybody's turn, somebody's word, a question asked once more
        self.ended: dict[Evidence | Literal["answered"], int] = {"answered": 0, "timeout": 0, "absent": 0}

    def meet(self, member: Member, now: Instant) -> None:
        """It is there: whoever came, or came back, has its turn among the others.

        The first turn of all is at a drawn time, so that not all ask at once.
        """
        if not member.is_living:
            walk = self._far_walk if self._roster.regions.is_far(member.id) else self._walk
            walk.join(member.id, self._rng)
        if self._timers.deadline(_TURN) is None:
            self._timers.set(_TURN, now.after(self._interval_s * self._rng.random()))

    def ask(self, member: Member, now: Instant) -> list[Effect]:
        """Is it there? Nothing when too many such questions wait."""
        return self._ask(member, "word", now)

    def tell(self, member: Member, now: Instant) -> list[Effect]:
        """Who is suspected or buried here and seems to live is told; a suspect is asked, unless a question waits."""
        if member.state == "dead" and self._tells:
            return [Send(to=member.id, life=member.life, body=Ping(TELLING, member.incarnation))]
        is_told = member.suspicion is None or self.probes.is_asked(member.id)
        return [] if is_told else self.ask(member, now)

    def tell_each(self, suspects: Iterable[Member], now: Instant) -> list[Effect]:
        """Each of these is told."""
        return [effect for member in suspects for effect in self.tell(member, now)]

    def heard(self, member: Member) -> None:
        """It spoke up: that answers what it was asked before, and silence to that says nothing new."""
        for number in self.probes.open_to(member.id) if member.suspicion is None else ():
            self._timers.cancel(("answer", number))
            self.probes.close(number)
            self.ended["answered"] += 1

    def _ask(self, member: Member, why: str, now: Instant) -> list[Effect]:
        number = self.probes.send(member.id, member.life, now)
        if number is None:
            return []
        self.sent[why] += 1
        return [self._asked(number, member, now)]

    def _asked(self, number: int, member: Member, now: Instant) -> Send:
        self._timers.set(("answer", number), now.after(self._timeout_s * self._health.factor / ASKS))
        suspected = -1 if member.suspicion is None or not self._tells else member.suspicion.incarnation
        return Send(to=member.id, life=member.life, body=Ping(number, suspected), probe=number)

    def on_ack(self, member: Member, number: int, now: Instant) -> bool:
        """It says that it is; False when nobody asked that life of it this."""
        probe = self.probes.answered(number, member.id, member.life)
        if probe is None:
            return False
        self._timers.cancel(("answer", number))
        self.ended["answered"] += 1
        took_s = now.since_s(probe.sent)
        if took_s <= self._timeout_s:  # later, our patience was rewarded: with less of it this is silence again
            self._health.better()
        if probe.asked == 1:  # else nobody knows which of them it answers (Karn and Partridge 1987)
            member.measure(took_s)
        return True

    def asked_at(self, number: int, node: NodeId, life: int) -> Mono | None:
        """When that life of it was first asked this; None when nobody waits for the answer."""
        return self.probes.asked_at(number, node, life)

    def give_up(self, number: int, evidence: Evidence) -> "Probe | None":
        """Wait for this answer no more; None when nobody did."""
        self._timers.cancel(("answer", number))
        probe = self.probes.close(number)
        self.ended[evidence] += probe is not None
        return probe

    def on_tick(self, now: Instant) -> tuple[list[Effect], list[int]]:
        """What is asked now, and the numbers of questions whose time is up: give them up."""
        effects: list[Effect] = []
        silent: list[int] = []
        for purpose, number in self._timers.due(now.mono_ns):
            if purpose == "turn":
                effects += self._next(now)
                continue
            member = self.probes.again(number, self._roster)
            if member is None:
                silent.append(number)
            else:
                self.sent["again"] += 1
                effects.append(self._asked(number, member, now))
        return effects, silent

    def _next(self, now: Instant) -> list[Effect]:
        if not self._roster.living:
            return []
        self._timers.set(_TURN, now.after(self._interval_s * self._health.factor))
        node = self._whom()
        member = self._roster.get(node or "")
        return [] if member is None else self._ask(member, "turn", now)

    @property
    def waiting(self) -> int:
        """How many questions wait for their answer."""
        return len(self.probes)

    def _whom(self) -> NodeId | None:
        """Somebody of our region; for a bridge every other time somebody of another."""
        regions = self._roster.regions
        self._is_far = regions.is_bridge and not regions.is_one and not self._is_far
        if self._is_far or not regions.near:
            far = self._far_walk.next(regions.far, regions.is_far, self._rng)
            if far is not None:
                return far
        near = self._roster.living if regions.is_one else regions.near
        return self._walk.next(near, regions.is_near, self._rng)

    def next_deadline(self) -> Mono | None:
        """When to call `on_tick`."""
        return self._timers.next()

    def postpone(self, by_ns: int) -> None:
        """Time stood still that long."""
        self._timers.postpone(by_ns)

    def clear(self) -> None:
        """Our own link was down: no answer can come, and what came of earlier questions says nothing."""
        for number in self.probes.clear():
            self._timers.cancel(("answer", number))


class Probe(Struct):
    """One question to one life of a node, and how often it was asked. Mutable."""

    to: NodeId
    life: int
    sent: Mono
    asked: int = 1


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

    def again(self, number: int, roster: Roster) -> Member | None:
        """Whom to ask this once more; None when that was done enough, or that life is over."""
        probe = self._open.get(number)
        if probe is None or probe.asked >= ASKS or roster.life_of(probe.to) != probe.life:
            return None
        probe.asked += 1
        return roster.get(probe.to)

    def answered(self, number: int, node: NodeId, life: int) -> Probe | None:
        """The probe that this answers; None when nobody asked that life of that node this."""
        probe = self._open.get(number)
        if probe is None or (probe.to, probe.life) != (node, life):
            return None
        self.close(number)
        self._note(node, is_answered=True)
        return probe

    def asked_at(self, number: int, node: NodeId, life: int) -> Mono | None:
        """When this probe was sent, as long as it waits for that life of that node."""
        probe = self._open.get(number)
        return probe.sent if probe is not None and (probe.to, probe.life) == (node, life) else None

    def close(self, number: int) -> Probe | None:
        """This probe will not be waited for any more, answered or not."""
        probe = self._open.pop(number, None)
        if probe is not None:
            self._asked[probe.to] -= 1
            if not self._asked[probe.to]:
                del self._asked[probe.to]
        return probe

    def is_asked(self, node: NodeId) -> bool:
        """Does a question to it wait?"""
        return node in self._asked

    def open_to(self, node: NodeId) -> list[int]:
        """Numbers of questions to it that wait."""
        return [number for number, probe in self._open.items() if probe.to == node] if node in self._asked else []

    def note_silence(self, probe: Probe) -> None:
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

    def __len__(self) -> int:
        return len(self._open)

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

    Step i of a round visits position (offset + i × stride) mod n, the stride prime to n. Who joins
    in the midst of one has its turn at a drawn step of it, which may be over (SWIM, section 4.3): where
    the rounds of all began together it is visited as often as any other all the same.
    """

    __slots__ = ("_guests", "_index", "_invited", "_offset", "_round", "_stride")

    def __init__(self) -> None:
        self._round: Sequence[NodeId] = ()
        self._guests: dict[int, list[NodeId]] = {}  # by the step before which they are visited
        self._invited = 0
        self._index = 0
        self._offset = 0
        self._stride = 1

    def next(self, members: Sequence[NodeId], is_member: Callable[[NodeId], bool], rng: Rng) -> NodeId | None:
        """The next of `members` to probe, or None when there is none; leavers are passed over."""
        for _ in range(2):
            while (node := self._step()) is not None:
                if is_member(node):
                    return node
            if not members:
                break
            self._begin(members, rng)
        return None

    def join(self, node: NodeId, rng: Rng) -> None:
        """It was not there when the round began."""
        step = chosen(rng, len(self._round) + 1)
        if self._index <= step and self._index < len(self._round) and self._invited < limits.PEERS_MAX:
            self._guests.setdefault(step, []).append(node)
            self._invited += 1

    def _step(self) -> NodeId | None:
        """Whose turn it is next in this round; None when it is over."""
        if guests := self._guests.get(self._index):
            return guests.pop()
        if self._index >= len(self._round):
            return None
        self._index += 1
        return self._round[(self._offset + (self._index - 1) * self._stride) % len(self._round)]

    def _begin(self, members: Sequence[NodeId], rng: Rng) -> None:
        count = len(members)
        self._guests, self._invited = {}, 0
        self._round = tuple(members)
        self._index = 0
        self._offset = chosen(rng, count)
        self._stride = 1 + chosen(rng, count)
        while gcd(self._stride, count) != 1:
            self._stride += 1
