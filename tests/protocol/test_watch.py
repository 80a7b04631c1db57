"""The lease, by asking: who is found silent or absent, and who is not because the fault is ours."""

import pytest
from msgspec import structs

from protocol import limits
from protocol.effects import Effect, Send, Write
from protocol.events import LeaseLapsed, TaskPoison
from protocol.owners import Owners
from protocol.watch import ASK_AGAIN_S, Watch
from protocol.wire.task import Answer, Ask, Award, Held, TaskState, Withdraw
from tests.protocol.conversation import instant
from tests.protocol.work import LIFE, SETTINGS, B, C, D, Home, bodies, said

LEASE_S, ROUND_S = SETTINGS.lease_s, SETTINGS.ask_interval_s


def _held(*, exclusive: bool = False) -> Home:
    """A task that B has accepted, and C could have."""
    home = Home({B: 1, C: 1})
    home.awarded(exclusive=exclusive)
    home.accepted()
    return home


def _writes(effects: list[Effect]) -> list[Write]:
    return [each for each in effects if isinstance(each, Write)]


def test_an_owner_is_asked_twice_a_second_about_all_its_tasks_in_one_message() -> None:
    home = Home({B: 2})
    for key in ("one", "two"):
        home.awarded(key)
        home.accepted()
    asks = bodies(home.after(2 * ROUND_S), Ask)
    assert [len(ask.held) for ask in asks] == [2, 2, 2], "at once, and then every half second"
    assert {line.epoch for line in asks[0].held} == {1}


def test_an_owner_that_answers_keeps_its_task_for_ever() -> None:
    home = _held()
    for _ in range(40):
        assert not _writes(home.after(LEASE_S / 2))
        home.answered()
    assert home.record.epoch == 1


def test_silence_for_the_lease_gives_the_task_to_another() -> None:
    home = _held()
    home.after(0)
    assert not _writes(home.after(LEASE_S - 0.001))
    effects = home.after(ROUND_S)
    (lapse,) = said(effects, LeaseLapsed)
    assert (lapse.owner, lapse.epoch, lapse.evidence) == (B, 1, "silent")
    effects = home.written(effects)
    assert (home.record.owner, home.record.epoch, home.record.died) == (C, 2, (B,))
    assert [(each.owner, each.ended) for each in home.record.attempts] == [(B, "silent")]
    assert bodies(effects, Award)
    assert [body.epoch for body in bodies(effects, Withdraw)] == [1]


def test_absent_once_is_nothing_and_absent_twice_is_gone() -> None:
    home = _held()
    assert home.absent(home.after(ROUND_S)) == []
    effects = home.absent(home.after(ROUND_S))
    assert [event.evidence for event in said(effects, LeaseLapsed)] == ["absent"]
    home.written(effects)
    assert home.record.owner == C


def test_an_answer_between_two_absences_makes_them_two_times_once() -> None:
    home = _held()
    home.absent(home.after(ROUND_S))
    home.answered()
    assert home.absent(home.after(ROUND_S)) == []


def test_an_answer_refutes_every_absence_of_the_asks_before_it() -> None:
    home = _held()
    early = home.after(ROUND_S)
    late = home.after(ROUND_S)
    home.watch.on_answer(B, LIFE, Answer(bodies(late, Ask)[-1].round, (), (), ()), home.now)
    assert home.absent(early) == []
    assert home.absent(late) == []
    assert home.absent(home.after(ROUND_S)) == [], "that is the first since"


def test_the_first_absence_asks_again_soon_however_long_a_round_is() -> None:
    home = Home({B: 1, C: 1}, structs.replace(SETTINGS, ask_interval_s=30.0, lease_s=60.0))
    home.awarded()
    home.accepted()
    assert home.absent(home.after(0)) == []
    assert said(home.absent(home.after(ASK_AGAIN_S)), LeaseLapsed)


def test_pages_of_one_round_are_one_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TASKS_PER_ASK_MAX", 1)
    owners = Owners()
    watch = Watch(settings=SETTINGS, owners=owners)
    watch.on_link(is_usable=True, now=instant(0))
    for number in range(2):
        owners.hold((B, LIFE), Held(f"t{number}", 1, 1), now=instant(5))
    lapses = []
    for moment in (5, 6):
        asks, _ = watch.on_tick(instant(moment))
        assert len(asks) == 2
        for ask in asks:
            assert isinstance(ask, Send)
            assert ask.probe is not None
            lapses.append(len(watch.on_absent(ask.probe, instant(moment))))
    assert lapses == [0, 0, 2, 2]


