"""What can be done to the mesh: one small class a fault, each with a time to begin and to end.

Invariant: a fault can happen several times (`times`, `every_s`) and, when it is one of nodes, to one
after another (`step_s`); all of that is told here, so that `havoc` carries single deeds out.
Neighbours: `scenario` reads them, `flaws` says which cannot be, `havoc` carries them out.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from msgspec import Meta, Struct, structs

from simulations.agents import Seconds
from simulations.crowds import ALL, members, span
from simulations.links import Between, Share

OWNER, HOME = "owner", "home"  # of a task that runs elsewhere than at home
BIDDER = "bidder"  # who bid best, at the moment when the last bid is in and nothing is awarded yet
TAKER = "taker"  # who took a task that was reserved there, at the moment when its write stands
MOMENTS = (BIDDER, TAKER)  # roles that last an instant
ROLES = (OWNER, HOME, *MOMENTS)

Lie: TypeAlias = Literal["accuse", "bury", "inflate", "outbid", "ahead", "pose", "invent", "relay", "boast", "idle"]
Shape: TypeAlias = Literal["halves", "isolate", "ring", "bridge", "swizzle"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
OF_NODES = ("isolate", "bridge", "swizzle")  # shapes that `nodes` are named for
Lasting = Annotated[float, Meta(ge=0, le=172_800, description="0: for ever")]


class Timed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every fault can say: when it begins, how often, and how long after one beginning the next."""

    at_s: Seconds
    times: Annotated[int, Meta(ge=1, le=10_000)] = 1
    every_s: Seconds = 0.0
    is_drawn: ClassVar[bool] = True  # may a swarm draw it?


