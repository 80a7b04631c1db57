"""What one link is like, and what it does to each message.

Invariant: a link has dice of its own for each purpose, and a message moves those for loss and for
delay in the same way whatever becomes of it, so that what ails a link for a while moves nothing
that follows. Neighbours: `network` keeps one `Line` for each pair; `scenario` and `faults` say how.
"""

from random import Random
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from protocol import limits
from protocol.primitives import NS_PER_S
from protocol.wire.kinds import KINDS
from simulations.chance import Chance, Delay
from simulations.crowds import members
from simulations.wording import meant

BODIES = frozenset(kind.body.__name__ for kind in KINDS.values())
BYTES_PER_KB = 1_000
LOSS_CLEAR_MAX = 0.25  # more is lost or of no use, or later than this: who is there may not be seen
DELAY_CLEAR_MS_MAX = 400.0
KB_S_CLEAR_MIN = 16.0  # ten times what goes over one in a settled mesh
BURST_CLEAR_MAX = 5.0  # more in a row are all that somebody asks, and again

Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Manner(Struct, frozen=True, forbid_unknown_fields=True):
    """How messages travel: delay one way, shares of all messages, and how much has room.

    `burst`: so many are lost in a row, on average; `replay`: come a second time `replay_s` later;
    `corrupt`: one bit; `truncate`: the end is missing; `oversize`: more than any frame may have;
    `kb_s` (0: no bound) with `queue_kb` waiting, more is lost. With `kinds` the shares are of
    messages of these kinds alone, as `Ping`.
    """

    delay: Delay = Delay()
    loss: Share = 0.0
    duplicate: Share = 0.0
    reorder: Share = 0.0
    burst: Annotated[float, Meta(ge=1, le=10_000)] = 1.0
    replay: Share = 0.0
    replay_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    corrupt: Share = 0.0
    truncate: Share = 0.0
    oversize: Share = 0.0
    kb_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    queue_kb: Annotated[float, Meta(gt=0, le=1e9)] = 64.0
    kinds: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a kind of message that does not exist, and for none at all."""
        if self.kinds is not None and not self.kinds:
            raise ValueError("kinds: there is none in it; name some, or leave it out for all")
        for kind in self.kinds or ():
            if kind not in BODIES:
                raise ValueError(f"kinds: there is no message {kind!r}; {meant(kind, sorted(BODIES))}")

    def misfit(self) -> str:
        """What in it cannot be at once, with the key."""
        if self.corrupt + self.truncate + self.oversize > 1.0:
            return "corrupt: with truncate and oversize it is more than all messages"
        if self.burst > 1.0 and self.burst / (self.burst + 1.0) < self.loss < 1.0:
            least = self.loss / (1.0 - self.loss)
            return f"burst: to lose {self.loss:g} of all takes {least:.3g} in a row, not {self.burst:g}"
        return ""

    @property
    def useless(self) -> float:
        """The share of messages that are lost, or arrive as what nobody can read."""
        return self.loss + self.corrupt + self.truncate + self.oversize

    @property
    def is_bad(self) -> bool:
        """May who is there not be seen over it?"""
        is_late = self.delay.p99_ms > DELAY_CLEAR_MS_MAX or 0 < self.kb_s < KB_S_CLEAR_MIN
        return self.useless > LOSS_CLEAR_MAX or is_late or (self.loss > 0 and self.burst > BURST_CLEAR_MAX)

    @property
    def is_rough(self) -> bool:
        """Is much more said because of it?"""
        return self.is_bad or self.duplicate + self.replay > LOSS_CLEAR_MAX

    @property
    def harms(self) -> bool:
        """Does a frame arrive otherwise than it was sent?"""
        return self.corrupt + self.truncate + self.oversize > 0


class Between(Struct, frozen=True, forbid_unknown_fields=True):
    """Links between some nodes and others that are not as the rest: what `link` does not say stays."""

    one: tuple[str, ...]
    other: tuple[str, ...]
    link: dict[str, Any]
    way: Literal["both", "there"] = "both"

    def __post_init__(self) -> None:
        """Raises ValueError when `link` says what no link can be."""
        if misfit := clash(Manner(), self.link):
            raise ValueError(f"link.{misfit}")

    def names(self) -> tuple[str, ...]:
        """All that are named, spans as they stand."""
        return (*self.one, *self.other)


class LinkModel(Manner, frozen=True, forbid_unknown_fields=True):
    """How messages travel between any two nodes, and between whom otherwise; the last that names a pair counts."""

    between: tuple[Between, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be at once."""
        super().__post_init__()
        if misfit := self.misfit():
            raise ValueError(misfit)


