"""Bids, passes and reservations that no honest node sends, in frames of nodes that were admitted: none moves a task."""

import math
from typing import Any

import pytest
from msgspec import structs

from protocol import ids, inputs, limits
from protocol.effects import Effect, Read, Reply, RunAgent, Send, Write
from protocol.envelope import Sealer
from protocol.events import BidReceived, FrameRefused
from protocol.node import Node
from protocol.wire.auction import Attempt, Bid, Offer, Pass, Reserve, Taken, Unreserve, Unwritten
from protocol.wire.task import TaskRecord, TaskState
from tests.explore import KEYS, SUBJECTS, World
from tests.explored import record_in
from tests.protocol.work import said


def _asked() -> tuple[World, Offer]:
    """The first host has asked the second, the only one with an agent, and has no answer yet."""
    world = World(agents=(1,), route="bids")
    for _ in range(60):
        for packet in world.packets:
            if isinstance(packet.send.body, Offer):
                return world, packet.send.body
        world.take(world.plain())
    raise AssertionError("nobody was asked")


def _node(world: World, host: int) -> Node:
    node = world.hosts[host].node
    assert node is not None
    return node


class Voice:
    """One admitted node, that says what it likes to another."""

    def __init__(self, world: World, src: int, dst: int) -> None:
        self._world = world
        self._dst = dst
        me, peer = world.hosts[dst], world.hosts[src]
        self._subject = SUBJECTS.node(dst=me.id, life=me.life, src=peer.id)
        self._sealer = Sealer(signer=KEYS.signer("abc"[src]), life=peer.life + 1)

    def says(self, body: Any) -> list[Effect]:
        """And what comes of it."""
        frame = self._sealer.seal(body, subject=self._subject, now=self._world.now)
        return _node(self._world, self._dst).handle(inputs.Received(self._subject, frame), self._world.now)


def _bid(offer: Offer, **fields: Any) -> Bid:
    sound = Bid(offer.auction, offer.task, offer.epoch, "echo", 1, 0, 10, 2, 3.0, 0.0, 0.9, 0.0)
    return structs.replace(sound, **fields)


BEYOND: dict[str, dict[str, Any]] = {
    "a price that is no number": {"price": math.nan},
    "a price beyond all": {"price": math.inf},
    "a price below none": {"price": -1.0},
    "successes that are no number": {"successes": math.nan},
    "failures below none": {"failures": -0.5},
    "confidence above one": {"confidence": 1.5},
    "no free slot": {"free": 0},
    "slots beyond all": {"free": limits.SLOTS_MAX + 1},
    "a run of negative length": {"latency_ms": -1},
    "a run that outlives everything": {"latency_ms": limits.SPAN_MS_MAX + 1},
    "a deviation beyond all": {"deviation_ms": 1 << 62},
    "a long name": {"agent": "x" * 65},
    "a name with a dot": {"agent": "x.y"},
    "another task's long name": {"task": "x" * 40},
}


@pytest.mark.parametrize("fields", BEYOND.values(), ids=BEYOND)
def test_a_bid_beyond_its_bounds_is_refused_and_counts_as_no_answer(fields: dict[str, Any]) -> None:
    world, offer = _asked()
    voice = Voice(world, 1, 0)
    effects = voice.says(_bid(offer, **fields))
    assert [event.code for event in said(effects, FrameRefused)] == ["bad_body"]
    assert len(effects) == 1
    assert said(voice.says(_bid(offer)), BidReceived), "a sound one is still waited for"


@pytest.mark.parametrize("fields", [{"auction": 99}, {"epoch": 7}, {"epoch": 0}, {"task": "t" * 26}])
def test_a_bid_for_something_else_changes_nothing(fields: dict[str, Any]) -> None:
    world, offer = _asked()
    voice = Voice(world, 1, 0)
    refusal = structs.replace(Pass(offer.auction, offer.task, offer.epoch, "busy"), **fields)
    assert voice.says(_bid(offer, **fields)) == voice.says(refusal) == []


def test_a_bid_of_who_was_never_asked_wins_nothing_and_is_named() -> None:
    world, offer = _asked()
    assert Voice(world, 2, 0).says(_bid(offer, latency_ms=0)) == []
    write = next(each for each in Voice(world, 1, 0).says(_bid(offer)) if isinstance(each, Write))
    assert isinstance(write.record, TaskRecord)
    (round,) = write.record.rounds
    assert write.record.owner == world.hosts[1].id
    assert [(each.node, each.said) for each in round.answers if each.said != "bid"] == [(world.hosts[2].id, "unasked")]


