"""Who gets a task: the gear that is taken, bids in their order, and what the record keeps of it."""

from random import Random

import pytest

from protocol import records
from protocol.bids import Closed, Wanted
from protocol.effects import Effect, Reply
from protocol.giving import Giving
from protocol.handover import Handover
from protocol.late import Late
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.timers import Timers
from protocol.watched import Watched
from protocol.wire.auction import Answered, Round
from protocol.wire.task import Award, Failure, TaskRecord, TaskState
from tests.protocol.conversation import instant
from tests.protocol.work import ME, SETTINGS, B, C, D, Home, Mesh, bodies, only_write, record, replies


def _wanted(home: Home) -> Wanted:
    (wanted,) = home.ledger.take_wanted()
    return wanted


def _closes(home: Home, wanted: Wanted, *ranked: str, fresh_s: float = 2.0) -> list[Effect]:
    """The auction is over, with bids of these."""
    answers = tuple(Answered(node, "bid") for node in ranked)
    told = Round(wanted.epoch, wanted.gear, wanted.why, home.now.wall_ms, 5, 3, answers)
    order = tuple((node, "echo") for node in ranked)
    return home.ledger.on_closed(Closed(wanted.task, wanted.epoch, told, order, home.now.after(fresh_s)), home.now)


def test_an_award_from_gossip_says_why_it_is_one() -> None:
    home = Home({B: 1, C: 1})
    home.awarded()
    (told,) = home.record.rounds
    assert (told.epoch, told.gear, told.owner) == (1, "gossip", B)
    assert told.why


def test_nothing_is_written_while_bids_are_waited_for_and_the_best_gets_the_task() -> None:
    home = Home({B: 1, C: 1, D: 1})
    assert home.submit(route="bids") == []
    wanted = _wanted(home)
    assert ([each.node for each in wanted.candidates], wanted.epoch) == ([B, C, D], 1)
    effects = home.written(_closes(home, wanted, C, B))
    assert bodies(effects, Award)
    assert (home.record.state, home.record.owner) == (TaskState.AWARDED, C)
    assert replies(effects) == [(1, "awarded")]
    (told,) = home.record.rounds
    assert (told.gear, told.owner, [each.node for each in told.answers]) == ("bids", C, [C, B])


def test_a_decline_goes_to_the_next_best_bid_and_the_record_says_why() -> None:
    home = Home({B: 1, C: 1, D: 1})
    home.submit(route="bids")
    home.written(_closes(home, _wanted(home), C, B))
    home.written(home.declined("draining"))
    assert home.record.owner == B
    assert [(each.epoch, each.owner, each.why) for each in home.record.rounds[1:]] == [
        (2, B, "the next best bid, after draining")
    ]


def test_who_won_a_broadcast_is_named_in_the_round_that_asked_all() -> None:
    home = Home({B: 1, C: 1, D: 1})
    home.submit(route="broadcast")
    home.written(_closes(home, _wanted(home), C, B))
    assert [(each.gear, each.owner, len(each.answers)) for each in home.record.rounds] == [("broadcast", C, 2)]


@pytest.mark.parametrize(
    ("route", "reason", "lapses"),
    [("bids", "agent_unavailable", 1), ("broadcast", "no_agent", 1), ("bids", "busy", 0), ("gossip", "no_agent", 0)],
)
def test_a_bid_that_is_not_kept_counts_as_a_lapse(route: str, reason: str, lapses: int) -> None:
    home = Home({B: 1, C: 1, D: 1})
    effects = home.submit(route=route)
    home.written(effects if route == "gossip" else _closes(home, _wanted(home), B))
    home.declined(reason)
    assert home.lapses.count(B, home.now) == lapses


def test_bids_that_are_old_are_asked_for_anew() -> None:
    home = Home({B: 1, C: 1, D: 1})
    home.submit(route="bids")
    home.written(_closes(home, _wanted(home), C, B, fresh_s=0.2))
    home.accepted()
    home.after(0.3)
    home.declined("drained")
    assert _wanted(home).epoch == 2


def test_when_nobody_bids_gossip_is_believed_and_then_it_waits() -> None:
    home = Home({B: 1, C: 0})
    home.submit(route="bids")
    home.written(_closes(home, _wanted(home)))
    assert (home.record.owner, [each.gear for each in home.record.rounds]) == (B, ["bids", "gossip"])
    home = Home({B: 0, C: 0})
    home.submit(route="bids")
    home.written(_closes(home, _wanted(home)))
    assert (home.record.state, home.ledger.waiting) == (TaskState.OPEN, 1)
    assert [each.gear for each in home.record.rounds] == ["bids"]


def test_a_bid_counts_even_where_gossip_thought_its_node_busy() -> None:
    home = Home({B: 0, C: 0})
    home.submit(route="bids")
    home.written(_closes(home, _wanted(home), C))
    assert home.record.owner == C


def test_a_cancel_does_not_wait_for_bids() -> None:
    home = Home({B: 1, C: 1})
    home.submit(route="bids")
    wanted = _wanted(home)
    effects = home.written(home.cancel(wanted.task))
    assert home.record.state is TaskState.CANCELLED
    assert replies(effects) == [(1, "cancelled"), (9, "cancelled")]
    assert _closes(home, wanted, B) == []


