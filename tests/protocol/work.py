"""What the tests of the work machines share: names, times, orders, records, and a view of the mesh.

Neighbour: `conversation` gives the moments.
"""

from collections import Counter
from random import Random
from typing import Any

import msgspec
from msgspec import structs

from protocol import ids, records
from protocol.effects import Effect, Emit, Reply, Send, Write
from protocol.inputs import Cancel, Submit
from protocol.ledger import Ledger
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.primitives import Instant, NodeId
from protocol.records import Standing
from protocol.routing import Candidate
from protocol.watch import Watch
from protocol.watched import TaskSettings
from protocol.wire.agents import Card
from protocol.wire.lineage import Work
from protocol.wire.task import Accept, Answer, Ask, Decline, Result, Running, TaskRecord
from tests.protocol.conversation import instant

ME, B, C, D = "a" * 32, "b" * 32, "c" * 32, "d" * 32
LIFE = 1_700_000_000_000
MESH = "mesh"
ECHO = "echo@1"
SETTINGS = TaskSettings(lease_s=3.0, ask_interval_s=0.5, award_timeout_s_min=0.25)
KEEP_S = 60.0
SAID = 7  # the number of whatever frame an owner speaks in
CARD = Card("echo", (ECHO,), 2)
OWN = Work(ECHO, records.work_digest(capability=ECHO, input=b"\x01"))  # what `order` wants


def order(key: str = "k", *, request: int = 1, capability: str = ECHO, **fields: Any) -> Submit:
    """A submit by one person."""
    return structs.replace(Submit(request, capability, b"\x01", "someone", key), **fields)


def record(key: str = "k", *, home: NodeId = ME, at: float = 0.0, **fields: Any) -> TaskRecord:
    """The open record of `order(key)`."""
    wanted = order(key)
    task = ids.task_id(mesh=MESH, submitter=wanted.submitter, key=key)
    opened = records.opened(wanted, task=task, iid="an iid", gid="a gid", home=home, now=instant(at))
    return structs.replace(opened, **fields)


def awarded(key: str = "k", *, owner: NodeId = B, life: int = LIFE, at: float = 0.0, **fields: Any) -> TaskRecord:
    """The record of `order(key)` after its first award."""
    return records.awarded(record(key, at=at, **fields), owner=owner, owner_life=life, now=instant(at))


def frame(of: TaskRecord) -> bytes:
    """What stands in the bucket for a record, where nobody looks at signatures."""
    return msgspec.msgpack.encode(of)


def guards(node: NodeId, task: str) -> bool:
    """C is a guardian of everything here."""
    del task
    return node == C


class Mesh:
    """A `View` that is told what to say: free slots by node, and whose awards are under way."""

    def __init__(self, free: dict[NodeId, int]) -> None:
        self.free = free
        self.slots = 9  # that every agent announces
        self.lives: dict[NodeId, int] = {}
        self.reserved: dict[str, NodeId] = {}
        self.capabilities: tuple[str, ...] = (ECHO,)
        self.drained: tuple[str, ...] = ()

    def candidates(self, capability: str, now: Instant) -> list[Candidate]:
        """Every node with its slots, less what is reserved, in the order they were given."""
        del now
        found = self.free if capability in self.capabilities else {}
        taken = Counter(self.reserved.values())
        return [
            Candidate(node, "echo", max(0, free - taken[node]), self.slots, 0.0, is_self=node == ME)
            for node, free in found.items()
        ]

    def can_wait(self, capability: str, now: Instant) -> bool:
        """Those that drain will do it soon."""
        return bool(self.draining(capability, now))

    def draining(self, capability: str, now: Instant) -> tuple[str, ...]:
        """As it was told."""
        del now
        return self.drained if capability in self.capabilities else ()

    def reserve(self, node: NodeId, agent: str, task: str) -> None:
        """One slot less."""
        assert agent == "echo"
        assert task not in self.reserved, "a task counts on one slot"
        self.reserved[task] = node

    def accepted(self, node: NodeId, agent: str, task: str, said: int) -> None:
        """Its load will show it; here it goes on counting as reserved."""
        assert (self.reserved[task], agent, said) == (node, "echo", SAID)

    def refused(self, node: NodeId, agent: str, task: str) -> None:
        """There was no such slot."""
        assert (self.reserved.pop(task), agent) == (node, "echo")
        self.free[node] = 0

    def release(self, node: NodeId, agent: str, task: str, said: int, now: Instant) -> None:
        """One slot more."""
        del said, now
        assert (self.reserved.pop(task), agent) == (node, "echo")

    def life_of(self, node: NodeId) -> int | None:
        """One life for all, unless told otherwise."""
        return self.lives.get(node, LIFE)

    def round_trip_s(self, node: NodeId) -> float:
        """The loopback."""
        del node
        return 0.001


def bodies(effects: list[Effect], kind: type[Any]) -> list[Any]:
    """Bodies of this kind that are sent."""
    return [each.body for each in effects if isinstance(each, Send) and isinstance(each.body, kind)]


def said(effects: list[Effect], kind: type[Any]) -> list[Any]:
    """Events of this kind."""
    return [each.event for each in effects if isinstance(each, Emit) and isinstance(each.event, kind)]


def only_write(effects: list[Effect]) -> Write:
    """The one write among the effects."""
    (write,) = (each for each in effects if isinstance(each, Write))
    return write


