"""Suspects on their way to death: when the time of each is up, and whether enough accuse it then.

Invariant: one timer a suspect, none for anybody else; time in which we could not hear does not count; nobody signs a
death without having asked in vain, nor while most of the view does not answer.
Neighbours: `suspicion` is the arithmetic, `membership` counts accusers and spreads the verdict.
"""

from collections.abc import Sequence
from itertools import islice

from msgspec import Struct

from protocol import limits
from protocol.effects import Carry, Effect, Emit
from protocol.events import PeerUnreachable
from protocol.presets import MembershipSettings
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId
from protocol.prober import ASKS
from protocol.replica import Heard, standing
from protocol.roster import Member, Roster
from protocol.suspicion import Accusation, Suspicion, accusers_needed, proof, wait_s
from protocol.timers import Timers
from protocol.wire.gossip import Carried, Confirm, Dead, Suspect


class Spans(Struct, frozen=True):
    """How long a suspect has: from the most, unconfirmed, to the least, confirmed by all verifiers."""

    min_s: float
    max_s: float
    absent_s: float  # when the broker says so
    patience_s: float  # more for who does not accuse itself: accusers speak first, so that not everybody does
    again_s: float  # until a verdict that may not be given yet is looked at again
    verifiers: int
    accusers: int = 2  # as many must agree, where there are so many
    grace_s: float = 2.0  # after most of the view did not answer
    answer_s: float = 0.25  # for the answer to the last question
    follow_s: float = 0.75  # one word alone, neither taken up nor refuted for so long, is looked after by all
    deaf_s: float = 2.0  # who hears no probe and no answer for so long hears nobody


def spans_of(settings: MembershipSettings) -> Spans:
    """What the settings of membership say of them."""
    return Spans(
        min_s=settings.suspicion_s_min,
        max_s=settings.suspicion_s_min * settings.suspicion_stretch,
        absent_s=settings.absent_s,
        patience_s=settings.patience_s,
        again_s=settings.probe_interval_s,
        verifiers=settings.verifiers,
        accusers=settings.accusers,
        grace_s=settings.grace_s,
        answer_s=max(settings.patience_s / 2, settings.probe_timeout_s / ASKS),
        follow_s=1.5 * settings.probe_timeout_s,
        deaf_s=2 * settings.probe_interval_s,
    )