def test_an_auction_of_another_epoch_changes_nothing() -> None:
    home = Home({B: 1, C: 1})
    home.submit(route="bids")
    wanted = _wanted(home)
    other = Wanted(**{name: getattr(wanted, name) for name in wanted.__struct_fields__} | {"epoch": 2})
    assert _closes(home, other, B) == []
    assert only_write(_closes(home, wanted, B)).expect == 0


def test_a_bid_after_the_end_is_told_with_the_next_write() -> None:
    home = Home({B: 1, C: 1, D: 1})
    home.submit(route="bids")
    wanted = _wanted(home)
    told = Round(1, "bids", "", 1, 250, 2, (Answered(B, "bid"), Answered(C, "silent")))
    closed = Closed(wanted.task, 1, told, ((B, "echo"),), home.now.after(2.0))
    home.written(home.ledger.on_closed(closed, home.now))
    home.ledger.on_late(C, wanted.task)
    home.written(home.cancel(wanted.task))
    assert [(each.said, home.record.rounds[0].strays) for each in home.record.rounds[0].answers] == [
        ("bid", 1),
        ("late", 1),
    ]


def test_long_runs_are_worth_asking_for_once_one_was_seen() -> None:
    home = Home({B: 1, C: 1})
    home.awarded()
    home.accepted()
    ended = records.done(home.record, result=b"\xc0", started_ms=home.now.wall_ms - 400, now=home.now)
    home.result(ended)
    home.submit("another")
    assert _wanted(home).why == "a run takes about 400 ms"


def test_an_agent_seen_to_be_slow_gets_work_when_nobody_else_is_free() -> None:
    home = Home({ME: 1, B: 1})
    for key, owner, took_ms in (("own", ME, 900), ("theirs", B, 90)):
        home.mesh.free = {owner: 1}
        home.awarded(key, route="gossip")
        home.accepted()
        ended = records.done(home.record, result=b"\xc0", started_ms=home.now.wall_ms - took_ms, now=home.now)
        home.result(ended)
    home.mesh.free = {ME: 1, B: 1}
    home.written(home.submit("another", route="gossip"))
    assert home.record.owner == B
    home.written(home.submit("one more", route="gossip"))
    assert home.record.owner == ME


@pytest.mark.parametrize("route", ["auto", "gossip"])
def test_what_failed_here_is_tried_elsewhere_while_somebody_else_is_free(route: str) -> None:
    home = Home({ME: 1, B: 1})
    home.awarded(route=route)
    first = home.record.owner
    home.declined("agent_failed", detail="not here", counts=True)
    home.written(home.after(SETTINGS.backoff_s_min))
    assert {first, home.record.owner} == {ME, B}


def test_what_failed_where_alone_it_can_be_done_is_tried_there_again() -> None:
    home = Home({B: 1, C: 0})
    home.awarded(route="gossip")
    home.declined("agent_failed", detail="not now", counts=True)
    home.written(home.after(SETTINGS.backoff_s_min))
    assert (home.record.owner, home.record.epoch) == (B, 2)


@pytest.mark.parametrize("route", ["auto", "gossip", "bids"])
def test_a_node_whose_agent_fails_at_once_gets_no_work_while_another_is_free(route: str) -> None:
    home = Home({ME: 1, B: 1, C: 1})
    home.mesh.free = {ME: 1}
    home.awarded("first", route="gossip")
    home.accepted()
    home.result(records.failed(home.record, failure=Failure("agent_failed", "broken"), now=home.now))
    home.mesh.free = {ME: 1, B: 1, C: 1}
    effects = home.submit("second", route=route)
    if route == "bids":
        assert [each.node for each in _wanted(home).candidates] == [B, C]
    else:
        home.written(effects)
        assert home.record.owner in (B, C)


def test_a_task_that_is_not_on_record_yet_is_written_open_when_nobody_has_room() -> None:
    mesh, timers, rng = Mesh({B: 0}), Timers[tuple[str, str]](), Random(7)
    owners, lapses = Owners(), Lapses()
    handover = Handover(settings=SETTINGS, owners=owners, lapses=lapses, view=mesh, timers=timers, rng=rng)
    late = Late(settings=SETTINGS, view=mesh, timers=timers, rng=rng)
    giving = Giving(settings=SETTINGS, view=mesh, handover=handover, late=late)
    watched = Watched(record(), revision=0, frame=b"")
    assert giving.next(watched, instant(0.0), may_award=True) == watched.record
    mesh.free[B] = 1
    assert giving.next(watched, instant(0.0), may_award=False) == watched.record
    award = giving.next(watched, instant(0.0), may_award=True)
    assert isinstance(award, TaskRecord)
    assert (award.owner, mesh.reserved) == (B, {award.id: B})


def test_an_unknown_route_is_refused_with_the_list() -> None:
    home = Home({ME: 1})
    (reply,) = home.submit(route="fastest-please")
    assert isinstance(reply, Reply)
    assert (reply.code, reply.fields["routes"]) == ("bad_route", "auto, local, gossip, bids, late, broadcast")
