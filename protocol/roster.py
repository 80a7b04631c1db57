"""The table of one view: ourselves, the others by id, who lives, whose name is whose, who is buried.

Invariant: `living` and the names follow from the members' states at all times; of ourselves we
alone decide. Tombstones are bounded, the oldest go first. Neighbour: `membership` decides what
state another is in.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, TypeAlias

from protocol import limits
from protocol.agreement import Agreement
from protocol.effects import Effect, Emit, Spread
from protocol.events import AccusationRefuted, PeerMisbehaved
from protocol.ids import distinct
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId
from protocol.regions import Regions
from protocol.replica import Heard, Me, Peer, PeerState, Version, standing
from protocol.suspicion import Suspicion
from protocol.wire.gossip import Alive

Accused: TypeAlias = Literal["suspect", "dead"]

QUIET_INTERVALS = 2  # an accused node falls silent when it heard nothing for so many intervals
NEWCOMER_MS = 10_000 + limits.CLOCK_SKEW_MS_MAX  # who speaks so soon after we began, and began before us, was here
ROUND_TRIP_S = 0.025  # until one was measured
ROUND_TRIP_WEIGHT = 0.125  # of the newest sample (RFC 6298)


class Own:
    """This node's own word: that it is alive, said again for as long as somebody says otherwise."""

    def __init__(self, me: Me, *, repeat_s: float) -> None:
        self._me = me
        self._repeat_s = repeat_s
        self._accused_at: Mono = 0
        self._said_at: Mono = 0
        self._say_at: Mono | None = None
        self._outbid_at: Mono | None = None  # when we last spoke up against an accusation
        self.incarnation = 0
        self.since_ms = 0
        self.has_left = False
        self.began: Mono = 0
        self.settled: Mono | None = None  # when others were first heard of, or the link came back

    def meet(self, now: Instant) -> None:
        """Somebody else is there."""
        if self.settled is None:
            self.settled = now.mono_ns

    def settled_s(self, now: Instant, *, alone_s: float) -> float:
        """Seconds since others were heard of, or since nobody was for `alone_s`; 0 before."""
        settled = self.began + int(alone_s * NS_PER_S) if self.settled is None else self.settled
        return max(0.0, now.since_s(settled))

    def say(self, now: Instant, *, is_fresh: bool = False) -> list[Effect]:
        """Announce ourselves. `is_fresh` asks for all that others know."""
        me = self._me
        self._said_at = now.mono_ns
        alive = Alive(self.incarnation, me.name, me.region, me.domain, me.admission, is_fresh, me.version)
        return [Spread(alive)]

    def accused(self, by: NodeId, said: Accused, *, life: int, incarnation: int, now: Instant) -> list[Effect]:
        """Somebody says that we are suspect or dead: outbid it, and speak up until nobody says so any more.

        At once, but no oftener than we would repeat it: or one that accuses us whenever we speak up made us flood all.
        Told is the first who says so after a while in which nobody did.
        """
        if life > self._me.life:
            return [Emit(PeerMisbehaved(by, "unknown_life", str(life)))]
        is_current = life == self._me.life and incarnation >= self.incarnation
        if is_current and incarnation - self.incarnation >= limits.INCARNATION_JUMP_MAX:
            return [Emit(PeerMisbehaved(by, "incarnation_jump", str(incarnation)))]
        self._accused_at = now.mono_ns
        if is_current:
            self.incarnation = incarnation + 1  # SWIM, section 4.2: only the node itself may
            is_told = self._say_at is not None
            refuted = [] if is_told else [Emit(AccusationRefuted(by, said, life, self.incarnation))]
            if self._outbid_at is not None and now.since_s(self._outbid_at) < self._repeat_s:
                self._say_at = self._outbid_at + int(self._repeat_s * NS_PER_S)
                return [*refuted]
            return [*self._outbid(now), *refuted]
        if self._say_at is None:  # old news, but whoever says so has not heard our answer
            self._say_at = max(now.mono_ns, self._said_at + int(self._repeat_s * NS_PER_S))
        return []

    def on_tick(self, now: Instant) -> list[Effect]:
        """Say it again, unless it has been quiet."""
        if self._say_at is None or now.mono_ns < self._say_at:
            return []
        is_quiet = now.since_s(self._accused_at) >= QUIET_INTERVALS * self._repeat_s
        if is_quiet:
            self._say_at = None
            return []
        return self._outbid(now)

    def _outbid(self, now: Instant) -> list[Effect]:
        """Speak up, and again after a while."""
        self._outbid_at, self._say_at = now.mono_ns, now.after(self._repeat_s)
        return self.say(now)

    def next_deadline(self) -> Mono | None:
        """When to call `on_tick`."""
        return self._say_at

    def peer(self, name: str) -> Peer:
        """Ourselves as readers see us, under the name that tells us from others."""
        me = self._me
        return Peer(
            id=me.id,
            name=name,
            life=me.life,
            state="left" if self.has_left else "alive",
            incarnation=self.incarnation,
            region=me.region,
            domain=me.domain,
            since_ms=self.since_ms,
            version=me.version,
            is_self=True,
        )


