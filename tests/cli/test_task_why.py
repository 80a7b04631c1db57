"""The story of a task and the tree of a goal, as people read them."""

import pytest

from meshd import explained
from meshd.api.history import AttemptView, RetryView
from meshd.api.schemas import TaskError
from meshd.api.task_schemas import Goal, GoalTask, Why
from protocol.wire.auction import Answered, Round
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import LIFE, A, B, FakeBackend, a_task
from tests.protocol.work import record

BID = Answered(B, "bid", agent="x", free=1, queue_delay_ms=3, latency_ms=20, deviation_ms=2, finish_ms=25.0)
ROUND = Round(1, "bids", "prices differ", LIFE + 5, 7, 3, (BID, Answered(A, "pass", "busy")), owner=B, strays=1)


class Telling(FakeBackend):
    """A node that knows the story of one task, and a goal of two."""

    async def why(self, name: str) -> Why:
        moved = AttemptView(1, B, "b", "silent", LIFE + 3_000, "for 3 s")
        end = RetryView(LIFE + 9_000, "bob", "cancelled", 1, B, "b", "")
        task = a_task("one", submitter="ann\x1b[2J", attempts=(moved,), state="open", owner="", retried=(end,))
        waiting = record(rounds=(ROUND,), failures=2, not_before_ms=1)
        return explained.why(waiting, task, name_of={A: "a", B: "b"}.__getitem__)

    async def goal(self, gid: str) -> Goal:
        failed = a_task(
            "two", state="failed", finished_ms=LIFE + 60, error=TaskError("agent_failed", "no such customer")
        )
        return Goal(gid, (GoalTask("", 0, a_task("one")), GoalTask(a_task("one").id, 1, failed)), True)


@pytest.fixture
def backend() -> FakeBackend:
    return Telling()


pytestmark = pytest.mark.usefixtures("served")


def test_a_story_names_gear_bids_terms_passes_moves_and_the_next_try(meshctl: Meshctl) -> None:
    said = meshctl("tasks", "why", "one").out
    for part in (
        "ann\\x1b[2J submitted scoring@2, route auto",
        "bids, because prices differ: given to b, epoch 1; 3 asked, 7 ms",
        "b bid 0, from finish 25 ms (queue 3, takes 20 ± 2), success 0.00, cost 0, lapses 0",
        "a passed: busy",
        "1 more answers came late, twice or unasked",
        "b fell silent, epoch 1: for 3 s",
        "bob had it opened again, after it was cancelled in epoch 1",
        "it waits after 2 failures; next try in 0.0 s",
    ):
        assert part in said


def test_a_goal_is_a_tree_with_who_had_each_task_and_why_it_failed(meshctl: Meshctl) -> None:
    first, second, third, last = meshctl("tasks", "tree", "gid").out.splitlines()
    assert first.split() == ["TASK", "STATE", "CAPABILITY", "OWNER", "TOOK", "WHY"]
    assert second.split() == ["onexxxxx", "running", "scoring@2", "b"]
    assert third.startswith("  twoxxxxx  failed")
    assert third.endswith("agent_failed: no such customer")
    assert last == "and more, which are not shown"
