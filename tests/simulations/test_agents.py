"""Agents of a simulated host: what they say, and what becomes of them when their daemon stands still."""

import pytest

from protocol import limits
from protocol.effects import RunAgent, StopAgent
from protocol.inputs import AgentFailed, AgentFinished, AgentStopped
from simulations.agents import CAPABILITY, AgentModel, Agents
from simulations.chance import Chance
from simulations.timeline import Timeline, ns

Said = AgentFinished | AgentFailed | AgentStopped
LEASE_S = 3.0
STILL_S = limits.STILL_LEASES * LEASE_S


class Desk:
    """One host's agents, each at its task for ten seconds, and what they said."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.said: list[Said] = []
        model = AgentModel(runs_s=(10.0, 10.0))
        self.agents = Agents(host="n1", timeline=self.timeline, chance=Chance(1), model=model, report=self.said.append)

    def begin(self, task: str, lease_s: float = 0.0) -> None:
        self.agents.run(RunAgent("worker", task, 1, 1, CAPABILITY, b"", 60.0, "i", "g", 0, (), lease_s=lease_s))

    def until(self, at_s: float) -> None:
        self.timeline.run(ns(at_s))


def test_exclusive_work_ends_within_a_lease_after_its_daemon_was_stopped_and_is_told_as_it_goes_on() -> None:
    desk = Desk()
    desk.begin("alone", LEASE_S)
    desk.begin("any")
    desk.agents.stand_still()
    desk.until(STILL_S - 0.01)
    assert desk.agents.running() == ["alone", "any"]
    desk.until(STILL_S)
    assert (desk.agents.running(), desk.said) == (["any"], [])
    desk.agents.go_on()
    (said,) = desk.said
    assert isinstance(said, AgentFailed)
    assert (said.task, said.code, said.retry) == ("alone", "agent_unavailable", True)
    desk.until(20)
    assert [type(each) for each in desk.said] == [AgentFailed, AgentFinished]


def test_a_daemon_that_goes_on_within_the_lease_loses_nothing() -> None:
    desk = Desk()
    desk.begin("alone", LEASE_S)
    desk.agents.stand_still()
    desk.until(STILL_S - 0.01)
    desk.agents.go_on()
    desk.until(9)
    assert (desk.agents.running(), desk.said) == (["alone"], [])


@pytest.mark.parametrize("lease_s", [0.0, LEASE_S])
def test_what_was_told_to_stop_runs_until_it_says_that_it_has(lease_s: float) -> None:
    desk = Desk()
    desk.begin("alone", lease_s)
    desk.agents.stop(StopAgent("alone", 1))
    assert (desk.agents.running(), desk.said) == (["alone"], [])
    desk.until(1)
    assert (desk.agents.running(), desk.said) == ([], [AgentStopped("alone", 1)])
