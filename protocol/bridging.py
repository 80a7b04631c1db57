"""A bridge's work: what is news from other regions is carried into its own, sealed as it was.

Invariant: only news from another region is carried, into this node's own; what came carried goes no further. The
first bridge carries at once, the others what they did not hear carried by then. Facts are collected for a moment and go
together, once more after a while as any fact does, but for loads; a newer one replaces the older one that waits.
Neighbours: `regions` says who is a bridge, `gossip` what is news, `hearing` passes both on.
"""

from collections.abc import Iterable

from protocol import limits
from protocol.broadcasts import pages
from protocol.effects import Carry, Effect, Tune
from protocol.primitives import Instant, Mono
from protocol.regions import Regions
from protocol.replica import Entry, Heard, Version, in_opening_order
from protocol.subjects import Subjects, region_of
from protocol.timers import Timers
from protocol.wire.gossip import Alive, Carried, Confirm, Load, Suspect

CARRY_S = 0.2  # from the first news to the message that carries it, with what came meanwhile
LOAD_S = 3.0  # the same, of how busy somebody is: it matters most near by
BEHIND_S = 0.3  # so much later each further bridge carries what it did not hear carried
AGAIN_S = 1.0  # later it is said once more, as each fact is by its source, for who lost it
NARROW_S = 10.0  # who is no bridge any more still hears all for so long: it may soon be one again
RESTATE_SHARE = (
    0.25  # of the time that the gone are remembered: an alive fact that says nothing new is carried so often
)

Key = tuple[str, str]  # whom a fact is about, and which of the facts about it
AGAIN: Key = ("", "")  # the timer of what is said once more


class Bridging:
    """What one node hears beyond its own region, and what of that it passes on."""

    def __init__(self, *, regions: Regions, subjects: Subjects, tombstone_s: float) -> None:
        self._regions = regions
        self._wide = subjects.facts()
        self._narrow = subjects.facts_of(regions.own)
        self._restate_ms = int(tombstone_s * 1_000 * RESTATE_SHARE)
        self._waiting: dict[Key, Entry] = {}
        self._again: dict[Key, Entry] = {}  # was carried, and is once more
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
        """A fact from another region that was news here: it waits to be carried, if that is ours to do."""
        kept = _place_of(heard)
        if kept is None or self._regions.place < 0 or not self._regions.near:
            return
        key, version = kept
        if isinstance(heard.body, Suspect | Confirm) and not self._is_ours_to_hear(key, version, heard.body):
            return
        if isinstance(heard.body, Alive):
            self._dated[heard.src] = heard.sent_ms
        is_first = key not in self._waiting
        self._waiting[key] = Entry(version, heard)
        if is_first:
            wait_s = LOAD_S if isinstance(heard.body, Load) else CARRY_S
            self._timers.set(key, now.after(wait_s + BEHIND_S * self._regions.place))
        if len(self._waiting) > limits.CARRIED_MAX:
            self._drop(next(iter(self._waiting)))

    def _is_ours_to_hear(self, key: Key, version: Version, body: Suspect | Confirm) -> bool:
        """An accusation matters where the accused lives, who has to hear of it, and is carried there once."""
        known = self._known.get(key)
        return not self._regions.is_far(body.peer) and (known is None or known < version)

    def on_beacon(self, heard: Heard, now: Instant) -> None:
        """A fact from another region that says nothing new: what is alive is carried at times, lest it grow old."""
        if not isinstance(heard.body, Alive):
            return
        last = self._dated.setdefault(heard.src, heard.sent_ms)
        if heard.sent_ms - last >= self._restate_ms:
            self.on_news(heard, now)
        if len(self._dated) > limits.PEERS_MAX:
            del self._dated[next(iter(self._dated))]

    def on_carried(self, heard: Heard) -> None:
        """Another bridge of our region carried this: we need not."""
        kept = _place_of(heard)
        if kept is None:
            return
        key, version = kept
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.version <= version:
            self._drop(key)
        if isinstance(heard.body, Alive):
            self._dated[heard.src] = heard.sent_ms
        self._note(key, version, heard)

    def _note(self, key: Key, version: Version, heard: Heard) -> None:
        if isinstance(heard.body, Suspect | Confirm):
            self._known.pop(key, None)
            self._known[key] = version
            if len(self._known) > limits.CARRIED_MAX:
                del self._known[next(iter(self._known))]

    def _drop(self, key: Key) -> None:
        self._waiting.pop(key, None)
        self._timers.cancel(key)

    # --- time

    def on_link(self, is_up: bool) -> None:
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
            effects = _carry(self._again.values())
            self._again.clear()
        entries = [self._waiting.pop(key) for key in self._with_alike(due)]
        for entry in entries:
            self._keep_again(entry, now)
        return [*effects, *_carry(entries)]

    def _with_alike(self, due: list[Key]) -> list[Key]:
        """What is due; for the first bridge with all that waits of the same haste, which then needs no message more."""
        if not due or self._regions.place > 0:
            return due
        hastes, known = {_is_load(self._waiting[key]) for key in due}, set(due)
        beside = [key for key, entry in self._waiting.items() if _is_load(entry) in hastes and key not in known]
        for key in beside:
            self._timers.cancel(key)
        return due + beside

    def _keep_again(self, entry: Entry, now: Instant) -> None:
        kept = _place_of(entry.heard)
        if kept is None:
            return
        key, version = kept
        self._note(key, version, entry.heard)
        if _is_load(entry):  # a newer one follows
            return
        if not self._again:
            self._timers.set(AGAIN, now.after(AGAIN_S))
        self._again[key] = entry
        if len(self._again) > limits.CARRIED_MAX:
            del self._again[next(iter(self._again))]

    def _forget_all(self) -> None:
        self._waiting.clear()
        self._again.clear()
        self._timers = Timers()

    def next_deadline(self) -> Mono | None:
        """When to call `on_tick`."""
        return self._timers.next()


def _carry(entries: Iterable[Entry]) -> list[Effect]:
    frames = [entry.heard.frame for entry in in_opening_order(entries)]
    return [Carry(Carried(page)) for page in pages(frames)] if frames else []


def _is_load(entry: Entry) -> bool:
    return isinstance(entry.heard.body, Load)


def _place_of(heard: Heard) -> tuple[Key, Version] | None:
    """Which fact this is, and which of two of them is newer."""
    body = heard.body
    if isinstance(body, Suspect | Confirm):
        kind = str(body.__struct_config__.tag)
        return (body.peer, f"{kind} {heard.src}"), Version(body.life, body.incarnation)
    return heard.place
