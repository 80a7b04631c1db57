"""Whom an owner believes about its tasks: its watcher; of everybody else the record decides."""

from collections.abc import Callable

from msgspec import structs

from protocol import ids, records
from protocol.answering import Answering
from protocol.effects import Effect, Read, RunAgent, Send, StopAgent
from protocol.events import PeerMisbehaved
from protocol.grants import CHECK_S, LIE_S, Grants
from protocol.slots import Slots
from protocol.wire.task import Ask, Held, Withdraw
from tests.protocol.conversation import instant
from tests.protocol.owning import Owner, W, answer, mine
from tests.protocol.work import LIFE, SETTINGS, C, D, guards, said


def test_whoever_has_nothing_says_so_and_reads_nothing() -> None:
    nothing = Answering(Grants(settings=SETTINGS, slots=Slots(), guards=guards))
    effects = nothing.on_ask(W, LIFE, Ask(3, (Held("t" * 26, 1, 4),)), instant(0))
    assert (answer(effects).round, answer(effects).unknown, len(effects)) == (3, ("t" * 26,), 1)


def test_a_stranger_that_says_a_task_is_over_stops_nothing_and_is_named_once_the_record_stands() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    key = ids.task_key(record.id)
    newer = structs.replace(record, epoch=7)
    words: tuple[Callable[[], list[Effect]], ...] = (
        lambda: owner.holder.on_withdraw(D, Withdraw(record.id, 1), owner.now),
        lambda: owner.ask((record, 7), sender=D),
        lambda: owner.award(newer, sender=D),
    )
    for turn, word in enumerate(words, start=1):
        effects = word()
        assert [each for each in effects if isinstance(each, Read)] == [Read(key)]
        assert [each for each in word() if isinstance(each, Read)] == [], "not as often as it is said"
        assert not [each for each in effects if isinstance(each, StopAgent | RunAgent)]
        assert owner.holder.on_found(record, key, owner.now) == [], "a store that was cut off may show what stood"
        owner.at(turn * LIE_S - CHECK_S)
        owner.ask((record, 1))
        assert owner.at(turn * LIE_S) == [Read(key)]
        liars = said(owner.holder.on_found(record, key, owner.now), PeerMisbehaved)
        assert [(each.peer, each.code, each.detail) for each in liars] == [(D, "not_its_watcher", record.id)]
        assert owner.holder.on_found(record, key, owner.now) == []
        owner.ask((record, 1))
    assert owner.holder.in_hand == 1


def test_whoever_had_a_task_cancelled_elsewhere_is_not_believed_and_the_record_is() -> None:
    owner, record = Owner(), mine(exclusive=True)
    owner.written(owner.award(record))
    key = ids.task_key(record.id)
    assert owner.holder.on_withdraw(D, Withdraw(record.id, 1), owner.now) == [Read(key)]
    cancelled = records.cancelled(record, now=owner.now)
    assert owner.holder.on_found(cancelled, key, owner.now) == [StopAgent(record.id, 1)]


def test_a_stranger_that_asks_is_answered_and_becomes_nobody_s_watcher() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.at(2)
    assert [line.task for line in answer(owner.ask((record, 1), sender=D)).running] == [record.id]
    effects = owner.fails(record)
    assert [each.to for each in effects if isinstance(each, Send)] == [W]


def test_whoever_asked_last_hears_of_the_end() -> None:
    owner, record = Owner(), mine()
    owner.award(record)
    owner.at(SETTINGS.lease_s / 3)
    owner.ask((record, 1), sender=C)
    effects = owner.written(owner.finishes(record))
    assert [each.to for each in effects if isinstance(each, Send)] == [C]
