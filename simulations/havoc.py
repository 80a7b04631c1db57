"""Carries the faults of a scenario out, each at its time, and undoes exactly that.

Invariant: a fault says itself what it did (`Span`). A fault on a role (`faults.ROLES`) waits until
somebody plays it. What is drawn for one fault is drawn from dice of its own, named by what it is,
so that taking another out moves nothing. Neighbours: `faults` says what there is, `world` arranges.
"""

from collections.abc import Callable, Mapping
from typing import assert_never

from msgspec import Struct

from protocol.events import AuctionClosed
from protocol.wire.task import TaskRecord, TaskState
from simulations import faults as what
from simulations.broker import Broker
from simulations.chance import Chance
from simulations.crowds import members
from simulations.faults import BIDDER, MOMENTS, OWNER, ROLES, TAKER, Fault
from simulations.host import Host
from simulations.network import RECORD, Network
from simulations.people import People
from simulations.seen import Happened, Seen, Sight, Span, Stored
from simulations.sides import apart, sides_of
from simulations.store import Store
from simulations.timeline import Timeline, ns

# What such a fault does it does once, however many there are of it: it lasts as long as any of them.
SHARED = (
    what.Crash
    | what.Leave
    | what.Pause
    | what.Starve
    | what.Block
    | what.Slow
    | what.Clock
    | what.FullDisk
    | what.Stall
    | what.LoseAcks
    | what.StaleReads
    | what.Outage
    | what.Hold
)
GRADED = what.Starve | what.Slow | what.Clock | what.LoseAcks | what.StaleReads  # the last of them says how much

ROLE_STEP_S = 0.02  # how often the world looks whether somebody plays a role

Undo = Callable[[], None]


class Deed(Struct, frozen=True):
    """A fault that has begun: whom it hits, the how-manieth it is, and since when."""

    fault: Fault
    name: str
    number: int
    since_ns: int


