"""The asker's side of an auction: who is asked, how long bids are waited for, and who bid best.

Invariant: an auction closes once, within its window; what comes late, twice, unasked or from another
round changes nothing but the evidence. Neighbours: `node` brings what the ledger wants, and the ledger what closed.
"""

from msgspec import Struct

from protocol import bids, limits
from protocol.bids import Closed, Wanted
from protocol.effects import Effect, Emit, Send
from protocol.events import AuctionClosed, AuctionOpened, BidReceived
from protocol.performance import Lapses
from protocol.primitives import Instant, Mono, NodeId, Rng, chosen
from protocol.routing import Candidate
from protocol.timers import Timers
from protocol.view import View
from protocol.watched import TaskSettings
from protocol.wire.auction import Answered, Bid, Offer, Pass, Round

ASKED = 3  # the best known and two at random (tasks.md: one to exploit, two against herds)
ASK_ALL = 4  # when no more than this many could do it
ASKED_MAX = 32  # by a broadcast
WINDOW_S_MAX = 0.25  # whoever has not answered by then would be slow to take it, too
FRESH_S = 2.0  # bids are tried in their order for this long; then slots have changed hands
OPEN_MAX = 4_096  # auctions at once: a quarter of a second of a very busy node


class _Open(Struct):
    wanted: Wanted
    number: int
    began: Instant
    asked: dict[NodeId, int]  # and the life it was asked in
    best_ms: float
    answers: dict[NodeId, Answered] = {}
    unasked: dict[NodeId, Answered] = {}
    strays: int = 0


