"""Who reaches whom, and when a message arrives.

Invariant: messages of one pair stay in order unless the link reorders, as on one connection; each
link has dice of its own for each purpose, and every message moves them alike. The store takes part
as the place `RECORD`, so that a partition has a side with the record and one without.
Neighbours: `links` says what a link is like, `broker` and `store` ask, `faults` cut and heal.
"""

from random import Random

from msgspec import Struct

from simulations.chance import Chance
from simulations.crowds import ALL
from simulations.links import Alteration, Between, Line, LinkModel, Manner
from simulations.timeline import Timeline

RECORD = "record"
CROWD = 150  # more nodes have so many pairs that dice for each, five kilobytes, have no room


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

    def __init__(self, *, timeline: Timeline, chance: Chance, model: LinkModel, names: tuple[str, ...] = ()) -> None:
        self._timeline = timeline
        self._chance = chance
        self._model = model
        self._names = names
        self._is_crowd = len(names) > CROWD
        self._alterations = [Alteration(between, names) for between in model.between]  # the last one counts
        self._bad = [each for each in self._alterations if each.is_bad]  # so bad that who is there may not be seen
        self._lines: dict[str, dict[str, Line]] = {}  # by source, then by destination
        self._cuts: list[Cut] = []  # every one there ever was
        self._open: list[Cut] = []  # those that are not healed

    # --- faults

    def cut(
        self, *, groups: dict[str, int], pairs: frozenset[tuple[str, str]] = frozenset(), noticed_ns: int | None = None
    ) -> Cut:
        """From now on these are apart; `heal` takes what is returned."""
        made = Cut(self._timeline.now_ns, groups, pairs, noticed_ns)
        self._cuts.append(made)
        self._open.append(made)
        return made

    def heal(self, cut: Cut) -> None:
        """They are together again."""
        cut.until_ns = self._timeline.now_ns
        self._open = [each for each in self._open if each is not cut]

    def darken(self) -> Alteration:
        """From now on who is there may not be seen, although all links are as they were; until `restore`."""
        made = self.alter(Between((ALL,), (ALL,), {}))
        self._bad.append(made)
        return made

    def alter(self, between: Between) -> Alteration:
        """From now on these links are otherwise; `restore` takes what is returned."""
        made = Alteration(between, self._names)
        self._alterations.append(made)
        if made.is_bad:
            self._bad.append(made)
        self._look_again()
        return made

    def restore(self, alteration: Alteration) -> None:
        """They are as before, and what is on its way over them arrives before anything that is said now."""
        ways = [(src, dst, line) for src, lines in self._lines.items() for dst, line in lines.items()]
        last_ns = (
            [line.last_ns for src, dst, line in ways if alteration.concerns(src, dst)] if alteration.is_bad else []
        )
        alteration.until_ns = max((self._timeline.now_ns, *last_ns))
        self._alterations = [each for each in self._alterations if each is not alteration]
        self._look_again()

    def _look_again(self) -> None:
        for lines in self._lines.values():
            for line in lines.values():
                line.manner = None

    # --- who reaches whom

    def reaches(self, src: str, dst: str) -> bool:
        """Can a message go that way now?"""
        return not any(cut.parts(src, dst) for cut in self._open)

    def is_known_cut(self, src: str, dst: str) -> bool:
        """Do brokers know by now that it cannot?"""
        now_ns = self._timeline.now_ns
        return any(
            cut.noticed_ns is not None and cut.noticed_ns <= now_ns and cut.parts(src, dst) for cut in self._open
        )

    def clear_since_ns(self, one: str, other: str) -> int:
        """Since when they reach each other both ways; now, when they do not."""
        now_ns = self._timeline.now_ns
        since_ns = now_ns if self._model.is_bad else self.uncut_since_ns(one, other)
        for alteration in self._bad:
            if alteration.concerns(one, other):
                since_ns = max(since_ns, now_ns if alteration.until_ns is None else alteration.until_ns)
        return since_ns

    def uncut_since_ns(self, one: str, other: str) -> int:
        """The same, however much is lost between them."""
        now_ns, since_ns = self._timeline.now_ns, 0
        for cut in self._cuts:
            if cut.parts(one, other) or cut.parts(other, one):
                since_ns = max(since_ns, now_ns if cut.until_ns is None else cut.until_ns)
        return since_ns

    @property
    def is_rough(self) -> bool:
        """Is so much lost, or doubled, that much more is said?"""
        return self._model.is_rough or any(alteration.is_rough for alteration in self._alterations)

    @property
    def round_trip_s(self) -> float:
        """How long a question and its answer take at most, as a rule, while no link is worse than usual."""
        return 2 * self._model.delay.p99_ms / 1_000

    @property
    def useless(self) -> float:
        """The share of messages that are of no use, while no link is worse than usual."""
        return self._model.useless

    # --- messages

    def dice(self, src: str, dst: str) -> Random:
        """Of the delays between a node and a place that is none."""
        return self._line(src, dst)[0].stream("delay")

    def arrivals(self, src: str, dst: str, frame: bytes = b"", *, kind: str = "") -> list[tuple[int, bytes]]:
        """When the copies of one frame arrive, each as it has become: none when it is lost, two when it is doubled."""
        line, manner = self._line(src, dst)
        is_open = not self._open or self.reaches(src, dst)
        times = line.arrivals(manner, now_ns=self._timeline.now_ns, is_open=is_open, kind=kind, size=len(frame))
        return [(when_ns, line.worn(manner, frame, kind)) for when_ns in times]

    def _line(self, src: str, dst: str) -> tuple[Line, Manner]:
        lines = self._lines.get(src)
        if lines is None:
            lines = self._lines[src] = {}
        line = lines.get(dst)
        if line is None:
            line = lines[dst] = Line(self._chance, src, dst, is_crowd=self._is_crowd)
        manner = line.manner
        if manner is None:
            manner = self._model
            for alteration in self._alterations:
                manner = alteration.of(manner, src, dst)
            line.manner = manner
        return line, manner
