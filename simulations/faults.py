"""What is done to the mesh: one small class a fault, each with a time to begin and to end.

Invariant: a fault says itself what it did (`Span`) and undoes exactly that. A fault on a role
("owner", "home") waits until somebody plays it. Neighbours: `scenario` reads them, `world` applies.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from protocol.events import AuctionClosed
from protocol.wire.task import TaskRecord, TaskState
from simulations.agents import Seconds
from simulations.host import Host
from simulations.links import Share
from simulations.network import RECORD, Network
from simulations.seen import Happened, Seen, Span, Stored
from simulations.store import Store
from simulations.timeline import Timeline, ns

OWNER, HOME = "owner", "home"  # of a task that runs elsewhere than at home
BIDDER = "bidder"  # who bid best, at the moment when the last bid is in and nothing is awarded yet
TAKER = "taker"  # who took a task that was reserved there, at the moment when its write stands
MOMENTS = (BIDDER, TAKER)  # roles that last an instant
ROLES = (OWNER, HOME, *MOMENTS)
ROLE_STEP_S = 0.02  # how often the world looks whether somebody plays a role

Lasting = Annotated[float, Meta(ge=0, le=86_400, description="0: for ever")]


class Crash(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="crash"):
    """A daemon and its agents die; a new life begins after `for_s`. The broker sees it after `noticed_s`."""

    at_s: Seconds
    node: str
    for_s: Lasting = 0.0
    noticed_s: Seconds = 0.0


class Leave(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="leave"):
    """A daemon is asked to stop, and comes back `for_s` after it was asked."""

    at_s: Seconds
    node: str
    for_s: Lasting = 0.0


class Pause(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="pause"):
    """A daemon is stopped, as by SIGSTOP, and goes on; its agents never stop."""

    at_s: Seconds
    node: str
    for_s: Seconds


class Unlink(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="unlink"):
    """A daemon loses its connection to the broker; `node` may be "all"."""

    at_s: Seconds
    node: str
    for_s: Seconds


class Partition(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="partition"):
    """Groups that do not reach each other; who is in none is in the first.

    The record stays with the node `record`. With `noticed_s` the brokers know after that time
    who is cut off, and say "no responders"; without, messages vanish.
    """

    at_s: Seconds
    groups: tuple[tuple[str, ...], ...]
    record: str
    for_s: Lasting = 0.0
    noticed_s: float | None = None


class OneWay(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="one-way"):
    """Messages from some nodes to others vanish; the other way they pass."""

    at_s: Seconds
    src: tuple[str, ...]
    dst: tuple[str, ...]
    for_s: Lasting = 0.0


class Stall(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stall"):
    """The store does nothing for a while, and then all that it was asked."""

    at_s: Seconds
    for_s: Seconds


class LoseAcks(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="lose-acks"):
    """Writes take effect, and this share of them is not acknowledged."""

    at_s: Seconds
    for_s: Seconds
    share: Share = 1.0


class Clock(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="clock"):
    """A host's wall clock is set ahead, or back, and goes wrong by `drift` seconds a second; then it is set right."""

    at_s: Seconds
    node: str
    ahead_s: Annotated[float, Meta(ge=-1e9, le=1e9)] = 0.0
    drift: Annotated[float, Meta(ge=-0.5, le=0.5)] = 0.0
    for_s: Lasting = 0.0


Fault: TypeAlias = Crash | Leave | Pause | Unlink | Partition | OneWay | Stall | LoseAcks | Clock
_ONE_NODE = (Crash, Leave, Pause, Unlink, Clock)


def names_in(fault: Fault) -> tuple[str, ...]:
    """Every node that a fault names, roles and "all" not among them."""
    match fault:
        case Crash() | Leave() | Pause() | Clock():
            return () if fault.node in ROLES else (fault.node,)
        case Unlink():
            return () if fault.node in (*ROLES, "all") else (fault.node,)
        case Partition():
            return (*(name for group in fault.groups for name in group), fault.record)
        case OneWay():
            return (*fault.src, *fault.dst)
        case Stall() | LoseAcks():
            return ()


