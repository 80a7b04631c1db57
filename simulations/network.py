"""Who reaches whom, and when a message arrives.

Invariant: messages of one pair stay in order unless the link reorders, as on one connection.
The store takes part as the place `RECORD`, so that a partition has a side with the record and one
without. Neighbours: `broker` and `store` ask; `faults` cut and heal.
"""

from random import Random
from typing import Annotated

from msgspec import Meta, Struct

from simulations.chance import Chance, Delay
from simulations.timeline import Timeline

RECORD = "record"

Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class LinkModel(Struct, frozen=True, forbid_unknown_fields=True):
    """How messages travel between two nodes: delay one way, and shares of all messages."""

    delay: Delay = Delay()
    loss: Share = 0.0
    duplicate: Share = 0.0
    reorder: Share = 0.0


class Cut(Struct):
    """A time in which some could not reach others. Mutable: it ends."""

    since_ns: int
    groups: dict[str, int]  # by place; places in different groups do not reach each other
    pairs: frozenset[tuple[str, str]]  # from, to: one way
    noticed_ns: int | None  # from then on brokers know of it, and say "no responders"
    until_ns: int | None = None

    def parts(self, src: str, dst: str) -> bool:
        """Does it keep `src` from reaching `dst`?"""
        if (src, dst) in self.pairs:
            return True
        return bool(self.groups) and self.groups.get(src, 0) != self.groups.get(dst, 0)


class Network:
    """All links."""

    def __init__(self, *, timeline: Timeline, chance: Chance, model: LinkModel) -> None:
        self._timeline = timeline
        self._chance = chance
        self._model = model
        self._cuts: list[Cut] = []  # every one there ever was: few
        self._dice: dict[tuple[str, str], tuple[Random, Random]] = {}  # of a link: what is lost, how long it takes
        self._last_ns: dict[tuple[str, str], int] = {}

    def cut(
        self, *, groups: dict[str, int], pairs: frozenset[tuple[str, str]] = frozenset(), noticed_ns: int | None = None
    ) -> Cut:
        """From now on these are apart; `heal` takes what is returned."""
        made = Cut(self._timeline.now_ns, groups, pairs, noticed_ns)
        self._cuts.append(made)
        return made

    def heal(self, cut: Cut) -> None:
        """They are together again."""
        cut.until_ns = self._timeline.now_ns

    def reaches(self, src: str, dst: str) -> bool:
        """Can a message go that way now?"""
        return not any(cut.until_ns is None and cut.parts(src, dst) for cut in self._cuts)

    def is_known_cut(self, src: str, dst: str) -> bool:
        """Do brokers know by now that it cannot?"""
        now_ns = self._timeline.now_ns
        return any(
            cut.until_ns is None and cut.noticed_ns is not None and cut.noticed_ns <= now_ns and cut.parts(src, dst)
            for cut in self._cuts
        )

    def clear_since_ns(self, one: str, other: str) -> int:
        """Since when they reach each other both ways; now, when they do not."""
        since_ns = 0
        for cut in self._cuts:
            if cut.parts(one, other) or cut.parts(other, one):
                since_ns = max(since_ns, self._timeline.now_ns if cut.until_ns is None else cut.until_ns)
        return since_ns

    def delay_ns(self, src: str, dst: str) -> int:
        """How long one message takes, when it is not lost."""
        return self._model.delay.draw_ns(self._rolls(src, dst)[1])

    def arrivals(self, src: str, dst: str) -> list[int]:
        """When the copies of one message arrive: none when it is lost, two when it is doubled."""
        rng, model = self._rolls(src, dst)[0], self._model
        lost, doubled, reordered = rng.random(), rng.random(), rng.random()  # always three: dice stay in step
        if lost < model.loss or not self.reaches(src, dst):
            return []
        times = [self._timeline.now_ns + self.delay_ns(src, dst) for _ in range(2 if doubled < model.duplicate else 1)]
        if reordered >= model.reorder:
            last_ns = max(self._last_ns.get((src, dst), 0), times[0])
            times[0] = self._last_ns[(src, dst)] = last_ns
        return times

    def _rolls(self, src: str, dst: str) -> tuple[Random, Random]:
        dice = self._dice.get((src, dst))
        if dice is None:
            stream = self._chance.stream
            dice = self._dice[(src, dst)] = stream(src, f"link to {dst}"), stream(src, f"delay to {dst}")
        return dice