class Auction:
    """The auctions that are open, by number; a task has one at most."""

    def __init__(self, *, settings: TaskSettings, view: View, lapses: Lapses, rng: Rng) -> None:
        self._settings = settings
        self._score = bids.SCORES[settings.score]
        self._view = view
        self._lapses = lapses
        self._rng = rng
        self._open: dict[int, _Open] = {}
        self._of_task: dict[str, int] = {}
        self._closed: dict[int, str] = {}  # the last ones: their late answers are named
        self._timers: Timers[int] = Timers()
        self._number = 0
        self.strays = 0  # answers to no auction of ours

    def open(self, wanted: Wanted, now: Instant) -> tuple[list[Effect], Closed | None]:
        """Ask. It closes at once, without a bid, when there is nobody to ask or too much open."""
        former = self._of_task.pop(wanted.task, None)
        if former is not None:
            self._timers.cancel(former)
            del self._open[former]
        invited = self._invited(wanted)
        lives = {each.node: life for each in invited if (life := self._view.life_of(each.node)) is not None}
        self._number += 1
        best_ms = bids.best_possible(invited, price_ms=self._settings.price_ms, score=self._score)
        one = _Open(wanted, self._number, now, lives if len(self._open) < OPEN_MAX else {}, best_ms)
        self._open[one.number], self._of_task[wanted.task] = one, one.number
        if not one.asked:
            return self._close(one, now)
        self._timers.set(one.number, now.after(self._window_s(one)))
        offer = Offer(
            one.number, wanted.task, wanted.epoch, wanted.capability, wanted.input_bytes, max(0, wanted.deadline_ms)
        )
        opened = AuctionOpened(wanted.task, wanted.iid, wanted.epoch, wanted.gear, tuple(one.asked), wanted.gid)
        sends = [
            Send(to=node, life=life, body=offer, probe=one.number * ASKED_MAX + place, iid=wanted.iid, gid=wanted.gid)
            for place, (node, life) in enumerate(one.asked.items())
        ]
        return [Emit(opened), *sends], None

    def _invited(self, wanted: Wanted) -> list[Candidate]:
        """One agent a node: the best known, and two at random of the rest; all when they are few."""
        nodes: dict[NodeId, Candidate] = {}
        for candidate in wanted.candidates:
            nodes.setdefault(candidate.node, candidate)
        able = list(nodes.values())
        if wanted.gear == "broadcast" or len(able) <= ASK_ALL:
            return able[:ASKED_MAX]
        invited = [able.pop(0)]
        while len(invited) < ASKED:
            invited.append(able.pop(chosen(self._rng, len(able))))
        return invited

    def _window_s(self, one: _Open) -> float:
        farthest_s = max(self._view.round_trip_s(node) for node in one.asked)
        return min(max(4 * farthest_s, self._settings.bid_window_s_min), WINDOW_S_MAX)

    # --- answers

    def on_bid(self, sender: NodeId, body: Bid, now: Instant) -> tuple[list[Effect], Closed | None]:
        """Somebody would do it."""
        one = self._expecting(sender, body)
        if one is None:
            return [], None
        lapses = self._lapses.count(sender, now)
        wanted = one.wanted
        weights = {"usual_ms": wanted.usual_ms, "price_ms": self._settings.price_ms, "lapses": lapses}
        bid = bids.scored(sender, body, at_ms=bids.took_ms(one.began, now), **weights, score=self._score)
        one.answers[sender] = bid
        said = Emit(BidReceived(wanted.task, wanted.iid, wanted.epoch, sender, bid.agent, bid.score, wanted.gid))
        if len(one.answers) == len(one.asked) or bids.is_as_good_as_any(bid, one.best_ms):
            effects, closed = self._close(one, now)
            return [said, *effects], closed
        return [said], None

    def on_pass(self, sender: NodeId, body: Pass, now: Instant) -> tuple[list[Effect], Closed | None]:
        """Somebody would not."""
        one = self._expecting(sender, body)
        return ([], None) if one is None else self._nothing_from(one, sender, "pass", body.reason, now)

    def on_absent(self, probe: int, now: Instant) -> tuple[list[Effect], Closed | None]:
        """The broker says that nobody listens there."""
        one = self._open.get(probe // ASKED_MAX)
        if one is None:
            return [], None
        node = list(one.asked)[probe % ASKED_MAX]
        return ([], None) if node in one.answers else self._nothing_from(one, node, "absent", "", now)

    def _nothing_from(
        self, one: _Open, node: NodeId, said: str, reason: str, now: Instant
    ) -> tuple[list[Effect], Closed | None]:
        one.answers[node] = Answered(node, said, reason, bids.took_ms(one.began, now))
        return self._close(one, now) if len(one.answers) == len(one.asked) else ([], None)

    def _expecting(self, sender: NodeId, body: Bid | Pass) -> _Open | None:
        """The auction that waits for this answer; every other answer is counted, and named where there is a place."""
        one = self._open.get(body.auction)
        if one is None or (one.wanted.task, one.wanted.epoch) != (body.task, body.epoch):
            self.strays += 1
            return None
        if sender not in one.asked:
            one.strays += 1
            if len(one.unasked) < limits.ANSWERS_KEPT // 4:
                one.unasked[sender] = Answered(sender, "unasked")
            return None
        if sender in one.answers:
            one.strays += 1
            return None
        return one

    def is_late(self, body: Bid | Pass) -> bool:
        """True for an answer to an auction of ours that has closed: the record may still name it."""
        return self._closed.get(body.auction) == body.task

    # --- the end

    def on_tick(self, now: Instant) -> tuple[list[Effect], list[Closed]]:
        """Windows that are over."""
        effects: list[Effect] = []
        closed: list[Closed] = []
        for number in self._timers.due(now.mono_ns):
            said, end = self._close(self._open[number], now, unanswered="silent")
            effects += said
            closed.append(end)
        return effects, closed

    def next_deadline(self) -> Mono | None:
        """When the first window is over."""
        return self._timers.next()

    def _close(self, one: _Open, now: Instant, unanswered: str = "unheard") -> tuple[list[Effect], Closed]:
        wanted = one.wanted
        self._timers.cancel(one.number)
        del self._open[one.number], self._of_task[wanted.task]
        self._closed[one.number] = wanted.task
        if len(self._closed) > OPEN_MAX:
            self._closed.pop(next(iter(self._closed)))
        offered = [each for each in one.answers.values() if each.said == "bid"]
        best = bids.ranked(offered, self._rng)
        others = [each for each in one.answers.values() if each.said != "bid"]
        others += [Answered(node, unanswered) for node in one.asked if node not in one.answers]
        evidence = Round(
            epoch=wanted.epoch,
            gear=wanted.gear,
            why=wanted.why,
            at_ms=one.began.wall_ms,
            took_ms=bids.took_ms(one.began, now),
            asked=len(one.asked),
            answers=(*best, *others, *one.unasked.values())[: limits.ANSWERS_KEPT],
            strays=one.strays,
        )
        event = AuctionClosed(
            wanted.task, wanted.iid, wanted.epoch, best[0].node if best else "", len(best), evidence.took_ms, wanted.gid
        )
        order = tuple((each.node, each.agent) for each in best)
        return [Emit(event)], Closed(wanted.task, wanted.epoch, evidence, order, now.after(FRESH_S))
