"""Auctions: who is asked, when they close, and answers that come late, twice, unasked or from elsewhere."""

from random import Random
from typing import Any

from msgspec import structs

from protocol.auction import ASKED, FRESH_S, OPEN_MAX, WINDOW_S_MAX, Auction
from protocol.bids import Closed, Wanted
from protocol.effects import Effect, Send
from protocol.events import AuctionClosed, AuctionOpened, BidReceived
from protocol.performance import Lapses
from protocol.routing import Candidate
from protocol.wire.auction import Bid, Offer, Pass
from tests.protocol.conversation import WALL_MS, instant
from tests.protocol.work import ECHO, SETTINGS, B, C, D, Mesh, bodies, said

E = "e" * 32
TASK = "t" * 26
NOW = instant(1.0)
SOON = instant(1.01)


class Room:
    """One auction, and what came of it."""

    def __init__(self, *nodes: str, gear: str = "bids", **claims: Any) -> None:
        self.lapses = Lapses()
        self.auction = Auction(settings=SETTINGS, view=Mesh({}), lapses=self.lapses, rng=Random(7))
        able = tuple(Candidate(node, "echo", 1, 1, 0.0, **claims) for node in nodes)
        self.wanted = Wanted(TASK, 1, ECHO, gear, "asked for", 3, WALL_MS + 60_000, able)
        self.effects, self.closed = self.auction.open(self.wanted, NOW)
        self.probes = {each.to: each.probe for each in self.effects if isinstance(each, Send)}
        self.offers = bodies(self.effects, Offer)

    def bid(self, node: str, **fields: Any) -> Bid:
        """A bid of this node, as it should be."""
        del node
        number = self.offers[0].auction if self.offers else 1
        return structs.replace(Bid(number, TASK, 1, "echo", 1, 0, 100, 0, 0.0, 0.0, 0.0, 0.0), **fields)

    def hears(self, node: str, body: Bid | Pass | None = None, **fields: Any) -> list[Effect]:
        """It arrives; `closed` keeps what came of it."""
        body = self.bid(node, **fields) if body is None else body
        if isinstance(body, Bid):
            effects, closed = self.auction.on_bid(node, body, SOON)
        else:
            effects, closed = self.auction.on_pass(node, body, SOON)
        self.closed = closed or self.closed
        return effects

    @property
    def end(self) -> Closed:
        """It has closed."""
        assert self.closed is not None
        return self.closed

    def told(self) -> list[tuple[str, str]]:
        """Who said what, as the evidence has it."""
        return [(each.node, each.said) for each in self.end.round.answers]


def _passes(room: Room, reason: str = "busy") -> Pass:
    return Pass(room.offers[0].auction, TASK, 1, reason)


def test_everybody_is_asked_when_few_could_do_it_and_three_when_many_could() -> None:
    assert set(Room(B, C, D, E).probes) == {B, C, D, E}
    many = [f"n{number}" for number in range(40)]
    assert len(Room(*many).probes) == ASKED
    assert "n0" in Room(*many).probes, "the best known is one of them"
    assert len(Room(*many, gear="broadcast").probes) == 32


def test_two_agents_of_one_node_are_one_who_is_asked() -> None:
    assert len(Room(B, B, C).offers) == 2


def test_it_closes_when_all_have_answered_and_the_lowest_score_is_first() -> None:
    room = Room(B, C, D)
    assert said(room.effects, AuctionOpened)[0].asked == (B, C, D)
    assert said(room.hears(B, latency_ms=300), BidReceived)[0].bidder == B
    room.hears(C, latency_ms=100)
    assert room.closed is None
    effects = room.hears(D, _passes(room))
    assert [each.best for each in said(effects, AuctionClosed)] == [C]
    assert room.end.ranked == ((C, "echo"), (B, "echo"))
    assert room.told() == [(C, "bid"), (B, "bid"), (D, "pass")]
    assert (room.end.round.asked, room.end.round.answers[2].reason) == (3, "busy")
    assert room.end.fresh_until == SOON.after(FRESH_S)


