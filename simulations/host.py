"""One host of the world: a node in one of its lives, and the shell around it, without a clock.

Invariant: does what the daemon's engine and performer do, in their order: inputs before due
timers, writes one at a time a key, a late wake-up told as `Lagged`. Decides nothing.
Neighbours: `intake` is what it reads, `performer` does what it decides; `havoc` crashes, pauses and unlinks.
"""

from protocol.effects import Effect, Emit, Spread
from protocol.envelope import Sealer
from protocol.inputs import Advertise, Drain, Entry, Found, Input, Lagged, Leave, LinkChanged, Received, Tick
from protocol.node import Node
from protocol.primitives import NS_PER_MS, Instant, NodeId, WallMs
from protocol.replica import Me
from protocol.subjects import Subjects
from protocol.timers import ALL
from simulations.accents import Accent, AccentedFrames
from simulations.agents import Agents
from simulations.disk import Disk
from simulations.hostclock import EPOCH_MS, HostClock
from simulations.intake import Intake
from simulations.performer import Performer
from simulations.placed import OTHERS_S, placed_at
from simulations.seen import Broke, Handled, Happened, Routine, Sight, Unmoved, is_routine, where
from simulations.surroundings import Surroundings
from simulations.timeline import ns

LATE_S_MAX = 0.001  # how late a timer fires on a machine with other things to do
AGENT_START_S = (0.05, 0.3)  # from the start of a daemon to its agents' being ready
DRAIN_S_MAX = 30.0  # a leaving node waits this long for what it has in hand
GOODBYE_S = 0.2  # from the goodbye to the end: what was said is flushed
WAKES_PER_INSTANT_MAX = 50  # more at one instant is a node that spins
START_AGAIN_S = 0.5  # from a start that failed to the next
RECORD_S = 1.0  # between two tries to open the record, by a node that came up without


