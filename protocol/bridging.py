"""A bridge's work: what is news from other regions is carried into its own, sealed as it was.

Invariant: only news from another region is carried, into this node's own; what came carried goes no further. The
first bridge carries at once, the others what they did not hear carried by then. Facts are collected for a moment and go
together, once more after a while as any fact does, but for loads; a newer one replaces the older one that waits.
Neighbours: `regions` says who is a bridge, `gossip` what is news, `hearing` passes both on.
"""

from collections.abc import Iterable, Iterator

from protocol import limits
from protocol.broadcasts import pages
from protocol.effects import Carry, Effect, Tune
from protocol.primitives import Instant, Mono
from protocol.regions import Regions
from protocol.replica import Entry, Heard, Version, in_opening_order
from protocol.subjects import Subjects, region_of
from protocol.timers import Timers
from protocol.wire.gossip import Alive, Carried, Confirm, Dead, Load, Suspect

CARRY_S = 0.2  # from the first news to the message that carries it, with what came meanwhile
LOAD_S = 3.0  # the same, of how busy somebody is: it matters most near by
BEHIND_S = 0.3  # so much later each further bridge carries what it did not hear carried
AGAIN_S = 1.0  # later it is said once more, as each fact is by its source, for who lost it
NARROW_S = 10.0  # who is no bridge any more still hears all for so long: it may soon be one again
RESTATE_SHARE = 0.25  # of the time that the gone are remembered: as often an alive fact with no news is carried

Key = tuple[str, str]  # whom a fact is about, and which of the facts about it
AGAIN: Key = ("", "")  # the timer of what is said once more


