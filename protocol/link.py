"""Is this node joined, detached or islanded? Found by a compare-and-set of its own key.

Invariant: neither the connection nor a health page says whether writes go through; only a write
does. Neighbours: `ledger`, `watch` and `guardian` are told whenever the answer changes.
"""

from typing import Annotated, assert_never

from msgspec import Meta, Struct

from protocol import ids, limits
from protocol.effects import Effect, Emit, Write
from protocol.events import RecordLost, StateChanged
from protocol.inputs import BUCKET_FULL, Lost, Unsent, Written
from protocol.primitives import Instant, Mono, WallMs
from protocol.replica import Me
from protocol.timers import Timers
from protocol.wire.task import Presence

KEEP_S = limits.DEADLINE_S_MAX + 366 * 86_400.0  # no record outlives its writer's admission: longest life, longest keep


class LinkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a node finds out that it cannot write."""

    beat_s: Annotated[float, Meta(ge=0.1, le=60, description="how often a node writes its own key")] = 2.0
    islanded_after_s: Annotated[
        float, Meta(ge=0.2, le=600, description="a write unanswered for this long means that the node is islanded")
    ] = 3.0


class Link:
    """The state of this node's way to the record: starting, joined, detached or islanded."""

    def __init__(self, *, me: Me, settings: LinkSettings) -> None:
        self._me = me
        self._settings = settings
        self._timers: Timers[str] = Timers()
        self._key = ids.presence_key(me.id)
        self._revision = me.seen  # what an earlier life wrote last: less is a record that was lost
        self._is_shown = False  # what stood in the record when this life came to it
        self._is_begun = False  # something of this life stands there
        self.outdone_by = 0  # a later life of ours that was found there instead: this one never writes
        self._beat = 0
        self._is_up = False
        self._is_writing = False
        self.state = "starting"

    @property
    def revision(self) -> int:
        """Of our own key, as it was seen last."""
        return self._revision

    @property
    def is_usable(self) -> bool:
        """True when writes go through, as far as we know."""
        return self.state == "joined"

    def on_link(self, *, is_up: bool, now: Instant) -> list[Effect]:
        """The connection came or went."""
        self._is_up = is_up
        if not is_up:
            self._timers.cancel("overdue")
            return self._become("detached", "no server answers")
        if self._is_writing:
            self._timers.set("overdue", now.after(self._settings.islanded_after_s))
            return []
        return self._write(now)

    def _write(self, now: Instant) -> list[Effect]:
        if self.outdone_by:
            return []
        self._is_writing = True
        self._beat += 1
        self._timers.set("overdue", now.after(self._settings.islanded_after_s))
        presence = Presence(self._me.life, self._beat, self._me.name, self._me.admission)
        expect = self._revision if self._is_shown else 0  # a life overwrites nothing that it was not shown
        return [Write(self._key, presence, expect=expect, keep_s=KEEP_S, urgent=True)]

    def on_outcome(self, outcome: Written | Lost | Unsent, now: Instant, *, stands: WallMs = 0) -> list[Effect]:
        """What became of our last write; `stands`: the life of ours whose beat is in its place, 0 when none is."""
        match outcome:
            case Written():
                return self.on_written(outcome.revision, now)
            case Lost():
                return self.on_lost(outcome.revision, now, stands=stands)
            case Unsent():
                return self.on_unsent(outcome.reason, now)
            case _:
                assert_never(outcome)

    def on_written(self, revision: int, now: Instant) -> list[Effect]:
        """Our key was written: so can others be."""
        was_lost: list[Effect] = [] if self._is_shown or not self._revision else [Emit(RecordLost(0))]
        self._is_writing, self._is_shown, self._is_begun = False, True, True
        self._revision = revision
        self._timers.cancel("overdue")
        self._timers.set("beat", now.after(self._settings.beat_s))
        return was_lost + (self._become("joined", "") if self._is_up else [])

    def on_lost(self, revision: int, now: Instant, *, stands: WallMs = 0) -> list[Effect]:
        """An earlier life's beat stands there, or a write of ours that was thought lost: go on from it.

        A later life's is left there when we have written nothing yet: nobody would listen to us beside it. Once we
        have, it is a twin's, and to outbid each other would have no end.
        """
        self._is_writing, self._is_shown = False, True
        if stands > self._me.life and not self._is_begun:
            self.outdone_by = stands
            self._timers.cancel("overdue")
        former, self._revision = self._revision, revision
        lost: list[Effect] = (
            [Emit(RecordLost(revision))] if revision < former else []
        )  # revisions only rise in a bucket
        return [*lost, *self._write(now)]

    def on_unsent(self, reason: str, now: Instant) -> list[Effect]:
        """The write never left; or it was answered, and there was no room: that is another trouble than a cut."""
        self._is_writing = False
        self._timers.set("beat", now.after(self._settings.beat_s))
        if reason != BUCKET_FULL:
            return []
        self._timers.cancel("overdue")
        return self._become("joined", "") if self._is_up else []

    def on_tick(self, now: Instant) -> list[Effect]:
        """The next beat, or the end of our patience with the last."""
        effects: list[Effect] = []
        for purpose in self._timers.due(now.mono_ns):
            if not self._is_up:
                continue  # the next connection begins with a write
            if purpose == "overdue":
                effects += self._become("islanded", "writes are not answered, though the connection has not broken")
            elif not self._is_writing:
                effects += self._write(now)
        return effects

    def next_deadline(self) -> Mono | None:
        """When to look again."""
        return self._timers.next()

    def _become(self, state: str, reason: str) -> list[Effect]:
        if state == self.state:
            return []
        self.state = state
        return [Emit(StateChanged(state, reason))]
