"""What a host does with its lives, as a daemon does: it comes up without a broker, and gives way to a later life."""

from collections.abc import Callable
from typing import ClassVar

import pytest

from protocol.effects import Emit, Reply, RunAgent, Spread, StopAgent
from protocol.inputs import Leave
from simulations.checks_bounds import NoException
from simulations.host import Host
from simulations.scenario import parsed
from simulations.seen import Handled, Routine, Seen
from simulations.setting import Check, Setting, Wanted
from simulations.timeline import ns
from simulations.trace import Line
from simulations.world import Verdict, World

CUT_OFF = """
about = "n2 is started again while there is no broker"
nodes = 4
run_s = 25
[[fault]]
kind = "outage"
at_s = 6
for_s = 8
[[fault]]
kind = "crash"
node = "n2"
at_s = 8
for_s = 1
disk = "{disk}"
[expect]
eventually = {{ one-view = 5, all-joined = 5 }}
"""
OUTDONE = """
about = "n2 has forgotten its lives, its clock is behind, and the record is out of reach when it starts"
nodes = 4
run_s = 50
[[fault]]
kind = "clock"
node = "n2"
at_s = 6
for_s = 30
ahead_s = -3000
[[fault]]
kind = "stall"
at_s = 7
for_s = 6
[[fault]]
kind = "crash"
node = "n2"
at_s = 8
for_s = 1
disk = "lost"
[expect]
eventually = { one-view = 5, all-joined = 5 }
"""


ALONE = 'about = "nothing is done to it"\nnodes = 4\nrun_s = 50\n'


def _run(text: str, at: dict[float, Callable[[Host], None]]) -> tuple[Verdict, list[Line]]:
    """The run, with a look at n2 at these times."""
    lines: list[Line] = []

    def look(setting: Setting) -> Check:
        for at_s, deed in at.items():
            setting.timeline.at(ns(at_s), deed, setting.hosts["n2"])
        return NoException(setting)

    return World(parsed(text, origin="here"), seed=1, watch=[look], write=lines.append).run(), lines


def test_a_host_that_is_started_while_there_is_no_broker_comes_up_detached_and_joins_later() -> None:
    seen: list[str] = []
    verdict, _ = _run(
        CUT_OFF.format(disk="kept"),
        {at_s: lambda host: seen.append(host.node.state if host.is_up else "down") for at_s in (8.5, 10, 24)},
    )
    assert seen == ["down", "detached", "joined"]
    assert verdict.violations == ()


def test_a_host_that_was_never_a_member_is_started_again_until_there_is_a_broker() -> None:
    seen: list[tuple[bool, bool]] = []
    verdict, _ = _run(
        CUT_OFF.format(disk="lost"),
        {at_s: lambda host: seen.append((host.is_up, host.is_linked)) for at_s in (10, 24)},
    )
    assert seen == [(False, False), (True, True)]
    assert verdict.violations == ()


def test_a_life_that_finds_a_later_one_on_record_gives_way_to_one_above_that() -> None:
    lives: list[tuple[int, bool]] = []
    looks = {at_s: lambda host: lives.append((host.life, host.is_well)) for at_s in (6.9, 11, 49)}
    verdict, lines = _run(OUTDONE, looks)
    former, outdone, last = lives
    assert outdone < former < last
    assert [is_well for _, is_well in lives] == [True, False, True]
    assert [line.what for line in lines if (line.node, line.kind) == ("n2", "life")][1:] == [
        "begins",
        "gives way",
        "begins",
    ]
    assert verdict.violations == ()


@pytest.mark.parametrize("way", ["told to leave", "killed"])
def test_who_is_ended_while_it_gives_way_is_not_followed(way: str) -> None:
    seen: list[bool] = []

    def end(host: Host) -> None:
        host.node.link.outdone_by = host.life + 1
        host.receive(Leave(), host.life)
        assert host.is_leaving
        if way == "killed":
            host.crash(noticed_ns=0)
        else:
            host.leave()

    _run(ALONE, {20: end, 49: lambda host: seen.append(host.is_up)})
    assert seen == [False]


class _Told:
    """What a host says that it was given, by kind."""

    wants: ClassVar[Wanted] = (Handled, Routine)

    def __init__(self, setting: Setting) -> None:
        del setting
        self.handled: list[Handled] = []
        self.routine: list[Handled] = []

    def on(self, seen: Seen) -> str | None:
        assert isinstance(seen, Handled)
        (self.routine if isinstance(seen, Routine) else self.handled).append(seen)
        return None


def test_questions_and_answers_are_routine_and_whatever_rules_judge_is_not() -> None:
    told: list[_Told] = []

    def watch(setting: Setting) -> Check:
        told.append(_Told(setting))
        return told[0]

    busy = ALONE + 'work = { tasks = 3, from_s = 5 }\n[[fault]]\nkind = "pause"\nnode = "n2"\nat_s = 8\nfor_s = 12\n'
    assert World(parsed(busy, origin="here"), seed=1, watch=[watch]).run().violations == ()
    judged = (Spread, RunAgent, StopAgent, Emit, Reply)
    assert not [seen for seen in told[0].routine if any(isinstance(effect, judged) for effect in seen.effects)]
    assert {seen.kind for seen in told[0].routine} <= {"Received", "Tick", "Written", "Lost", "Found", "Listed"}
    assert {"LinkChanged", "AgentFinished", "Advertise", "Submit"} <= {seen.kind for seen in told[0].handled}
    assert len(told[0].routine) > 5 * len(told[0].handled)
    numbers: dict[str, tuple[int, int]] = {}
    for seen in told[0].handled:
        numbers[seen.node] = max(numbers.get(seen.node, (0, 0)), (seen.life, seen.incarnation))
    assert all((seen.life, seen.incarnation) <= numbers[seen.node] for seen in told[0].routine)
    assert max(incarnation for _, incarnation in numbers.values()) > 0, "n2 outbids what was said of it"
