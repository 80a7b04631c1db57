"""Facts on their way in: what gossip keeps, what membership and the catalogue make of it, what a bridge carries on.

Invariant: it decides nothing; effects come back beside the machine they are of, one step at a time, for the next
step rests on what the one before changed. A carried fact is like one of a delta: its source's own word, however
old. Neighbours: `node` carries the effects out; `watching` is the same for work.
"""

from collections.abc import Generator
from typing import Literal, TypeAlias, assert_never

from protocol import limits
from protocol.allowances import Allowances
from protocol.bridging import Bridging
from protocol.catalogue import Catalogue
from protocol.effects import Effect, Emit
from protocol.envelope import Envelope, Opener, Refusal, goes_on
from protocol.events import PeerMisbehaved
from protocol.gossip import Gossip
from protocol.ledger import Ledger
from protocol.membership import Membership
from protocol.primitives import Instant, NodeId
from protocol.refusals import Refusals
from protocol.regions import Regions
from protocol.replica import Heard, heard_of, sealed_inside
from protocol.subjects import region_of
from protocol.wire.gossip import Alive, Capabilities, Carried, Confirm, Dead, Delta, Digest, Load, Repair, Suspect

_Step: TypeAlias = tuple[Literal["gossip", "membership", "catalogue", "ledger"], list[Effect]]
Said: TypeAlias = Generator[_Step, None, None]


