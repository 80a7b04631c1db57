"""One task on three real nodes in a small world where everything that can go wrong is a choice.

Messages, writes, crashes, cuts, pauses and agents are choices; membership and gossip are oracles, so
that what is searched is the work: ledger, watch, holder, guardian, link and the switchboard, with
real frames. `plain` is the choice of a day without trouble. Invariant: the same choices give the same
world. Neighbours: `tests.judge` says what must hold; `tests/protocol/test_state_search.py` searches.
"""

from collections.abc import Iterator
from random import Random
from typing import Any, TypeAlias
from unittest import mock

import msgspec
from msgspec import structs

from protocol import effects as fx
from protocol import ids, inputs
from protocol import node as switchboard
from protocol.envelope import Frames, Opener, Sealer
from protocol.ids import mesh_id
from protocol.link import LinkSettings
from protocol.node import Node, NodeSettings
from protocol.primitives import NS_PER_MS, Instant
from protocol.replica import Me
from protocol.subjects import Subjects, source
from protocol.watched import TaskSettings
from protocol.wire.agents import Card
from protocol.wire.auction import Reserve
from protocol.wire.task import TaskRecord, TaskState
from simulations.signing import Keys, is_maced
from tests.explored import Errand, Host, Notice, Packet, record_in
from tests.judge import Judge
from tests.oracles import Oracle, Quiet

Choice: TypeAlias = tuple[str, ...] | tuple[Any, ...]

STEP_MS = 250  # time passes in steps; a message is on its way for at most one
LEASE_MS = 1_500
SETTINGS = NodeSettings(
    tasks=TaskSettings(
        lease_s=LEASE_MS / 1_000, ask_interval_s=0.5, award_timeout_s_min=0.8, sweep_s=4.0, settle_s=0.0, deadline_s=600
    ),
    link=LinkSettings(beat_s=2.0, islanded_after_s=3.0),
    keep_s=3_600.0,
)
MARGIN_MS = 5 * STEP_MS  # two rounds of asks and an answer on its way
RUN_STEPS = 3
SLOW_STEPS = 24  # until the store is quick, in a world in which it is slow at first
HANG_STEPS = 24  # longer than two leases
LATE_STEPS = 14  # how long the broker may keep a message, or a process stand still: longer than two leases
STALL_STEPS = 3  # how long the store may take
NOTICE_STEPS = 4  # how long the others take to notice that somebody is gone
EPOCH_MS = 1_800_000_000_000
CAPABILITY = "echo@1"
WITH_STORE = ("", "mute")
KEYS = Keys("mac")
SUBJECTS = Subjects(mesh_id(KEYS.root_key))
TASK = ids.task_id(mesh=SUBJECTS.mesh, submitter="someone", key="k")
KEY = ids.task_key(TASK)