class Havoc:
    """What is done to one world."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        chance: Chance,
        network: Network,
        broker: Broker,
        store: Store,
        hosts: Mapping[str, Host],
        people: People,
        see: Callable[[Seen], None],
    ) -> None:
        self._timeline = timeline
        self._chance = chance
        self._network = network
        self._broker = broker
        self._store = store
        self._hosts = hosts
        self._people = people
        self._names = tuple(hosts)
        self._see = see
        self._for_moment: dict[str, list[what.AnyOnNodes]] = {role: [] for role in MOMENTS}
        self.open = 0  # faults that have not begun, or will end and have not
        self._begun = 0
        self._standing: dict[tuple[str, str], list[Deed]] = {}  # shared ones that have not ended, by kind and node
        self._undoing: dict[tuple[str, str], list[Undo]] = {}  # what to do when the last of them has
        self._waiting: dict[int, Fault] = {}  # those that have not begun
        self._absent: set[str] = set()  # daemons that are not there yet, or no more: they come back from nothing
        self.last_ns = 0  # when the last one began or ended

    def arrange(self, faults: tuple[Fault, ...]) -> None:
        """Plan them all."""
        if any(isinstance(fault, what.Attack) for fault in faults):
            self._people.listen()
        self._absent |= what.late(faults, self._names)
        for fault in faults:
            for deed in what.deeds(fault, self._names):
                for one in self._unravelled(deed):
                    self.open += 1
                    self._waiting[id(one)] = one
                    self._timeline.at(ns(one.at_s), self._begin, one)

    def _unravelled(self, fault: Fault) -> list[Fault]:
        """A swizzle is one isolation for each of its nodes, in drawn orders."""
        if not isinstance(fault, what.Partition) or fault.shape != "swizzle":
            return [fault]
        rng = self._chance.stream(f"swizzle of {' '.join(fault.nodes)} at {fault.at_s}", "order")
        leaving = list(members(fault.nodes, self._names))
        rng.shuffle(leaving)
        returning = [*leaving]
        rng.shuffle(returning)
        step_s = fault.for_s / 2 / len(leaving)
        return [
            what.Partition(
                at_s=fault.at_s + number * step_s,
                for_s=fault.for_s / 2 + (returning.index(name) + 1 - number) * step_s,
                shape="isolate",
                nodes=(name,),
                noticed_s=fault.noticed_s,
            )
            for number, name in enumerate(leaving)
        ]

    def _begin(self, fault: Fault) -> None:
        if isinstance(fault, what.OnNodes) and fault.node in MOMENTS:
            self._for_moment[fault.node].append(fault)
            return
        name = self._player(fault.node) if isinstance(fault, what.OnNodes) and fault.node in ROLES else ""
        if name is None:
            self._timeline.after(ns(ROLE_STEP_S), self._begin, fault)
        else:
            self._carry_out(fault, name or (fault.node if isinstance(fault, what.OnNodes) else ""))

    def missed(self) -> str:
        """What never began of all this, the first of it told; nothing when all has."""
        for fault in self._waiting.values():
            kind = str(fault.__struct_config__.tag)
            more = f", and {len(self._waiting) - 1} more" if len(self._waiting) > 1 else ""
            if isinstance(fault, what.OnNodes) and fault.node in ROLES and ns(fault.at_s) <= self._timeline.now_ns:
                return f"{kind} of {fault.node}, from {fault.at_s:g} s on, never began{more}: nobody played that role"
            return f"{kind} at {fault.at_s:g} s never began{more}: the run ended before"
        return ""

    def heed(self, seen: Seen) -> None:
        """Somebody may be playing the role of a moment that a fault waits for."""
        role, name = self._in_the_moment(seen)
        if name and self._for_moment[role] and self._hosts[name].is_well:
            self._timeline.after(0, self._carry_out, self._for_moment[role].pop(0), name)

    def _in_the_moment(self, seen: Seen) -> tuple[str, str]:
        match seen:
            case Happened(node=asker, event=AuctionClosed(best=best)) if best and best != self._hosts[asker].id:
                return BIDDER, next(host.name for host in self._hosts.values() if host.id == best)
            case Stored(node=taker, record=TaskRecord(state=TaskState.AWARDED, rounds=(*_, last)) as record):
                is_taken = last.gear == "late" and last.epoch == record.epoch
                return TAKER, taker if is_taken and record.home != self._hosts[taker].id else ""
            case _:
                return BIDDER, ""

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

    # --- one deed

    def _carry_out(self, fault: Fault, name: str) -> None:
        del self._waiting[id(fault)]
        self._begun += 1
        deed = Deed(fault, name, number=self._begun, since_ns=self._timeline.now_ns)
        self._mark(deed, is_on=True)
        undo = self._done(deed)
        if isinstance(fault, SHARED):
            self._standing.setdefault(_shared(fault, name), []).append(deed)
            self._undoing.setdefault(_shared(fault, name), []).append(undo)
        if fault.for_s > 0:
            self._timeline.after(ns(fault.for_s), self._finish, deed, undo)
        else:
            self.open -= 1

    def _finish(self, deed: Deed, undo: Undo) -> None:
        self.open -= 1
        self._mark(deed, is_on=False)
        if not isinstance(deed.fault, SHARED):
            undo()
            return
        shared = _shared(deed.fault, deed.name)
        standing = self._standing[shared]
        was_last = standing[-1] == deed
        standing.remove(deed)
        if not standing:
            for each in reversed(self._undoing.pop(shared)):
                each()
        elif was_last and isinstance(standing[-1].fault, GRADED):
            self._done(standing[-1])

    def _done(self, deed: Deed) -> Undo:
        fault = deed.fault
        if isinstance(fault, what.OnNodes):
            return self._on_host(fault, self._hosts[deed.name], since_ns=deed.since_ns)
        return self._on_mesh(fault)

    def _mark(self, deed: Deed, *, is_on: bool) -> None:
        self.last_ns = self._timeline.now_ns
        kind, nodes = str(deed.fault.__struct_config__.tag), (deed.name,) if deed.name else ()
        sides = sides_of(deed.fault, self._names) if is_on else ()
        self._see(Span(kind, nodes, is_on, deed.number, getattr(deed.fault, "shape", None) or "", sides))

    def _on_host(self, fault: what.AnyOnNodes, host: Host, *, since_ns: int) -> Undo:
        match fault:
            case what.Join():
                self._bring(host)
                return lambda: None
            case what.Crash():
                host.crash(noticed_ns=ns(fault.noticed_s))
                self._change_disk(host, fault.disk)
                return lambda: self._come_back(host)
            case what.Leave():
                host.leave()
                return lambda: self._come_back(host)
            case what.Pause():
                host.pause()
                return host.resume
            case what.Starve():
                host.starve(fault.late_s)
                return lambda: host.starve(None)
            case what.Block():
                host.block()
                return lambda: host.unblock(fault.per_s)
            case what.Slow():
                host.slow(fault.cost_ms)
                return lambda: host.slow(0.0)
            case what.Unlink():
                return self._keep_off(host)
            case what.Clock():
                self._set_clock(host, ahead_s=fault.ahead_s, drift=fault.drift, since_ns=since_ns)
                return lambda: self._set_clock(host)
            case what.FullDisk():
                host.disk.is_full = True
                return lambda: setattr(host.disk, "is_full", False)
            case what.Impostor():
                host.pose(known_as=fault.of, key_of=fault.of if fault.shape == "key" else host.name)
                self._hosts[fault.of].is_outlived = fault.shape == "key"
                self._bring(host)
                return lambda: self._unmask(host)
            case what.Skew():
                return self._skew(fault, host)
            case what.Attack():
                return self._people.attack(fault, host)
            case _:
                assert_never(fault)

    def _on_mesh(self, fault: what.AnyOnMesh) -> Undo:
        network, store = self._network, self._store
        match fault:
            case what.Partition():
                return self._part(fault)
            case what.OneWay():
                pairs = frozenset(
                    (src, dst) for src in members(fault.src, self._names) for dst in members(fault.dst, self._names)
                )
                cut = network.cut(groups={}, pairs=pairs)
                return lambda: network.heal(cut)
            case what.Links():
                altered = network.alter(fault.between())
                return lambda: network.restore(altered)
            case what.Stall():
                store.stall()
                return store.resume
            case what.LoseAcks():
                store.lose_acks(fault.share)
                return lambda: store.lose_acks(None)
            case what.Outage():
                return self._go_down()
            case what.Hold():
                dark = network.darken()
                self._broker.hold()
                return lambda: self._broker.release(lambda: network.restore(dark))
            case what.StaleReads():
                store.age(fault.share, ns(fault.behind_s))
                return lambda: store.age(0.0, 0)
            case what.Purge():
                store.purge(fault.share, is_anew=fault.shape == "bucket")
                return lambda: None
            case what.Stranger():
                return self._people.intrude(fault)
            case _:
                assert_never(fault)

    def _part(self, fault: what.Partition) -> Undo:
        groups, pairs = apart(fault, self._names)
        noticed_ns = None if fault.noticed_s is None else self._timeline.now_ns + ns(fault.noticed_s)
        cut = self._network.cut(groups=groups, pairs=pairs, noticed_ns=noticed_ns)
        return lambda: self._network.heal(cut)

    def _go_down(self) -> Undo:
        """The broker and the record: everybody is cut off from it, and from each other."""
        self._broker.is_down = True
        cut = self._network.cut(groups={RECORD: 1})
        for host in self._hosts.values():
            host.unlink()

        def back() -> None:
            self._broker.is_down = False
            self._network.heal(cut)
            for host in self._hosts.values():
                rng = self._chance.stream(host.name, f"reconnect at {self._timeline.now_ns}")
                self._timeline.after(self._broker.model.reconnect.draw_ns(rng), host.relink)

        return back

    def _keep_off(self, host: Host) -> Undo:
        """Its connection is lost, and no new one can be made, by this life or the next."""
        cut = self._network.cut(groups={}, pairs=frozenset(((host.name, RECORD), (RECORD, host.name))))
        host.kept_off += 1
        host.unlink()

        def back() -> None:
            self._network.heal(cut)
            host.kept_off -= 1
            host.relink()

        return back

    def _skew(self, fault: what.Skew, host: Host) -> Undo:
        """It is another version from now on."""
        host.accent = fault.shape
        self._begin_again(host)
        fall_silent = self._people.speak_of_later(host) if fault.shape == "newer" else None

        def back() -> None:
            if fall_silent is not None:
                fall_silent()
            host.accent = None
            self._begin_again(host)

        return back

    def _begin_again(self, host: Host) -> None:
        """A new life; of who is gone for a while, when it comes back."""
        if ("gone", host.name) not in self._undoing:
            host.crash(noticed_ns=0)
            self._come_back(host)

    def _come_back(self, host: Host) -> None:
        if host.name not in self._absent:
            host.start()

    def _bring(self, host: Host) -> None:
        """It is there from now on; when it is gone for a while, it begins as that ends."""
        self._absent.discard(host.name)
        if ("gone", host.name) not in self._undoing:
            host.start()

    def _unmask(self, host: Host) -> None:
        self._absent.add(host.name)
        host.crash(noticed_ns=0)
        host.pose(known_as=host.name, key_of=host.name)

    def _change_disk(self, host: Host, disk: str) -> None:
        if disk == "old":
            host.disk.restore()
        elif disk == "lost":
            host.disk.lose()
        if disk != "kept":
            self._see(Sight(host.name, f"disk-{disk}"))

    def _set_clock(self, host: Host, *, ahead_s: float = 0.0, drift: float = 0.0, since_ns: int | None = None) -> None:
        former_s = host.clock.ahead_s
        host.clock.set(ahead_s=ahead_s, drift=drift, since_ns=since_ns)
        if host.clock.ahead_s < former_s:
            self._see(Sight(host.name, "clock-set-back"))


def _shared(fault: Fault, name: str) -> tuple[str, str]:
    """What it has in common with others: who leaves is as gone as who crashed."""
    return "gone" if isinstance(fault, what.Crash | what.Leave) else str(fault.__struct_config__.tag), name