class Suspects:
    """The suspects of one view, and what it takes to declare them dead."""

    def __init__(self, *, me: NodeId, roster: Roster, spans: Spans) -> None:
        self._me = me
        self._roster = roster
        self._spans = spans
        self._timers: Timers[NodeId] = Timers()
        self._owed: dict[NodeId, int] = {}  # whom we accused, and since when it lives: its word is not here yet
        self._not_before: Mono = 0  # nobody is declared dead until then
        self._answered: Mono = 0  # when our server last answered us
        self._heard: Mono = 0  # when a probe or an answer last came
        self._expected = 0
        self.is_held = False  # most of the view does not answer: it may be us

    def answered(self, now: Instant) -> None:
        """Our server answered: it is not our link that is silent."""
        self._answered = now.mono_ns

    def heard(self, now: Instant) -> None:
        """A probe or an answer came: the time of whom we accused first, while we heard nobody, begins here."""
        last, self._heard = max(self._heard, self._answered), now.mono_ns
        if now.since_s(last) < self._spans.deaf_s:
            return
        for member, suspicion in self._roster.under_suspicion():
            if suspicion.since > last and next(iter(suspicion.accusers)) == self._me:
                suspicion.since, suspicion.in_vain = now.mono_ns, None
                self.arm(member, suspicion, now)

    def hold_until(self, at: Mono) -> None:
        """Nobody is declared dead before that, nor by what we asked until now: we may have been cut off ourselves."""
        self._not_before = max(self._not_before, at)
        for _, suspicion in self._roster.under_suspicion():
            suspicion.in_vain = None

    def look(self, now: Instant, *, is_doubtful: bool) -> list[Effect]:
        """More than half of the view suspect, ourselves counted: it may be us, so nobody is declared dead."""
        expected, self._expected = self._expected, self._confirmers()
        for member, suspicion in self._roster.under_suspicion() if expected != self._expected else ():
            self.arm(member, suspicion, now)
        is_held = 2 * self._roster.suspected > len(self._roster.living) + 1 or is_doubtful
        was_held, self.is_held = self.is_held, is_held
        if is_held and not was_held:
            suspects = self._roster.suspects()
            return [Emit(PeerUnreachable(suspects))] if suspects else []
        if was_held and not is_held:  # those who come back do so one by one: wait for all of them
            self.hold_until(now.after(self._spans.grace_s))
            self.stood_still(0, now)
        return []

    def revived(self, member: Member, incarnation: int) -> None:
        """It lives, at this incarnation. Who has our word to the contrary hears that from us, too, if it counts."""
        self.clear(member.id)
        if member.suspicion is not None and self._me in islice(member.suspicion.accusers, self._spans.accusers):
            self._owed[member.id] = incarnation

    def refuted(self, member: Member, incarnation: int, heard: Heard) -> list[Effect]:
        """Its own word, once: it may not reach those who have ours. An answer to our probe may have come before it."""
        is_owed = self._owed.pop(member.id, incarnation + 1) <= incarnation
        return [Carry(Carried((heard.frame,)))] if is_owed and not heard.is_relayed else []

    def arm(self, member: Member, suspicion: Suspicion, now: Instant) -> None:
        """Its accusers, or the time that counts, are others now."""
        spans = self._spans
        own = suspicion.accusers.get(self._me)
        if suspicion.is_judged and own is not None and own.evidence == "absent":
            seconds = 0.0  # they waited for it, and the broker tells us the same: nobody is there to outbid it
        elif suspicion.count("absent") >= self.needed(member):
            seconds = spans.absent_s
        elif suspicion.is_judged:
            seconds = spans.min_s
        else:
            expected = self._confirmers()
            if self._roster.regions.is_far(member.id):
                expected = min(expected, limits.BRIDGES - 1)  # when its region is cut off, the other bridges alone
            confirmations = suspicion.confirmations
            seconds = wait_s(confirmations=confirmations, expected=expected, min_s=spans.min_s, max_s=spans.max_s)
        due = suspicion.since + int(seconds * NS_PER_S)
        if suspicion.in_vain is not None:
            due = max(due, suspicion.in_vain)
        elif own is not None:  # what it did not answer is void since: it is asked again in time
            due -= int(spans.answer_s * NS_PER_S)
        else:  # half of our patience is for others to speak, half for it to answer us
            due += int(spans.patience_s / 2 * NS_PER_S)
            if not (suspicion.confirmations or suspicion.is_followed):
                due = min(due, suspicion.since + int(spans.follow_s * NS_PER_S))
        self._timers.set(member.id, max(due, now.mono_ns, self._not_before))

    def _confirmers(self) -> int:
        """How many can be expected to confirm what one says of another: those who are suspect do not."""
        return min(self._spans.verifiers, len(self._roster.living) - self._roster.suspected)

    def clear(self, node: NodeId) -> None:
        """It lives, or is gone."""
        self._timers.cancel(node)
        self._owed.pop(node, None)

    def needed(self, member: Member) -> int:
        """How many must accuse it before it is dead."""
        unsuspected = len(self._roster.living) - self._roster.suspected
        return accusers_needed(1 + unsuspected - self._roster.is_alive(member.id), most=self._spans.accusers)

    def proven(self, member: Member, heard: Heard, body: Dead, carried: Sequence[Heard]) -> dict[NodeId, Accusation]:
        """Who says that it died this death: whose words come along, and who says here what they say."""
        said, suspicion = proof(heard, body, carried), member.suspicion
        if suspicion is None or (member.life, suspicion.incarnation) != (body.life, body.incarnation):
            return said
        return {**suspicion.accusers, **said}

    def had_time(self, member: Member, proven: dict[NodeId, Accusation], now: Instant) -> bool:
        """Was it a suspect for as long as who declares it dead has to wait? Ours began when theirs did, or nearly."""
        absent = sum(each.evidence == "absent" for each in proven.values())
        least_s = self._spans.absent_s if absent >= self.needed(member) else self._spans.min_s
        suspicion = member.suspicion
        return suspicion is not None and now.since_s(suspicion.since) + self._spans.again_s >= least_s

    def own(self) -> list[Member]:
        """Those whom we accuse ourselves."""
        return [member for member, suspicion in self._roster.under_suspicion() if self._me in suspicion.accusers]

    def has_buried(self, body: Dead) -> bool:
        """Is it this very death that stands in the view?"""
        member = self._roster.get(body.peer)
        dead = standing(life=body.life, incarnation=body.incarnation, state="dead")
        return member is not None and member.standing == dead

    def believes(self, heard: Heard) -> bool:
        """Does this word against another count here, now? That of a death does once enough others gave theirs."""
        body = heard.body
        if not isinstance(body, Suspect | Confirm | Dead):
            return False
        if isinstance(body, Dead) and self.has_buried(body):
            return True
        member = self._roster.get(body.peer)
        suspicion = None if member is None else member.suspicion
        if member is None or suspicion is None:
            return False
        if (member.life, suspicion.incarnation) != (body.life, body.incarnation):
            return False
        return suspicion.is_judged if isinstance(body, Dead) else heard.src in suspicion.accusers

    def due(self, now: Instant) -> list[tuple[Member, Suspicion, Dead | None]]:
        """Suspects whose time is up, and the verdict, or none: ask it first. Who may not be judged yet comes again."""
        verdicts: list[tuple[Member, Suspicion, Dead | None]] = []
        for node in self._timers.due(now.mono_ns):
            member = self._roster.get(node)
            if member is None or member.suspicion is None:
                continue
            suspicion = member.suspicion
            is_theirs = self._me not in suspicion.accusers
            if is_theirs and not (suspicion.confirmations or suspicion.is_followed):
                suspicion.is_followed = True
                self.arm(member, suspicion, now)
                verdicts.append((member, suspicion, None))
                continue
            is_our_word_alone = len(suspicion.accusers) == 1 and self._answered < suspicion.since
            if self.is_held or is_our_word_alone or len(suspicion.accusers) < self.needed(member):
                suspicion.in_vain = None
                self._timers.set(node, now.after(self._spans.again_s))
            elif suspicion.in_vain is None:
                suspicion.in_vain, suspicion.has_answered = now.after(self._spans.answer_s), False
                self.arm(member, suspicion, now)
                verdicts.append((member, suspicion, None))
            elif suspicion.has_answered:  # whoever did not hear so may sign it: we do not
                suspicion.in_vain = None
                self._timers.set(node, now.after(self._spans.again_s))
            else:
                verdicts.append((member, suspicion, _verdict(member, suspicion)))
        return verdicts

    def next_deadline(self) -> Mono | None:
        """When to ask who is due."""
        return self._timers.next()

    def stood_still(self, by_ns: int, now: Instant) -> None:
        """Time in which we could not hear anybody does not count."""
        self._heard, self._answered = self._heard + by_ns, self._answered + by_ns
        self._timers.postpone(by_ns)
        for member, suspicion in self._roster.under_suspicion():
            suspicion.since += by_ns
            if suspicion.in_vain is not None and suspicion.in_vain > now.mono_ns - by_ns:
                suspicion.in_vain = None  # the answer may have come meanwhile
            self.arm(member, suspicion, now)


def _verdict(member: Member, suspicion: Suspicion) -> Dead:
    frames = tuple(each.frame for each in suspicion.accusers.values() if each.frame)[: limits.ACCUSATIONS_MAX]
    return Dead(member.id, member.life, suspicion.incarnation, suspicion.evidence, frames, member.frame)
