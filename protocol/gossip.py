"""Facts on their way: own broadcasts and their repetition, the beacon, digests that mend what was lost.

    fact ─▶ newer than what stands? ─▶ kept and passed on to membership or catalogue
    every 10 s, and on signs of a gap: coarse digest ─▶ fine digest ─▶ deltas, both ways

Invariant: a fact is kept and relayed as the frame its source sealed; a dead fact is kept once `membership`
believes it. Neighbours: `facts` are what is kept, `replica` merges them, `broadcasts` repeats.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias, assert_never

from msgspec import Meta, Struct, structs

from protocol import ids, limits
from protocol.broadcasts import Repeats, pages
from protocol.effects import Effect, Emit, Send, Spread
from protocol.events import PeerMisbehaved
from protocol.facts import Facts
from protocol.primitives import Instant, Mono, NodeId, Rng, chosen
from protocol.regions import Regions
from protocol.replica import BUCKETS, Entry, Heard, Me, in_opening_order
from protocol.subjects import region_of
from protocol.timers import Timers, soonest
from protocol.wire.gossip import (
    Alive,
    AnyFact,
    Capabilities,
    Confirm,
    Dead,
    Delta,
    Digest,
    Left,
    Row,
    Suspect,
)


class GossipSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How facts spread and how what was lost is mended."""

    repeat_s: Annotated[float, Meta(ge=0.05, le=60, description="each broadcast is sent once more after this")] = 1.0
    digest_interval_s: Annotated[float, Meta(ge=0.5, le=600, description="compare with one other this often")] = 10.0
    beacon_s_min: Annotated[float, Meta(ge=0.5, le=600, description="say that we are here this often")] = 5.0
    beacon_s_per_node: Annotated[float, Meta(ge=0, le=60, description="and no oftener than this times nodes")] = 0.6
    gap_s: Annotated[float, Meta(ge=0.01, le=60, description="compare within this after a sign of a gap")] = 1.0


FAR_ROUNDS = 3  # each of the bridges of a region compares with another region once in so many times
RESPONDERS = 3  # so many answer what everybody hears; any of them is enough
SWEEP_S = 60.0
ANSWER_INTERVAL_S = 0.25  # one node is given its whole lack, for one reason, at most this often

_Why: TypeAlias = Literal["welcome", "meet", "digest"]
_Timer: TypeAlias = Literal["digest", "beacon", "turn", "restate", "sweep"]