def test_an_absence_that_nobody_waits_for_is_ignored() -> None:
    home = _held()
    assert home.watch.on_absent(4_711, home.now) == []


def test_nothing_lapses_while_the_way_to_the_store_is_away() -> None:
    home = _held()
    home.link(is_usable=False)
    effects = home.after(10 * LEASE_S)
    assert not said(effects, LeaseLapsed)
    assert home.absent(home.after(ROUND_S)) == []
    assert home.absent(home.after(ROUND_S)) == []


def test_nothing_lapses_within_a_lease_after_the_way_came_back() -> None:
    home = _held()
    home.link(is_usable=False)
    home.after(10 * LEASE_S)
    home.link(is_usable=True)
    home.absent(home.after(ROUND_S))
    home.absent(home.after(ROUND_S))
    effects = home.after(LEASE_S - 2 * ROUND_S - 0.001)
    assert not said(effects, LeaseLapsed)
    assert not _writes(effects)
    assert said(home.after(2 * ROUND_S), LeaseLapsed), "and then it does"


def test_what_lapses_through_an_outage_is_not_held_against_the_task() -> None:
    home = _held()
    home.link(is_usable=False)
    home.link(is_usable=True)
    home.written(home.after(LEASE_S + ROUND_S))
    assert (home.record.owner, home.record.died) == (C, ())


def test_an_award_that_was_not_heard_is_not_moved_on_the_moment_the_way_is_back() -> None:
    home = Home({B: 1, C: 1})
    home.awarded()
    home.link(is_usable=False)
    home.after(1)
    assert not _writes(home.link(is_usable=True))
    assert not _writes(home.after(LEASE_S - 0.001))
    assert home.answered() == [], "it had it all the while"
    assert not _writes(home.after(ROUND_S))
    assert home.record.epoch == 1


def test_a_stop_of_our_own_is_nobody_elses_fault() -> None:
    home = _held()
    home.watch.on_lag(instant(60))
    home.ledger.on_lag(instant(60))
    home.now = instant(60)
    assert not said(home.after(LEASE_S - 0.001), LeaseLapsed)


def test_an_answer_after_the_lease_takes_all_the_blame_back() -> None:
    home = Home({B: 1})
    home.awarded()
    home.accepted()
    assert said(home.after(LEASE_S + ROUND_S), LeaseLapsed)
    home.answered()
    assert home.ledger.status((home.record.id,))[0].running
    home.mesh.free[C] = 1
    home.written(home.declined("drained"))
    assert (home.record.owner, home.record.died) == (C, ())
    assert [each.ended for each in home.record.attempts] == ["drained"]


def test_three_nodes_that_are_lost_with_it_make_it_poison() -> None:
    home = Home({B: 1, C: 1, D: 1})
    home.awarded()
    for _ in range(2):
        home.accepted()
        home.written(home.after(LEASE_S + ROUND_S))
    home.accepted()
    effects = home.written(home.after(LEASE_S + ROUND_S))
    assert home.record.state is TaskState.POISON
    assert [set(event.died) for event in said(effects, TaskPoison)] == [{B, C, D}]


def test_an_exclusive_task_waits_two_leases_and_no_absence_shortens_them() -> None:
    home = _held(exclusive=True)
    for _ in range(4):
        assert home.absent(home.after(ROUND_S)) == []
    assert not _writes(home.after(2 * LEASE_S - 4 * ROUND_S - 0.001))
    home.written(home.after(2 * ROUND_S))
    assert (home.record.owner, home.record.epoch) == (C, 2)


def test_the_answer_of_another_life_does_not_keep_the_lease() -> None:
    home = _held()
    for _ in range(6):
        home.watch.on_answer(B, LIFE + 1, Answer(1, (), (), ()), home.now)
        effects = home.after(ROUND_S)
    assert said(effects + home.after(ROUND_S), LeaseLapsed)


def test_an_owner_without_tasks_is_not_asked() -> None:
    home = _held()
    home.written(home.cancel(home.record.id))
    assert home.watch.next_deadline() is None
    assert not bodies(home.after(5), Ask)
