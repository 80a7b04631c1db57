"""Exclusive work on a slow store: leases grow and shrink, and what no lease could keep is not begun."""

import pytest

from protocol.effects import Effect, StopAgent, Write
from protocol.leases import RENEWALS, STRETCH_MAX
from protocol.wire.task import TaskRecord
from tests.protocol.conversation import instant
from tests.protocol.owning import Owner, declines, mine
from tests.protocol.test_exclusive import ALONE, KEY, LEASE_S, RENEW_S, _begun, _runs, _writes
from tests.protocol.work import only_write


def _lasting(effects: list[Effect]) -> float:
    """The lease that a renewal asks for, seconds."""
    record = only_write(effects).record
    assert isinstance(record, TaskRecord)
    return record.lease_ms / 1_000


def _slowed() -> Owner:
    """It began, and its first renewal took a third of the lease: from now on it wants twice that."""
    owner = _begun()
    owner.at(RENEW_S)
    owner.now = instant(2 * RENEW_S)
    owner.written([Write(KEY, ALONE, expect=5)])
    return owner


@pytest.mark.parametrize("took_s", [0.34 * LEASE_S, LEASE_S, 1.9 * LEASE_S])
def test_an_owner_that_would_be_late_to_renew_asks_for_a_longer_lease_before_it_begins(took_s: float) -> None:
    owner = Owner()
    effects = owner.award(ALONE)
    assert _lasting(effects) == LEASE_S
    owner.now = instant(took_s)
    effects = owner.written(effects)
    longer_s = min(2 * RENEWALS * took_s, STRETCH_MAX * LEASE_S)
    assert (_runs(effects), _lasting(effects)) == ([], round(longer_s, 3))
    owner.now = instant(2 * took_s)
    (run,) = _runs(owner.written(effects))
    assert run.lease_s == LEASE_S, "an agent whose daemon stands still goes by the shortest"


def test_what_would_lapse_before_a_write_comes_back_is_not_begun_at_all() -> None:
    owner, took_s = Owner(), 2.5 * LEASE_S
    effects = owner.award(ALONE)
    for turn in (1, 2):
        owner.now = instant(turn * took_s)
        effects = owner.written(effects)
        assert _runs(effects) == []
    assert declines(effects) == ["unrenewed"]
    assert (owner.holder.in_hand, owner.slots.taken) == (0, 0)


def test_a_run_is_not_to_begin_after_its_lease_wherever_it_waited() -> None:
    owner = Owner()
    (run,) = _runs(owner.written(owner.award(ALONE)))
    assert run.begin_by == instant(LEASE_S).mono_ns
    (other,) = _runs(Owner().award(mine()))
    assert other.begin_by == 0


def test_a_longer_lease_holds_once_its_write_stands_and_not_before() -> None:
    owner = _slowed()
    longer = owner.at(2 * RENEW_S)
    assert _lasting(longer) == 2 * LEASE_S
    assert owner.at(RENEW_S + LEASE_S) == [StopAgent(ALONE.id, 1)]


def test_an_owner_goes_on_for_the_lease_of_its_last_write_and_renews_three_times_in_it() -> None:
    owner = _slowed()
    longer = owner.at(2 * RENEW_S)
    owner.now = instant(2 * RENEW_S + 0.01)
    owner.written(longer)
    left_s = 2 * RENEW_S
    assert owner.at(left_s + 2 * RENEW_S - 0.01) == []
    assert _writes(owner.at(left_s + 2 * RENEW_S))
    assert StopAgent(ALONE.id, 1) not in owner.at(left_s + 2 * LEASE_S - 0.01)
    assert StopAgent(ALONE.id, 1) in owner.at(left_s + 2 * LEASE_S)


def test_a_lease_becomes_short_again_by_and_by_and_never_shorter_than_the_award_s() -> None:
    owner = _slowed()
    leases: list[float] = []
    for number in range(1_000):
        effects = owner.at(2 * RENEW_S + number / 10)
        if _writes(effects):
            leases.append(_lasting(effects))
            owner.written(effects)
    assert leases[0] == 2 * LEASE_S
    assert leases[-1] == LEASE_S
    assert [leases[at] for at in range(len(leases) - 1) if leases[at + 1] < leases[at]] == [6.0, 4.5, 3.375]
    assert owner.holder.in_hand == 1, "it never lapsed"
