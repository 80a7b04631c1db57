"""Who is here: SWIM probes with Lifeguard's health, chosen verifiers, deaths that need two accusers.

    alive ─unanswered probe─▶ suspect ─enough accusers, time is up─▶ dead ─24 h─▶ forgotten
      ▲ ▲                        │                                     │
      │ └── refuted: incarnation + 1 ──────────────────────────────────┘      any ─goodbye─▶ left

Invariant: incarnations and lives only rise; only a node itself raises its incarnation. A node
whose own link is down accuses nobody. Neighbours: `prober` asks, `suspicion` counts, `gossip` tells.
"""

from collections.abc import Sequence
from typing import Literal, assert_never

from protocol import limits
from protocol.agreement import Agreement
from protocol.effects import Effect, Emit, Send, Spread
from protocol.events import NameConflict, PeerAlive, PeerDead, PeerLeft, PeerMisbehaved, PeerSuspect
from protocol.presets import MembershipSettings
from protocol.primitives import NS_PER_MS, NS_PER_S, Instant, Mono, NodeId, Rng
from protocol.prober import TELLING, Health, Prober
from protocol.regions import Regions
from protocol.replica import Heard, Me, Peer, standing
from protocol.roster import ROUND_TRIP_S, Accused, Member, Own, Roster
from protocol.suspects import Suspects, spans_of
from protocol.suspicion import Accusation, Evidence, Suspicion, is_verifier, last_alive
from protocol.timers import Timers, soonest
from protocol.wire.gossip import Alive, Confirm, Dead, Left, Suspect
from protocol.wire.kinds import AnySwim
from protocol.wire.swim import Ack, Ping

SWEEP_S = 60.0
STOPPED_S = 1.0  # a loop this late was stopped, not busy: be patient with everybody


