"""The watcher's side put together: what watch, auction and guardian find goes to the ledger, what it wants to them.

Invariant: it decides nothing; effects come back beside the machine they are of. Neighbours: `node` carries
them out; `duty` is the same for what operators want.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from protocol import ids
from protocol.auction import Auction
from protocol.bids import Closed
from protocol.effects import Effect, Emit
from protocol.events import TasksAdopted
from protocol.guardian import Guardian, Homes
from protocol.inputs import Entry, Listed
from protocol.ledger import Ledger
from protocol.primitives import Instant, Mono, NodeId
from protocol.reading import Reader
from protocol.timers import Timers, soonest
from protocol.watch import Lapse, Watch
from protocol.wire.auction import Bid, Pass, Taken
from protocol.wire.task import Answer, Result

Said: TypeAlias = list[tuple[Literal["ledger", "watch", "auction"], list[Effect]]]


ADOPTED_S = 0.5  # tasks taken up within this are told of together


class Watching:
    """Ledger, watch, auction and guardian of one node."""

    def __init__(
        self,
        *,
        me: NodeId,
        ledger: Ledger,
        watch: Watch,
        auction: Auction,
        guardian: Guardian,
        reader: Reader,
        homes: Callable[[Instant], Homes],
    ) -> None:
        self._me = me
        self._ledger = ledger
        self._watch = watch
        self._auction = auction
        self._guardian = guardian
        self._reader = reader
        self._homes = homes
        self._adopted: dict[NodeId, int] = {}  # tasks taken up that nobody was told of yet, by their home
        self._timers: Timers[Literal["adopted"]] = Timers()

    def on_answer(self, sender: NodeId, life: int, body: Answer, said: int, now: Instant) -> Said:
        """An owner says what it holds; `said` is the number of its frame."""
        self._watch.on_answer(sender, life, body, now)
        effects: list[Effect] = []
        for line in body.running:
            effects += self._ledger.on_running(sender, line, said, now)
        for name in body.ended:
            watched = self._ledger.tasks.get(name)
            if watched is not None and watched.record.owner == sender:
                effects += self._ledger.on_ended(name)
        for name in body.unknown:
            effects += self._ledger.on_unknown(sender, name, now)
        return [("ledger", effects)]

    def on_told(self, sender: NodeId, body: Result | Taken, said: int, now: Instant) -> Said:
        """Its record has moved on, says a node: the owner that it names is believed, the rest is looked up.

        It is a message: the end is remembered as one that stands only when whoever may commit it says so.
        """
        record = self._reader.read(ids.task_key(body.task), body.record, now).record
        watched = self._ledger.tasks.get(body.task)
        if record is None or watched is None or record.owner != sender or not watched.is_same_work(record):
            return [("ledger", self._ledger.on_ended(body.task))]
        if isinstance(body, Taken):
            return [("ledger", self._ledger.on_taken(sender, body, record, now))]
        if watched.is_awarded_to(sender, record.epoch) and body.revision > watched.revision:
            self._reader.on_told(record, body.record)
        return [("ledger", self._ledger.on_result(body, record, said, now))]

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

    def on_listed(self, listed: Listed, now: Instant) -> Said:
        """A page of a listing: what is ours is taken up, what we know is confirmed, what is another's let go."""
        self._guardian.on_listed(listed.partitions, failed=bool(listed.failed), now=now)
        if not listed.entries:
            return []
        homes = self._homes(now)
        effects: list[Effect] = []
        unseen = {
            entry.key for entry in self._guardian.unseen(listed.entries, homes, now, self._ledger.tasks.revision_of)
        }
        for entry in listed.entries:
            if entry.key in unseen:
                effects += self._found(entry, homes, now)
            elif ids.is_task_key(entry.key):
                effects += self._confirmed(ids.task_of(entry.key), homes, now)
        return [("ledger", effects)]

    def _confirmed(self, task: str, homes: Homes, now: Instant) -> list[Effect]:
        known = self._ledger.confirm(task, now)
        is_anothers = known is not None and self._guardian.is_anothers(known, homes)
        return self._ledger.tasks.leave((task,), now) if is_anothers else []

    def _found(self, entry: Entry, homes: Homes, now: Instant) -> list[Effect]:
        stands = self._reader.read(entry.key, entry.frame, now, revision=entry.revision)
        record = stands.record
        if record is not None and self._guardian.is_ours(record, homes, now, revision=entry.revision):
            if not self._ledger.watches(record.id):
                self._adopted[record.home] = self._adopted.get(record.home, 0) + 1
                if not len(self._timers):
                    self._timers.set("adopted", now.after(ADOPTED_S))
            return self._ledger.adopt(record, entry.revision, entry.frame, now)
        if self._ledger.watches(ids.task_of(entry.key)):  # ended, or moved on, and nobody told us; or no record
            return self._ledger.on_found(entry.key, stands, "", now)
        return [] if record is None else self._ledger.on_elsewhere(record)

    def _take_adopted(self) -> list[Effect]:
        adopted, self._adopted = self._adopted, {}
        whys = {self._me: "restarted"}
        return [Emit(TasksAdopted(home, count, whys.get(home, "guardian"))) for home, count in adopted.items()]

    def on_tick(self, now: Instant) -> Said:
        """Asks that are due, owners that lapsed, auctions that are over."""
        asks, lapses = self._watch.on_tick(now)
        said: Said = [*self._lapsed(lapses, now), ("watch", list(asks))]
        effects, ended = self._auction.on_tick(now)
        said.append(("auction", effects))
        said += [("ledger", self._ledger.on_closed(closed, now)) for closed in ended]
        if self._timers.due(now.mono_ns):
            said.append(("ledger", self._take_adopted()))
        return [*said, ("ledger", self._ledger.on_tick(now))]

    def ask(self, now: Instant) -> Said:
        """Open the auctions that the ledger wants by now."""
        said: Said = []
        for wanted in self._ledger.take_wanted():
            said += self._heard(*self._auction.open(wanted, now), now)
        return said

    def next_deadline(self) -> Mono | None:
        """The first of all."""
        asked, offered = self._watch.next_deadline(), self._auction.next_deadline()
        return soonest((self._ledger.next_deadline(), asked, offered, self._timers.next()))

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