class Alteration:
    """A `Between` with its nodes looked up."""

    def __init__(self, between: Between, names: tuple[str, ...]) -> None:
        self._link = between.link
        self._one = frozenset(members(between.one, names))
        self._other = frozenset(members(between.other, names))
        self._is_both = between.way == "both"
        worst = _changed(Manner(), between.link)
        self.is_bad, self.is_rough = worst.is_bad, worst.is_rough
        self.until_ns: int | None = None

    def concerns(self, one: str, other: str) -> bool:
        """Are these two linked by it, one way at least?"""
        return (one in self._one and other in self._other) or (one in self._other and other in self._one)

    def of(self, manner: Manner, src: str, dst: str) -> Manner:
        """How this link is now, which was like `manner`."""
        is_there = src in self._one and dst in self._other
        is_back = self._is_both and src in self._other and dst in self._one
        return _changed(manner, self._link) if is_there or is_back else manner


class Line:
    """One link, one way: its dice, and what waits on it. In a crowd all links of one node share dice."""

    __slots__ = ("_chance", "_delay", "_fate", "_free_ns", "_is_bad", "_src", "_to", "last_ns", "manner")

    def __init__(self, chance: Chance, src: str, dst: str, *, is_crowd: bool = False) -> None:
        self.manner: Manner | None = None  # None: to be looked up
        self._chance = chance
        self._src = src
        self._to = "all" if is_crowd else dst
        self._fate = self.stream("link")
        self._delay = self.stream("delay")
        self.last_ns = 0  # when the last message that keeps its place arrives
        self._free_ns = 0
        self._is_bad = False  # in the middle of a burst of losses

    def stream(self, purpose: str) -> Random:
        """Its dice for one purpose."""
        return self._chance.stream(self._src, f"{purpose} to {self._to}")

    def arrivals(self, manner: Manner, *, now_ns: int, is_open: bool, kind: str, size: int) -> list[int]:
        """When the copies of one message arrive: none when it is lost, two when it is doubled."""
        fate, delay_ns = self._fate, manner.delay.draw_ns(self._delay)
        lost, doubled, reordered = fate.random(), fate.random(), fate.random()  # always three: dice stay in step
        is_meant = not manner.kinds or kind in manner.kinds
        is_lost = is_meant and self._is_lost(manner, lost)
        waits_ns = self._waits_ns(manner, now_ns, size)
        if is_lost or not is_open or waits_ns < 0:
            return []
        times = [now_ns + waits_ns + delay_ns]
        if not is_meant:
            reordered = 1.0
        else:
            if doubled < manner.duplicate:
                times.append(now_ns + manner.delay.draw_ns(self.stream("copy")))
            if manner.replay and self.stream("replay").random() < manner.replay:
                times.append(times[0] + int(manner.replay_s * NS_PER_S))
        if reordered >= manner.reorder:
            times[0] = self.last_ns = max(self.last_ns, times[0])
        return times

    def worn(self, manner: Manner, frame: bytes, kind: str) -> bytes:
        """The frame as it arrives."""
        if not manner.harms or (manner.kinds and kind not in manner.kinds):
            return frame
        dice = self.stream("harm")
        which, where = dice.random(), dice.random()
        if not frame:  # a stranger may say nothing at all, and of that no bit can be turned
            return frame
        if which < manner.corrupt:
            bit = int(where * len(frame) * 8)
            return frame[: bit // 8] + bytes((frame[bit // 8] ^ 1 << bit % 8,)) + frame[bit // 8 + 1 :]
        if which < manner.corrupt + manner.truncate:
            return frame[: int(where * len(frame))]
        if which < manner.corrupt + manner.truncate + manner.oversize:
            return frame + bytes(limits.FRAME_BYTES_MAX)
        return frame

    def _is_lost(self, manner: Manner, die: float) -> bool:
        if manner.burst <= 1.0 or not 0.0 < manner.loss < 1.0:
            return die < manner.loss
        begins = manner.loss / (manner.burst * (1.0 - manner.loss))  # so that the share of all stays the same
        self._is_bad = die >= 1.0 / manner.burst if self._is_bad else die < begins
        return self._is_bad

    def _waits_ns(self, manner: Manner, now_ns: int, size: int) -> int:
        """How long it waits for room; below 0 when there is none."""
        if not manner.kb_s:
            return 0
        ns_per_kb = NS_PER_S / manner.kb_s
        waits_ns = max(0, self._free_ns - now_ns)
        if waits_ns > manner.queue_kb * ns_per_kb:
            return -1
        takes_ns = int(size / BYTES_PER_KB * ns_per_kb)
        self._free_ns = now_ns + waits_ns + takes_ns
        return waits_ns + takes_ns


def clash(manner: Manner, link: dict[str, Any]) -> str:
    """What cannot be at once on a link like this that is by `link` otherwise. Raises ValueError for what never can."""
    return _changed(manner, link).misfit()


def _changed(manner: Manner, link: dict[str, Any]) -> Manner:
    fields = {field: getattr(manner, field) for field in Manner.__struct_fields__}
    try:
        return msgspec.convert({**fields, **link}, Manner)
    except msgspec.ValidationError as error:
        said, at, place = str(error).partition(" - at `$")
        if not at and said.partition(": ")[0] in Manner.__struct_fields__:
            raise ValueError(f"link.{said}") from None
        raise ValueError(f"link{place.rstrip('`') if at else ''}: {said}") from None