def test_it_closes_at_its_deadline_with_whoever_answered() -> None:
    room = Room(B, C)
    room.hears(B)
    deadline = room.auction.next_deadline()
    assert deadline == NOW.after(SETTINGS.bid_window_s_min)
    effects, (closed,) = room.auction.on_tick(instant(1.0 + WINDOW_S_MAX))
    room.closed = closed
    assert room.told() == [(B, "bid"), (C, "silent")]
    assert room.auction.next_deadline() is None
    assert said(effects, AuctionClosed)


def test_a_bid_as_good_as_any_can_be_ends_it() -> None:
    room = Room(B, C, D, latency_ms=100)
    room.hears(B, latency_ms=105)
    assert room.end.ranked == ((B, "echo"),)
    assert room.told() == [(B, "bid"), (C, "unheard"), (D, "unheard")]


def test_nobody_is_as_good_as_any_where_somebody_claims_nothing() -> None:
    room = Room(B, C, D)
    room.hears(B, latency_ms=0)
    assert room.closed is None


def test_who_is_not_there_is_not_waited_for() -> None:
    room = Room(B, C)
    room.hears(B)
    probe = room.probes[C]
    assert probe is not None
    _, room.closed = room.auction.on_absent(probe, SOON)
    assert room.told() == [(B, "bid"), (C, "absent")]
    assert room.auction.on_absent(probe, SOON) == ([], None)


def test_bids_twice_or_unasked_are_counted_and_change_nothing() -> None:
    room = Room(B, C)
    room.hears(B, latency_ms=500)
    room.hears(B, latency_ms=1)
    room.hears(E, latency_ms=1)
    room.hears(C, latency_ms=100)
    assert room.end.ranked == ((C, "echo"), (B, "echo"))
    assert room.told() == [(C, "bid"), (B, "bid"), (E, "unasked")]
    assert room.end.round.strays == 2


def test_bids_for_another_auction_epoch_or_task_are_counted_and_change_nothing() -> None:
    room = Room(B, C)
    for wrong in ({"auction": 99}, {"epoch": 2}, {"task": "other"}):
        assert room.hears(B, **wrong) == []
    assert room.auction.strays == 3
    room.hears(B)
    room.hears(C)
    assert room.end.round.strays == 0


def test_a_bid_after_the_end_is_known_as_late() -> None:
    room = Room(B, C)
    bid = room.bid(C)
    assert not room.auction.is_late(bid)
    room.auction.on_tick(instant(2.0))
    assert room.auction.is_late(bid)
    assert room.hears(C, bid) == []
    assert not room.auction.is_late(structs.replace(bid, task="other"))


def test_who_let_leases_lapse_is_ranked_behind() -> None:
    room = Room(B, C)
    room.lapses.add(B, NOW)
    room.hears(B, latency_ms=1)
    room.hears(C, latency_ms=500)
    assert room.end.ranked[0][0] == C
    assert room.end.round.answers[1].lapses_ms > 990.0


def test_with_nobody_to_ask_it_is_over_at_once() -> None:
    room = Room()
    assert room.end.ranked == ()
    assert room.auction.next_deadline() is None


def test_a_task_has_one_auction_at_a_time() -> None:
    room = Room(B, C)
    first = room.bid(B)
    effects, closed = room.auction.open(room.wanted, SOON)
    assert closed is None
    assert room.hears(B, first) == []
    room.offers = bodies(effects, Offer)
    room.hears(B)
    room.hears(C)
    assert len(room.end.ranked) == 2


def test_too_many_at_once_are_over_at_once_and_without_a_question() -> None:
    room = Room(B, C)
    for number in range(OPEN_MAX - 1):
        room.auction.open(structs.replace(room.wanted, task=f"t{number}"), NOW)
    effects, closed = room.auction.open(structs.replace(room.wanted, task="one-more"), NOW)
    assert closed is not None
    assert bodies(effects, Offer) == []