class Member:
    """Another node. `is_known`: we saw it alive; a mere tombstone is not shown."""

    __slots__ = (
        "accusers",
        "domain",
        "evidence",
        "frame",
        "heard",
        "id",
        "incarnation",
        "is_known",
        "life",
        "lived",
        "name",
        "region",
        "round_trip_s",
        "since_ms",
        "state",
        "suspicion",
        "version",
    )

    def __init__(self, node: NodeId) -> None:
        self.id = node
        self.name = self.region = self.domain = self.version = ""
        self.life = self.incarnation = self.since_ms = 0
        self.lived = 0  # the life in which it was last seen alive
        self.state: PeerState = "dead"
        self.is_known = False
        self.frame = b""  # its newest alive fact, sealed
        self.heard: Mono | None = None  # when it last said anything to us, or to all
        self.round_trip_s = ROUND_TRIP_S
        self.suspicion: Suspicion | None = None
        self.evidence = ""  # what it died of,
        self.accusers: tuple[NodeId, ...] = ()  # and who said so

    @property
    def is_living(self) -> bool:
        """Alive or suspect."""
        return self.state in ("alive", "suspect")

    def unheard_s(self, now: Instant) -> float | None:
        """Seconds since it last said anything; None when it never did."""
        return None if self.heard is None else round(now.since_s(self.heard), 3)

    def past(self, now: Instant) -> tuple[str, float, bool]:
        """What it was until now, for how many seconds, and whether in another life; nothing when it is new."""
        if not self.is_known:
            return "", 0.0, False
        suspected_s = None if self.suspicion is None else now.since_s(self.suspicion.since)
        lasted_s = (now.wall_ms - self.since_ms) / 1_000 if suspected_s is None else suspected_s
        return self.state, round(max(0.0, lasted_s), 3), self.lived != self.life

    @property
    def standing(self) -> Version:
        """What facts about it are compared with."""
        return standing(life=self.life, incarnation=self.incarnation, state=self.state)

    def take(self, heard: Heard, body: Alive) -> None:
        """Believe what it says of itself, but for its incarnation."""
        if self.life != heard.life:
            self.round_trip_s = ROUND_TRIP_S
        self.life, self.frame = heard.life, heard.frame
        self.name, self.region, self.domain, self.version = body.name, body.region, body.domain, body.version

    def measure(self, seconds: float) -> None:
        """Take in one measured round trip."""
        self.round_trip_s += ROUND_TRIP_WEIGHT * (seconds - self.round_trip_s)


