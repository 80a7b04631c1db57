"""What decided about a task, told from its record alone; and a goal as a tree, whatever is missing of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from meshd import explained
from meshd.api.schemas import Task
from meshd.ports import Desk, Finished, Outcome, Work
from protocol.errors import MeshError
from protocol.wire.auction import Answered, Round
from protocol.wire.task import TaskState
from tests.meshd.api.fake_backend import a_task
from tests.meshd.little_daemons import Actor, little_daemons
from tests.protocol.work import B, C, record


def _task(name: str, parent: str = "", at_ms: int = 0) -> Task:
    return structs.replace(
        a_task(name), id=name, iid=f"i-{name}", parent_iid=f"i-{parent}" if parent else "", submitted_ms=at_ms
    )


def _shape(*tasks: Task) -> list[tuple[str, str, int]]:
    return [(line.task.id, line.parent, line.depth) for line in explained.goal("g", tasks, is_cut=False).tasks]


def test_each_term_of_each_bid_is_told_with_names() -> None:
    bid = Answered(B, "bid", agent="x", free=1, latency_ms=20, finish_ms=20.0, success=0.5, score=40.0)
    told = Round(1, "bids", "prices differ", 5, 7, 2, (bid, Answered(C, "pass", "busy")), owner=B)
    why = explained.why(record(rounds=(told,)), a_task("t"), name_of={B: "b", C: "c"}.__getitem__)
    (shown,) = why.rounds
    assert (shown.gear, shown.why, shown.owner_name, shown.asked) == ("bids", "prices differ", "b", 2)
    assert [(each.node_name, each.said, each.reason, each.score) for each in shown.answers] == [
        ("b", "bid", "", 40.0),
        ("c", "pass", "busy", 0.0),
    ]


def test_only_a_task_that_waits_says_when_it_is_tried_next() -> None:
    waiting = record(not_before_ms=99, failures=2)
    assert explained.why(waiting, a_task("t"), name_of=str).next_try_ms == 99
    ended = structs.replace(waiting, state=TaskState.FAILED)
    assert explained.why(ended, a_task("t"), name_of=str).next_try_ms is None


def test_each_task_of_a_goal_stands_behind_its_parent_the_oldest_first() -> None:
    tasks = [_task("b2", "a", 4), _task("a", "", 1), _task("c", "b1", 3), _task("b1", "a", 2), _task("z", "", 0)]
    assert _shape(*tasks) == [("z", "", 0), ("a", "", 0), ("b1", "a", 1), ("c", "b1", 2), ("b2", "a", 1)]


def test_a_task_whose_parent_is_gone_is_a_root() -> None:
    assert _shape(_task("b", "gone")) == [("b", "", 0)]


@given(st.lists(st.integers(0, 9), max_size=10))
def test_every_task_stands_there_once_whatever_the_parents_say(parents: list[int]) -> None:
    tasks = [_task(str(number), str(parent), number) for number, parent in enumerate(parents)]
    shown = [name for name, _, _ in _shape(*tasks)]
    assert sorted(shown) == sorted(task.id for task in tasks)


async def test_a_goal_grows_with_what_its_tasks_submit_and_every_award_has_its_search() -> None:
    async def parent(work: Work, desk: Desk) -> Outcome:
        return Finished(await desk.submit("child@1", work.input, key="", is_awaited=True))

    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("parent", parent))
        await mesh.start("b", Actor("child", capability="child@1"))
        task = await a.submit(7, key="one", gid="a-goal")
        assert (await a.ended(task.id)).result == 7
        first, second = (await a.service.goal("a-goal")).tasks
        assert (first.task.id, first.task.state, first.depth) == (task.id, "done", 0)
        assert (second.task.capability, second.task.owner_name, second.parent, second.depth) == (
            "child@1",
            "b",
            task.id,
            1,
        )
        (search,) = (await a.service.why(second.task.id)).rounds
        assert (search.owner_name, search.epoch) == ("b", 1)
        with pytest.raises(MeshError, match="no task has the goal another"):
            await a.service.goal("another")