class World:
    """Three hosts, a broker, a store, and one task submitted through the first."""

    def __init__(
        self,
        *,
        agents: tuple[int, ...] = (1, 2),
        is_exclusive: bool = False,
        route: str = "auto",
        run_steps: int = RUN_STEPS,
        store_steps: int = 0,
    ) -> None:
        self.step = 0
        self.run_steps = run_steps
        self.store_steps = store_steps  # that everything takes there and back, at first
        self.agents = agents
        self.is_exclusive = is_exclusive
        self.trail: list[Choice] = []
        self.packets: list[Packet] = []
        self.errands: list[Errand] = []
        self.notices: list[Notice] = []
        self.values: dict[str, tuple[int, bytes]] = {}
        self.revision = 0
        self.judge = Judge(lease_ms=LEASE_MS, margin_ms=MARGIN_MS, is_exclusive=is_exclusive)
        self.hosts = [Host(None, 0, KEYS.signer(name).id) for name in "abc"]
        self.index = {host.id: index for index, host in enumerate(self.hosts)}
        for host in range(3):
            self._start(host)
        for host in range(3):
            self._introduce(host)
        order = inputs.Submit(
            1, CAPABILITY, b"\x01", "someone", "k", deadline_s=600.0, exclusive=is_exclusive, route=route
        )
        self._enter(0, order)

    @property
    def now(self) -> Instant:
        passed_ms = self.step * STEP_MS
        return Instant((1_000_000 + passed_ms) * NS_PER_MS, EPOCH_MS + passed_ms)

    # --- what there is to choose

    def plain(self) -> Choice:
        """What happens next when nothing goes wrong."""
        for number, errand in enumerate(self.errands):
            takes = self.store_steps if self.step < SLOW_STEPS else 0
            is_due = self.step - errand.step >= takes / (1 if errand.answer else 2)
            if self.hosts[errand.host].trouble in WITH_STORE and is_due:
                return ("outcome" if errand.answer else "store", number)
        for number, packet in enumerate(self.packets):
            if self.hosts[packet.to].trouble != "paused" and packet.step <= self.step:
                return ("deliver", number)
        for host in self._running():
            for epoch, done in self.hosts[host].runs.items():
                if done <= self.step:
                    return ("finish", host, epoch)
        return ("time",)

    def troubles(self) -> Iterator[Choice]:
        """Everything that may go wrong now, or come early."""
        for number, packet in enumerate(self.packets):
            yield ("drop", number)
            yield ("delay", number)
            yield ("copy", number)
            if number:
                yield ("deliver", number)
            if self.hosts[packet.to].trouble == "cut":
                yield ("absent", number)
        yield from self._slow()
        for host in self._awake():
            for steps in (0, 2):
                yield ("down", host, steps)
            for steps in (2, 16, 60) if self.run_steps > RUN_STEPS else (2, 16):
                yield ("cut", host, steps)
            yield ("mute", host, 16)
            yield ("paused", host, LATE_STEPS)
            for epoch in self.hosts[host].runs:
                yield from (("finish", host, epoch), ("fail", host, epoch), ("hang", host, epoch))
            yield ("cancel", host)
            if self.judge.ended is not None and self.judge.ended.state is not TaskState.DONE:
                yield ("retry", host)
        for number in range(len(self.notices)):
            yield ("notice", number)

    def _slow(self) -> Iterator[Choice]:
        """Time passes though something is on its way; the store does another thing first."""
        is_late = any(
            packet.step < self.step and not self.hosts[packet.to].trouble and not self.hosts[packet.src].trouble
            for packet in self.packets
        )
        is_stalled = any(
            self.step - errand.step >= STALL_STEPS + self.store_steps
            for errand in self.errands
            if self.hosts[errand.host].trouble in WITH_STORE
        )
        if (self.packets or self.errands) and not is_late and not is_stalled:
            yield ("time",)
        for number in range(1, len(self.errands)):
            if self.hosts[self.errands[number].host].trouble in WITH_STORE and self._is_next(number):
                yield ("store", number)

    def _is_next(self, number: int) -> bool:
        """One write of a key at a time, in their order."""
        mine = self.errands[number]
        return mine.answer is None and not any(
            each.host == mine.host and _key(each.wants) == _key(mine.wants) for each in self.errands[:number]
        )

    def _awake(self) -> list[int]:
        return [index for index, host in enumerate(self.hosts) if not host.trouble]

    def _running(self) -> list[int]:
        return [index for index, host in enumerate(self.hosts) if host.trouble in ("", "cut", "mute")]

    @property
    def is_settled(self) -> bool:
        """The task has ended, and nobody holds or watches it any more."""
        nodes = [host.node for host in self.hosts if host.node is not None]
        is_over = self.judge.ended is not None or not self.judge.history
        return is_over and not any(each.holder.in_hand or each.ledger.watched for each in nodes)

    # --- carrying a choice out

    def take(self, choice: Choice) -> None:
        """The world after this choice. Raises Violation when something that must hold does not."""
        self.trail.append(choice)
        verb, *rest = choice
        getattr(self, f"_{verb}")(*rest)

    def _deliver(self, number: int) -> None:
        packet = self.packets.pop(number)
        self._arrive(packet)

    def _copy(self, number: int) -> None:
        """It is sealed once and heard twice."""
        packet = self.packets[number]
        self._fault(packet.src, packet.to)
        self._arrive(packet)

    def _arrive(self, packet: Packet) -> None:
        host = self.hosts[packet.to]
        is_there = host.node is not None and host.life == packet.life
        if is_there and host.trouble in WITH_STORE:
            self._enter(packet.to, inputs.Received(packet.send.subject, packet.send.frame))
        elif not is_there:
            self._tell_absent(packet)

    def _absent(self, number: int) -> None:
        """The broker has noticed that its client is gone, or just reconnecting."""
        self._tell_absent(self.packets.pop(number))

    def _tell_absent(self, packet: Packet) -> None:
        if packet.send.reply and not self.hosts[packet.src].trouble:
            self._enter(packet.src, inputs.Absent(int(source(packet.send.reply))))

    def _drop(self, number: int) -> None:
        packet = self.packets.pop(number)
        self._fault(packet.src, packet.to)

    def _delay(self, number: int) -> None:
        """The broker stands still with it, and goes on when whoever it was for is long thought dead."""
        packet = self.packets[number]
        packet.step += LATE_STEPS
        self._fault(packet.src, packet.to)

    def _store(self, number: int) -> None:
        """The store does what it was asked; who asked does not know yet."""
        errand = self.errands[number]
        match errand.wants:
            case fx.Write(key=key, frame=frame, expect=expect):
                revision, stands = self.values.get(key, (0, b""))
                if revision != expect:
                    errand.answer = inputs.Lost(key, revision, stands)
                    return
                self.revision += 1
                self.values[key] = (self.revision, frame)
                errand.answer = inputs.Written(key, self.revision)
                if key == KEY:
                    former = record_in(stands) if stands else None
                    self.judge.wrote(former, record_in(frame), by=errand.host, life=errand.life)
            case fx.Read(key=key):
                errand.answer = inputs.Found(key, *self.values.get(key, (0, b"")))
            case fx.List(partitions=partitions):
                is_here = ids.partition(TASK) in partitions and KEY in self.values
                entries = (inputs.Entry(KEY, *self.values[KEY]),) if is_here else ()
                errand.answer = inputs.Listed(partitions, entries)

    def _outcome(self, number: int) -> None:
        errand = self.errands.pop(number)
        assert errand.answer is not None
        if self.hosts[errand.host].life == errand.life:
            self._enter(errand.host, errand.answer)

    def _finish(self, host: int, epoch: int) -> None:
        if self._is_over(host, epoch):
            self._enter(host, inputs.AgentFinished(TASK, epoch, msgspec.msgpack.encode([host, epoch])))

    def _fail(self, host: int, epoch: int) -> None:
        if self._is_over(host, epoch):
            self._enter(host, inputs.AgentFailed(TASK, epoch, "agent_failed", "it could not", True))

    def _is_over(self, host: int, epoch: int) -> bool:
        self.judge.stopped(host, self.hosts[host].life, epoch)
        return self.hosts[host].runs.pop(epoch, None) is not None

    def _hang(self, host: int, epoch: int) -> None:
        self.hosts[host].runs[epoch] = self.step + HANG_STEPS

    def _cancel(self, host: int) -> None:
        self._enter(host, inputs.Cancel(9, TASK))

    def _retry(self, host: int) -> None:
        self._enter(host, inputs.Retry(8, TASK, "someone"))

    def _time(self) -> None:
        """One step later: notices that are due arrive, who was in trouble comes back, who asked to be woken is."""
        self.step += 1
        self.judge.now_ms = self.step * STEP_MS
        self.packets = [each for each in self.packets if not self._is_lost(each)]
        self.errands = [each for each in self.errands if self.hosts[each.host].life == each.life]
        while self.notices and self.step - self.notices[0].step >= NOTICE_STEPS:
            self._notice(0)
        for index, host in enumerate(self.hosts):
            if host.trouble:
                self._fault(index)
            if host.trouble == "paused" and self.is_exclusive and (self.step - host.since) * STEP_MS >= LEASE_MS:
                host.ended += tuple(host.runs)  # such agents end when their daemon stands still for a lease
                host.runs = {}
                self.judge.halted(index)
            if host.trouble and host.back == self.step:
                self._come_back(index)
        for index in self._running():
            self._stop_told(index)
            node = self.hosts[index].node
            deadline = None if node is None else node.next_deadline()
            if deadline is not None and deadline <= self.now.mono_ns:
                self._enter(index, inputs.Tick())

    def _stop_told(self, index: int) -> None:
        """Agents that were told to stop have done so."""
        host = self.hosts[index]
        epochs, host.stopping = host.stopping, ()
        for epoch in epochs:
            self.judge.stopped(index, host.life, epoch)
            self._enter(index, inputs.AgentStopped(TASK, epoch))

    def _is_lost(self, packet: Packet) -> bool:
        return self.hosts[packet.to].trouble == "cut"

    def _notice(self, number: int) -> None:
        notice = self.notices.pop(number)
        about, node = self.hosts[notice.about], self.hosts[notice.host].node
        is_stale = not about.trouble if notice.life is None else notice.life != about.life
        if node is None or self.hosts[notice.host].trouble or is_stale:
            return
        oracle: Any = node.membership
        oracle.tell(about.id, notice.life)
        self._enter(notice.host, inputs.Tick())
        if notice.life is not None:
            for fact in about.facts.values():
                self._enter(notice.host, fact)

    # --- trouble

    def _down(self, host: int, steps: int) -> None:
        """The process is gone, and its agents with it."""
        self._into_trouble(host, "down", steps)
        self.judge.gone(host)
        self.hosts[host].node = None
        self.hosts[host].runs, self.hosts[host].stopping = {}, ()
        self.hosts[host].life += 1
        self.errands = [each for each in self.errands if each.host != host]

    def _cut(self, host: int, steps: int) -> None:
        """The link to the broker is gone."""
        self._into_trouble(host, "cut", steps)
        self.packets = [each for each in self.packets if each.src != host]
        self._enter(host, inputs.LinkChanged(False))

    def _paused(self, host: int, steps: int) -> None:
        """SIGSTOP: what arrives waits."""
        self._into_trouble(host, "paused", steps)

    def _mute(self, host: int, steps: int) -> None:
        """It hears others and reaches the store, and nobody hears it."""
        self._into_trouble(host, "mute", steps)

    def _into_trouble(self, host: int, trouble: str, steps: int) -> None:
        self._fault(host)
        self.hosts[host].trouble = trouble
        self.hosts[host].since, self.hosts[host].back = self.step, self.step + steps if steps else 0
        others = [other for other in range(3) if other != host]
        self.notices += [Notice(other, host, None, self.step) for other in others]

    def _come_back(self, index: int) -> None:
        host, trouble = self.hosts[index], self.hosts[index].trouble
        self._fault(index)
        if trouble != "mute":  # of that nobody knows himself
            self.judge.outages[index] = self.step * STEP_MS
        host.trouble = ""
        if trouble == "down":
            self._start(index)
            self._introduce(index)
        elif trouble == "cut":
            self._enter(index, inputs.LinkChanged(True))
        elif trouble == "paused":
            self._enter(index, inputs.Lagged((self.step - host.back) * STEP_MS + 2_000))
            for epoch in host.ended:
                self._enter(index, inputs.AgentFailed(TASK, epoch, "agent_unavailable", "it stood still", True))
            host.ended = ()
        others = [other for other in range(3) if other != index]
        self.notices += [Notice(other, index, host.life, self.step) for other in others]
        self.notices += [Notice(index, other, self._life_of(other), self.step) for other in others]

    def _life_of(self, host: int) -> int | None:
        return self.hosts[host].life if self.hosts[host].node is not None else None

    def _fault(self, *hosts: int) -> None:
        for host in hosts:
            self.judge.faults[host] = self.step * STEP_MS

    def _start(self, index: int) -> None:
        host, name = self.hosts[index], "abc"[index]
        signer = KEYS.signer(name)
        host.life = EPOCH_MS + self.step * STEP_MS + index
        me = Me(host.id, host.life, name, "r", "", KEYS.admission(name))
        opener = Opener(me=host.id, subjects=SUBJECTS, root_key=KEYS.root_key, frames=Frames(is_maced))
        for other in "abc":
            opener.admit(KEYS.admission(other))
        with (
            mock.patch.object(switchboard, "Membership", Oracle),
            mock.patch.object(switchboard, "Gossip", Quiet),
        ):
            host.node = Node(
                me=me,
                mesh=SUBJECTS.mesh,
                settings=SETTINGS,
                sealer=Sealer(signer=signer, life=host.life),
                opener=opener,
                rng=Random(index),
            )
        host.facts = {}
        self.judge.began(index, host.life)
        self._enter(index, inputs.LinkChanged(True))
        if index in self.agents:
            self._enter(index, inputs.Advertise((Card("echo", (CAPABILITY,), 1),)))

    def _introduce(self, index: int) -> None:
        """It learns who is there, and what they can do."""
        for other, host in enumerate(self.hosts):
            if other != index and host.node is not None:
                self.notices.insert(0, Notice(index, other, host.life, self.step))
                self._notice(0)

    # --- what nodes say

    def _enter(self, index: int, given: inputs.Input) -> None:
        node = self.hosts[index].node
        if node is not None:
            for effect in node.handle(given, self.now):
                self._leave(index, effect)

    def _leave(self, index: int, effect: fx.Effect) -> None:
        host = self.hosts[index]
        match effect:
            case fx.Send():
                if isinstance(effect.body, Reserve):
                    self._gives_up(index, effect.body)
                if not host.trouble and effect.to in self.index:
                    self.packets.append(Packet(index, self.index[effect.to], effect.life, effect, self.step))
            case fx.Spread():
                self._spread(index, effect)
            case fx.Write() | fx.Read() | fx.List():
                self._ask_store(index, effect)
            case fx.RunAgent():
                host.runs = {**host.runs, effect.epoch: self.step + self.run_steps}
                self.judge.ran(index, host.life, effect.epoch)
            case fx.StopAgent():
                host.runs = {epoch: done for epoch, done in host.runs.items() if epoch != effect.epoch}
                host.stopping += (effect.epoch,)
            case fx.Emit():
                self.judge.happened(index, effect.event)
            case fx.Reply():
                self.judge.replied(effect)

    def _spread(self, index: int, effect: fx.Spread) -> None:
        """Facts reach whoever is connected, at once."""
        fact = inputs.Received(effect.subject, effect.frame)
        self.hosts[index].facts = {**self.hosts[index].facts, type(effect.body).__name__: fact}
        for other in self._awake():
            if other != index and not self.hosts[index].trouble:
                self._enter(other, fact)

    def _gives_up(self, index: int, body: Reserve) -> None:
        """Whoever takes it goes by what its watcher says: that one judges the owner who lost it."""
        lost, attempts = record_in(body.record), body.unwritten.attempts
        if attempts:
            self.judge.wants(structs.replace(lost, epoch=lost.epoch + 1, attempts=attempts), by=index)

    def _ask_store(self, index: int, wants: fx.Write | fx.Read | fx.List) -> None:
        errand = Errand(index, self.hosts[index].life, wants, self.step)
        self.errands.append(errand)
        if isinstance(wants, fx.Write) and wants.key == KEY and isinstance(wants.record, TaskRecord):
            last = wants.record.rounds[-1] if wants.record.rounds else None
            if last is None or (last.gear, last.epoch) != ("late", wants.record.epoch):
                self.judge.wants(wants.record, by=index)
        is_small_talk = isinstance(wants, fx.List) and ids.partition(TASK) not in wants.partitions
        if (is_small_talk or _key(wants).startswith("node.")) and not self.hosts[index].trouble:
            number = len(self.errands) - 1
            self._store(number)
            self._outcome(number)


def _key(wants: fx.Write | fx.Read | fx.List) -> str:
    return "" if isinstance(wants, fx.List) else wants.key