class _Shelf:
    """Facts that wait, the oldest first; bounded in number and in bytes."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._bytes = 0

    def get(self, key: Key) -> Entry | None:
        return self._entries.get(key)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries)

    def put(self, key: Key, entry: Entry) -> list[Key]:
        """Returns those for which there is no room any more, the oldest."""
        former = self._entries.get(key)
        self._bytes += len(entry.heard.frame) - (0 if former is None else len(former.heard.frame))
        self._entries[key] = entry
        gone: list[Key] = []
        while len(self._entries) > limits.CARRIED_MAX or self._bytes > limits.CARRIED_BYTES_MAX:
            gone.append(next(iter(self._entries)))
            self.take(gone[-1])
        return gone

    def take(self, key: Key) -> Entry | None:
        entry = self._entries.pop(key, None)
        self._bytes -= 0 if entry is None else len(entry.heard.frame)
        return entry

    def take_all(self) -> list[Entry]:
        entries = list(self._entries.values())
        self._entries.clear()
        self._bytes = 0
        return entries


class Bridging:
    """What one node hears beyond its own region, and what of that it passes on."""

    def __init__(self, *, regions: Regions, subjects: Subjects, tombstone_s: float) -> None:
        self._regions = regions
        self._wide = subjects.facts()
        self._narrow = subjects.facts_of(regions.own)
        self._restate_ms = int(tombstone_s * 1_000 * RESTATE_SHARE)
        self._waiting = _Shelf()
        self._again = _Shelf()  # was carried, and is once more
        self._timers: Timers[Key] = Timers()
        self._known: dict[Key, Version] = {}  # what was carried, by whomever, of facts that no replica keeps
        self._dated: dict[str, int] = {}  # by node: the date of its alive fact that was carried last
        self._is_wide = True  # a life begins as the only one that it knows of
        self._idle: Mono | None = None  # since when we hear all without being a bridge

    @property
    def hears(self) -> str:
        """Subscription: the facts that this node hears now."""
        return self._wide if self._is_wide else self._narrow

    def tune(self, now: Instant) -> list[Effect]:
        """Hear all when we are a bridge, our region alone when we have not been one for a while."""
        if self._regions.place >= 0:
            self._idle = None
            if self._is_wide:
                return []
            self._is_wide = True
            return [Tune(on=self._wide, off=self._narrow)]
        if not self._is_wide:
            return []
        if self._idle is None:
            self._idle = now.mono_ns
        if now.since_s(self._idle) < NARROW_S:
            return []
        self._is_wide, self._idle = False, None
        return [Tune(on=self._narrow, off=self._wide)]

    # --- what comes in

    def is_from_afar(self, heard: Heard) -> bool:
        """Was this fact said to another region?"""
        return region_of(heard.subject) != self._regions.own

    def on_news(self, heard: Heard, now: Instant) -> None:
        """A fact from another region that was news here and is believed: it waits to be carried, if that is ours."""
        kept = _place_of(heard)
        if kept is None or self._regions.place < 0 or not self._regions.near:
            return
        key, version = kept
        waiting = self._waiting.get(key)
        if not self._is_ours_to_hear(key, version, heard) or (waiting is not None and waiting.version > version):
            return
        if isinstance(heard.body, Dead) and waiting is not None and waiting.version == version:
            return  # another's proof of the same death
        self._date(heard)
        if waiting is None:
            wait_s = LOAD_S if isinstance(heard.body, Load) else CARRY_S
            self._timers.set(key, now.after(wait_s + BEHIND_S * self._regions.place))
        for gone in self._waiting.put(key, Entry(version, heard)):
            self._timers.cancel(gone)

    def _is_ours_to_hear(self, key: Key, version: Version, heard: Heard) -> bool:
        """A word against another is carried once; an accusation where the accused lives, who has to hear of it."""
        body = heard.body
        if not isinstance(body, Suspect | Confirm | Dead):
            return True
        if isinstance(body, Suspect | Confirm) and self._regions.is_far(body.peer):
            return False
        known = self._known.get(key)
        return known is None or known < version

    def on_beacon(self, heard: Heard, now: Instant) -> None:
        """A fact from another region that says nothing new: what is alive is carried at times, lest it grow old."""
        if not isinstance(heard.body, Alive):
            return
        last = self._dated.get(heard.src)
        if last is None:
            self._date(heard)
        elif heard.sent_ms - last >= self._restate_ms:
            self.on_news(heard, now)

    def _date(self, heard: Heard) -> None:
        if isinstance(heard.body, Alive):
            self._dated.pop(heard.src, None)
            self._dated[heard.src] = heard.sent_ms
            if len(self._dated) > limits.PEERS_MAX:
                del self._dated[next(iter(self._dated))]

    def on_carried(self, heard: Heard) -> None:
        """Another bridge of our region carried this, and it is believed here: we need not.

        Of two deaths of one version each has its own proof: the one that waits goes, unless it was carried itself.
        """
        kept = _place_of(heard)
        if kept is None:
            return
        key, version = kept
        waiting = self._waiting.get(key)
        if waiting is not None and _is_done_by(heard, version, waiting):
            self._drop(key)
        self._date(heard)
        self._note(key, version, heard)

    def _note(self, key: Key, version: Version, heard: Heard) -> None:
        if isinstance(heard.body, Suspect | Confirm | Dead):
            self._known.pop(key, None)
            self._known[key] = version
            if len(self._known) > limits.CARRIED_MAX:
                del self._known[next(iter(self._known))]

    def _drop(self, key: Key) -> None:
        self._waiting.take(key)
        self._timers.cancel(key)

    # --- time

    def on_link(self, *, is_up: bool) -> None:
        """What waits is old when the link is back, and digests mend what was missed."""
        if not is_up:
            self._forget_all()

    def on_tick(self, now: Instant) -> list[Effect]:
        """Carry what is due, and what waits beside it when nobody carries before us."""
        due = self._timers.due(now.mono_ns)
        if not due:
            return []
        if self._regions.place < 0:
            self._forget_all()
            return []
        effects: list[Effect] = []
        if AGAIN in due:
            due.remove(AGAIN)
            effects = _carry(self._again.take_all())
        entries = [entry for key in self._with_alike(due) if (entry := self._waiting.take(key)) is not None]
        for entry in entries:
            self._keep_again(entry, now)
        return [*effects, *_carry(entries)]

    def _with_alike(self, due: list[Key]) -> list[Key]:
        """What is due; for the first bridge with all that waits of the same haste, which then needs no message more."""
        if not due or self._regions.place > 0:
            return due
        hastes, known = {_is_load(key) for key in due}, set(due)
        beside = [key for key in self._waiting if _is_load(key) in hastes and key not in known]
        for key in beside:
            self._timers.cancel(key)
        return due + beside

    def _keep_again(self, entry: Entry, now: Instant) -> None:
        kept = _place_of(entry.heard)
        if kept is None:
            return
        key, version = kept
        self._note(key, version, entry.heard)
        if _is_load(key):  # a newer one follows
            return
        if self._timers.deadline(AGAIN) is None:
            self._timers.set(AGAIN, now.after(AGAIN_S))
        self._again.put(key, entry)

    def _forget_all(self) -> None:
        self._waiting, self._again = _Shelf(), _Shelf()
        self._timers = Timers()

    def next_deadline(self) -> Mono | None:
        """When to call `on_tick`."""
        return self._timers.next()


def _carry(entries: Iterable[Entry]) -> list[Effect]:
    frames = [entry.heard.frame for entry in in_opening_order(entries)]
    return [Carry(Carried(page)) for page in pages(frames)] if frames else []


def _is_load(key: Key) -> bool:
    return key[1] == "load"


def _is_done_by(carried: Heard, version: Version, waiting: Entry) -> bool:
    if isinstance(carried.body, Dead) and version == waiting.version:
        return carried.frame == waiting.heard.frame
    return waiting.version <= version


def _place_of(heard: Heard) -> tuple[Key, Version] | None:
    """Which fact this is, and which of two of them is newer."""
    body = heard.body
    if isinstance(body, Suspect | Confirm):
        kind = str(body.__struct_config__.tag)
        return (body.peer, f"{kind} {heard.src}"), Version(body.life, body.incarnation)
    return heard.place