class Host:
    """One machine with one daemon, which may die and come back as a new life."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.region = around.places.region_of(name)
        self._around = around
        self._timeline = around.timeline
        self.known_as = self.key_of = name  # its name, and whose key it has; another's, if it is an impostor
        self.accent: Accent | None = None  # of another version, from its next life on
        self.id: NodeId = around.keys.signer(name).id
        booted_ns = ns(3_600) + int(around.chance.stream(name, "boot").random() * ns(86_400))
        self.clock = HostClock(around.timeline, origin_ns=booted_ns)
        self._late = around.chance.stream(name, "wake")
        self._node: Node | None = None
        self.intake = Intake(
            timeline=around.timeline,
            rng=around.chance.stream(name, "intake"),
            most=around.broker.model.pending_max,
            handle=self._handle,
            overrun=lambda: around.see(Sight(name, "overrun")),
        )
        self.disk = Disk()
        self._armed_ns: int | None = None
        self._wakes = (0, 0)  # the instant of the last wake-up, and how many there were at it
        self.is_leaving = False
        self._is_wanted = False  # does somebody want it up? Then who leaves is followed by its next life
        self._numbers = (0, 0)  # life and incarnation, as they were seen last
        self.life: WallMs = 0
        self.is_paused = False
        self.is_linked = False
        self.kept_off = 0  # faults that keep it from the broker
        self.is_outlived = False  # has a newer life with its key begun, another's or its own?
        self._newest: WallMs = 0  # of its lives
        self._disturbed_ns = 0
        self._performer = Performer(name, around, is_living=self._is_living, tell=self.receive)

    # --- what is known of it

    @property
    def is_up(self) -> bool:
        """Does its daemon exist? It may be paused or unlinked all the same."""
        return self._node is not None

    @property
    def is_well(self) -> bool:
        """Up, running, connected, and not about to leave."""
        return self.is_up and self.is_linked and not self.is_leaving and not self.is_ailing

    @property
    def is_ailing(self) -> bool:
        """Does something keep it from hearing and speaking as it should?"""
        return self.is_paused or self.intake.is_ailing or self._performer.is_held or self.is_outlived

    @property
    def well_since_ns(self) -> int:
        """Since when it is well; now, when it is not."""
        return max(self._disturbed_ns, self.intake.caught_up_ns) if self.is_well else self._timeline.now_ns

    @property
    def node(self) -> Node:
        """The core. Raises LookupError when there is none now."""
        if self._node is None:
            raise LookupError(f"{self.name} is down")
        return self._node

    @property
    def slowness(self) -> float:
        """How many times slower its agents are than is usual here."""
        return self._around.agents.of(self.name).slower

    @property
    def agents(self) -> Agents:
        """Those of its life; of the last one when it has none."""
        return self._performer.agents

    def now(self) -> Instant:
        """What its two clocks say."""
        return self.clock.now()

    def running(self) -> list[str]:
        """Tasks that its agents are at."""
        return self.agents.running()

    def _is_living(self, life: WallMs) -> bool:
        return self._node is not None and self.life == life

    # --- life and death

    def start(self) -> None:
        """A new life begins, cut off while there is no broker; of who is about to leave, when it has left.

        Who never was a member cannot without one; nor can who cannot write which life it is. These are started again.
        """
        around, self._is_wanted = self._around, True
        if self._node is not None:
            return
        if self.disk.is_full or (self.disk.is_blank and self._is_kept_off):
            self._timeline.after(ns(START_AGAIN_S), self._start_if_wanted)
            return
        now = self.now()
        self.life = self.disk.next_life(now.wall_ms)
        around.trace.note(self._timeline.now_ns, self.name, "life", "begins")
        node = self._node = self._new_node()
        present = around.store.presences(self.name)
        above = max((node.own_life_in(one.key, one.frame) for one in present or () if self.id in one.key), default=0)
        if above > self.life:
            self._node = None
            self.disk.remember(above)
            return self.start()
        around.broker.tune(self.name, Subjects(around.mesh).facts())
        self._disturbed_ns = self._timeline.now_ns
        self.is_leaving = self.is_paused = False
        self.is_outlived, self._newest = self.life < self._newest, max(self.life, self._newest)
        self._performer.begin(self.life)
        first = node.start(now)
        if self._is_kept_off:
            self._performer.perform(first)
            self.receive(LinkChanged(up=False), self.life)
        else:
            self._connect(first)
        self._learn(present, self.life)
        delay_s = around.chance.stream(self.name, "agent start").uniform(*AGENT_START_S)
        self._timeline.after(ns(delay_s), self._advertise, self.life)
        if around.placed and self._timeline.now_s < OTHERS_S:
            self._timeline.at(ns(OTHERS_S), self._advertise, self.life)

    def _new_node(self) -> Node:
        around = self._around
        me = Me(self.id, self.life, self.known_as, self.region, "", around.keys.admission(self.key_of), "sim")
        frames = AccentedFrames(around.frames, self.accent) if self.accent else around.frames
        self.sealer = Sealer(signer=around.keys.signer(self.key_of), life=self.life, frames=frames)
        rng = around.chance.stream(self.name, f"node {self.life - EPOCH_MS}")
        return around.node(me, sealer=self.sealer, rng=rng)

    def _learn(self, present: list[Entry] | None, life: WallMs) -> None:
        """Who was admitted before stands in the record, which is opened later when it is out of reach now."""
        if present is None:
            self._timeline.after(ns(RECORD_S), self._open_record, life)
        for entry in present or ():
            self.receive(Found(entry.key, entry.revision, entry.frame), life)

    def _open_record(self, life: WallMs) -> None:
        if self._node is not None and life == self.life:
            self._learn(self._around.store.presences(self.name), life)

    def start_unheard(self, early_ns: int) -> None:
        """A new life began that long ago with its agents ready, and nobody heard its first words."""
        self.clock.early_ns = early_ns
        self._performer.hold()
        self.start()
        if self._node is not None:
            self._advertise(self.life)
        while self._node is not None and (deadline := self._node.next_deadline() or ALL) <= self.clock.origin_ns:
            self.clock.early_ns = self.clock.origin_ns - deadline
            self._handle(Tick())
        self.clock.early_ns = 0
        self._performer.release(unheard=(Spread,))

    def recall(self, input: Input) -> None:
        """What it knew before the world began: nothing but what it sees changes."""
        for effect in self.node.handle(input, self.now()):
            if isinstance(effect, Emit):
                self._around.see(Happened(self.name, self.life, effect.event))
        self._arm()

    def _advertise(self, life: WallMs) -> None:
        """What its agents can do by now."""
        beside = placed_at(self._around.placed, self.name, self._timeline.now_s)
        self.receive(Advertise(self.agents.cards(beside)), life)

    def pose(self, *, known_as: str, key_of: str) -> None:
        """From its next life on it bears this name, and has the key of this host."""
        self.known_as, self.key_of = known_as, key_of
        self.id = self._around.keys.signer(key_of).id

    def crash(self, *, noticed_ns: int) -> None:
        """Gone without a word, its agents too; the broker notices that much later."""
        self._is_wanted = False
        self._end()
        self._timeline.after(noticed_ns, self._forget_connection, self.life)

    def leave(self) -> None:
        """Asked to stop: drain, say goodbye, end; also when it was about to begin anew."""
        self._is_wanted = False
        self.is_leaving = True
        self.receive(Drain(on=True), self.life)
        self._leave_when_done(self.life, self._timeline.now_ns + ns(DRAIN_S_MAX))

    def _leave_when_done(self, life: WallMs, at_most_ns: int) -> None:
        if self._node is None or self.life != life:
            return
        if self._node.holder.in_hand and self._timeline.now_ns < at_most_ns:
            self._timeline.after(ns(0.05), self._leave_when_done, life, at_most_ns)
            return
        self.receive(Leave(), life)
        self._timeline.after(ns(GOODBYE_S), self._stop, life)

    def _stop(self, life: WallMs) -> None:
        if self._node is not None and self.life == life:
            self._end()
            self._around.broker.disconnect(self.name)
            self._start_if_wanted()

    def _start_if_wanted(self) -> None:
        if self._is_wanted:
            self.start()

    def _give_way(self, node: Node) -> None:
        """Nobody listens to a life below one that was heard of: this one ends, and the next is above that."""
        later = node.link.outdone_by or (node.refusals.outlived_by if node.refusals.is_bereft else 0)
        if later and not self.is_leaving:
            self._around.trace.note(self._timeline.now_ns, self.name, "life", "gives way")
            self.disk.remember(later)
            self.leave()
            self._is_wanted = True

    def _end(self) -> None:
        self._disturb()
        self._performer.end()
        self._node = None
        self.intake.clear()
        self._armed_ns = None
        self.is_linked = False

    def _forget_connection(self, life: WallMs) -> None:
        if self._around.broker.is_connected(self.name, life):
            self._around.broker.disconnect(self.name)

    def pause(self) -> None:
        """Stopped as by SIGSTOP: messages wait in its buffers, its agents go on."""
        self._disturb()
        if self.is_up:  # or there is nothing to stop
            self.is_paused = True
            self.intake.hold()
            self.agents.stand_still()

    def resume(self) -> None:
        """It goes on, finds out how late it is, and reads what waited; due timers come last."""
        if self._node is None or not self.is_paused:
            return
        self._disturb()
        self.is_paused = False
        self.agents.go_on()
        self._lag()
        if not self._performer.is_held:  # or it is blocked, too, and reads when it is no more
            self.intake.take_all()
        self._handle(Tick())

    def _lag(self) -> None:
        deadline = None if self._node is None else self._node.next_deadline()
        late_ms = 0 if deadline is None else (self.now().mono_ns - deadline) // NS_PER_MS
        if late_ms >= self._around.settings.membership.lag_ms:
            self._handle(Lagged(late_ms))

    def starve(self, late_s: tuple[float, float] | None) -> None:
        """It reads each message so much late, in order, and looks at its timers on time; None: as it comes again."""
        self._disturb()
        self.intake.late_s = late_s

    def slow(self, cost_ms: float) -> None:
        """Each input takes it so long, and timers come after what waits, or once they are late; 0: no time again."""
        self._disturb()
        self.intake.take_time(int(cost_ms * NS_PER_MS))

    def block(self) -> None:
        """It neither reads nor sends, as when its first send does not return; its timers run."""
        self._disturb()
        self._performer.hold()
        self.intake.hold()

    def unblock(self, per_s: float) -> None:
        """What it did not send goes out, and so many of those that wait are read in a second."""
        self._disturb()
        self._performer.release()
        if not self.is_paused:
            self.intake.release(per_s=per_s)

    def unlink(self) -> None:
        """Its connection to the broker is lost, and it knows."""
        if not self.is_linked:
            return
        self._disturb()
        self.is_linked = False
        self._around.broker.disconnect(self.name)
        self.receive(LinkChanged(up=False), self.life)

    def relink(self) -> None:
        """Connected again, once there is a broker, and nothing keeps it off."""
        self._disturb()
        if self._node is not None and not self.is_linked and not self._is_kept_off:
            self._connect([])

    @property
    def _is_kept_off(self) -> bool:
        return self._around.broker.is_down or self.kept_off > 0

    def _connect(self, first: list[Effect]) -> None:
        """A daemon is connected before its engine runs, so its first words are heard."""
        self.is_linked = True
        self._around.broker.connect(self.name, self, node=self.id, life=self.life)
        self._performer.perform(first)
        self.receive(LinkChanged(up=True), self.life)

    def _disturb(self) -> None:
        self._disturbed_ns = self._timeline.now_ns

    # --- in

    def receive(self, input: Input, life: WallMs) -> None:
        """An input for one life of it; waits while something ails the host."""
        if self._node is not None and life == self.life:
            self.intake.put(input)

    def _handle(self, input: Input) -> None:
        node = self._node
        if node is None:
            return
        kind = type(input).__name__
        self._around.trace.note(self._timeline.now_ns, self.name, "input", kind)
        try:
            effects = node.handle(input, self.now())
        except Exception as error:  # noqa: BLE001 the core must never raise: whatever it raises is the finding
            self._around.see(Broke(self.name, kind, where(error)))
            return
        numbers = self.life, node.membership.incarnation
        if not effects and isinstance(input, Received) and numbers == self._numbers:
            self._around.see(Unmoved(self.name, input))
        else:
            seen = Routine if numbers == self._numbers and is_routine(input, effects) else Handled
            self._numbers = numbers
            self._around.see(seen(self.name, self.life, kind, numbers[1], input, effects))
            self._performer.perform(effects)
        self._arm()
        if node.link.outdone_by or node.refusals.is_outlived:
            self._give_way(node)

    def _arm(self) -> None:
        """One entry on the timeline; a deadline that moved later is found out when the entry comes."""
        deadline = None if self._node is None else self._node.next_deadline()
        if deadline is None:
            return
        at_ns = max(deadline - self.clock.origin_ns, self._timeline.now_ns)
        if self._armed_ns is None or at_ns < self._armed_ns:
            self._armed_ns = at_ns
            self._timeline.at(at_ns + int(self._late.random() * ns(LATE_S_MAX)), self._wake, at_ns, self.life)

    def _wake(self, at_ns: int, life: WallMs) -> None:
        if at_ns != self._armed_ns or life != self.life or self._node is None:
            return
        self._armed_ns = None
        if self.is_paused:
            return  # `resume` looks at the timers
        deadline = self._node.next_deadline()
        if deadline is None or deadline > self.now().mono_ns:
            self._arm()
            return
        late_ns = deadline - self.clock.origin_ns + self._around.settings.membership.lag_ms * NS_PER_MS
        if (until_ns := min(self.intake.busy_until_ns, late_ns)) > self._timeline.now_ns:
            self._armed_ns = until_ns
            self._timeline.at(until_ns, self._wake, until_ns, life)
            return
        instant_ns, count = self._wakes
        self._wakes = (self._timeline.now_ns, count + 1 if instant_ns == self._timeline.now_ns else 1)
        if self._wakes[1] > WAKES_PER_INSTANT_MAX:
            self._around.see(Broke(self.name, "Tick", "asks to be woken again and again at one instant"))
            return
        if self.intake.cost_ns:
            self._lag()
        self._handle(Tick())