class OnNodes(Timed, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fault of `node`: one, a role, a span (`n3-n9`) or all; of several one follows `step_s` after another."""

    node: str
    step_s: Seconds = 0.0


class Join(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="join"):
    """Daemons that are not there from the beginning start."""

    for_s: ClassVar[float] = 0.0


class Crash(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="crash"):
    """A daemon and its agents die; a new life begins after `for_s`. The broker sees it after `noticed_s`.

    It finds its disk as it left it, or an old image of it (`old`), or nothing (`lost`).
    """

    for_s: Lasting = 0.0
    noticed_s: Seconds = 0.0
    disk: Literal["kept", "old", "lost"] = "kept"


class Leave(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="leave"):
    """A daemon is asked to stop, and comes back `for_s` after it was asked."""

    for_s: Lasting = 0.0


class Pause(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="pause"):
    """A daemon is stopped, as by SIGSTOP, and goes on; its agents never stop."""

    for_s: Seconds


class Starve(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="starve"):
    """A daemon reads each message so much late, in order; its timers are on time."""

    for_s: Lasting = 0.0
    late_s: tuple[Seconds, Seconds] = (0.5, 2.5)

    def __post_init__(self) -> None:
        """Raises ValueError when the least time is above the most, or it is never late."""
        if self.late_s[0] > self.late_s[1] or not self.late_s[1]:
            raise ValueError("late_s: the least and the most, which is not 0")


class Block(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="block"):
    """A daemon neither sends nor reads while its timers run; then it reads `per_s` of what waits a second."""

    for_s: Seconds
    per_s: Annotated[float, Meta(gt=0, le=1e9)] = 2_000.0


class Slow(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="slow"):
    """A daemon takes `cost_ms` for each input, and looks at its timers when nothing waits."""

    for_s: Lasting = 0.0
    cost_ms: Annotated[float, Meta(gt=0, le=60_000)] = 20.0


class Unlink(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="unlink"):
    """A daemon loses its connection to the broker."""

    for_s: Seconds


class Clock(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="clock"):
    """A host's wall clock is set ahead, or back, and goes wrong by `drift` seconds a second; then it is set right."""

    ahead_s: Annotated[float, Meta(ge=-1e9, le=1e9)] = 0.0
    drift: Annotated[float, Meta(ge=-0.5, le=0.5)] = 0.0
    for_s: Lasting = 0.0


class FullDisk(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="full-disk"):
    """A host's disk takes nothing more: what runs goes on, and no new life begins there."""

    for_s: Lasting = 0.0


class Partition(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="partition"):
    """Nodes that do not reach each other: those in different `groups`, who is in none is in the first; or in a `shape`:

    `halves` (where nothing else is said): the first half of all and the second; `isolate`: each of `nodes`
    alone; `ring`: each node reaches the nearest half of all, no two the same; `bridge`: two halves that only
    the first of `nodes` reaches both; `swizzle`: `nodes` are isolated one by one, and come back in another order.
    `nodes` are all unless told. The record stays with the node `record`; without one with the first group,
    or in reach of all. With `noticed_s` the brokers know after that time who is cut off, and say "no responders";
    without, messages vanish.
    """

    groups: tuple[tuple[str, ...], ...] | None = None
    shape: Shape | None = None  # halves, where no groups are named either
    nodes: tuple[str, ...] = (ALL,)
    record: str = ""
    for_s: Lasting = 0.0
    noticed_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when the shape lacks what it needs."""
        if self.shape == "swizzle" and not self.for_s:
            raise ValueError("for_s: a swizzle ends")


class OneWay(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="one-way"):
    """Messages from some nodes to others vanish; the other way they pass."""

    src: tuple[str, ...]
    dst: tuple[str, ...]
    for_s: Lasting = 0.0


class Links(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="links"):
    """Links between some nodes and others are otherwise for a while: what `link` does not say stays."""

    one: tuple[str, ...]
    link: dict[str, Any]
    other: tuple[str, ...] = (ALL,)
    way: Literal["both", "there"] = "both"
    for_s: Lasting = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError when `link` says what no link can be."""
        self.between()

    def between(self) -> Between:
        """These links."""
        return Between(self.one, self.other, self.link, self.way)


class Stall(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stall"):
    """The store does nothing for a while, and then all that it was asked."""

    for_s: Seconds


class LoseAcks(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="lose-acks"):
    """Writes take effect, and this share of them is not acknowledged."""

    for_s: Seconds
    share: Share = 1.0


class Outage(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="outage"):
    """The broker is gone, the record in it too; everybody knows at once, and is back soon after it."""

    for_s: Seconds


class Hold(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="hold"):
    """The broker stands still with all connections open, and then delivers all that it was given, in a burst."""

    for_s: Seconds


class StaleReads(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stale-reads"):
    """Reads of the store show, so often, what stood there `behind_s` ago; writes are judged by what stands there."""

    is_drawn = False
    for_s: Seconds
    share: Share = 1.0
    behind_s: Annotated[float, Meta(gt=0, le=600)] = 1.0


class Purge(Timed, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="purge"):
    """Somebody removes this share of all that stands in the record; or the whole of it (`bucket`), and revisions
    begin again. What had ended is gone for good; of what has not, whoever knows it puts it back.
    """

    is_drawn = False
    for_s: ClassVar[float] = 0.0
    shape: Literal["keys", "bucket"] = "keys"
    share: Share = 1.0


class Impostor(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="impostor"):
    """A daemon that is not there from the beginning starts under the name of another (`name`), or with its key
    and its name (`key`), as after a copy of its directory; it is gone at the end.
    """

    of: str
    shape: Literal["name", "key"] = "name"
    for_s: Lasting = 0.0


class Skew(OnNodes, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="skew"):
    """A daemon begins a new life as one of another version, and at the end one of this version.

    `newer`: each array that it sends has one more field at the end, and some frames are of a kind that is
    not known here; `older`: each lacks the newest of its optional fields.
    """

    is_drawn = False
    shape: Literal["newer", "older"]
    for_s: Lasting = 0.0


class Attack(OnNodes, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="attack"):
    """Somebody has the key of a daemon, which runs on, and with it tells lies of others, a round each `gap_s`:

    `accuse`: they are suspect, and dead by its own word; `bury`: they are dead, by what others once said of them
    and by accusations that it made itself in the names of others; `inflate`: they are suspect at the highest
    incarnation that may be; `outbid`: who says that it lives is suspect at once, one incarnation above; `ahead`:
    they are dead in a life to come; `pose`: what they would say, over its own signature; `invent`: nodes that
    nobody admitted; `relay`: all that was ever said, passed on as repair; `boast`: its own agents can do everything
    at once; `idle`: they begin whatever they are given, and never end it. `of`: of whom.
    """

    is_drawn = False
    shape: Lie
    of: str = ALL
    for_s: Annotated[float, Meta(gt=0, le=86_400)]
    gap_s: Annotated[float, Meta(ge=0.01, le=3_600)] = 0.5


class Stranger(Timed, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="stranger"):
    """Somebody without a key hears all and says something each `gap_s`: bytes that are no frames (`junk`), or frames
    that he heard `late_s` before, under their subjects (`replay`).
    """

    is_drawn = False
    shape: Literal["junk", "replay"]
    for_s: Annotated[float, Meta(gt=0, le=86_400)]
    gap_s: Annotated[float, Meta(ge=0.001, le=3_600)] = 0.05
    late_s: Seconds = 60.0


AnyOnNodes: TypeAlias = (
    Join | Crash | Leave | Pause | Starve | Block | Slow | Unlink | Clock | FullDisk | Impostor | Skew | Attack
)
AnyOnMesh: TypeAlias = Partition | OneWay | Links | Stall | LoseAcks | Outage | Hold | StaleReads | Purge | Stranger
Fault: TypeAlias = AnyOnNodes | AnyOnMesh


def names_in(fault: Fault) -> tuple[str, ...]:
    """Every node that a fault names, roles and "all" not among them; what names nobody stands as it is."""
    texts: tuple[str, ...] = ()
    if isinstance(fault, OnNodes):
        texts = () if fault.node in ROLES else (fault.node,)
        texts += (fault.of,) if isinstance(fault, Impostor | Attack) else ()
    elif isinstance(fault, Partition):
        texts = (
            *(name for group in fault.groups or () for name in group),
            *fault.nodes,
            *[fault.record] * bool(fault.record),
        )
    elif isinstance(fault, OneWay):
        texts = (*fault.src, *fault.dst)
    elif isinstance(fault, Links):
        texts = (*fault.one, *fault.other)
    return tuple(name for text in texts if text != ALL for name in span(text) or (text,))


def deeds(fault: Fault, names: tuple[str, ...]) -> Iterator[Fault]:
    """All that it is, one at a time: each happens once, and to one node if it is one of nodes."""
    for time in range(fault.times):
        at_s = fault.at_s + time * fault.every_s
        if isinstance(fault, OnNodes) and fault.node not in ROLES:
            for number, name in enumerate(members((fault.node,), names)):
                yield structs.replace(
                    fault, node=name, at_s=at_s + number * fault.step_s, times=1, every_s=0.0, step_s=0.0
                )
        else:
            yield structs.replace(fault, at_s=at_s, times=1, every_s=0.0)


def last_s(fault: Fault, names: tuple[str, ...]) -> float:
    """When the last of it begins or ends."""
    return max((deed.at_s + deed.for_s for deed in deeds(fault, names)), default=fault.at_s)


def late(faults: Iterable[Fault], names: tuple[str, ...]) -> set[str]:
    """Daemons that are not there from the beginning."""
    return {name for fault in faults if isinstance(fault, Join | Impostor) for name in members((fault.node,), names)}