def test_the_same_bid_again_with_a_better_price_is_one_bid() -> None:
    world, offer = _asked()
    voice = Voice(world, 1, 0)
    assert any(isinstance(each, Write) for each in voice.says(_bid(offer, price=5.0)))
    assert not said(voice.says(_bid(offer, price=0.0)), BidReceived)


def _waiting() -> tuple[World, TaskRecord, Reserve]:
    """A task stands open, and what the first host told the second of it is still on its way."""
    world = World(agents=(1,), route="late")
    for _ in range(60):
        for packet in world.packets:
            if isinstance(packet.send.body, Reserve):
                return world, record_in(packet.send.body.record), packet.send.body
        world.take(world.plain())
    raise AssertionError("nothing was reserved")


def _moves(effects: list[Effect]) -> list[Effect]:
    return [each for each in effects if isinstance(each, Write | RunAgent | Reply)]


def test_a_reservation_of_what_cannot_be_taken_takes_nothing() -> None:
    world, open_, sound = _waiting()
    voice = Voice(world, 2, 1)
    for signer, changed in (
        ("c", {"state": TaskState.DONE, "owner": world.hosts[2].id, "epoch": 1}),
        ("c", {"state": TaskState.AWARDED, "owner": world.hosts[2].id, "epoch": 1}),
        ("c", {"capability": "other@1"}),
        ("c", {"deadline_ms": 1}),
        ("z", {}),  # whom nobody admitted
    ):
        subject = SUBJECTS.record(ids.task_key(open_.id))
        record = Sealer(signer=KEYS.signer(signer), life=world.hosts[2].life).seal(
            structs.replace(open_, **changed), subject=subject, now=world.now
        )
        assert _moves(voice.says(structs.replace(sound, record=record))) == [], changed
    assert _moves(voice.says(structs.replace(sound, record=b"garbage"))) == []
    assert _moves(voice.says(structs.replace(sound, task="t" * 26))) == []
    assert len(_moves(voice.says(sound))) == 1, "the honest one is taken"


@pytest.mark.parametrize(
    "unwritten",
    [
        Unwritten(failures=1 << 60),
        Unwritten(died=("n" * 33,)),
        Unwritten((Attempt(1, "n" * 32, "silent", 1),) * (limits.ATTEMPTS_KEPT + 1)),
        Unwritten((Attempt(-1, "n" * 32, "silent", 1),)),
    ],
)
def test_a_reservation_that_says_impossible_things_is_refused(unwritten: Unwritten) -> None:
    world, _, sound = _waiting()
    effects = Voice(world, 2, 1).says(structs.replace(sound, unwritten=unwritten))
    assert [event.code for event in said(effects, FrameRefused)] == ["bad_body"]
    assert len(effects) == 1


def test_who_says_that_it_took_a_task_is_believed_only_by_its_own_record_and_when_it_was_asked() -> None:
    world, open_, sound = _waiting()
    voices = {src: Voice(world, src, 0) for src in (1, 2)}
    for src, owner, epoch in ((2, 2, 1), (2, 1, 1), (1, 1, 3)):
        taken = structs.replace(
            open_, state=TaskState.AWARDED, epoch=epoch, owner=world.hosts[owner].id, owner_life=world.hosts[owner].life
        )
        subject = SUBJECTS.record(ids.task_key(open_.id))
        seal = Sealer(signer=KEYS.signer("abc"[src]), life=world.hosts[src].life)
        body = Taken(open_.id, epoch, sound.revision + 1, seal.seal(taken, subject=subject, now=world.now))
        effects = voices[src].says(body)
        assert {type(each) for each in effects} == {Read}, "the record is looked at, and nothing else happens"
    assert _moves(voices[1].says(Taken(open_.id, 1, 9, b"garbage"))) == []
    assert _node(world, 0).ledger.waiting == 1


def test_a_reservation_is_taken_back_without_harm_also_when_there_is_none() -> None:
    world, open_, _ = _waiting()
    assert [each for each in Voice(world, 2, 1).says(Unreserve(open_.id, 99)) if isinstance(each, Send)] == []