class Membership:
    """This node's view of who is alive, and its part in finding out.

    Probe numbers in `Send.probe` count up from 1 and are its own: "no responders" to number p
    comes back by `on_absent(p)`.
    """

    def __init__(self, *, me: Me, settings: MembershipSettings, rng: Rng, regions: Regions | None = None) -> None:
        self._me = me
        self._settings = settings
        self._own = Own(me, repeat_s=settings.refute_interval_s)
        self._roster = Roster(me, regions)
        self._is_started = False
        self._timers: Timers[Literal["sweep"]] = Timers()
        self._health = Health(settings.health_max)
        self._prober = Prober(
            roster=self._roster,
            health=self._health,
            rng=rng,
            interval_s=settings.probe_interval_s,
            timeout_s=settings.probe_timeout_s,
            tells=settings.buddy,
        )
        self._suspects = Suspects(me=me.id, roster=self._roster, spans=spans_of(settings))
        self._down_since: Mono | None = None
        self._grace_until: Mono = 0  # until then an unanswered probe accuses nobody
        self._lagged_at: Mono = 0  # when we were last late

    # --- what happens

    def start(self, now: Instant) -> list[Effect]:
        """Say hello. The link is taken to be up unless `on_link` said otherwise."""
        self._is_started = True
        self._own.began, self._own.since_ms = now.mono_ns, now.wall_ms
        self._timers.set("sweep", now.after(SWEEP_S))
        return self._own.say(now, is_fresh=True)

    def leave(self, now: Instant) -> list[Effect]:
        """Say goodbye; from here on this machine is silent and refutes nothing."""
        if self._own.has_left:
            return []
        self._own.has_left, self._own.since_ms = True, now.wall_ms
        return [Spread(Left(self._own.incarnation, self._me.admission))]

    def on_message(self, src: NodeId, life: int, body: AnySwim, now: Instant) -> list[Effect]:
        """A probe or its answer, from that life of `src`."""
        if self._own.has_left or not self._is_started:
            return []
        self._suspects.heard(now)
        match body:
            case Ping():
                return self._on_ping(src, life, body, now)
            case Ack():
                return self._on_ack(src, life, body, now)
            case _:
                assert_never(body)

    def on_fact(self, heard: Heard, now: Instant, accusations: Sequence[Heard] = ()) -> list[Effect]:
        """A fact that is new to `gossip`. For a `Dead`, `accusations` are the opened `sealed_inside` of it."""
        if self._own.has_left or heard.src == self._me.id:
            return []
        match heard.body:
            case Alive():
                return self._on_alive(heard, heard.body, now)
            case Left():
                return self._on_left(heard, heard.body, now)
            case Suspect() | Confirm():
                return self._on_accusation(heard, heard.body, now)
            case Dead():
                return self._on_dead(heard, heard.body, accusations, now)
            case _:
                return []

    def on_absent(self, probe: int, now: Instant) -> list[Effect]:
        """The broker says that nobody listens where probe number `probe` went."""
        self.on_answered(now)
        return self._on_unanswered(probe, "absent", now)

    def on_answered(self, now: Instant) -> None:
        """Our server answered: it is not our link that is silent."""
        self._suspects.answered(now)

    def on_link(self, *, is_up: bool, now: Instant) -> list[Effect]:
        """Our own link went or came: while it is down time stands still and nobody is accused."""
        if not is_up:
            if self._down_since is None:
                self._down_since = now.mono_ns
            return []
        if self._down_since is None or not self._is_started or self._own.has_left:
            self._down_since = None
            return []
        stood_ns, self._down_since = now.mono_ns - self._down_since, None
        self._prober.clear()
        self._roster.agreement.doubt()
        self._give_grace(now)
        self._stood_still(stood_ns, now)
        self._own.settled = None if self._own.settled is None else now.mono_ns
        self._own.incarnation += 1  # whatever was said of us meanwhile is outbid
        return [*self._own.say(now, is_fresh=not self._roster.living), *self._look_at_view(now)]

    def on_lag(self, late_ms: int, now: Instant) -> list[Effect]:
        """Our loop heard nobody for so long: everybody gets that much more time, or half when we are always late."""
        if late_ms < self._settings.lag_ms or self._down_since is not None:
            return []
        late_ns = late_ms * NS_PER_MS
        if late_ns >= STOPPED_S * NS_PER_S:
            self._give_grace(now)
        else:
            late_ns = min(late_ns, (now.mono_ns - self._lagged_at) // 2)
        self._lagged_at = now.mono_ns
        self._health.worse()
        self._stood_still(late_ns, now)
        return []

    def on_tick(self, now: Instant) -> list[Effect]:
        """Whatever is due."""
        if self.next_deadline() is None:
            return []
        effects = self._own.on_tick(now)
        asked, silent = self._prober.on_tick(now)
        effects += asked
        for number in silent:
            effects += self._on_unanswered(number, "timeout", now)
        for member, suspicion, dead in self._suspects.due(now):
            if dead is None:
                effects += self._prober.ask(member, now)
                if not self._prober.probes.is_asked(member.id):
                    suspicion.in_vain = None  # too many questions wait
            elif member.suspicion is suspicion and not self._suspects.is_held:  # the one before may change that
                effects.append(Spread(dead))
                effects += self._end(member, member.life, dead, tuple(sorted(suspicion.accusers)), now)
        if self._timers.due(now.mono_ns):
            self._timers.set("sweep", now.after(SWEEP_S))
            self._roster.sweep(now, self._settings.tombstone_s)
        return effects

    def next_deadline(self) -> Mono | None:
        """When to call `on_tick`; never while the link is down, and not after `leave`."""
        if self._own.has_left or self._down_since is not None:
            return None
        asked, suspected = self._prober.next_deadline(), self._suspects.next_deadline()
        return soonest((self._timers.next(), asked, self._own.next_deadline(), suspected))

    # --- who is there

    def snapshot(self) -> tuple[Peer, ...]:
        """Every node ever seen alive and not yet forgotten, this one included, by name."""
        me = self._own.peer(self._roster.shown_name(self._me))
        return tuple(sorted([me, *self._roster.peers()], key=lambda each: (each.name, each.id)))

    def peer(self, node: NodeId) -> Peer | None:
        """One node, or None when it was never seen alive."""
        return self._own.peer(self._roster.shown_name(self._me)) if node == self._me.id else self._roster.peer(node)

    def alive(self) -> list[NodeId]:
        """Nodes that are alive and not suspect, this one included until it leaves, sorted."""
        return sorted([*self._roster.alive(), *([] if self._own.has_left else [self._me.id])])

    def suspects(self) -> tuple[NodeId, ...]:
        """Nodes that may be gone, sorted."""
        return self._roster.suspects()

    def is_alive(self, node: NodeId) -> bool:
        """True for nodes that are alive and not suspect, and for this one until it leaves."""
        return not self._own.has_left if node == self._me.id else self._roster.is_alive(node)

    def life_of(self, node: NodeId) -> int | None:
        """The life of a living (alive or suspect) node; None for the gone and the unknown."""
        return self._me.life if node == self._me.id else self._roster.life_of(node)

    def living(self) -> tuple[NodeId, ...]:
        """The others that are alive or suspect, sorted."""
        return self._roster.living

    def asked_at(self, node: NodeId, life: int, probe: int) -> Mono | None:
        """When that life of it was asked this; None when nobody waits for the answer."""
        return self._prober.asked_at(probe, node, life)

    def ask(self, node: NodeId, now: Instant) -> list[Effect]:
        """Is it there? Out of turn; nothing when it is not among the living."""
        member = self._roster.get(node)
        is_asked = member is not None and member.is_living and self._down_since is None and not self._own.has_left
        return self._prober.ask(member, now) if member is not None and is_asked else []

    def round_trip_s(self, node: NodeId) -> float:
        """Seconds from a probe to its answer, smoothed; a guess until one was measured."""
        member = self._roster.get(node)
        return ROUND_TRIP_S if member is None else member.round_trip_s

    @property
    def agreement(self) -> Agreement:
        """Our view as a number, and how far others see the same."""
        return self._roster.agreement

    def is_frozen(self) -> bool:
        """True while nobody is declared dead here: our link is down, or most of the view does not answer."""
        return self._down_since is not None or self._suspects.is_held

    def settled_s(self, now: Instant) -> float:
        """Seconds since this view could be relied on: others were heard of, or nobody for a while; 0 before."""
        if not self._is_started or self._down_since is not None:
            return 0.0
        return self._own.settled_s(now, alone_s=self._settings.settle_alone_s)

    def has_buried(self, body: Dead) -> bool:
        """True when this very death stands in the view: then `gossip.keep` may pass it on."""
        return self._suspects.has_buried(body)

    def believes(self, heard: Heard) -> bool:
        """True while this word against another counts here: then a bridge may carry it on."""
        return self._suspects.believes(heard)

    @property
    def incarnation(self) -> int:
        """Our own, in this life."""
        return self._own.incarnation

    @property
    def health(self) -> int:
        """0 is well; waits are multiplied by one more than this."""
        return self._health.score

    @property
    def prober(self) -> Prober:
        """Who asks, for readers of what came of it."""
        return self._prober

    def forget(self, node: NodeId) -> bool:
        """Show a gone node no more, if it is one; False when it lives here."""
        return self._roster.hide(node)

    # --- asking and being asked

    def _on_ping(self, src: NodeId, life: int, ping: Ping, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        if ping.suspect_incarnation >= self._own.incarnation:
            said: Accused = "dead" if ping.probe == TELLING else "suspect"
            effects += self._on_accused(src, said, self._me.life, ping.suspect_incarnation, now)
        effects.insert(0, Send(to=src, life=life, body=self._ack(ping.probe)))
        member = self._roster.get(src)
        if member is None or member.life != life:
            return effects
        member.heard = now.mono_ns
        is_told = member.is_living or ping.probe != TELLING  # two who buried each other tell each other once
        return [*effects, *(self._prober.tell(member, now) if is_told else ())]  # it lives: it has to say so

    def _ack(self, probe: int) -> Ack:
        agreement = self._roster.agreement
        return Ack(probe, self._own.incarnation, agreement.view, agreement.count)

    def _on_ack(self, src: NodeId, life: int, ack: Ack, now: Instant) -> list[Effect]:
        member = self._roster.get(src)
        if member is None or member.life != life:
            return []
        effects: list[Effect] = []
        member.heard = now.mono_ns
        if self._prober.on_ack(member, ack.probe, now):
            self._roster.agreement.hear(src, ack.view, ack.sees, now)
            effects = self._look_at_view(now)
        if (suspicion := member.suspicion) is not None:
            suspicion.has_answered = True
            if suspicion.incarnation < ack.incarnation <= limits.INCARNATION_OWN_MAX:
                effects += self._revive(member, ack.incarnation, now)
        return effects

    def _on_unanswered(self, number: int, evidence: Evidence, now: Instant) -> list[Effect]:
        probe = self._prober.give_up(number, evidence)
        if probe is None:
            return []
        member = self._roster.get(probe.to)
        if member is None or not member.is_living or member.life != probe.life or now.mono_ns < self._grace_until:
            return []
        if evidence == "timeout" and member.suspicion is None:
            self._health.worse()  # until others confirm it, the fault may be ours
        self._prober.probes.note_silence(probe)
        return self._accuse(member, evidence, now)

    # --- suspicion

    def _accuse(self, member: Member, evidence: Evidence, now: Instant) -> list[Effect]:
        suspicion = member.suspicion
        if suspicion is None:
            said: Suspect | Confirm = Suspect(member.id, member.life, member.incarnation, evidence)
        elif self._me.id in suspicion.accusers:
            return []
        elif suspicion.is_judged:  # others have said enough; our word counts here alone
            return self._count(member, suspicion.incarnation, self._me.id, Accusation(evidence), now)
        elif suspicion.confirmations >= self._settings.verifiers:
            return []
        else:
            said = Confirm(member.id, member.life, suspicion.incarnation, evidence)
        return [Spread(said), *self._count(member, said.incarnation, self._me.id, Accusation(evidence), now)]

    def _on_accusation(self, heard: Heard, body: Suspect | Confirm, now: Instant) -> list[Effect]:
        if body.peer == self._me.id:
            return self._on_accused(heard.src, "suspect", body.life, body.incarnation, now)
        accuser, member = self._roster.get(heard.src), self._roster.get(body.peer)
        if accuser is None or not accuser.is_living or accuser.life != heard.life or heard.src == body.peer:
            return []
        if member is None or not member.is_living or member.life != body.life or body.incarnation < member.incarnation:
            return []
        if body.incarnation - member.incarnation >= limits.INCARNATION_JUMP_MAX:
            return [Emit(PeerMisbehaved(heard.src, "incarnation_jump", str(body.incarnation)))]
        is_first = member.suspicion is None
        effects = self._count(member, body.incarnation, heard.src, Accusation(body.evidence, heard.frame), now)
        pool = self._roster.regions.jury(member.id, heard.src, self._roster.alive()) if is_first else []
        at, most = body.incarnation, self._settings.verifiers
        if is_verifier(self._me.id, pool, suspect=member.id, life=member.life, incarnation=at, most=most):
            effects += self._prober.ask(member, now)
        return effects

    def _count(
        self, member: Member, incarnation: int, accuser: NodeId, accusation: Accusation, now: Instant
    ) -> list[Effect]:
        """One more accuser of a living member. Its own word alone begins anew: not who claims an incarnation above."""
        effects: list[Effect] = []
        suspicion = member.suspicion
        if suspicion is None:
            suspicion = member.suspicion = Suspicion(incarnation=member.incarnation, since=now.mono_ns)
            if member.state == "alive":
                self._roster.raise_up(member, "suspect", now)
                what = (accuser, accusation.evidence, incarnation, member.unheard_s(now), self._health.score)
                effects.append(Emit(PeerSuspect(member.id, self._roster.shown_name(member), member.life, *what)))
        if incarnation > suspicion.incarnation:
            accusation = Accusation(accusation.evidence)  # it counts here, and proves nothing to others
        if not suspicion.add(accuser, accusation):
            return effects
        if accuser == self._me.id:
            suspicion.in_vain, suspicion.has_answered = now.mono_ns, False
        elif self._me.id in suspicion.accusers and suspicion.confirmations == 1:
            self._health.better()  # another sees what we see: it is not us, and that was counted once
        self._suspects.arm(member, suspicion, now)
        return effects + self._look_at_view(now)

    # --- what others say of themselves

    def _on_alive(self, heard: Heard, body: Alive, now: Instant) -> list[Effect]:
        version = standing(life=heard.life, incarnation=body.incarnation, state="alive")
        member = self._roster.get(heard.src)
        if member is not None and not heard.is_relayed:
            member.heard = now.mono_ns
            self._prober.heard(member)
        if member is not None and version <= member.standing:
            if version < member.standing:
                return []
            member.frame, effects = heard.frame, self._suspects.refuted(member, body.incarnation, heard)
            is_suspect = member.suspicion is not None and not heard.is_relayed
            return effects + (self._prober.tell(member, now) if is_suspect else [])  # let it know that it has to say so
        if member is None:
            if len(self._roster.living) >= limits.PEERS_MAX:
                return [Emit(PeerMisbehaved(heard.src, "view_full", str(limits.PEERS_MAX)))]
            member = Member(heard.src)
            member.heard = None if heard.is_relayed else now.mono_ns
        self._own.meet(now)
        if member.life != heard.life:
            self._prober.probes.forget(member.id)
        is_news = member.state != "alive" or member.life != heard.life
        conflict = self._roster.take(member, heard, body, now)
        effects = self._revive(member, body.incarnation, now) if is_news else []
        effects += self._suspects.refuted(member, body.incarnation, heard)
        member.incarnation = body.incarnation
        return effects if conflict is None else [*effects, Emit(NameConflict(member.name, *conflict))]

    def _revive(self, member: Member, incarnation: int, now: Instant) -> list[Effect]:
        """It lives, at this incarnation: only its own word leads here."""
        past = member.past(now)
        self._suspects.revived(member, incarnation)
        member.incarnation, member.suspicion = incarnation, None
        self._prober.heard(member)
        self._prober.meet(member, now)
        self._roster.raise_up(member, "alive", now)
        name = self._roster.shown_name(member)
        return [Emit(PeerAlive(member.id, name, member.life, incarnation, *past)), *self._look_at_view(now)]

    def _on_left(self, heard: Heard, body: Left, now: Instant) -> list[Effect]:
        member = self._roster.get(heard.src)
        version = standing(life=heard.life, incarnation=body.incarnation, state="left")
        if member is not None and version <= member.standing:
            return []
        return self._end(member or Member(heard.src), heard.life, body, (), now)

    # --- deaths

    def _on_dead(self, heard: Heard, body: Dead, accusations: Sequence[Heard], now: Instant) -> list[Effect]:
        if body.peer == self._me.id:
            return self._on_accused(heard.src, "dead", body.life, body.incarnation, now)
        member = self._roster.get(body.peer)
        version = standing(life=body.life, incarnation=body.incarnation, state="dead")
        if (member is not None and version <= member.standing) or heard.src == body.peer:
            return []
        last = last_alive(body, accusations, since_ms=now.wall_ms - int(self._settings.tombstone_s * 1_000))
        member = member or Member(body.peer)
        is_known = member.is_living and member.life == body.life
        if not is_known and last is None:
            return []  # whoever says this cannot show that such a life ever began
        if is_known and body.incarnation - member.incarnation >= limits.INCARNATION_JUMP_MAX:
            return [Emit(PeerMisbehaved(heard.src, "incarnation_jump", str(body.incarnation)))]
        proven, suspicion = self._suspects.proven(member, heard, body, accusations), member.suspicion
        is_proven = len(proven) >= self._suspects.needed(member)
        is_gone = member.state in ("dead", "left") and member.life == body.life  # old news cannot bring it back
        is_due = suspicion is not None and not suspicion.is_judged and not self._suspects.is_held
        is_due = is_due and self._suspects.had_time(member, proven, now)
        if is_gone or (is_proven and (is_due or not is_known)):
            return self._end(member, body.life, body, tuple(sorted(proven)), now)
        effects = [] if last is None else self._on_alive(*last, now)
        found = self._roster.get(body.peer)
        if found is not None and (found.life, found.is_living) == (body.life, True):
            for accuser, accusation in proven.items():
                effects += self._count(found, body.incarnation, accuser, accusation, now)
            effects += self._judge(found, now) if is_proven else []
        return effects

    def _judge(self, member: Member, now: Instant) -> list[Effect]:
        """Others buried it, and it was no suspect here or the fault may be ours: it has its time to outbid that."""
        if member.suspicion is None or member.suspicion.is_judged:
            return []
        member.suspicion.is_judged = True
        self._suspects.arm(member, member.suspicion, now)
        return self._prober.ask(member, now)

    def _end(
        self, member: Member, life: int, last: Left | Dead, accusers: tuple[NodeId, ...], now: Instant
    ) -> list[Effect]:
        """It left, or it died: gone from the living either way."""
        was_living, name, suspicion = member.is_living, self._roster.shown_name(member), member.suspicion
        member.life, member.incarnation = life, last.incarnation
        self._suspects.clear(member.id)
        self._prober.probes.forget(member.id)
        was = "" if suspicion is None else "suspect"
        event: PeerLeft | PeerDead = PeerLeft(member.id, name, life, was)
        if isinstance(last, Dead):
            after_s = None if suspicion is None else round(now.since_s(suspicion.since), 3)
            seen = (after_s, member.unheard_s(now), self._health.score)
            event = PeerDead(member.id, name, life, accusers, last.evidence, *seen)
            self._roster.bury(member, "dead", now)
            member.evidence, member.accusers = last.evidence, accusers
        else:
            self._roster.bury(member, "left", now)
        return [*([Emit(event)] if was_living else []), *self._look_at_view(now)]

    def _on_accused(self, by: NodeId, said: Accused, life: int, incarnation: int, now: Instant) -> list[Effect]:
        before = self._own.incarnation
        effects = self._own.accused(by, said, life=life, incarnation=incarnation, now=now)
        if self._own.incarnation > before:
            self._health.worse()
            if said == "dead":  # we were cut off: do we doubt others only therefore?
                effects += self._prober.tell_each(self._suspects.own(), now)
        return effects

    # --- is it us?

    def _look_at_view(self, now: Instant) -> list[Effect]:
        """Somebody came, went, or answered: may it be us who is cut off?"""
        return self._suspects.look(now, is_doubtful=self._prober.probes.is_doubtful)

    def _give_grace(self, now: Instant) -> None:
        """Just back: nobody is accused, let alone declared dead, before all had the time to be heard."""
        self._grace_until = now.after(self._settings.grace_s)
        self._suspects.hold_until(self._grace_until)

    def _stood_still(self, by_ns: int, now: Instant) -> None:
        """Time in which we could not hear anybody does not count."""
        self._timers.postpone(by_ns)
        self._prober.postpone(by_ns)
        self._suspects.stood_still(by_ns, now)