class Roster:
    """All other nodes that are or were there. `living` holds the ids of the alive and the suspect, sorted."""

    def __init__(self, me: Me, regions: Regions | None = None) -> None:
        self._me = me
        self.regions = regions or Regions(me)
        self._members: dict[NodeId, Member] = {}
        self._buried: dict[NodeId, Mono] = {}  # oldest first
        self._names: dict[str, tuple[NodeId, ...]] = {me.name: (me.id,)}  # who lives under it, the first one first
        self._undecided: set[str] = set()  # names of several whom we met when we began: which was first, we cannot know
        self._suspects: dict[NodeId, None] = {}
        self.agreement = Agreement(me=me.id, life=me.life)
        self.living: tuple[NodeId, ...] = ()
        self._alive: list[NodeId] | None = None  # made when somebody asks

    def get(self, node: NodeId) -> Member | None:
        """One member, in whatever state."""
        return self._members.get(node)

    def life_of(self, node: NodeId) -> int | None:
        """The life of a living member."""
        member = self._members.get(node)
        return member.life if member is not None and member.is_living else None

    def is_living(self, node: NodeId) -> bool:
        """True for members that are alive or suspect."""
        return self.life_of(node) is not None

    def is_alive(self, node: NodeId) -> bool:
        """True for members that are alive and not suspect."""
        member = self._members.get(node)
        return member is not None and member.state == "alive"

    def suspects(self) -> tuple[NodeId, ...]:
        """Living members that are suspect, sorted."""
        return tuple(sorted(self._suspects))

    @property
    def suspected(self) -> int:
        """How many are suspect."""
        return len(self._suspects)

    def alive(self) -> Sequence[NodeId]:
        """Living members that are not suspect, sorted."""
        if self._alive is None:
            self._alive = [node for node in self.living if self._members[node].state == "alive"]
        return self._alive

    def under_suspicion(self) -> list[tuple[Member, Suspicion]]:
        """Suspects with what they are suspected of."""
        members = [self._members[node] for node in self.suspects()]
        return [(member, member.suspicion) for member in members if member.suspicion is not None]

    def raise_up(self, member: Member, state: PeerState, now: Instant) -> None:
        """It is alive, or suspect."""
        self._members[member.id] = member
        self._buried.pop(member.id, None)
        if not member.is_living:
            at = bisect_left(self.living, member.id)
            self.living = (*self.living[:at], member.id, *self.living[at:])
        member.state, member.since_ms, self._alive = state, now.wall_ms, None
        self.agreement.note(member.id, member.life, state, now)
        self._suspects.pop(member.id, None)
        self.regions.trust(member.id)
        if state == "suspect":
            self._suspects[member.id] = None
            self.regions.doubt(member.id)
        member.is_known, member.lived = True, member.life
        member.evidence, member.accusers = "", ()

    def bury(self, member: Member, state: PeerState, now: Instant) -> None:
        """It is dead, or has left: remembered for a while, so that old news of it are known as old."""
        self._members[member.id] = member
        self.regions.part(member.id)
        self.agreement.drop(member.id, now)
        if member.is_living:
            at = bisect_left(self.living, member.id)
            self.living = (*self.living[:at], *self.living[at + 1 :])
            self._alive = None
            self._suspects.pop(member.id, None)
        member.state, member.since_ms, member.suspicion = state, now.wall_ms, None
        member.evidence, member.accusers = "", ()
        self.give_up_name(member)
        self._buried.pop(member.id, None)
        self._buried[member.id] = now.mono_ns
        while len(self._buried) > limits.TOMBSTONES_MAX + 4 * len(self.living):
            self._forget(next(iter(self._buried)))

    def sweep(self, now: Instant, keep_s: float) -> None:
        """Forget whom we buried longer ago than `keep_s`."""
        oldest = now.mono_ns - int(keep_s * NS_PER_S)
        while self._buried and next(iter(self._buried.values())) < oldest:
            self._forget(next(iter(self._buried)))

    def hide(self, node: NodeId) -> bool:
        """Show a gone node no more; its grave stays, so that old news of it is known as old. False when it lives."""
        member = self._members.get(node)
        if node == self._me.id or (member is not None and member.is_living):
            return False
        if member is not None:
            member.is_known = False
        return True

    def _forget(self, node: NodeId) -> None:
        del self._buried[node]
        del self._members[node]

    # --- names

    def take(self, member: Member, heard: Heard, body: Alive, now: Instant) -> tuple[NodeId, NodeId] | None:
        """Believe what it says of itself; if it is new that it bears its name, and another does: who did first, and who
        does as well."""
        is_new = not member.is_living or member.name != body.name
        if is_new:
            self.give_up_name(member)
        member.take(heard, body)
        self.regions.settle(member.id, body.region)
        newcomer_until = self._me.life + NEWCOMER_MS
        was_here = member.life < self._me.life and heard.sent_ms < newcomer_until
        conflict = self._claim_name(member, was_here=was_here, is_undecided=now.wall_ms < newcomer_until)
        return conflict if is_new else None

    def _claim_name(self, member: Member, *, was_here: bool, is_undecided: bool) -> tuple[NodeId, NodeId] | None:
        """A living member bears its name; says who bore it first, if another does, and who bears it as well.

        The first is whom we met first, and before ourselves who was here when we came.
        """
        bearers = self._names.get(member.name, ())
        if member.id in bearers:
            return None if bearers[0] == member.id else (bearers[0], member.id)
        is_ours = bearers[:1] == (self._me.id,)
        is_first = was_here and is_ours
        self._names[member.name] = (member.id, *bearers) if is_first else (*bearers, member.id)
        if not bearers:
            return None
        if is_undecided and not is_ours:
            self._undecided.add(member.name)
        return (member.id, bearers[0]) if is_first else (bearers[0], member.id)

    def give_up_name(self, member: Member) -> None:
        """It does not bear its name any more."""
        others = tuple(node for node in self._names.get(member.name, ()) if node != member.id)
        if len(others) < 2:
            self._undecided.discard(member.name)
        if others:
            self._names[member.name] = others
        else:
            self._names.pop(member.name, None)

    def shown_name(self, node: Me | Member) -> str:
        """Its name; with a piece of its id when another living node bore it first, or may have."""
        is_its_own = self._names.get(node.name, (node.id,))[0] == node.id and node.name not in self._undecided
        return node.name if is_its_own else distinct(node.name, node.id)

    # --- for readers

    def peer(self, node: NodeId) -> Peer | None:
        """One member as readers see it, or None when it was never seen alive."""
        member = self._members.get(node)
        return self._shown(member) if member is not None and member.is_known else None

    def peers(self) -> list[Peer]:
        """All that were ever seen alive, and not forgotten."""
        return [self._shown(member) for member in self._members.values() if member.is_known]

    def _shown(self, member: Member) -> Peer:
        suspicion = member.suspicion
        return Peer(
            id=member.id,
            name=self.shown_name(member),
            life=member.life,
            state=member.state,
            incarnation=member.incarnation,
            region=member.region,
            domain=member.domain,
            since_ms=member.since_ms,
            version=member.version,
            evidence=member.evidence if suspicion is None else suspicion.evidence,
            accusers=member.accusers if suspicion is None else tuple(sorted(suspicion.accusers)),
        )
