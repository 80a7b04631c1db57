"""Each check against a sequence that keeps its rule, and one that breaks it."""

from collections.abc import Mapping
from typing import cast

import pytest
from msgspec import structs

from protocol.effects import Emit, Reply
from protocol.events import (
    CapabilitiesChanged,
    FrameRefused,
    PeerAlive,
    PeerDead,
    PeerLeft,
    PeerMisbehaved,
    PeerSuspect,
    TaskDone,
    TaskStarted,
    TaskSubmitted,
)
from protocol.ids import task_key
from protocol.node import NodeSettings
from protocol.wire.task import TaskRecord, TaskState
from simulations.agents import result_of
from simulations.chance import Chance
from simulations.checks import CHECKS
from simulations.host import Host
from simulations.links import LinkModel
from simulations.network import Network
from simulations.scenario import parsed
from simulations.seen import Answered, Broke, Handled, Happened, Said, Seen, Sight, Stored
from simulations.timeline import Timeline, ns
from simulations.world import World

OPEN = TaskRecord(
    id="t", iid="i", gid="g", parent_iid="", capability="work@1", submitter="s", key="k", home="n1",
    state=TaskState.OPEN, epoch=0, owner="", owner_life=0, input=b"", exclusive=False, priority=5,
    submitted_ms=1, deadline_ms=2, hops=0, ancestors=(),
)  # fmt: skip
AWARDED = structs.replace(OPEN, state=TaskState.AWARDED, epoch=1, owner="n2", owner_life=5)
AGAIN = structs.replace(AWARDED, epoch=2, owner="n3")
DONE = structs.replace(AGAIN, state=TaskState.DONE, result=result_of("n3", "t", 2))
FAILED = structs.replace(AGAIN, state=TaskState.FAILED)
RETRIED = structs.replace(AGAIN, state=TaskState.OPEN, owner="", retries=1, home="n2", deadline_ms=9)
ONCE_MORE = structs.replace(RETRIED, state=TaskState.CANCELLED)


