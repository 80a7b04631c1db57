"""What clients and operators ask is done here, asked of who knows, or refused at once."""

import pytest

from protocol import effects as fx
from protocol import inputs
from protocol.node import Node
from protocol.wire.ops import Steer, Survey
from tests.explore import CAPABILITY, TASK, World


def _node(world: World) -> Node:
    node = world.hosts[0].node
    assert node is not None
    return node


def _codes(world: World, *asked: inputs.Input) -> list[str]:
    node = _node(world)
    effects = [effect for each in asked for effect in node.handle(each, world.now)]
    return [each.code for each in effects if isinstance(each, fx.Reply)]


@pytest.mark.parametrize(("is_for_task", "codes"), [(False, ["draining"]), (True, [])])
def test_a_draining_node_takes_only_what_its_tasks_in_hand_submit(is_for_task: bool, codes: list[str]) -> None:
    ancestors = ("t" * 26,) if is_for_task else ()
    order = inputs.Submit(7, CAPABILITY, b"\xc0", "x", key="k", ancestors=ancestors)
    assert order.is_for_task is is_for_task
    assert _codes(World(agents=(1, 2)), inputs.Drain(on=True), order) == codes


def test_how_its_own_tasks_run_a_node_says_at_once_and_asks_the_home_of_others() -> None:
    world = World(agents=(1, 2))
    other = world.hosts[1].id
    assert _codes(world, inputs.Inquiry(5, world.hosts[0].id, (TASK,))) == [""]
    (send,) = _node(world).handle(inputs.Inquiry(6, other, ("t" * 26,)), world.now)
    assert isinstance(send, fx.Send)
    assert send.to == other


def test_an_operator_is_obeyed_here_or_asks_another_node() -> None:
    world = World(agents=(1, 2))
    assert _codes(world, inputs.Operate(5, world.hosts[0].id, Steer(0, draining=True))) == [""]
    (send,) = _node(world).handle(inputs.Operate(6, world.hosts[1].id, Survey(0)), world.now)
    assert isinstance(send, fx.Send)
    assert send.to == world.hosts[1].id