class Gossip:
    """The facts this node knows, and its part in everybody's knowing them."""

    def __init__(
        self,
        *,
        me: Me,
        rng: Rng,
        settings: GossipSettings | None = None,
        tombstone_s: float = 86_400.0,
        regions: Regions | None = None,
    ) -> None:
        self._me = me
        self._regions = regions or Regions(me)
        self._rng = rng
        self._settings = settings or GossipSettings()
        self.facts = Facts(me=me.id, tombstone_s=tombstone_s)
        self._repeats = Repeats()
        self._timers: Timers[_Timer] = Timers()
        self._round = 0
        self._asked: NodeId | None = None  # whom the next digest goes to, when a sign of a gap named somebody
        self._answered: dict[tuple[_Why, NodeId], Mono] = {}  # when we last told somebody what it may lack, and why
        self._is_down = False
        self.compared = {"asked": 0, "same": 0, "other": 0}  # coarse digests sent, and how those of others fitted ours
        self.repaired = 0  # facts that came by a delta and were news: `hearing` counts

    # --- own facts

    def keep_own(self, heard: Heard, now: Instant) -> list[Effect]:
        """A fact of this node, as it was just sealed: kept for relaying, and sent once more a little later."""
        body = heard.body
        if not isinstance(body, AnyFact):
            return []
        place = heard.place
        if place is None:
            self._repeat(heard, body, now)
            return []
        key, version = place
        standing = self.facts.replica.get(*key)
        if standing is None or standing.version < version:
            self._repeat(heard, body, now)
        elif version < standing.version:
            return []
        self.facts.keep(heard)
        if isinstance(body, Left):
            self._timers = Timers()  # no beacon, no digest: only the goodbye once more
        elif self._timers.next() is None:
            self._timers.set("sweep", now.after(SWEEP_S))
            self._timers.set("turn", now.after(self._beacon_s()))
            self._timers.set("digest", now.after(self._settings.gap_s * (1 + self._rng.random())))
        return []

    def _repeat(self, heard: Heard, body: AnyFact, now: Instant) -> None:
        about = body.peer if isinstance(body, Suspect | Confirm | Dead) else heard.src
        fact = Spread(body, heard.subject, heard.frame)
        kind = str(body.__struct_config__.tag)
        self._repeats.keep((about, kind), fact, now.after(self._settings.repeat_s))

    # --- facts of others

    def on_fact(self, heard: Heard, now: Instant) -> tuple[bool, list[Effect]]:
        """A fact of another node. True when membership or the catalogue should hear it: news, or a sign of life.

        A `Dead` is not kept here: call `keep` once membership believes it.
        """
        body = heard.body
        if heard.src == self._me.id or not isinstance(body, AnyFact):
            return False, []
        wrong = "fact_too_large" if len(heard.frame) > limits.FACT_BYTES_MAX else heard.fault
        if wrong:
            return False, [Emit(PeerMisbehaved(heard.src, wrong))]
        match body:
            case Suspect() | Confirm():
                return True, self._correct(heard, body)
            case Alive():
                return self._on_alive(heard, body, now)
            case Dead() | Left():
                return self._on_tombstone(heard, now)
            case _:
                return self._on_ability(heard, now)

    def keep(self, heard: Heard, now: Instant) -> None:
        """A `Dead` of another node that membership believed: from now on it is relayed."""
        if isinstance(heard.body, Dead) and self.facts.is_news(heard) and not self.facts.is_outdated(heard, now):
            self.facts.keep(heard)

    def _on_alive(self, heard: Heard, body: Alive, now: Instant) -> tuple[bool, list[Effect]]:
        former = self.facts.replica.get(heard.src, "standing")
        place = heard.place
        if place is None or (heard.is_relayed and self.facts.is_outdated(heard, now)):
            return False, []
        version = place[1]
        if former is not None and version <= former.version:
            if version == former.version and self.facts.refresh(former, heard, now):
                return not heard.is_relayed, []
            if heard.is_relayed or not isinstance(former.heard.body, Dead):
                return False, []
            return False, self._tell(heard, former)  # it is buried here: let it outbid that
        if former is None and len(self.facts.living) >= limits.PEERS_MAX:
            return False, [Emit(PeerMisbehaved(heard.src, "view_full", str(limits.PEERS_MAX)))]
        self.facts.keep(heard)
        self._repeats.drop(heard.src)
        if heard.is_relayed:
            return True, []
        if body.fresh:
            return True, self._welcome(heard, now)
        if former is None or isinstance(former.heard.body, Dead | Left):
            return True, self._meet(heard, now)
        return True, []

    def _on_tombstone(self, heard: Heard, now: Instant) -> tuple[bool, list[Effect]]:
        if isinstance(heard.body, Dead) and heard.body.peer == self._me.id:
            self._restate_soon(now)  # they forgot what we can do
            return True, []
        if not self.facts.is_news(heard) or self.facts.is_outdated(heard, now):
            return False, []
        if isinstance(heard.body, Left):
            self.facts.keep(heard)
        return True, []

    def _on_ability(self, heard: Heard, now: Instant) -> tuple[bool, list[Effect]]:
        if self.facts.living.get(heard.src) != heard.life:
            standing = self.facts.replica.get(heard.src, "standing")
            if standing is None or standing.version.life < heard.life:
                self.on_gap(now, heard.src)  # we missed its alive
            return False, []
        if not self.facts.is_news(heard):
            return False, []
        self.facts.keep(heard)
        return True, []

    # --- answering what everybody hears: only the first few do

    def _responds(self, heard: Heard, why: str) -> bool:
        regions, region = self._regions, region_of(heard.subject)
        if region == regions.own:
            audience: Iterable[NodeId] = self.facts.living if regions.is_one else regions.near
        elif not regions.is_bridge or (why == "welcome" and set(regions.bridges(region)) - {heard.src}):
            return False  # its own region welcomes it
        else:  # who is the first of its region is welcomed once; later each region has an answer of its own
            audience = regions.bridges_but(region) if why == "welcome" else regions.bridges(regions.own)
        pool = (node for node in audience if node != heard.src)
        return ids.is_ranked(self._me.id, pool, salt=f"{why} {heard.src}", within=RESPONDERS)

    def _own_alive(self) -> Alive | None:
        own = self.facts.replica.get(self._me.id, "standing")
        return structs.replace(own.heard.body, fresh=False) if own and isinstance(own.heard.body, Alive) else None

    def _welcome(self, heard: Heard, now: Instant) -> list[Effect]:
        """Somebody just started: show ourselves, so that it can open what follows, and send all we know."""
        own = self._own_alive()
        if own is None or not self._responds(heard, "welcome") or not self._may_answer("welcome", heard.src, now):
            return []
        known = [entry for _, _, entry in self.facts.replica.entries()]
        return [Spread(own), *self._deltas(heard.src, heard.life, self._round, known)]

    def _meet(self, heard: Heard, now: Instant) -> list[Effect]:
        """Somebody is there that we did not know, and it is not new: a partition has healed. Compare with it."""
        own = self._own_alive()
        if own is None or not self._responds(heard, "meet") or not self._may_answer("meet", heard.src, now):
            return []
        return [Spread(own), self._coarse(heard.src, heard.life)]

    def _tell(self, heard: Heard, standing: Entry) -> list[Effect]:
        if not self._responds(heard, "tell"):
            return []
        return self._deltas(heard.src, heard.life, self._round, [standing])

    def _correct(self, heard: Heard, body: Suspect | Confirm) -> list[Effect]:
        """Somebody accuses whom we know to be gone: it missed that."""
        standing = self.facts.replica.get(body.peer, "standing")
        if standing is None or heard.is_relayed or not isinstance(standing.heard.body, Dead | Left):
            return []
        return self._tell(heard, standing) if standing.version.life >= body.life else []

    def _may_answer(self, why: _Why, node: NodeId, now: Instant) -> bool:
        last = self._answered.pop((why, node), None)
        if last is not None and now.since_s(last) < ANSWER_INTERVAL_S:
            self._answered[why, node] = last
            return False
        self._answered[why, node] = now.mono_ns
        if len(self._answered) > limits.PEERS_MAX:
            del self._answered[next(iter(self._answered))]
        return True

    # --- digests

    def on_gap(self, now: Instant, node: NodeId | None = None) -> None:
        """A sign that we missed something, best known to `node`: compare soon."""
        if self._own_alive() is None:
            return
        if node is not None and node in self.facts.living:
            self._asked = node
        soon = now.after(self._settings.gap_s * self._rng.random())
        armed = self._timers.deadline("digest")
        if armed is None or soon < armed:
            self._timers.set("digest", soon)

    def on_digest(self, src: NodeId, life: int, body: Digest, now: Instant) -> list[Effect]:
        """What another has: tell it what differs, or send it what it lacks."""
        if self._own_alive() is None:
            return []
        if body.buckets:
            if len(body.buckets) != BUCKETS:
                return [Emit(PeerMisbehaved(src, "bad_digest"))]
            if not self._may_answer("digest", src, now):  # two that meet each other ask at once: both are answered
                return []
            differing = self.facts.replica.differing(body.buckets)
            self.compared["other" if differing else "same"] += 1
            return [self._fine(src, life, body.round, differing)] if differing else []
        if body.more:
            self._asked = src
            self.on_gap(now, src)
        ahead, behind = self.facts.replica.against(body)
        if any(entry.heard.src == self._me.id and isinstance(entry.heard.body, Capabilities) for entry in ahead):
            self._restate_soon(now)  # it buried us, and was not alone in that
        effects = self._deltas(src, life, body.round, ahead)
        for first in range(0, len(behind), limits.ROWS_PER_DIGEST_MAX):
            lacking = tuple(behind[first : first + limits.ROWS_PER_DIGEST_MAX])
            effects.append(Send(to=src, life=life, body=Digest(body.round, rows=lacking)))
        return effects

    def _coarse(self, to: NodeId, life: int) -> Send:
        self._round += 1
        self.compared["asked"] += 1
        return Send(to=to, life=life, body=Digest(self._round, buckets=self.facts.hashes()))

    def _fine(self, to: NodeId, life: int, round: int, differing: list[int]) -> Send:
        """Rows of as many of the differing buckets as fit, beginning anywhere, so that all have their turn."""
        first = chosen(self._rng, len(differing))
        scope: list[int] = []
        rows: list[Row] = []
        for bucket in differing[first:] + differing[:first]:
            of_bucket = list(self.facts.replica.rows(bucket))
            if scope and len(rows) + len(of_bucket) > limits.ROWS_PER_DIGEST_MAX:
                break
            scope.append(bucket)
            rows += of_bucket
        is_all = len(scope) == len(differing)
        return Send(to=to, life=life, body=Digest(round, scope=tuple(scope), rows=tuple(rows), more=not is_all))

    def _deltas(self, to: NodeId, life: int, round: int, entries: list[Entry]) -> list[Effect]:
        frames = [entry.heard.frame for entry in in_opening_order(entries) if entry.heard.src != to]
        return [Send(to=to, life=life, body=Delta(round, page)) for page in pages(frames)]

    # --- time

    def on_link(self, *, is_up: bool, now: Instant) -> list[Effect]:
        """While the link is down nothing is sent and nothing waits; when it is back we compare and restate."""
        self._is_down = not is_up
        if not is_up:
            self._repeats.clear()
        elif self._own_alive() is not None:
            self.on_gap(now)
            self._timers.set("restate", now.after(self._settings.gap_s * self._rng.random()))
        return []

    def on_tick(self, now: Instant) -> list[Effect]:
        """Whatever is due."""
        if self._is_down:
            return []
        effects: list[Effect] = [*self._repeats.due(now)]
        for purpose in self._timers.due(now.mono_ns):
            match purpose:
                case "digest":
                    effects += self._compare(now)
                case "turn":
                    effects += self._take_turn(now)
                case "beacon":
                    effects += self._show(now)
                case "restate":
                    effects += self._restate()
                case "sweep":
                    self._timers.set("sweep", now.after(SWEEP_S))
                    self.facts.sweep(now)
                case _:
                    assert_never(purpose)
        return effects

    def next_deadline(self) -> Mono | None:
        """When to call `on_tick`; never while the link is down."""
        return None if self._is_down else soonest((self._timers.next(), self._repeats.next()))

    def _take_turn(self, now: Instant) -> list[Effect]:
        """The first beacon: among many at any time of their round, for all may have started together."""
        if self._beacon_s() <= self._settings.beacon_s_min:
            return self._show(now)
        self._timers.set("beacon", now.after(self._beacon_s() * self._rng.random()))
        return []

    def _show(self, now: Instant) -> list[Effect]:
        """The beacon, and when it comes again."""
        self._timers.set("beacon", now.after(self._beacon_s() * (0.9 + 0.2 * self._rng.random())))
        own = self._own_alive()
        return [] if own is None else [Spread(own)]

    def _beacon_s(self) -> float:
        return max(self._settings.beacon_s_min, self._settings.beacon_s_per_node * (len(self.facts.living) + 1))

    def _compare(self, now: Instant) -> list[Effect]:
        self._timers.set("digest", now.after(self._settings.digest_interval_s * (0.5 + self._rng.random())))
        node, self._asked = self._asked, None
        if node not in self.facts.living:
            partners = self._partners()
            if not partners:
                return []
            node = partners[chosen(self._rng, len(partners))]
        return [self._coarse(node, self.facts.living[node])]

    def _partners(self) -> list[NodeId]:
        """Whom to compare with: our region; for a bridge every few times, or when it is alone there, other bridges."""
        regions = self._regions
        if regions.is_one:
            return list(self.facts.living)
        is_far = regions.is_bridge and (self._round % FAR_ROUNDS == 0 or not regions.near)
        pool = regions.bridges_but(regions.own) if is_far else regions.near
        return [node for node in pool if node in self.facts.living]

    def _restate_soon(self, now: Instant) -> None:
        if self._timers.deadline("restate") is None:
            self._timers.set("restate", now.after(self._settings.repeat_s))

    def _restate(self) -> list[Effect]:
        """What we can do, said anew: who buried us, rightly or not, has forgotten it."""
        effects: list[Effect] = []
        for slot in ("capabilities", "load"):
            own = self.facts.replica.get(self._me.id, slot)
            if own is not None and isinstance(own.heard.body, AnyFact):
                effects.append(Spread(own.heard.body))
        return effects

    # --- for readers

    @property
    def repeating(self) -> int:
        """Own broadcasts that wait for their repetition."""
        return len(self._repeats)
