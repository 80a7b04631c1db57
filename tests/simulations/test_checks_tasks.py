"""Rules of tasks against a whole run: broken in the core, they are found out."""

import pytest
from msgspec import structs

from protocol.effects import RunAgent, StopAgent
from protocol.grants import Grants
from protocol.ids import task_key
from protocol.inputs import AgentStopped
from protocol.wire.task import TaskRecord
from simulations.agents import result_of
from simulations.checks import CHECKS
from simulations.scenario import named, parsed
from simulations.seen import Handled, Span, Stored
from simulations.timeline import ns
from simulations.world import World
from tests.simulations.test_checks import AGAIN, AWARDED, DONE, OPEN


def test_an_owner_that_forgets_what_it_began_is_found_to_begin_it_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grants, "had", lambda self, task, epoch: False)
    verdict = World(named("store-stall"), seed=1).run()
    assert [each.rule for each in verdict.violations] == ["one-start"]


def test_what_must_not_run_twice_at_once_is_stopped_before_it_is_begun_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(parsed('about = "x"\nnodes = 2\nrun_s = 60\n', origin="x"), seed=1)
    for host in world.hosts.values():
        host.start()
    order = RunAgent("worker", "t", 1, 1, "work@1", b"", 9.0, "i", "g", 0, (), lease_s=3.0)
    begun = [Handled(name, 1, "Received", 0, effects=(order,)) for name in world.hosts]
    told = Handled("n1", 1, "Tick", 0, effects=(StopAgent("t", 1),))
    stopped = Handled("n1", 1, "AgentStopped", 0, AgentStopped("t", 1))
    for host in world.hosts.values():
        monkeypatch.setattr(host, "running", lambda: ["t"])
    check = CHECKS["one-at-a-time"](world)
    assert [check.on(seen) for seen in (begun[0], told, stopped, begun[1])] == [None, None, None, None]
    assert check.on(begun[0])
    monkeypatch.setattr(world.hosts["n2"], "running", list)  # its agent has ended, but it has not heard of it
    assert CHECKS["one-at-a-time"](world).on(begun[1]) is None
    assert check.on(begun[0]) is None


def test_a_record_that_was_removed_is_put_back_as_it_stood_once_and_goes_on_from_there() -> None:
    world = World(parsed('about = "x"\nnodes = 2\nrun_s = 60\n', origin="x"), seed=1)
    check, purge = CHECKS["lawful-records"](world), Span("purge", (), is_on=True)

    def stored(record: TaskRecord, at: int) -> str | None:
        return check.on(Stored("n1", task_key("t"), at, record))

    assert [stored(OPEN, 1), stored(AWARDED, 2), stored(AGAIN, 3)] == [None, None, None]
    assert check.on(purge) is None
    assert stored(AWARDED, 1) is None, "who knows no better writes what it knew; revisions may begin again"
    assert stored(AGAIN, 2) is None
    assert "went from" in (stored(AGAIN, 3) or ""), "once"
    other = CHECKS["lawful-records"](world)
    assert other.on(Stored("n1", task_key("t"), 1, AGAIN)) is not None, "as a beginning it is none"
    assert check.on(purge) is None
    assert stored(DONE, 1) is None
    assert [check.on(purge), stored(structs.replace(AGAIN, epoch=4), 1)][1], "nobody ever wrote that"


def test_who_did_not_know_the_end_of_a_record_that_was_removed_may_do_it_again_and_is_put_right() -> None:
    world = World(parsed('about = "x"\nnodes = 2\nrun_s = 60\n', origin="x"), seed=1)
    checks = [CHECKS[name](world) for name in ("lawful-records", "ends-absorb", "one-result")]
    purge = Span("purge", (), is_on=True)
    late = structs.replace(DONE, epoch=1, owner=AWARDED.owner, result=result_of("n2", "t", 1))

    def problems(*records: TaskRecord, first: int) -> list[str | None]:
        seen = [Stored("n1", task_key("t"), at, record) for at, record in enumerate(records, start=first)]
        return [problem for each in seen for check in checks if (problem := check.on(each)) is not None]

    assert problems(OPEN, AWARDED, AGAIN, DONE, first=1) == []
    for check in checks:
        check.on(purge)
    assert problems(AWARDED, late, DONE, first=1) == [], "done again, and then it is as it was seen to have ended"
    for check in checks:
        check.on(purge)
    assert problems(late, DONE, first=1) == [], "what follows from what it knew"
    assert len(problems(late, first=3)) == 3, "and not once more"


@pytest.mark.parametrize(
    ("wrong", "by", "is_violation"),
    [
        (["n1"], "n1", True),
        (["n1", "n2", "n3", "n4"], "n1", False),
        (["n1", "n2"], "n1", False),
        (["n1", "n2"], "n2", False),
        (["n1", "n2"], "n3", True),
    ],
)
def test_a_clock_that_is_as_wrong_as_half_of_all_is_held_for_right_by_that_half(
    wrong: list[str], by: str, is_violation: bool
) -> None:
    world = World(parsed('about = "x"\nnodes = 4\nrun_s = 60\nstart = "known"\n', origin="x"), seed=1)
    for host in world.hosts.values():
        host.start()
    for name in wrong:
        world.hosts[name].clock.set(ahead_s=1_000.0, drift=0.0)
    world.timeline.now_ns = ns(50)
    record = structs.replace(AWARDED, owner=world.hosts["n1"].id)
    assert (CHECKS["right-clocks"](world).on(Stored(by, task_key("t"), 2, record)) is not None) is is_violation


@pytest.mark.parametrize("is_still", [True, False])
def test_whose_clock_is_off_may_be_given_a_task_by_one_that_has_not_heard_it_since(is_still: bool) -> None:
    world = World(parsed('about = "clocks"\nnodes = 2\nrun_s = 60', origin="here"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.timeline.run(ns(5))
    dark = world.network.darken()  # as while the broker stands still
    world.hosts["n1"].clock.set(ahead_s=60.0)
    world.timeline.now_ns = ns(20)
    if not is_still:
        world.network.restore(dark)
        world.timeline.now_ns = ns(30)
    seen = Stored("n2", task_key("t"), 1, structs.replace(AWARDED, owner=world.hosts["n1"].id))
    assert (CHECKS["right-clocks"](world).on(seen) is None) is is_still


@pytest.mark.parametrize(("cut_off", "is_violation"), [(1, True), (3, False)])
def test_whose_clock_is_off_gives_no_task_to_whom_it_does_not_hear_while_it_hears_most(
    cut_off: int, is_violation: bool
) -> None:
    world = World(parsed('about = "clocks"\nnodes = 4\nrun_s = 60', origin="here"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.timeline.run(ns(5))
    others = ("n2", "n3", "n4")[:cut_off]
    world.network.cut(groups={}, pairs=frozenset(pair for name in others for pair in ((name, "n1"), ("n1", name))))
    world.hosts["n1"].clock.set(ahead_s=60.0)
    world.timeline.now_ns = ns(30)
    seen = Stored("n1", task_key("t"), 1, structs.replace(AWARDED, owner=world.hosts["n2"].id))
    assert (CHECKS["right-clocks"](world).on(seen) is not None) is is_violation