class Hearing:
    """Gossip, membership and catalogue of one node, as facts reach them."""

    def __init__(
        self,
        *,
        opener: Opener,
        refusals: Refusals,
        regions: Regions,
        gossip: Gossip,
        membership: Membership,
        catalogue: Catalogue,
        ledger: Ledger,
        bridging: Bridging,
    ) -> None:
        self._opener = opener
        self._refusals = refusals
        self._regions = regions
        self._gossip, self._facts = gossip, gossip.facts
        self._membership = membership
        self._catalogue = catalogue
        self._ledger = ledger
        self._bridging = bridging
        self._accusing = Allowances(per_s=limits.ACCUSATIONS_PER_S_MAX, most=limits.ACCUSATIONS_AT_ONCE_MAX)
        self._telling = Allowances(per_s=limits.NEWS_PER_S_MAX, most=limits.NEWS_AT_ONCE_MAX)
        self._comparing = Allowances(per_s=limits.DIGESTS_PER_S_MAX, most=limits.DIGESTS_AT_ONCE_MAX)
        self._paging = Allowances(per_s=limits.PAGES_PER_S_MAX, most=limits.PAGES_AT_ONCE_MAX)

    def refuse(self, refusal: Refusal, now: Instant) -> Said:
        """A frame that may not take effect: counted, and a sign that we missed something, perhaps."""
        if refusal.code in ("not_admitted", "not_known"):
            self._gossip.on_gap(now, refusal.src)  # somebody whose introduction we missed, perhaps
        yield "gossip", self._refusals.told(refusal, now)
        opened = refusal.opened
        if opened is None:
            return
        if isinstance(opened.body, Alive):  # as if another passed it on, some time later
            yield from self.on_fact(heard_of(opened, is_relayed=True), now)
        yield "membership", self._membership.ask(opened.src, now)

    def again(self, heard: Heard, now: Instant) -> list[Effect] | None:
        """What stands, said once more, as most of what is heard: what membership makes of it.

        None for whatever is no such thing: then it is for `on_fact`.
        """
        if isinstance(heard.body, Alive) and self._bridging.is_from_afar(heard):
            return None
        is_newer = self._facts.renewed(heard, now)
        if is_newer is None:
            return None
        return self._membership.on_fact(heard, now) if is_newer else []

    def on_fact(self, heard: Heard, now: Instant) -> Said:
        """A fact as its source said it, to our region or, when we hear all, to another one."""
        if self._bridging.is_from_afar(heard):
            yield from self._on_far(heard, now)
        else:
            yield from self._take(heard, now)

    def on_repair(self, said: Envelope, body: Repair, now: Instant) -> Said:
        """A digest or a page of facts, if its signer has not sent too many: one key must not keep us busy."""
        allowances = self._comparing if isinstance(body, Digest) else self._paging
        if not allowances.take(said.src, now):
            yield "gossip", self._refusals.told(Refusal("too_often", said.src, said.header.subject), now)
            return
        match body:
            case Digest():
                yield "gossip", self._gossip.on_digest(said.src, said.header.life, body, now)
            case Delta():
                yield from self._on_delta(said.src, body, now)
            case Carried():
                yield from self._on_carried(said.src, body, now)
            case _:
                assert_never(body)

    def _on_delta(self, src: NodeId, body: Delta, now: Instant) -> Said:
        """A page of what we lack. What somebody of another region knew of it is news in ours, too."""
        is_far = self._regions.is_far(src)
        for frame in body.facts:
            opened = self._opener.open_relayed(frame)
            if isinstance(opened, Refusal):
                yield from self.refuse(opened, now)
                continue
            heard = heard_of(opened, is_relayed=True)
            if self._facts.renewed(heard, now) is None:
                is_news = self._facts.is_news(heard)
                yield from self._on_far(heard, now) if is_far else self._take(heard, now)
                self._gossip.repaired += is_news and not self._facts.is_news(heard)

    def _on_carried(self, src: NodeId, body: Carried, now: Instant) -> Said:
        """A bridge of our region passes on what others say; who is a bridge each node sees for itself.

        What any neighbour carries is taken, for its sources signed it; only what a bridge carried, and was believed
        here, need not be carried again.
        """
        carrier = self._membership.peer(src)
        if carrier is not None and carrier.region != self._regions.own:  # gone or not
            yield "gossip", [Emit(PeerMisbehaved(src, "carried_from_afar"))]
            return
        is_bridge = src in self._regions.bridges(self._regions.own)
        for frame in body.facts:
            opened = self._opener.open_relayed(frame)
            if isinstance(opened, Refusal):
                yield from self.refuse(opened, now)
                continue
            heard = heard_of(opened, is_relayed=True)
            if self._facts.renewed(heard, now) is None:
                yield from self._take(heard, now)
            if is_bridge and self._is_believed(heard):
                self._bridging.on_carried(heard)

    def tune(self, now: Instant) -> list[Effect]:
        """Hear all, or our region alone; a new bridge asks for what it did not hear until now."""
        effects = self._bridging.tune(now)
        if effects and self._regions.is_bridge and not self._regions.is_one:
            self._gossip.on_gap(now, self._regions.bridges_but(self._regions.own)[0])
        return effects

    def _on_far(self, heard: Heard, now: Instant) -> Said:
        is_news = isinstance(heard.body, Suspect | Confirm) or self._facts.is_news(heard)
        is_taken = yield from self._take(heard, now)
        if is_taken and is_news and self._is_believed(heard):
            self._bridging.on_news(heard, now)
        elif is_taken:
            self._bridging.on_beacon(heard, now)

    def _is_believed(self, heard: Heard) -> bool:
        """Is it part of what this node holds to be true? Else it goes no further from here."""
        if isinstance(heard.body, Suspect | Confirm | Dead):
            return self._membership.believes(heard)
        return not self._facts.is_news(heard)

    def _take(self, heard: Heard, now: Instant) -> Generator[_Step, None, bool]:
        """Whether it was news, or a sign of life, once all has followed from it that does."""
        is_taken, has_led_on = yield from self._learn(heard, now)
        if not has_led_on and self._facts.is_about_nobody(heard):
            yield from self.refuse(Refusal("not_known", heard.src, heard.subject), now)
        return is_taken

    def _has_newer_life(self, heard: Heard) -> bool:
        """Was it said, now, in a former life of a node that has begun a newer one?"""
        peer = self._membership.peer(heard.src)
        return not heard.is_relayed and peer is not None and goes_on(heard.life, heard.sent_ms, newer=peer.life)

    def _bound(self, heard: Heard) -> Allowances | None:
        """What limits how often its source may say such a thing; nothing limits what others pass on, or what is old."""
        if heard.is_relayed:
            return None
        if isinstance(heard.body, Suspect | Confirm | Dead):
            return self._accusing
        return self._telling if self._facts.is_news(heard) else None

    def _learn(self, heard: Heard, now: Instant) -> Generator[_Step, None, tuple[bool, bool]]:
        """Whether it was taken, and whether anything followed."""
        body = heard.body
        if isinstance(body, Alive) and body.region != region_of(heard.subject):
            yield "gossip", [Emit(PeerMisbehaved(heard.src, "wrong_region", body.region))]
            return False, True
        if (bound := self._bound(heard)) is not None and not bound.take(heard.src, now):
            yield "gossip", self._refusals.told(Refusal("too_often", heard.src, heard.subject), now)
            return False, True
        is_new, repairs = self._gossip.on_fact(heard, now)
        if repairs:
            yield "gossip", repairs
        if not is_new:
            if isinstance(body, Alive) and self._has_newer_life(heard):
                yield "gossip", self._refusals.told(Refusal("two_lives", heard.src, heard.subject), now)
            return False, bool(repairs)
        match body:
            case Capabilities() | Load():
                effects = self._catalogue.on_fact(heard, now)
                yield "catalogue", effects
                yield "ledger", self._ledger.on_capacity(now)
            case Dead():
                opened = [self._opener.open_relayed(frame) for frame in sealed_inside(body)]
                forged = next((each for each in opened if isinstance(each, Refusal) and each.code != "echo"), None)
                if forged is not None and not self._facts.is_about_nobody(heard):
                    yield "gossip", self._refusals.told(forged, now)  # it is no more than its source's own word
                proof = tuple(heard_of(each, is_relayed=True) for each in opened if isinstance(each, Envelope))
                effects = self._membership.on_fact(heard, now, proof)
                yield "membership", effects
                if self._membership.has_buried(body):
                    self._gossip.keep(heard, now)
            case _:
                effects = self._membership.on_fact(heard, now)
                yield "membership", effects
        return True, bool(repairs or effects)
