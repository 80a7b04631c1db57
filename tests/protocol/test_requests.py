"""What clients and operators ask is done here, asked of who knows, or refused at once."""

import pytest

from protocol.duty import Duty
from protocol.effects import Effect, Reply, Send
from protocol.inputs import Inquiry, Operate, Submit
from protocol.inquiries import Inquiries
from protocol.requests import Requests
from protocol.wire.ops import Steer, Survey
from tests.explore import CAPABILITY, TASK, World


class _Desk:
    """The first of three nodes, and whoever asks it."""

    def __init__(self) -> None:
        world = World(agents=(1, 2))
        node = world.hosts[0].node
        assert node is not None
        self.now, self.me, self.other = world.now, node.me.id, world.hosts[1].id
        self.duty: Duty = node.duty
        self.requests = Requests(
            me=node.me, duty=node.duty, time=node.time, ledger=node.ledger, places=node._places, homes=Inquiries()
        )


def _codes(effects: list[Effect]) -> list[str]:
    return [each.code for each in effects if isinstance(each, Reply)]


@pytest.mark.parametrize(("is_for_task", "codes"), [(False, ["draining"]), (True, [])])
def test_a_draining_node_takes_only_what_its_tasks_in_hand_submit(is_for_task: bool, codes: list[str]) -> None:
    desk = _Desk()
    desk.duty.drain(is_on=True)
    order = Submit(7, CAPABILITY, b"\xc0", "x", key="k", ancestors=("t" * 26,) if is_for_task else ())
    assert _codes(desk.requests.order(order, desk.now)) == codes


def test_how_its_own_tasks_run_a_node_says_at_once_and_asks_the_home_of_others() -> None:
    desk = _Desk()
    assert _codes(desk.requests.inquire(Inquiry(5, desk.me, (TASK,)), desk.now)) == [""]
    (send,) = desk.requests.inquire(Inquiry(6, desk.other, ("t" * 26,)), desk.now)
    assert isinstance(send, Send)
    assert send.to == desk.other


def test_an_operator_is_obeyed_here_or_asks_another_node() -> None:
    desk = _Desk()
    assert _codes(desk.requests.operate(Operate(5, desk.me, Steer(0, draining=True)), desk.now)) == [""]
    assert desk.duty.is_draining
    (send,) = desk.requests.operate(Operate(6, desk.other, Survey(0)), desk.now)
    assert isinstance(send, Send)
    assert send.to == desk.other
