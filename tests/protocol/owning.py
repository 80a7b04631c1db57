"""One owner of tasks for the tests of its side: a holder, its slots, and a watcher B that awards and asks."""

from msgspec import structs

from protocol.effects import Effect
from protocol.holder import Holder
from protocol.inputs import AgentFailed, AgentFinished
from protocol.slots import Slots
from protocol.wire.agents import Card
from protocol.wire.task import Answer, Ask, Award, Decline, Held, TaskRecord
from tests.protocol.conversation import instant
from tests.protocol.work import CARD, KEEP_S, LIFE, ME, SETTINGS, B, awarded, bodies, frame, guards, only_write

W = B  # the watcher of everything here


class Owner:
    """One holder, its slots, and what has been awarded to it."""

    def __init__(self, cards: tuple[Card, ...] = (CARD,)) -> None:
        self.slots = Slots()
        self.slots.advertise(cards)
        self.holder = Holder(me=ME, life=LIFE, settings=SETTINGS, keep_s=KEEP_S, slots=self.slots, guards=guards)
        self.now = instant(0)

    def at(self, seconds: float) -> list[Effect]:
        self.now = instant(seconds)
        return self.holder.on_tick(self.now)

    def award(self, record: TaskRecord, *, sender: str = W, revision: int = 4) -> list[Effect]:
        body = Award(record.id, record.epoch, revision, frame(record))
        return self.holder.on_award(sender, LIFE, body, record, self.now)

    def ask(self, *lines: tuple[TaskRecord, int], sender: str = W) -> list[Effect]:
        held = tuple(Held(record.id, epoch, 4) for record, epoch in lines)
        return self.holder.on_ask(sender, LIFE, Ask(9, held), self.now)

    def finishes(self, record: TaskRecord) -> list[Effect]:
        return self.holder.on_finished(AgentFinished(record.id, record.epoch, b"\x02"), self.now)

    def fails(self, record: TaskRecord, code: str = "agent_failed", *, retry: bool = True) -> list[Effect]:
        return self.holder.on_failed(AgentFailed(record.id, record.epoch, code, "no", retry), self.now)

    def written(self, effects: list[Effect]) -> list[Effect]:
        write = only_write(effects)
        assert isinstance(write.record, TaskRecord)
        return self.holder.on_written(structs.replace(write, frame=b"sealed"), write.record, 5, self.now)


def mine(key: str = "k", *, epoch: int = 1, exclusive: bool = False) -> TaskRecord:
    record = awarded(key, owner=ME, exclusive=exclusive)
    return structs.replace(record, epoch=epoch)


def answer(effects: list[Effect]) -> Answer:
    """The one answer among these."""
    (body,) = bodies(effects, Answer)
    assert isinstance(body, Answer)
    return body


def declines(effects: list[Effect]) -> list[str]:
    return [body.reason for body in bodies(effects, Decline)]
