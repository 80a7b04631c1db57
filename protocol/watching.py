"""The watcher's side put together: what watch and auction find out goes to the ledger, what it wants to them.

Invariant: it decides nothing; effects come back beside the machine they are of. Neighbours: `node` carries
them out; `duty` is the same for what operators want.
"""

from typing import Literal, TypeAlias

from protocol.auction import Auction
from protocol.bids import Closed
from protocol.effects import Effect
from protocol.ledger import Ledger
from protocol.primitives import Instant, Mono, NodeId
from protocol.watch import Lapse, Watch
from protocol.wire.auction import Bid, Pass
from protocol.wire.task import Answer

Said: TypeAlias = list[tuple[Literal["ledger", "watch", "auction"], list[Effect]]]


class Watching:
    """Ledger, watch and auction of one node."""

    def __init__(self, *, ledger: Ledger, watch: Watch, auction: Auction) -> None:
        self._ledger = ledger
        self._watch = watch
        self._auction = auction

    def on_answer(self, sender: NodeId, life: int, body: Answer, said: int, now: Instant) -> Said:
        """An owner says what it holds; `said` is the number of its frame."""
        self._watch.on_answer(sender, life, body, now)
        effects: list[Effect] = []
        for line in body.running:
            effects += self._ledger.on_running(sender, line, said, now)
        for name in body.ended:
            effects += self._ledger.on_ended(name)
        for name in body.unknown:
            effects += self._ledger.on_unknown(sender, name, now)
        return [("ledger", effects)]

    def on_bid(self, sender: NodeId, body: Bid | Pass, now: Instant) -> Said:
        """Somebody who was asked answers."""
        if self._auction.is_late(body):
            self._ledger.on_late(sender, body.task)
        if isinstance(body, Bid):
            return self._heard(*self._auction.on_bid(sender, body, now), now)
        return self._heard(*self._auction.on_pass(sender, body, now), now)

    def on_absent(self, origin: str, number: int, now: Instant) -> Said:
        """Nobody listens where an ask or an offer went."""
        if origin == "watch":
            return self._lapsed(self._watch.on_absent(number, now), now)
        return self._heard(*self._auction.on_absent(number, now), now)

    def on_tick(self, now: Instant) -> Said:
        """Asks that are due, owners that lapsed, auctions that are over."""
        asks, lapses = self._watch.on_tick(now)
        said: Said = [*self._lapsed(lapses, now), ("watch", list(asks))]
        effects, ended = self._auction.on_tick(now)
        said.append(("auction", effects))
        said += [("ledger", self._ledger.on_closed(closed, now)) for closed in ended]
        return [*said, ("ledger", self._ledger.on_tick(now))]

    def ask(self, now: Instant) -> Said:
        """Open the auctions that the ledger wants by now."""
        said: Said = []
        for wanted in self._ledger.take_wanted():
            said += self._heard(*self._auction.open(wanted, now), now)
        return said

    def next_deadline(self) -> Mono | None:
        """The first of all three."""
        deadlines = (self._ledger.next_deadline(), self._watch.next_deadline(), self._auction.next_deadline())
        return min((each for each in deadlines if each is not None), default=None)

    def _heard(self, effects: list[Effect], closed: Closed | None, now: Instant) -> Said:
        said: Said = [("auction", effects)]
        if closed is not None:
            said.append(("ledger", self._ledger.on_closed(closed, now)))
        return said

    def _lapsed(self, lapses: list[Lapse], now: Instant) -> Said:
        return [
            ("ledger", self._ledger.on_lapsed(each.task, evidence=each.evidence, silent_s=each.silent_s, now=now))
            for each in lapses
        ]