def replies(effects: list[Effect]) -> list[tuple[int, str]]:
    """Requests that are answered, each with its code or the state of the record it gets."""
    answered = [each for each in effects if isinstance(each, Reply)]
    return [(each.request, each.code or getattr(each.value, "state").value) for each in answered]  # noqa: B009 - any value


class Home:
    """One node's ledger and watch, wired as the switchboard does, with the store's answers given by the test."""

    def __init__(self, free: dict[NodeId, int], settings: TaskSettings = SETTINGS) -> None:
        self.mesh = Mesh(free)
        owners = Owners()
        self.lapses = Lapses()
        self.ledger = Ledger(
            me=ME,
            mesh=MESH,
            settings=settings,
            keep_s=KEEP_S,
            owners=owners,
            lapses=self.lapses,
            view=self.mesh,
            rng=Random(7),
        )
        self.watch = Watch(settings=settings, owners=owners)
        self.now = instant(0)
        self.revision = 0
        self.record = record()
        self.link(is_usable=True)
        self.at(2 * settings.lease_s)  # past the excuses of the beginning

    def at(self, seconds: float) -> list[Effect]:
        """Time passes, with a tick at every deadline on the way."""
        effects: list[Effect] = []
        while (deadline := self.next_deadline()) is not None and deadline <= instant(seconds).mono_ns:
            elapsed_s = instant(0).mono_ns
            self.now = max(self.now, instant((deadline - elapsed_s) / 1e9), key=lambda each: each.mono_ns)
            effects += self.tick()
        self.now = instant(seconds)
        return effects

    def after(self, seconds: float) -> list[Effect]:
        """So much later."""
        return self.at((self.now.mono_ns - instant(0).mono_ns) / 1e9 + seconds)

    def next_deadline(self) -> int | None:
        """Of ledger and watch."""
        both = (self.ledger.next_deadline(), self.watch.next_deadline())
        return min((each for each in both if each is not None), default=None)

    def tick(self) -> list[Effect]:
        """As the switchboard ticks them."""
        asks, lapses = self.watch.on_tick(self.now)
        effects: list[Effect] = list(asks)
        for each in lapses:
            effects += self.ledger.on_lapsed(each.task, evidence=each.evidence, silent_s=each.silent_s, now=self.now)
        return effects + self.ledger.on_tick(self.now)

    def link(self, *, is_usable: bool) -> list[Effect]:
        """The way to the store came or went."""
        self.watch.on_link(is_usable=is_usable, now=self.now)
        return self.ledger.on_link(is_usable=is_usable, now=self.now)

    def submit(self, key: str = "k", **fields: Any) -> list[Effect]:
        """Somebody wants this done."""
        return self.ledger.submit(order(key, **fields), self.now)

    def cancel(self, task: str, request: int = 9) -> list[Effect]:
        """Somebody does not want it any more."""
        return self.ledger.cancel(Cancel(request, task), self.now)

    def written(self, effects: list[Effect]) -> list[Effect]:
        """The one write among these effects stands."""
        write = only_write(effects)
        assert isinstance(write.record, TaskRecord)
        self.revision += 1
        self.record = write.record
        sealed = structs.replace(write, frame=frame(write.record))
        return self.ledger.on_written(sealed, write.record, self.revision, self.now)

    def lost(self, to: TaskRecord, *, revision: int = 0) -> list[Effect]:
        """The write under way is refused: this record stands there."""
        self.revision = revision or self.revision + 1
        self.record = to
        write = Write(ids.task_key(to.id), to, expect=0)
        return self.ledger.on_lost(write, Standing(to, self.revision, frame(to)), self.now)

    def awarded(self, key: str = "k", **fields: Any) -> list[Effect]:
        """A submit and its first write: what leaves with the award."""
        return self.written(self.submit(key, **fields))

    def accepted(self) -> list[Effect]:
        """The owner of the last award takes it."""
        body = Accept(self.record.id, self.record.epoch)
        return self.ledger.on_accept(self.record.owner, body, SAID, self.now)

    def declined(self, reason: str = "busy", **fields: Any) -> list[Effect]:
        """The owner of the last award gives it back."""
        body = Decline(self.record.id, self.record.epoch, reason, **fields)
        return self.ledger.on_decline(self.record.owner, body, self.now)

    def result(self, ended: TaskRecord, *, revision: int = 0) -> list[Effect]:
        """The owner says that it committed this end."""
        body = Result(ended.id, ended.epoch, revision or self.revision + 1, frame(ended))
        return self.ledger.on_result(body, ended, SAID, self.now)

    def answered(self, *, life: int = LIFE, unknown: bool = False, ended: bool = False) -> list[Effect]:
        """The owner of the last award answers an ask about it."""
        task, epoch = self.record.id, self.record.epoch
        line = Running(task, epoch, self.now.wall_ms)
        self.watch.on_answer(self.record.owner, life, Answer(1, (line,), (), ()), self.now)
        if unknown:
            return self.ledger.on_unknown(self.record.owner, task, self.now)
        if ended:
            return self.ledger.on_ended(task)
        return self.ledger.on_running(self.record.owner, line, SAID, self.now)

    def absent(self, effects: list[Effect]) -> list[Effect]:
        """The broker knows nobody who listens for the last ask among these."""
        probe = [each.probe for each in effects if isinstance(each, Send) and isinstance(each.body, Ask)][-1]
        assert probe is not None
        out: list[Effect] = []
        for each in self.watch.on_absent(probe, self.now):
            out += self.ledger.on_lapsed(each.task, evidence=each.evidence, silent_s=each.silent_s, now=self.now)
        return out