class _Well:
    """A host that has been well for long, as far as rules look at one."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.well_since_ns = -ns(3_600)
        self.is_leaving = False


class _Setting:
    def __init__(self) -> None:
        self.timeline = Timeline()
        self.network = Network(timeline=self.timeline, chance=Chance(1), model=LinkModel())
        self.hosts: Mapping[str, Host] = {name: cast("Host", _Well(name)) for name in ("n1", "n2", "n3")}
        self.settings = NodeSettings()
        self.line = 0


def _stored(*records: TaskRecord) -> list[Seen]:
    return [Stored("n1", task_key(record.id), number, record) for number, record in enumerate(records, start=1)]


DONE_SAID = Happened("n3", 5, TaskDone("t", "i", 2, "n3", 9))
SUBMITTED = Happened("n1", 5, TaskSubmitted("t", "i", "g", "work@1", "s"))


STARTED = Happened("n2", 5, TaskStarted("t", "i", 1, "worker", "s"))
AGAIN_ELSEWHERE = Happened("n2", 5, TaskStarted("t", "i", 2, "worker", "s"))
SUSPECT = Happened("n1", 5, PeerSuspect("n2", "n2", 6, "n3", "timeout"))
GONE = Happened("n1", 5, PeerDead("n2", "n2", 6, ("n1", "n3"), "timeout", 5.0))
LEFT = Happened("n1", 5, PeerLeft("n2", "n2", 6))
ELSEWHERE = {  # these look at a world
    "no-false-death", "right-clocks", "proven-death", "own-word", "dead-are-found", "refuted-soon", "goodbyes-heard",
    "rehearsed", "no-hasty-death", "cut-off-judges-nobody", "one-at-a-time",
}  # fmt: skip


def _alive(life: int, incarnation: int) -> Seen:
    return Happened("n1", 5, PeerAlive("n2", "n2", life, incarnation))


def _agents(version: int) -> Seen:
    return Happened("n1", 5, CapabilitiesChanged("n2", "n2", version, ()))


GOOD: dict[str, list[Seen]] = {
    "no-exception": [Handled("n1", 5, "Tick", 0)],
    "lawful-records": _stored(OPEN, AWARDED, AGAIN, FAILED, RETRIED, ONCE_MORE),
    "ends-absorb": _stored(OPEN, AWARDED, FAILED, RETRIED, ONCE_MORE),
    "one-result": [*_stored(AWARDED, AGAIN, DONE), DONE_SAID],
    "nothing-promised-in-vain": [*_stored(OPEN), SUBMITTED, Answered("n1", Reply(1, value=OPEN))],
    "one-answer": [Answered("n1", Reply(1)), Answered("n1", Reply(2)), Answered("n2", Reply(1))],
    "rising-numbers": [
        Handled("n1", 5, "Tick", 1),
        Handled("n1", 6, "Tick", 0),
        Sight("n1", "disk-lost"),
        Handled("n1", 4, "Tick", 0),
        _alive(5, 1),
        _alive(6, 0),
        SUSPECT,
        _alive(6, 1),
        GONE,
        _alive(6, 2),
        LEFT,
        _alive(7, 0),
    ],
    "one-start": [*_stored(AWARDED), STARTED],
    "known-agents": [_agents(1), _agents(2), _alive(6, 0), _agents(1)],
    "bounded": [Handled("n1", 5, "Tick", 0, effects=(Emit(SUBMITTED.event),) * 9)],
    "quiet": [Said("n1", "Ping")] * 50,
    "honest": [
        Happened("n1", 5, FrameRefused("replayed", "n2", "s")),
        Sight("n1", "harmed"),
        Happened("n1", 5, FrameRefused("bad_body", "n2", "s")),
    ],
    "calm": [Said("n1", "Ping")] * 50,
}
BAD: dict[str, list[list[Seen]]] = {
    "no-exception": [[Broke("n1", "Tick", "KeyError")]],
    "lawful-records": [
        _stored(DONE),
        _stored(OPEN, DONE),
        _stored(AWARDED, structs.replace(AGAIN, epoch=3)),
        _stored(AWARDED, structs.replace(AWARDED, owner="n3")),
        _stored(AWARDED, structs.replace(DONE, epoch=2)),
        _stored(AGAIN, OPEN),
        _stored(AGAIN, structs.replace(FAILED, home="n2")),
        _stored(FAILED, structs.replace(RETRIED, submitter="other")),
        _stored(OPEN, structs.replace(AWARDED, input=b"other")),
        [*_stored(OPEN), *_stored(AWARDED)],
    ],
    "ends-absorb": [
        _stored(AWARDED, DONE, DONE),
        _stored(FAILED, RETRIED, FAILED),
        _stored(FAILED, RETRIED, ONCE_MORE, RETRIED),
    ],
    "one-result": [
        _stored(AWARDED, AGAIN, DONE, DONE),
        [*_stored(AWARDED, AGAIN), DONE_SAID],
        [*_stored(AGAIN, DONE), DONE_SAID, DONE_SAID],
        [*_stored(AWARDED, structs.replace(DONE, epoch=1, owner="n2", result=result_of("n2", "t", 1))), DONE_SAID],
        _stored(AWARDED, AGAIN, structs.replace(DONE, result=result_of("n2", "t", 1))),
    ],
    "nothing-promised-in-vain": [
        [SUBMITTED],
        [*_stored(OPEN), Answered("n1", Reply(1, value=AWARDED))],
        [*_stored(AGAIN), Answered("n1", Reply(1, value=FAILED))],
        [*_stored(FAILED, RETRIED), Answered("n1", Reply(1, value=ONCE_MORE))],
    ],
    "one-answer": [[Answered("n1", Reply(1)), Answered("n1", Reply(1))]],
    "rising-numbers": [
        [Handled("n1", 5, "Tick", 1), Handled("n1", 5, "Tick", 0)],
        [Handled("n1", 5, "Tick", 1), Sight("n2", "disk-lost"), Handled("n1", 4, "Tick", 0)],
        [Handled("n1", 5, "Tick", 1), Sight("n1", "doubled"), Handled("n1", 4, "Tick", 0)],
        [_alive(5, 1), _alive(5, 0)],
        [_alive(6, 0), _alive(5, 3)],
        [_alive(6, 0), SUSPECT, _alive(6, 0)],
        [_alive(6, 0), GONE, _alive(6, 0)],
        [_alive(6, 0), LEFT, _alive(6, 9)],
    ],
    "one-start": [[STARTED], [*_stored(AWARDED), STARTED, STARTED], [*_stored(AWARDED, AGAIN), AGAIN_ELSEWHERE]],
    "known-agents": [[_agents(1), _agents(1)], [_agents(2), _agents(1)]],
    "bounded": [[Handled("n1", 5, "Tick", 0, effects=(Emit(SUBMITTED.event),) * 500)]],
    "quiet": [],
    "honest": [
        [Sight("n2", "harmed"), Happened("n1", 5, FrameRefused("bad_body", "n2", "s"))],
        [Happened("n1", 5, FrameRefused("bad_signature", "n2", "s"))],
        [Happened("n1", 5, PeerMisbehaved("n2", "bad_cards"))],
    ],
    "calm": [[Said("n1", "Ping")] * 500],
}


def _problems(rule: str, sequence: list[Seen]) -> list[str]:
    check = CHECKS[rule](_Setting())
    found = [check.on(seen) for seen in sequence if type(seen) in check.wants]
    return [problem for problem in found if problem is not None]


@pytest.mark.parametrize("rule", GOOD)
def test_a_sequence_that_keeps_the_rule_passes(rule: str) -> None:
    assert _problems(rule, GOOD[rule]) == []


@pytest.mark.parametrize(("rule", "number"), [(rule, number) for rule in BAD for number in range(len(BAD[rule]))])
def test_a_sequence_that_breaks_the_rule_is_found_out(rule: str, number: int) -> None:
    assert _problems(rule, BAD[rule][number])


def test_every_check_stands_here() -> None:
    assert set(GOOD) == set(BAD) == set(CHECKS) - ELSEWHERE


@pytest.mark.parametrize(
    ("since_s", "is_cut", "is_violation"), [(20.0, False, True), (2.0, False, False), (20.0, True, False)]
)
def test_a_death_of_somebody_well_and_within_reach_is_false(since_s: float, is_cut: bool, is_violation: bool) -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 60\n', origin="x"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.timeline.run(ns(since_s))
    n1, n2, n3 = world.hosts.values()
    if is_cut:
        world.network.cut(groups={"n1": 0, "n2": 0, "n3": 1})
    death = PeerDead(n3.id, "n3", n3.life, (n1.id, n2.id), "timeout", 5.0)
    said = CHECKS["no-false-death"](world).on(Happened("n1", n1.life, death))
    assert (said is not None) is is_violation


def test_of_accusers_that_are_cut_off_from_it_one_in_reach_makes_a_death_false_unless_it_was_disturbed_itself() -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 60\n', origin="x"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.timeline.run(ns(20))
    n1, n2, n3 = world.hosts.values()
    cut = world.network.cut(groups={}, pairs=frozenset({("n1", "n3"), ("n3", "n1")}))
    seen = Happened("n1", n1.life, PeerDead(n3.id, "n3", n3.life, (n1.id, n2.id), "timeout", 5.0))
    check = CHECKS["no-false-death"](world)
    assert "within reach of n2" in (check.on(seen) or "")
    n2.pause()
    n2.resume()
    assert check.on(seen) is None
    world.network.heal(cut)
    world.timeline.now_ns = ns(29)
    n2.pause()
    n2.resume()
    assert "within reach of n1" in (check.on(seen) or "")


@pytest.mark.parametrize("by", ["n1", "n2"])
@pytest.mark.parametrize(
    ("ahead_s", "since_s", "is_violation"), [(60.0, 9.0, True), (60.0, 1.0, False), (2.0, 9.0, False)]
)
def test_an_award_to_or_by_a_clock_that_has_been_off_for_a_while_is_a_violation(
    by: str, ahead_s: float, since_s: float, is_violation: bool
) -> None:
    world = World(parsed('about = "clocks"\nnodes = 2\nrun_s = 60', origin="here"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.hosts["n1"].clock.set(ahead_s=ahead_s)
    world.timeline.run(ns(since_s))
    owner = world.hosts["n1" if by == "n2" else "n2"].id
    seen = Stored(by, task_key("t"), 1, structs.replace(AWARDED, owner=owner))
    assert (CHECKS["right-clocks"](world).on(seen) is not None) is is_violation