class Faults:
    """Carries the faults of a scenario out."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        network: Network,
        store: Store,
        hosts: Mapping[str, Host],
        see: Callable[[Seen], None],
    ) -> None:
        self._timeline = timeline
        self._network = network
        self._store = store
        self._hosts = hosts
        self._see = see
        self._for_moment: dict[str, list[Crash | Leave | Pause | Unlink | Clock]] = {role: [] for role in MOMENTS}
        self.open = 0  # faults that have not begun, or will end and have not
        self.last_ns = 0  # when the last one began or ended

    def arrange(self, faults: tuple[Fault, ...]) -> None:
        """Plan them all."""
        for fault in faults:
            self.open += 1
            self._timeline.at(ns(fault.at_s), self._begin, fault)

    def _begin(self, fault: Fault) -> None:
        nodes = self._nodes_of(fault)
        if not nodes and isinstance(fault, _ONE_NODE):
            if fault.node in MOMENTS:
                self._for_moment[fault.node].append(fault)
            else:
                self._timeline.after(ns(ROLE_STEP_S), self._begin, fault)
            return
        self._carry_out(fault, nodes)

    def heed(self, seen: Seen) -> None:
        """Somebody may be playing the role of a moment that a fault waits for."""
        role, name = self._in_the_moment(seen)
        if name and self._for_moment[role] and self._hosts[name].is_well:
            self._timeline.after(0, self._carry_out, self._for_moment[role].pop(0), (name,))

    def _in_the_moment(self, seen: Seen) -> tuple[str, str]:
        match seen:
            case Happened(node=asker, event=AuctionClosed(best=best)) if best and best != self._hosts[asker].id:
                return BIDDER, next(host.name for host in self._hosts.values() if host.id == best)
            case Stored(node=taker, record=TaskRecord(state=TaskState.AWARDED, rounds=(*_, last)) as record):
                is_taken = last.gear == "late" and last.epoch == record.epoch
                return TAKER, taker if is_taken and record.home != self._hosts[taker].id else ""
            case _:
                return BIDDER, ""

    def _carry_out(self, fault: Fault, nodes: tuple[str, ...]) -> None:
        self._mark(fault, nodes, is_on=True)
        undo = self._apply(fault, nodes)
        if fault.for_s > 0:
            self._timeline.after(ns(fault.for_s), self._finish, fault, nodes, undo)
        else:
            self.open -= 1

    def _finish(self, fault: Fault, nodes: tuple[str, ...], undo: Callable[[], None]) -> None:
        self.open -= 1
        self._mark(fault, nodes, is_on=False)
        undo()

    def _mark(self, fault: Fault, nodes: tuple[str, ...], *, is_on: bool) -> None:
        self.last_ns = self._timeline.now_ns
        self._see(Span(str(fault.__struct_config__.tag), nodes, is_on))

    def _nodes_of(self, fault: Fault) -> tuple[str, ...]:
        match fault:
            case Crash() | Leave() | Pause() | Unlink() | Clock():
                if fault.node == "all":
                    return tuple(self._hosts)
                if fault.node not in ROLES:
                    return (fault.node,)
                if fault.node in MOMENTS:
                    return ()
                found = self._player(fault.node)
                return () if found is None else (found,)
            case _:
                return ()

    def _player(self, role: str) -> str | None:
        """The first node that runs a task of another home, or that home."""
        names = {host.id: host.name for host in self._hosts.values()}
        homes = {record.id: names[record.home] for record in self._store.records()}
        for host in self._hosts.values():
            if not host.is_well:
                continue
            for task in host.running():
                home = homes.get(task)
                if home is not None and home != host.name and self._hosts[home].is_well:
                    return host.name if role == OWNER else home
        return None

    def _apply(self, fault: Fault, nodes: tuple[str, ...]) -> Callable[[], None]:
        hosts = [self._hosts[name] for name in nodes]
        match fault:
            case Crash():
                hosts[0].crash(noticed_ns=ns(fault.noticed_s))
                return hosts[0].start
            case Leave():
                hosts[0].leave()
                return lambda: self._begin_life_when_ended(hosts[0])
            case Pause():
                hosts[0].pause()
                return hosts[0].resume
            case Unlink():
                for host in hosts:
                    host.unlink()
                return lambda: _relink(hosts)
            case Partition():
                return self._part(fault)
            case OneWay():
                pairs = frozenset((src, dst) for src in fault.src for dst in fault.dst)
                cut = self._network.cut(groups={}, pairs=pairs)
                return lambda: self._network.heal(cut)
            case Clock():
                hosts[0].set_clock(ahead_s=fault.ahead_s, drift=fault.drift)
                return hosts[0].set_clock
            case Stall():
                self._store.stall()
                return self._store.resume
            case LoseAcks():
                former, self._store.acks_lost = self._store.acks_lost, fault.share
                return lambda: setattr(self._store, "acks_lost", former)

    def _begin_life_when_ended(self, host: Host) -> None:
        if host.is_up:
            self._timeline.after(ns(ROLE_STEP_S), self._begin_life_when_ended, host)
        else:
            host.start()

    def _part(self, fault: Partition) -> Callable[[], None]:
        groups = {name: number for number, group in enumerate(fault.groups) for name in group}
        groups[RECORD] = groups.get(fault.record, 0)
        noticed_ns = None if fault.noticed_s is None else self._timeline.now_ns + ns(fault.noticed_s)
        cut = self._network.cut(groups=groups, noticed_ns=noticed_ns)
        return lambda: self._network.heal(cut)


def _relink(hosts: list[Host]) -> None:
    for host in hosts:
        host.relink()
